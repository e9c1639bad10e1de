"""Backends that do what tests of runs need: `install` puts them among the others."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from votive.bench import backends
from votive.bench.backends.backend import Backend
from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import BackendChoice, Data, Experiment, Model, Sweep, Task


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


class Signalling(Counting):
    """It sends the run the signal `SIGNAL`, once, with the first request for three texts."""

    def compute(self, items: list[Any]) -> np.ndarray:
        marker = Path(os.environ["MARKER"])
        if len(items) == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getppid(), int(os.environ["SIGNAL"]))
        return super().compute(items)


class Stalling(Counting):
    """It never answers a request for two texts."""

    def compute(self, items: list[Any]) -> np.ndarray:
        if len(items) == 2:
            threading.Event().wait()
        return super().compute(items)


class Sleeping(Counting):
    """It never has its model loaded."""

    def load(self) -> None:
        super().load()
        threading.Event().wait()


class Late(Counting):
    """It is not installed until the file `INSTALLED` is there."""

    def load(self) -> None:
        if not Path(self.setup.choice.environment["INSTALLED"]).exists():
            raise Unavailable("no such engine yet: pip install engine")


KINDS = {
    each.__name__.lower(): backends.Kind(__name__, each.__name__)
    for each in (Counting, Other, Missing, Failing, Dying, Signalling, Stalling, Sleeping, Late)
}


def install() -> None:
    """Put the stubs among the backends."""
    backends.KINDS.update(KINDS)


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
