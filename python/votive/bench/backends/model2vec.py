"""model2vec."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.backend import Backend


class Model2Vec(Backend):
    """model2vec's static embeddings."""

    devices = ("cpu",)

    def load(self) -> None:
        from model2vec import StaticModel

        self.model: Any = StaticModel.from_pretrained(self.setup.model)

    def compute(self, items: list[str]) -> np.ndarray:
        return np.asarray(self.model.encode(items, max_length=self.setup.max_seq_length or 512), np.float32)
