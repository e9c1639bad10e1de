"""fastembed."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.backend import Backend
from votive.bench.backends.unavailable import Unavailable


class FastEmbed(Backend):
    """fastembed, which knows models by name alone and downloads its own exports of them."""

    def load(self) -> None:
        from fastembed import TextEmbedding

        known = [model["model"] for model in TextEmbedding.list_supported_models()]
        name = str(self.setup.model)
        if name not in known:
            raise Unavailable(f"fastembed loads no folders; it knows {', '.join(known[:5])} and others, not {name}")
        self.model: Any = TextEmbedding(name, threads=self.setup.threads)

    def compute(self, items: list[str]) -> np.ndarray:
        return np.stack(list(self.model.embed(items, batch_size=max(1, len(items))))).astype(np.float32)
