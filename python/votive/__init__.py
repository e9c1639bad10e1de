"""Embeddings, reranking and exact vector search in one small wheel, without PyTorch.

>>> from votive import Embedder
>>> model = Embedder("sentence-transformers/all-MiniLM-L6-v2")
>>> model.encode(["a first sentence", "a second one"]).shape
(2, 384)
"""

# NumPy is imported where it is used, here and in every module: importing votive costs a few hundredths of a second.
from votive._core import CorruptStoreError, DeviceError, ModelError, StoreError, VotiveError, __version__
from votive.embedder import Embedder
from votive.quantization import quantize_embeddings
from votive.report import TruncationWarning
from votive.reranker import Reranker

__all__ = [
    "CorruptStoreError",
    "DeviceError",
    "Embedder",
    "ModelError",
    "Reranker",
    "StoreError",
    "TruncationWarning",
    "VotiveError",
    "__version__",
    "quantize_embeddings",
]
