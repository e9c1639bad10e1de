"""What engines have in common, whether they make vectors of texts or scores of pairs, and the runtimes themselves."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from votive.bench.backends import exports
from votive.bench.backends.unavailable import Unavailable

if TYPE_CHECKING:
    import onnxruntime
    import openvino


class EngineSetup(NamedTuple):
    """What every engine is given: the model's folder, where its exports are kept, and the number of threads."""

    model: Path
    cache: Path
    threads: int
    longest: int | None = None

    @property
    def dimension(self) -> int:
        """Elements of a vector, from the model's configuration."""
        return json.loads((self.model / "config.json").read_text())["hidden_size"]

    @property
    def max_tokens(self) -> int:
        """Most tokens of an input: `longest`, else the embedding model's own, else the network's."""
        if self.longest is not None:
            return self.longest
        file = self.model / "sentence_bert_config.json"
        if file.exists():
            return json.loads(file.read_text())["max_seq_length"]
        return json.loads((self.model / "config.json").read_text())["max_position_embeddings"]


class Choice(NamedTuple):
    """How an engine cuts many texts into batches; which one is fastest is found by measurement, per engine and set."""

    batch_size: int
    batch_per_core: bool = False

    def __str__(self) -> str:
        return f"batches of {self.batch_size}, {'one per core' if self.batch_per_core else 'all cores on each'}"


ALL_CORES = tuple(Choice(size) for size in (8, 16, 32))
EVERY_CHOICE = (*(Choice(size, batch_per_core=True) for size in (1, 2, 4, 8, 16)), *ALL_CORES)


class Engine(ABC):
    """What computes rows of items, with the model loaded.

    Below a `Backend`, whose items are requests of an experiment, as a `Store` is; `benches/` measures it without one.
    """

    modules: tuple[str, ...]  # what a program that uses it imports
    choices: tuple[Choice, ...] = ()
    choice: Choice

    def __init__(self, setup: EngineSetup) -> None:
        self.setup = setup

    @abstractmethod
    def load(self) -> None:
        """Make ready for `compute`. Raises `ImportError` or `Unavailable` where that cannot be."""

    @abstractmethod
    def compute(self, items: list[Any]) -> np.ndarray:
        """Float32, a row for each item in their order: a text's vector, or a pair's score."""


def pytorch_device() -> str:
    """Where PyTorch computes on this machine: on Metal where it finds that, else on the CPU."""
    import torch

    return "mps" if torch.backends.mps.is_available() else "cpu"


def torch_device(setup: EngineSetup, device: str) -> None:
    """Make PyTorch ready. Raises `Unavailable` where it finds no such device."""
    import torch

    torch.set_num_threads(setup.threads)
    if device == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("PyTorch finds no Metal device")
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("PyTorch finds no CUDA device")


class Batch(NamedTuple):
    """`rows` of the result, and the model's `inputs`: `[rows, tokens]` int64 each, padded to the longest row."""

    rows: np.ndarray
    inputs: dict[str, np.ndarray]


