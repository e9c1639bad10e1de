"""Runtimes that take padded batches, and llama.cpp: the engines with the settings of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from votive.bench.backends import engines, exports
from votive.bench.backends.backend import Backend
from votive.bench.backends.pairs import pairs
from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import Task

WHOLE = engines.Choice(1 << 20)  # the batch is the request's
CALIBRATION = 300


class _Engine(Backend):
    """One of `engines`; a request is one batch."""

    tasks: ClassVar[tuple[Task, ...]] = ("embed", "rerank")

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        raise NotImplementedError

    def load(self) -> None:
        setup = self.setup
        if setup.choice.device not in (None, "cpu"):
            raise Unavailable(f"{setup.choice.kind} runs on the CPU here, not on {setup.choice.device}")
        size = setup.batching.max_batch_size
        self.runtime = self.engine(engines.Setup(setup.model, setup.cache, setup.threads, setup.max_seq_length))
        self.runtime.choice = engines.Choice(size) if size else WHOLE
        self.runtime.load()

    def compute(self, items: list[Any]) -> np.ndarray:
        return self.runtime.compute(pairs(items) if self.setup.task == "rerank" else items)

    def precision(self, *accepted: str) -> str:
        """Which one is asked for; the first by default."""
        wanted = self.setup.choice.precision or accepted[0]
        if wanted not in accepted:
            raise Unavailable(f"precision {wanted!r} of {self.setup.choice.kind}: one of {', '.join(accepted)}")
        return wanted


class OnnxRuntime(_Engine):
    """ONNX Runtime on the CPU."""

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        int8 = self.precision("float32", "int8") == "int8"
        return engines.OnnxRuntime(setup, exports.onnx_int8 if int8 else exports.onnx_optimized)


class OpenVino(_Engine):
    """OpenVINO on the CPU."""

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        if self.precision("float32", "int8") == "int8":
            return engines.OpenVinoInt8(setup, self.calibration)
        return engines.OpenVino(setup, "f32")

    def calibration(self, setup: engines.Setup) -> list[Any]:
        """Passages of the demo corpus, which no set holds."""
        from votive.demo_corpus import passages

        texts = [passage.text for passage in passages()][:CALIBRATION]
        return texts if self.setup.task == "embed" else list(zip(texts[1:], texts, strict=False))


class LlamaCpp(_Engine):
    """llama.cpp with a GGUF file, or with one of eight bits that it makes of the model."""

    tasks = ("embed",)

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        from votive.bench.backends import llama_engine

        file = self.setup.choice.file
        return llama_engine.LlamaCpp(setup, file=Path(file) if file else None)

    def compute(self, items: list[Any]) -> np.ndarray:
        size = self.setup.batching.max_batch_size or min(len(items), 8)
        self.runtime.choice = engines.Choice(size)
        return super().compute(items)
