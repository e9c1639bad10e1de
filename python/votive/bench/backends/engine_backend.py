"""Engines that take padded batches, with the settings of an experiment."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from votive.bench.backends import engines, exports
from votive.bench.backends.backend import Backend
from votive.bench.backends.heads import Head
from votive.bench.backends.pairs import pairs
from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import Task


class EngineBackend(Backend):
    """One of `engines`; a request is one batch.

    Attributes:
        poolings, families: of the models that it computes right.
        batch_size: of a request that is larger, unless the experiment says it.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("embed", "rerank")
    devices: ClassVar[tuple[str, ...] | None] = ("cpu",)
    poolings: ClassVar[tuple[str, ...]] = exports.POOLINGS
    families: ClassVar[tuple[str, ...]] = exports.FAMILIES
    batch_size: ClassVar[int] = 1 << 20

    def engine(self, setup: engines.EngineSetup) -> engines.Runtime:
        raise NotImplementedError

    def load(self) -> None:
        setup = self.setup
        self.head = self.find_head()
        longest = setup.max_seq_length or (self.head.longest if self.head else None)
        self.runtime = self.engine(engines.EngineSetup(setup.model, setup.cache, setup.threads, longest))
        self.runtime.choice = engines.Choice(setup.batching.max_batch_size or self.batch_size)
        self.runtime.load()

    def find_head(self) -> Head | None:
        """The model's; None where the engine has it from a file. Raises `Unavailable` where it would be another one."""
        setup = self.setup
        return Head.of(setup.model, setup.task, setup.choice.kind, self.poolings, self.families)

    def compute(self, items: list[Any]) -> np.ndarray:
        return self.runtime.compute(pairs(items) if self.setup.task == "rerank" else items)

    def precision(self, *accepted: str) -> str:
        """Which one is asked for; the first by default."""
        wanted = self.setup.choice.precision or accepted[0]
        if wanted not in accepted:
            raise Unavailable(f"precision {wanted!r} of {self.setup.choice.kind}: one of {', '.join(accepted)}")
        return wanted
