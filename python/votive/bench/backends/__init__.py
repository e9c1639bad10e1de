"""The compared systems, one file each; none of them is imported before it is made."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from votive.bench.backends.unavailable import Unavailable

if TYPE_CHECKING:
    from votive.bench.backends.backend import Backend, Setup


class Kind(NamedTuple):
    """A kind of backend.

    Attributes:
        module: where its class is, here by default.
        name: of the class.
        install: what `pip install` needs for it.
    """

    module: str
    name: str
    install: str = ""

    def make(self, setup: Setup) -> Backend:
        """The backend, which is not loaded yet. Raises `Unavailable` where it does not do the task, or not there."""
        backend: type[Backend] = getattr(import_module(self.module, __name__), self.name)
        if setup.task not in backend.tasks:
            raise Unavailable(f"{setup.choice.kind} does {' and '.join(backend.tasks)}, not {setup.task}")
        device = setup.choice.device
        if backend.devices is not None and device is not None and device not in backend.devices:
            there = " or ".join(backend.devices)
            raise Unavailable(f"{setup.choice.kind} computes on {there} here, not on {device}")
        return backend(setup)

    def load(self, setup: Setup) -> Backend:
        """The backend, ready. Raises `Unavailable` with what to install where a package is missing."""
        backend = self.make(setup)
        try:
            backend.load()
        except ImportError as error:
            raise Unavailable(f"{error}: pip install {self.install}" if self.install else str(error)) from error
        return backend


KINDS: dict[str, Kind] = {
    "votive": Kind(".votive", "Votive"),
    "sentence-transformers": Kind(".sentence_transformers", "SentenceTransformers", "sentence-transformers"),
    "transformers": Kind(".transformers", "Transformers", "transformers torch"),
    "onnxruntime": Kind(".onnxruntime", "OnnxRuntime", "onnxruntime onnx transformers torch"),
    "openvino": Kind(".openvino", "OpenVino", "openvino nncf transformers torch"),
    "llama.cpp": Kind(".llama_cpp", "LlamaCpp", "llama-cpp-python gguf"),
    "mlx": Kind(".mlx", "Mlx", "mlx-embeddings"),
    "model2vec": Kind(".model2vec", "Model2Vec", "model2vec"),
    "fastembed": Kind(".fastembed", "FastEmbed", "fastembed onnx transformers torch"),
    "http": Kind(".http", "Http"),
    "infinity": Kind(".infinity", "Infinity", "infinity-emb"),
    "tei": Kind(".tei", "Tei"),
    "votive-store": Kind(".votive_store", "VotiveStore"),
    "faiss": Kind(".faiss", "Faiss", "faiss-cpu"),
    "usearch": Kind(".usearch", "USearch", "usearch"),
    "numpy": Kind(".numpy", "NumPy"),
    "torch": Kind(".torch", "Torch", "torch"),
    "qdrant": Kind(".qdrant", "Qdrant", "qdrant-client"),
    "lancedb": Kind(".lancedb", "LanceDb", "lancedb"),
    "sqlite-vec": Kind(".sqlite_vec", "SqliteVec", "sqlite-vec"),
}


def find(name: str, task: str) -> Kind:
    """The kind of this name, for this task. Raises `ValueError` where there is none."""
    if name not in KINDS:
        from votive._hints import did_you_mean

        raise ValueError(f"{name!r}: no kind of backend; there are {', '.join(KINDS)}{did_you_mean(name, KINDS)}")
    return KINDS["votive-store" if (name, task) == ("votive", "search") else name]
