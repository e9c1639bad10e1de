"""How near each backend of an experiment is to the reference: computed once for a model and a set of texts."""

from __future__ import annotations

import msgspec
import numpy as np

from votive.bench import quality
from votive.bench.cells import Consistency, Measured
from votive.bench.experiment import Model
from votive.bench.item_sets import ItemSets
from votive.bench.load import Work
from votive.bench.plan import Cell
from votive.bench.processes import Processes
from votive.bench.worker import NotThere

# Texts of a call.
PART = 32


class Comparison:
    """Of the backends of one experiment; `before` was found by an earlier run."""

    def __init__(self, processes: Processes, items: ItemSets, before: list[Measured]) -> None:
        self._processes = processes
        self._items = items
        self._results: dict[tuple[str, str, str], list[list[np.ndarray]]] = {}
        self._found = {_key(each.cell): each.consistency for each in before if each.consistency is not None}

    def of(self, cell: Cell) -> Consistency | None:
        """None of the reference itself, and where that is not there.

        Raises:
            WorkerError, ValueError: they cannot be compared.
        """
        asked = msgspec.structs.replace(cell, backend=self._reference())
        if cell == asked:
            return None
        if _key(cell) not in self._found:
            if self._processes.reason_to_skip(asked):
                return None
            try:
                theirs = self._results_of(asked)
            except NotThere as reason:
                self._processes.miss(asked, str(reason))
                return None
            each = [self._compare(*pair, asked.backend) for pair in zip(self._results_of(cell), theirs, strict=True)]
            self._found[_key(cell)] = quality.worst(each) if len(each) > 1 else each[0]
        return self._found[_key(cell)]

    def _compare(self, ours: list[np.ndarray], theirs: list[np.ndarray], against: str) -> Consistency:
        experiment = self._processes.experiment
        top = experiment.quality.rank_overlap
        if experiment.task == "rerank":
            return quality.of_scores(ours, theirs, against, top)
        if experiment.task == "search":
            return quality.of_hits(ours[0], theirs[0], against)
        return quality.of_vectors(ours[0], theirs[0], against, top)

    def _results_of(self, cell: Cell) -> list[list[np.ndarray]]:
        """What the backend makes of the first items of the set, with each model."""
        if _key(cell) not in self._results:
            models = self._processes.models(cell)
            self._results[_key(cell)] = [self._of_model(cell, name, model) for name, model in models.items()]
        return self._results[_key(cell)]

    def _of_model(self, cell: Cell, name: str, model: Model) -> list[np.ndarray]:
        processes = self._processes
        first = self._items.of(model, cell.data_set).first(processes.experiment.quality.texts)
        worker = processes.worker(cell)
        if processes.experiment.task == "rerank":
            scores: list[np.ndarray] = processes.call(cell, worker, "compute_each", first, name)
            return scores
        parts = [first[start : start + PART] for start in range(0, len(first), PART)]
        works = [Work(part, len(part), model=name) for part in parts]
        return [np.concatenate([np.asarray(processes.call(cell, worker, "compute", work)) for work in works])]

    def _reference(self) -> str:
        against = self._processes.experiment.quality.against
        choices = self._processes.choices.items()
        return next(name for name, choice in choices if against in (None, name, choice.kind))


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.backend, cell.data_set
