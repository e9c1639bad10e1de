"""votive itself."""

from __future__ import annotations

import threading
import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np

from votive.bench.backends.backend import Backend
from votive.bench.backends.pairs import pairs
from votive.bench.backends.unavailable import Unavailable


class Votive(Backend):
    """An `Embedder` or a `Reranker`; `batching` is its queue, without which callers take turns."""

    tasks = ("embed", "rerank")
    is_concurrent = True

    def load(self) -> None:
        import votive

        warnings.simplefilter("ignore", votive.TruncationWarning)  # long texts are meant to be cut
        setup, choice, batching = self.setup, self.setup.choice, self.setup.batching
        self.lock = nullcontext() if batching.enabled else threading.Lock()
        options: dict[str, Any] = {
            "device": choice.device or "cpu",
            "dtype": choice.dtype or "auto",
            "num_threads": setup.threads,
            "max_batch_size": batching.max_batch_size,
            "max_batch_tokens": batching.max_batch_tokens,
        }
        if batching.enabled:
            options |= {"max_wait_ms": batching.timeout_ms or 0.0, "max_concurrency": batching.max_concurrency}
        model = choice.file or setup.model
        try:
            if setup.task == "embed":
                self.model: Any = votive.Embedder(model, max_seq_length=setup.max_seq_length, **options)
            else:
                self.model = votive.Reranker(model, max_length=setup.max_seq_length, **options)
        except (votive.DeviceError, votive.ModelError) as error:
            raise Unavailable(str(error)) from error

    def compute(self, items: list[Any]) -> np.ndarray:
        with self.lock:
            if self.setup.task == "embed":
                vectors: np.ndarray = self.model.encode(items, show_progress_bar=False)
                return vectors
            scores: np.ndarray = self.model.predict(pairs(items), show_progress_bar=False)
            return scores

    def pass_sizes(self) -> float | None:
        passes = self.model.stats().pass_texts
        self.model.reset_stats()
        return passes.mean if passes.count else None
