"""Embeddings, reranking and exact vector search in one small wheel, without PyTorch.

>>> from votive import Embedder
>>> model = Embedder("sentence-transformers/all-MiniLM-L6-v2")
>>> model.encode(["a first sentence", "a second one"]).shape
(2, 384)
"""

from typing import TYPE_CHECKING, Any

# What is asked for is imported then, so that importing votive, or one module of it, costs next to nothing.
from votive._core import __version__

if TYPE_CHECKING:
    from votive._core import CorruptStoreError, DeviceError, ModelError, QueueFull, StoreError, VotiveError
    from votive.backend import Backend, FallbackWarning, available_backends, get_backend
    from votive.chunking import Chunk, chunk
    from votive.embedder import Embedder
    from votive.embedder_info import EmbedderInfo
    from votive.hits import Hit, Hits
    from votive.inspection import Inspection, inspect_model
    from votive.model_families import ModelFamily, supported_models
    from votive.quantization import quantize_embeddings
    from votive.quantized_model import quantize_model
    from votive.report import TruncationWarning
    from votive.reranker import Reranker
    from votive.serving import serve
    from votive.sharing import shared
    from votive.similarity_function import SimilarityFunction
    from votive.store import EmbeddingStore

__all__ = [
    "Backend",
    "Chunk",
    "CorruptStoreError",
    "DeviceError",
    "Embedder",
    "EmbedderInfo",
    "EmbeddingStore",
    "FallbackWarning",
    "Hit",
    "Hits",
    "Inspection",
    "ModelError",
    "ModelFamily",
    "QueueFull",
    "Reranker",
    "SimilarityFunction",
    "StoreError",
    "TruncationWarning",
    "VotiveError",
    "__version__",
    "available_backends",
    "chunk",
    "get_backend",
    "inspect_model",
    "quantize_embeddings",
    "quantize_model",
    "serve",
    "shared",
    "supported_models",
]


_IMPORTED_WHEN_USED = {
    "Backend": "votive.backend",
    "Chunk": "votive.chunking",
    "CorruptStoreError": "votive._core",
    "DeviceError": "votive._core",
    "Embedder": "votive.embedder",
    "EmbedderInfo": "votive.embedder_info",
    "EmbeddingStore": "votive.store",
    "FallbackWarning": "votive.backend",
    "Hit": "votive.hits",
    "Hits": "votive.hits",
    "Inspection": "votive.inspection",
    "ModelError": "votive._core",
    "ModelFamily": "votive.model_families",
    "QueueFull": "votive._core",
    "Reranker": "votive.reranker",
    "SimilarityFunction": "votive.similarity_function",
    "StoreError": "votive._core",
    "TruncationWarning": "votive.report",
    "VotiveError": "votive._core",
    "available_backends": "votive.backend",
    "chunk": "votive.chunking",
    "get_backend": "votive.backend",
    "inspect_model": "votive.inspection",
    "quantize_embeddings": "votive.quantization",
    "quantize_model": "votive.quantized_model",
    "serve": "votive.serving",
    "shared": "votive.sharing",
    "supported_models": "votive.model_families",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module
    from importlib.util import find_spec

    if name in _IMPORTED_WHEN_USED:
        value = getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
        globals()[name] = value  # not asked for here again
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
