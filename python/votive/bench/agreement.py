"""How near the backends of an experiment are to each other: each computes the same items, once.

```text
a backend is compared when it has measured its first cell of a model and a set of texts:
    with each that was before it, which gives every pair once
    with the reference, also where that one is yet to come
```
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import numpy as np

from votive.bench import quality
from votive.bench.cells import Consistency, Measured
from votive.bench.experiment import Experiment
from votive.bench.plan import Cell
from votive.bench.worker import NotThere, WorkerError

Compute = Callable[[Cell], list[list[np.ndarray]]]
"""What the backend of a cell makes of the first items of its set, with each model; of rerank an array a query."""


class Agreement:
    """What is known of one experiment.

    Args:
        reference: the backend of `Measured.consistency`.
        compute: may raise `WorkerError`, and `NotThere` for what cannot run here.
        before: what an earlier run has measured.
    """

    def __init__(self, experiment: Experiment, reference: str, compute: Compute, before: list[Measured]) -> None:
        self._experiment = experiment
        self._reference = reference
        self._compute = compute
        self._results: dict[tuple[str, str, str], list[list[np.ndarray]]] = {}
        # By model and set: backends in their order, and of two of them how near the first is to the second.
        self._measured: dict[tuple[str, str], list[str]] = {}
        self._found: dict[tuple[str, str, str, str], Consistency] = {}
        for each in before:
            if each.requests:
                self._begins(each.cell)
            if each.consistency is not None:
                self._found[_pair(each.cell, each.consistency.against)] = each.consistency

    def pairs(self, cell: Cell) -> list[Consistency]:
        """With those that were measured before, where this is the first cell of its backend; else none.

        Pairs of different shapes are left out, and those with what does not compute any more. Raises `WorkerError`
        where the backend of the cell does not compute the items.
        """
        others = list(self._measured.get((cell.model, cell.data_set), []))
        if not self._begins(cell):
            return []
        found = []
        if others:
            self._of(cell)
        for other in others:
            with contextlib.suppress(WorkerError, ValueError):
                found.append(self._compared(cell, other))
        return found

    def with_reference(self, cell: Cell) -> Consistency | None:
        """None of the reference itself, and where that is not there.

        Raises `WorkerError` where one of the two does not compute the items, and `ValueError` where shapes differ.
        """
        if cell.backend == self._reference:
            return None
        try:
            return self._compared(cell, self._reference)
        except NotThere:
            return None

    def _begins(self, cell: Cell) -> bool:
        """Whether the backend is new to the model and the set, to which it belongs from now on."""
        there = self._measured.setdefault((cell.model, cell.data_set), [])
        if cell.backend in there:
            return False
        there.append(cell.backend)
        return True

    def _compared(self, cell: Cell, other: str) -> Consistency:
        key = _pair(cell, other)
        if key not in self._found:
            theirs = self._of(msgspec.structs.replace(cell, backend=other))
            each = [self._compare(*pair, other) for pair in zip(self._of(cell), theirs, strict=True)]
            self._found[key] = quality.worst(each) if len(each) > 1 else each[0]
        return self._found[key]

    def _of(self, cell: Cell) -> list[list[np.ndarray]]:
        key = (cell.model, cell.backend, cell.data_set)
        if key not in self._results:
            self._results[key] = self._compute(cell)
        return self._results[key]

    def _compare(self, ours: list[np.ndarray], theirs: list[np.ndarray], against: str) -> Consistency:
        top = self._experiment.quality.rank_overlap
        if self._experiment.task == "rerank":
            return quality.of_scores(ours, theirs, against, top)
        if self._experiment.task == "search":
            return quality.of_hits(ours[0], theirs[0], against)
        return quality.of_vectors(ours[0], theirs[0], against, top)


def _pair(cell: Cell, other: str) -> tuple[str, str, str, str]:
    return cell.model, cell.data_set, cell.backend, other
