"""llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from votive.bench.backends import engines, llama_engine
from votive.bench.backends.engine_backend import EngineBackend


class LlamaCpp(EngineBackend):
    """llama.cpp with a GGUF file, or with one of eight bits that it makes of the model."""

    tasks = ("embed",)

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        file = self.setup.choice.file
        return llama_engine.LlamaCpp(setup, file=Path(file) if file else None)

    def compute(self, items: list[Any]) -> np.ndarray:
        size = self.setup.batching.max_batch_size or min(len(items), 8)
        self.runtime.choice = engines.Choice(size)
        return super().compute(items)