class Runtime(Engine):
    """A runtime that takes padded batches: before it the Rust tokenizer, and batches cut from the sorted items."""

    def __init__(self, setup: EngineSetup, choices: tuple[Choice, ...]) -> None:
        super().__init__(setup)
        self.choices = choices
        self.choice = choices[0]

    def load(self) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(self.setup.model / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.setup.max_tokens)
        self.tokenizer.no_padding()
        self.load_runtime()

    def compute(self, items: list[Any]) -> np.ndarray:
        batches = list(self.batches(items))
        if self.choice.batch_per_core and len(batches) >= self.setup.threads:
            results = list(self.run_per_core(batches))
        else:
            results = [self.run(batch) for batch in batches]
        outputs = np.empty((len(items), *results[0].shape[1:]), np.float32)
        for batch, result in zip(batches, results, strict=True):
            outputs[batch.rows] = result
        return outputs

    def batches(self, items: list[Any]) -> Iterator[Batch]:
        encodings = self.tokenizer.encode_batch(items)
        lengths = np.array([len(encoding) for encoding in encodings])
        order = np.argsort(-lengths, kind="stable")
        for start in range(0, len(order), self.choice.batch_size):
            rows = order[start : start + self.choice.batch_size]
            ids = np.zeros((len(rows), lengths[rows[0]]), np.int64)
            mask, types = np.zeros_like(ids), np.zeros_like(ids)
            for row, item in enumerate(rows):
                ids[row, : lengths[item]] = encodings[item].ids
                mask[row, : lengths[item]] = 1
                types[row, : lengths[item]] = encodings[item].type_ids
            yield Batch(rows, dict(zip(exports.INPUTS, (ids, mask, types), strict=True)))

    @abstractmethod
    def load_runtime(self) -> None:
        """Load the model."""

    @abstractmethod
    def run(self, batch: Batch) -> np.ndarray:
        """One batch on all cores."""

    @abstractmethod
    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        """Each batch on a single core, as many at a time as there are cores."""


CPU_PROVIDER = "CPUExecutionProvider"


class OnnxRuntime(Runtime):
    """ONNX Runtime with all of its graph optimizations; what `provider` does not compute, the CPU does."""

    modules = ("onnxruntime", "tokenizers")

    def __init__(
        self,
        setup: EngineSetup,
        export: Callable[[Path, Path], Path],
        choices: tuple[Choice, ...] = EVERY_CHOICE,
        provider: str = CPU_PROVIDER,
    ) -> None:
        super().__init__(setup, choices)
        self.export = export
        self.providers = list(dict.fromkeys((provider, CPU_PROVIDER)))

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
        return onnxruntime.InferenceSession(self.file, options, providers=self.providers)

    def run(self, batch: Batch) -> np.ndarray:
        return self.all_cores.run(None, batch.inputs)[0]

    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        return self.pool.map(lambda batch: self.single_core.run(None, batch.inputs)[0], batches)


class OpenVino(Runtime):
    """OpenVINO on the CPU; without `precision` it computes in what it holds best, which may be bfloat16."""

    modules = ("openvino", "tokenizers")

    def __init__(
        self, setup: EngineSetup, precision: str | None = None, choices: tuple[Choice, ...] = EVERY_CHOICE
    ) -> None:
        super().__init__(setup, choices)
        self.precision = precision

    def file(self) -> Path:
        """The model as OpenVINO reads it."""
        return exports.onnx(self.setup.model, self.setup.cache)

    def load_runtime(self) -> None:
        import openvino

        self.core = openvino.Core()
        self.network = self.core.read_model(self.file())
        self.turn = threading.Lock()  # a request holds the tensors of one batch, the queue the callback of one call

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
        with self.turn:
            return self.request.infer(batch.inputs)[0]

    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        results: list[np.ndarray] = [np.empty(0)] * len(batches)

        def keep(request: Any, index: int) -> None:
            results[index] = request.get_output_tensor().data.copy()  # the request is used again

        with self.turn:
            self.queue.set_callback(keep)
            for index, batch in enumerate(batches):
                self.queue.start_async(batch.inputs, index)
            self.queue.wait_all()
        return results


class OpenVinoInt8(OpenVino):
    """OpenVINO with weights and activations in int8, calibrated on `calibration`'s items, none of which is measured."""

    def __init__(
        self,
        setup: EngineSetup,
        calibration: Callable[[EngineSetup], list[Any]],
        choices: tuple[Choice, ...] = EVERY_CHOICE,
    ) -> None:
        super().__init__(setup, choices=choices)
        self.calibration = calibration

    def file(self) -> Path:
        def inputs() -> list[dict[str, Any]]:
            items = self.calibration(self.setup)
            return [batch.inputs for item in items for batch in self.batches([item])]  # one by one: no padding counts

        return exports.openvino_int8(self.setup.model, self.setup.cache, inputs)
