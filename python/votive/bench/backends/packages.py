"""Packages whose own calls embed."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.backend import Backend
from votive.bench.backends.unavailable import Unavailable


class Model2Vec(Backend):
    """model2vec's static embeddings."""

    def load(self) -> None:
        from model2vec import StaticModel

        self.model: Any = StaticModel.from_pretrained(self.setup.model)

    def compute(self, items: list[str]) -> np.ndarray:
        return np.asarray(self.model.encode(items, max_length=self.setup.max_seq_length or 512), np.float32)


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


class Mlx(Backend):
    """mlx-embeddings, with weights of 16, 8 or 4 bits."""

    def load(self) -> None:
        import mlx.core
        import mlx.nn
        import mlx_embeddings

        self.core, self.library = mlx.core, mlx_embeddings
        if self.setup.choice.device == "cpu":
            mlx.core.set_default_device(mlx.core.cpu)
        self.model, self.tokenizer = mlx_embeddings.load(str(self.setup.model))
        bits = self.setup.choice.bits or 16
        if bits == 16:
            self.model.set_dtype(mlx.core.float16)
        elif bits in (4, 8):
            mlx.nn.quantize(self.model, bits=bits)
        else:
            raise Unavailable(f"bits {bits} of mlx: one of 16, 8, 4")

    def compute(self, items: list[str]) -> np.ndarray:
        found = self.library.generate(self.model, self.tokenizer, texts=items)
        return np.array(found.text_embeds.astype(self.core.float32))
