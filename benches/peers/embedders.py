"""The embedders that are compared: engines whose `compute` turns texts into vectors.

All of them run the same weights and return unit vectors, `[texts, dimension]` float32, in the caller's order.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from votive.bench.backends import exports
from votive.bench.backends.engines import (
    ALL_CORES,
    Choice,
    Engine,
    EngineSetup,
    OnnxRuntime,
    OpenVino,
    OpenVinoInt8,
    Unavailable,
    torch_device,
)


class Votive(Engine):
    """votive itself; its planner cuts the batches, and calls meet in one queue.

    `max_concurrency`: passes at a time, instead of what the machine takes.
    """

    modules = ("votive",)

    def __init__(
        self, setup: EngineSetup, dtype: str = "float32", device: str = "cpu", max_concurrency: int | None = None
    ) -> None:
        super().__init__(setup)
        self.dtype = dtype
        self.device = device
        self.max_concurrency = max_concurrency

    def load(self) -> None:
        import votive

        warnings.simplefilter("ignore", votive.TruncationWarning)  # the long texts are meant to be cut
        try:
            self.model = votive.Embedder(
                self.setup.model,
                device=self.device,
                dtype=self.dtype,
                num_threads=self.setup.threads,
                max_concurrency=self.max_concurrency,
            )
        except (ValueError, votive.DeviceError) as error:
            if (self.dtype, self.device) == ("float32", "cpu"):
                raise
            raise Unavailable(str(error)) from error

    def compute(self, items: list[str]) -> np.ndarray:
        return self.model.encode(items, show_progress_bar=False)

    async def acompute(self, items: list[str]) -> np.ndarray:
        return await self.model.aencode(items)


class EarlierVotive(Votive):
    """votive as another build, whose package lies in `folder`, in place of this one."""

    def __init__(self, setup: EngineSetup, folder: Path, dtype: str = "float32") -> None:
        super().__init__(setup, dtype)
        self.folder = folder

    def load(self) -> None:
        sys.path.insert(0, str(self.folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "votive"]:
            del sys.modules[name]  # the runtimes' modules have imported this one
        import votive

        if votive.__file__ is None or not Path(votive.__file__).is_relative_to(self.folder):
            raise Unavailable(f"{self.folder} holds no package votive")
        super().load()


class SentenceTransformers(Engine):
    """sentence-transformers on PyTorch, float32; it sorts by length itself."""

    modules = ("sentence_transformers",)

    def __init__(self, setup: EngineSetup, device: str = "cpu") -> None:
        super().__init__(setup)
        self.device = device
        self.choices = ALL_CORES if device == "cpu" else tuple(Choice(size) for size in (32, 128, 512))
        self.choice = Choice(32)  # its own default

    def load(self) -> None:
        torch_device(self.setup, self.device)
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(self.setup.model), device=self.device)

    def compute(self, items: list[str]) -> np.ndarray:
        return self.model.encode(items, batch_size=self.choice.batch_size, show_progress_bar=False)


class LockedSentenceTransformers(SentenceTransformers):
    """sentence-transformers for callers that share it: one call at a time."""

    def __init__(self, setup: EngineSetup, device: str = "cpu") -> None:
        super().__init__(setup, device)
        self.lock = threading.Lock()

    def compute(self, items: list[str]) -> np.ndarray:
        with self.lock:
            return super().compute(items)

    async def acompute(self, items: list[str]) -> np.ndarray:
        import asyncio  # a part of the start of a fast peer, which has no use for it

        return await asyncio.to_thread(self.compute, items)


def calibration(setup: EngineSetup) -> list[str]:
    """Texts of the corpus that are in none of its sets."""
    from benches.data import corpus  # imports votive, which another peer's process must not

    return corpus.texts(setup.model / "tokenizer.json").calibration


REFERENCE = "sentence-transformers"
PEERS: dict[str, Callable[[EngineSetup], Engine]] = {
    "votive": Votive,
    "votive-bfloat16": partial(Votive, dtype="bfloat16"),
    "votive-int8": partial(Votive, dtype="int8"),
    "votive-int4": partial(Votive, dtype="int4"),
    REFERENCE: SentenceTransformers,
    "onnxruntime": partial(OnnxRuntime, export=exports.onnx_optimized),
    "onnxruntime-all-cores": partial(OnnxRuntime, export=exports.onnx_optimized, choices=ALL_CORES),
    "onnxruntime-int8": partial(OnnxRuntime, export=exports.onnx_int8),
    "openvino-float32": partial(OpenVino, precision="f32"),
    "openvino-float32-all-cores": partial(OpenVino, precision="f32", choices=ALL_CORES),
    "openvino-default": OpenVino,
    "openvino-default-all-cores": partial(OpenVino, choices=ALL_CORES),
    "openvino-int8": partial(OpenVinoInt8, calibration=calibration),
    "openvino-int8-all-cores": partial(OpenVinoInt8, calibration=calibration, choices=ALL_CORES),
    "votive-mps": partial(Votive, device="mps"),
    "votive-cuda": partial(Votive, device="cuda"),
    "sentence-transformers-mps": partial(SentenceTransformers, device="mps"),
    "sentence-transformers-cuda": partial(SentenceTransformers, device="cuda"),
}

SHARED, UNSHARED, LOCKED = "votive", "votive, nobody waits", "sentence-transformers, a lock"
# For callers that share one, by their number: where nobody waits, each has room for all threads to share its pass.
SHARED_PEERS: dict[str, Callable[[EngineSetup, int], Votive | LockedSentenceTransformers]] = {
    SHARED: lambda setup, callers: Votive(setup),
    UNSHARED: lambda setup, callers: Votive(setup, max_concurrency=callers * setup.threads),
    LOCKED: lambda setup, callers: LockedSentenceTransformers(setup),
}
