"""sentence-transformers."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.folders import check_task, has_own_code
from votive.bench.backends.pairs import pairs
from votive.bench.backends.torch_backend import TorchBackend
from votive.bench.backends.unavailable import Unavailable


class SentenceTransformers(TorchBackend):
    """Its `SentenceTransformer` or `CrossEncoder`, which compute all that a folder says."""

    def load_model(self) -> None:
        import sentence_transformers as library

        setup, choice = self.setup, self.setup.choice
        check_task(setup.model, setup.task)
        if has_own_code(setup.model) and not choice.trust_remote_code:
            # The network of transformers that has its `model_type` takes the weights that it knows, and says little.
            raise Unavailable(
                f"{setup.model.name} has code of its own, without which other numbers come out; "
                "trust_remote_code: true runs that code"
            )
        make = library.SentenceTransformer if setup.task == "embed" else library.CrossEncoder
        self.model: Any = make(
            str(setup.model),
            device=self.device,
            model_kwargs={"dtype": self.dtype},
            trust_remote_code=choice.trust_remote_code,
        )
        if setup.max_seq_length:
            self.model.max_seq_length = setup.max_seq_length
        if choice.compile:
            self.model.compile()

    def compute(self, items: list[Any]) -> np.ndarray:
        if self.setup.task == "embed":
            call, given = self.model.encode, items
        else:
            call, given = self.model.predict, pairs(items)
        size = self.setup.batching.max_batch_size or max(1, len(given))
        return np.asarray(call(given, batch_size=size, show_progress_bar=False), np.float32)
