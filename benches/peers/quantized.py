"""What embeds with quantized weights.

votive and llama.cpp read the same GGUF files, ONNX Runtime and OpenVINO weights of four bits of their own making.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from votive.bench.backends import exports, gguf_files
from votive.bench.backends.engines import Engine, EngineSetup, OnnxRuntime, OpenVino
from votive.bench.backends.llama_engine import LlamaCpp, unit

from benches.peers.embedders import Votive


class VotiveGguf(Votive):
    """votive with a GGUF file alone."""

    def __init__(self, setup: EngineSetup, kind: str, dtype: str = "auto") -> None:
        super().__init__(setup._replace(model=gguf_files.file(setup.model, setup.cache, kind)), dtype)

    def load(self) -> None:
        warnings.simplefilter("ignore")  # no GGUF file says that its model normalizes, and MiniLM is small for int4
        super().load()

    def compute(self, items: list[str]) -> np.ndarray:
        return unit(super().compute(items))


class OpenVinoInt4(OpenVino):
    """OpenVINO with weights of four bits, as NNCF compresses them for language models."""

    def file(self) -> Path:
        return exports.openvino_int4(self.setup.model, self.setup.cache)


def votive(kind: str, dtype: str) -> str:
    """The name of votive with a file of that type."""
    return f"votive-{dtype} {kind}"


def llama(kind: str) -> str:
    """The name of llama.cpp with a file of that type."""
    return f"llama.cpp {kind}"


DTYPES = ("int8", "int4")
PEERS: dict[str, Callable[[EngineSetup], Engine]] = {
    **{
        votive(kind, dtype): partial(VotiveGguf, kind=kind, dtype=dtype)
        for kind in gguf_files.TYPES
        for dtype in DTYPES
    },
    **{llama(kind): partial(LlamaCpp, kind=kind) for kind in gguf_files.TYPES},
    "onnxruntime-int4": partial(OnnxRuntime, export=exports.onnx_int4),
    "openvino-int4": OpenVinoInt4,
}
