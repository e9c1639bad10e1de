"""Engines that take padded batches, with the settings of an experiment."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from votive.bench.backends import engines
from votive.bench.backends.backend import Backend
from votive.bench.backends.pairs import pairs
from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import Task

WHOLE = engines.Choice(1 << 20)  # the batch is the request's


class EngineBackend(Backend):
    """One of `engines`; a request is one batch."""

    tasks: ClassVar[tuple[Task, ...]] = ("embed", "rerank")

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        raise NotImplementedError

    def load(self) -> None:
        setup = self.setup
        if setup.choice.device not in (None, "cpu"):
            raise Unavailable(f"{setup.choice.kind} runs on the CPU here, not on {setup.choice.device}")
        size = setup.batching.max_batch_size
        self.runtime = self.engine(engines.Setup(setup.model, setup.cache, setup.threads, setup.max_seq_length))
        self.runtime.choice = engines.Choice(size) if size else WHOLE
        self.runtime.load()

    def compute(self, items: list[Any]) -> np.ndarray:
        return self.runtime.compute(pairs(items) if self.setup.task == "rerank" else items)

    def precision(self, *accepted: str) -> str:
        """Which one is asked for; the first by default."""
        wanted = self.setup.choice.precision or accepted[0]
        if wanted not in accepted:
            raise Unavailable(f"precision {wanted!r} of {self.setup.choice.kind}: one of {', '.join(accepted)}")
        return wanted
