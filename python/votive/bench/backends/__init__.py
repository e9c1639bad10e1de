"""The compared systems, one file each; none of them is imported before it is made."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from votive._hints import did_you_mean
from votive.bench.backends.unavailable import Unavailable

if TYPE_CHECKING:
    from votive.bench.backends.backend import Backend, Setup


class Kind(NamedTuple):
    """Where a backend is, and what `pip install` needs for it."""

    module: str
    name: str
    install: str = ""

    def __call__(self, setup: Setup) -> Backend:
        """What `make` gives."""
        return make(setup)


KINDS: dict[str, Kind] = {
    "votive": Kind("votive_models", "Votive"),
    "sentence-transformers": Kind("torch_models", "SentenceTransformers", "sentence-transformers"),
    "transformers": Kind("torch_models", "Transformers", "transformers torch"),
    "onnxruntime": Kind("runtimes", "OnnxRuntime", "onnxruntime onnx transformers torch"),
    "openvino": Kind("runtimes", "OpenVino", "openvino nncf transformers torch"),
    "llama.cpp": Kind("runtimes", "LlamaCpp", "llama-cpp-python gguf"),
    "mlx": Kind("packages", "Mlx", "mlx-embeddings"),
    "model2vec": Kind("packages", "Model2Vec", "model2vec"),
    "fastembed": Kind("packages", "FastEmbed", "fastembed"),
    "http": Kind("http_server", "Http"),
    "votive-store": Kind("searches", "VotiveStore"),
    "faiss": Kind("searches", "Faiss", "faiss-cpu"),
    "usearch": Kind("searches", "USearch", "usearch"),
    "numpy": Kind("searches", "NumPy"),
    "torch": Kind("searches", "Torch", "torch"),
    "qdrant": Kind("searches", "Qdrant", "qdrant-client"),
    "lancedb": Kind("searches", "LanceDb", "lancedb"),
    "sqlite-vec": Kind("searches", "SqliteVec", "sqlite-vec"),
}


def make(setup: Setup) -> Backend:
    """The backend of `setup.choice.kind`, which is not loaded yet.

    Raises:
        ValueError: there is no such kind.
        Unavailable: a package is missing, or the kind does not do the task.
    """
    kind = setup.choice.kind
    if kind not in KINDS:
        raise ValueError(f"{kind!r}: no kind of backend; there are {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if kind == "votive" and setup.task == "search":
        kind = "votive-store"
    backend: type[Backend] = getattr(import_module(f"{__name__}.{KINDS[kind].module}"), KINDS[kind].name)
    if setup.task not in backend.tasks:
        raise Unavailable(f"{kind} does not do {setup.task}; it does {', '.join(backend.tasks)}")
    return backend(setup)


def load(setup: Setup) -> Backend:
    """The backend, ready. Raises as `make` does, with what to install where a package is missing."""
    backend = make(setup)
    try:
        backend.load()
    except ImportError as error:
        install = KINDS[setup.choice.kind].install
        raise Unavailable(f"{error}: pip install {install}" if install else str(error)) from error
    return backend
