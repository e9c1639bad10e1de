"""sentence-transformers."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.pairs import pairs
from votive.bench.backends.torch_backend import TorchBackend


class SentenceTransformers(TorchBackend):
    """Its `SentenceTransformer` or `CrossEncoder`."""

    def load_model(self) -> None:
        import sentence_transformers as library

        make = library.SentenceTransformer if self.setup.task == "embed" else library.CrossEncoder
        self.model: Any = make(str(self.setup.model), device=self.device, model_kwargs={"dtype": self.dtype})
        if self.setup.max_seq_length:
            self.model.max_seq_length = self.setup.max_seq_length
        if self.setup.choice.compile:
            self.model.compile()

    def compute(self, items: list[Any]) -> np.ndarray:
        if self.setup.task == "embed":
            call, given = self.model.encode, items
        else:
            call, given = self.model.predict, pairs(items)
        size = self.setup.batching.max_batch_size or max(1, len(given))
        return np.asarray(call(given, batch_size=size, show_progress_bar=False), np.float32)
