"""The engines that are compared, each behind the same two methods, `load` and `encode`.

All of them run the same weights and return unit vectors, `[texts, dimension]` float32, in the caller's
order. Nothing of an engine is imported before `load`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import exports
import numpy as np
from model import Setup

if TYPE_CHECKING:
    import onnxruntime
    import openvino

MAX_TOKENS = 256


class Unavailable(Exception):
    """The machine or the version of the engine cannot run the peer; the text says why."""


class Choice(NamedTuple):
    """How a peer cuts many texts into batches; which choice is fastest is found by measurement, per peer and set."""

    batch_size: int
    batch_per_core: bool = False

    def __str__(self) -> str:
        return f"batches of {self.batch_size}, {'one per core' if self.batch_per_core else 'all cores on each'}"


ALL_CORES = tuple(Choice(size) for size in (8, 16, 32))
EVERY_CHOICE = (*(Choice(size, batch_per_core=True) for size in (1, 2, 4, 8, 16)), *ALL_CORES)


class Peer(ABC):
    """An engine with the model loaded."""

    modules: tuple[str, ...]  # what a program that uses it imports
    choices: tuple[Choice, ...] = ()
    choice: Choice

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @abstractmethod
    def load(self) -> None:
        """Make ready for `encode`. Raises `ImportError` or `Unavailable` where that cannot be."""

    @abstractmethod
    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors, `[texts, dimension]` float32."""


class Votive(Peer):
    """votive itself; its planner cuts the batches."""

    modules = ("votive",)

    def __init__(self, setup: Setup, dtype: str = "float32", device: str = "cpu") -> None:
        super().__init__(setup)
        self.dtype = dtype
        self.device = device

    def load(self) -> None:
        import votive

        warnings.simplefilter("ignore", votive.TruncationWarning)  # the long texts are meant to be cut
        try:
            self.model = votive.Embedder(
                self.setup.model, device=self.device, dtype=self.dtype, num_threads=self.setup.threads
            )
        except (ValueError, votive.DeviceError) as error:
            if (self.dtype, self.device) == ("float32", "cpu"):
                raise
            raise Unavailable(str(error)) from error

    def encode(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, show_progress_bar=False)


class SentenceTransformers(Peer):
    """sentence-transformers on PyTorch, float32; it sorts by length itself."""

    modules = ("sentence_transformers",)

    def __init__(self, setup: Setup, device: str = "cpu") -> None:
        super().__init__(setup)
        self.device = device
        self.choices = ALL_CORES if device == "cpu" else tuple(Choice(size) for size in (32, 128, 512))
        self.choice = Choice(32)  # its own default

    def load(self) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(self.setup.threads)
        if self.device == "mps" and not torch.backends.mps.is_available():
            raise Unavailable("PyTorch finds no Metal device")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("PyTorch finds no CUDA device")
        self.model = SentenceTransformer(str(self.setup.model), device=self.device)

    def encode(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, batch_size=self.choice.batch_size, show_progress_bar=False)


class Batch(NamedTuple):
    """`rows` of the result, and the model's `inputs`: `[rows, tokens]` int64 each, padded to the longest row."""

    rows: np.ndarray
    inputs: dict[str, np.ndarray]


