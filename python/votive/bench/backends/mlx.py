"""MLX."""

from __future__ import annotations

import numpy as np

from votive.bench.backends.backend import Backend
from votive.bench.backends.folders import check_task
from votive.bench.backends.unavailable import Unavailable


class Mlx(Backend):
    """mlx-embeddings, with weights of 16, 8 or 4 bits."""

    def load(self) -> None:
        import mlx.core
        import mlx.nn
        import mlx_embeddings

        check_task(self.setup.model, self.setup.task)
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
