"""Embeddings, reranking and exact vector search in one small wheel, without PyTorch.

>>> from votive import Embedder
>>> model = Embedder("sentence-transformers/all-MiniLM-L6-v2")
>>> model.encode(["a first sentence", "a second one"]).shape
(2, 384)
"""

from typing import TYPE_CHECKING, Any

# NumPy is imported where it is used, here and in every module: importing votive costs a few hundredths of a second.
from votive._core import CorruptStoreError, DeviceError, ModelError, QueueFull, StoreError, VotiveError, __version__
from votive.backend import Backend, FallbackWarning, available_backends, get_backend
from votive.chunking import Chunk, chunk
from votive.embedder import Embedder
from votive.embedder_info import EmbedderInfo
from votive.inspection import Inspection, inspect_model
from votive.model_families import ModelFamily, supported_models
from votive.quantization import quantize_embeddings
from votive.quantized_model import quantize_model
from votive.report import TruncationWarning
from votive.reranker import Reranker
from votive.similarity_function import SimilarityFunction

if TYPE_CHECKING:
    from votive.hits import Hit, Hits
    from votive.serving import serve
    from votive.sharing import shared
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


# The store's modules compute with NumPy, and import it; a server is what few programs start.
_IMPORTED_WHEN_USED = {
    "EmbeddingStore": "votive.store",
    "Hit": "votive.hits",
    "Hits": "votive.hits",
    "serve": "votive.serving",
    "shared": "votive.sharing",
}


def __getattr__(name: str) -> Any:
    if name in _IMPORTED_WHEN_USED:
        from importlib import import_module

        return getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