class Runtime(Peer):
    """A runtime that takes padded batches: before it the Rust tokenizer, and batches cut from the sorted texts."""

    def __init__(self, setup: Setup, choices: tuple[Choice, ...]) -> None:
        super().__init__(setup)
        self.choices = choices
        self.choice = choices[0]

    def load(self) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(self.setup.model / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()
        self.dimension = self.setup.dimension
        self.load_runtime()

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.empty((len(texts), self.dimension), np.float32)
        batches = list(self.batches(texts))
        if self.choice.batch_per_core and len(batches) >= self.setup.threads:
            results = self.run_per_core(batches)
        else:
            results = map(self.run, batches)
        for batch, result in zip(batches, results, strict=True):
            vectors[batch.rows] = result
        return vectors

    def batches(self, texts: list[str]) -> Iterator[Batch]:
        encodings = self.tokenizer.encode_batch(texts)
        lengths = np.array([len(encoding) for encoding in encodings])
        order = np.argsort(-lengths, kind="stable")
        for start in range(0, len(order), self.choice.batch_size):
            rows = order[start : start + self.choice.batch_size]
            ids = np.zeros((len(rows), lengths[rows[0]]), np.int64)
            mask = np.zeros_like(ids)
            for row, text in enumerate(rows):
                ids[row, : lengths[text]] = encodings[text].ids
                mask[row, : lengths[text]] = 1
            yield Batch(rows, dict(zip(exports.INPUTS, (ids, mask, np.zeros_like(ids)), strict=True)))

    @abstractmethod
    def load_runtime(self) -> None:
        """Load the model."""

    @abstractmethod
    def run(self, batch: Batch) -> np.ndarray:
        """One batch on all cores."""

    @abstractmethod
    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        """Each batch on a single core, as many at a time as there are cores."""


class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU with all of its graph optimizations."""

    modules = ("onnxruntime", "tokenizers")

    def __init__(
        self, setup: Setup, export: Callable[[Path, Path], Path], choices: tuple[Choice, ...] = EVERY_CHOICE
    ) -> None:
        super().__init__(setup, choices)
        self.export = export

    def load_runtime(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self.file = str(self.export(self.setup.model, self.setup.cache))
        self.pool = ThreadPoolExecutor(self.setup.threads)

    @cached_property
    def all_cores(self) -> onnxruntime.InferenceSession:
        return self.session(self.setup.threads)

    @cached_property
    def single_core(self) -> onnxruntime.InferenceSession:
        return self.session(1)

    def session(self, threads: int) -> onnxruntime.InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])

    def run(self, batch: Batch) -> np.ndarray:
        return self.all_cores.run(None, batch.inputs)[0]

    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        return self.pool.map(lambda batch: self.single_core.run(None, batch.inputs)[0], batches)


class OpenVino(Runtime):
    """OpenVINO on the CPU; without `precision` it computes in what it holds best, which may be bfloat16."""

    modules = ("openvino", "tokenizers")

    def __init__(self, setup: Setup, precision: str | None = None, choices: tuple[Choice, ...] = EVERY_CHOICE) -> None:
        super().__init__(setup, choices)
        self.precision = precision

    def file(self) -> Path:
        """The model as OpenVINO reads it."""
        return exports.onnx(self.setup.model, self.setup.cache)

    def load_runtime(self) -> None:
        import openvino

        self.core = openvino.Core()
        self.network = self.core.read_model(self.file())

    @cached_property
    def request(self) -> openvino.InferRequest:
        return self.compiled(PERFORMANCE_HINT="LATENCY").create_infer_request()

    @cached_property
    def queue(self) -> openvino.AsyncInferQueue:
        import openvino

        compiled = self.compiled(PERFORMANCE_HINT="THROUGHPUT", NUM_STREAMS=self.setup.threads)
        return openvino.AsyncInferQueue(compiled, self.setup.threads)

    def compiled(self, **options: str | int) -> openvino.CompiledModel:
        options["INFERENCE_NUM_THREADS"] = self.setup.threads
        if self.precision is not None:
            options["INFERENCE_PRECISION_HINT"] = self.precision
        return self.core.compile_model(self.network, "CPU", options)

    def run(self, batch: Batch) -> np.ndarray:
        return self.request.infer(batch.inputs)[0]

    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        results: list[np.ndarray] = [np.empty(0)] * len(batches)

        def keep(request: Any, index: int) -> None:
            results[index] = request.get_output_tensor().data.copy()  # the request is used again

        self.queue.set_callback(keep)
        for index, batch in enumerate(batches):
            self.queue.start_async(batch.inputs, index)
        self.queue.wait_all()
        return results


class OpenVinoInt8(OpenVino):
    """OpenVINO with weights and activations in int8, calibrated on texts of the corpus that are in none of its sets."""

    def file(self) -> Path:
        def inputs() -> list[dict[str, Any]]:
            import corpus  # reads thousands of texts, which only an export needs

            texts = corpus.read(self.setup.model / "tokenizer.json").calibration
            return [batch.inputs for text in texts for batch in self.batches([text])]  # one by one: no padding counts

        return exports.openvino_int8(self.setup.model, self.setup.cache, inputs)


REFERENCE = "sentence-transformers"
PEERS: dict[str, Callable[[Setup], Peer]] = {
    "votive": Votive,
    "votive-bfloat16": partial(Votive, dtype="bfloat16"),
    "votive-int8": partial(Votive, dtype="int8"),
    REFERENCE: SentenceTransformers,
    "onnxruntime": partial(OnnxRuntime, export=exports.onnx_optimized),
    "onnxruntime-all-cores": partial(OnnxRuntime, export=exports.onnx_optimized, choices=ALL_CORES),
    "onnxruntime-int8": partial(OnnxRuntime, export=exports.onnx_int8),
    "openvino-float32": partial(OpenVino, precision="f32"),
    "openvino-float32-all-cores": partial(OpenVino, precision="f32", choices=ALL_CORES),
    "openvino-default": OpenVino,
    "openvino-default-all-cores": partial(OpenVino, choices=ALL_CORES),
    "openvino-int8": OpenVinoInt8,
    "openvino-int8-all-cores": partial(OpenVinoInt8, choices=ALL_CORES),
    "votive-mps": partial(Votive, device="mps"),
    "votive-cuda": partial(Votive, device="cuda"),
    "sentence-transformers-mps": partial(SentenceTransformers, device="mps"),
    "sentence-transformers-cuda": partial(SentenceTransformers, device="cuda"),
}
