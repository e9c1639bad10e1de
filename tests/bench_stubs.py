"""Backends that do what tests of runs need: `install` puts them among the others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from votive.bench import backends, plan
from votive.bench.backends.backend import Backend, Unavailable
from votive.bench.experiment import BackendChoice, Data, Experiment, Model, Sweep, Task
from votive.bench.plan import Cell


class Counting(Backend):
    """A text's vector is made of its characters."""

    tasks: ClassVar[tuple[Task, ...]] = ("embed", "rerank", "search")

    def load(self) -> None:
        if log := self.setup.choice.environment.get("LOADED"):
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")

    def compute(self, items: list[Any]) -> np.ndarray:
        if self.setup.task == "rerank":
            (query, documents) = items[0]
            return np.array([len(query) + len(document) for document in documents], np.float32)
        if self.setup.task == "search":
            return np.zeros((len(items), self.setup.data.k), np.int64)
        return np.array([[len(text), text.count("e"), 1.0] for text in items], np.float32)


class Other(Counting):
    """The same, with another second number."""

    def compute(self, items: list[Any]) -> np.ndarray:
        result = super().compute(items)
        if self.setup.task == "embed":
            result[:, 1] += 1
        return result


class Missing(Counting):
    """What is not installed."""

    def load(self) -> None:
        raise Unavailable("no such engine here: pip install engine")


class Failing(Counting):
    """It fails whenever it is asked."""

    def compute(self, items: list[Any]) -> np.ndarray:
        raise ValueError("no")


class Dying(Counting):
    """Its process ends with the first request for two texts."""

    def compute(self, items: list[Any]) -> np.ndarray:
        if len(items) == 2:
            os._exit(9)
        return super().compute(items)


class Killing(Counting):
    """It kills the run, once, with the first request for three texts."""

    def compute(self, items: list[Any]) -> np.ndarray:
        marker = Path(os.environ["MARKER"])
        if len(items) == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getppid(), signal.SIGKILL)
        return super().compute(items)


class Interrupting(Counting):
    """Ctrl-C, with the first request for three texts."""

    def compute(self, items: list[Any]) -> np.ndarray:
        marker = Path(os.environ["MARKER"])
        if len(items) == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getppid(), signal.SIGINT)
        return super().compute(items)


KINDS = {each.__name__.lower(): each for each in (Counting, Other, Missing, Failing, Dying, Killing, Interrupting)}


def install() -> None:
    """Put the stubs among the backends."""
    backends.KINDS = {**getattr(backends, "KINDS", {}), **KINDS}
    if not hasattr(plan, "turns"):  # TODO: until the planner is there
        plan.cells, plan.turns, plan.key = _cells, _turns, _key


def _cells(experiment: Experiment) -> list[Cell]:
    load = experiment.load
    return [
        Cell(
            experiment=experiment.name,
            model=model.name,
            backend=backend.name or backend.kind,
            data_set=data_set,
            batch_size=size,
            concurrency=callers,
            batching=experiment.batching.enabled,
            load=load.kind,
            rate=rate,
        )
        for model in experiment.models
        for data_set in experiment.data.sets
        for size in experiment.sweep.batch_size
        for callers in experiment.sweep.concurrency
        for rate in (load.rate or [None])
        for backend in experiment.backends
    ]


def _turns(experiment: Experiment) -> Iterator[tuple[Cell, int]]:
    return ((cell, number) for number in range(experiment.rounds) for cell in _cells(experiment))


def _key(cell: Cell, number: int) -> str:
    return f"{cell} {number}"


def experiment(folder: Path, *choices: BackendChoice, **changes: Any) -> Experiment:
    """Of as little as there can be; its model is the folder."""
    given: dict[str, Any] = {
        "name": "tiny",
        "models": [Model(name=str(folder))],
        "backends": list(choices),
        "data": Data(count=12),
        "sweep": Sweep(batch_size=[1, 2, 3]),
        "warmup": 1,
        "iterations": 4,
        "seconds": 0.0,
        "rounds": 2,
        "threads": 1,
        "measure": ["latency", "throughput"],
    }
    return Experiment(**(given | changes))


def choice(kind: str, **given: Any) -> BackendChoice:
    """A stub, named as its kind."""
    return BackendChoice(kind=kind, name=kind, **given)
