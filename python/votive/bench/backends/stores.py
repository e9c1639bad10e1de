"""The stores that are compared: they hold unit vectors and give the ids of the nearest by inner product.

Ids are row numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CODED_AT_ONCE = 256  # rows, which stay in the second-level cache
TRAINING_ROWS = 100_000  # of SQ8, whose ranges FAISS learns


class Store(ABC):
    """A store; its methods hold the vectors in `self`, in whatever form it searches them."""

    exact = True
    # Ways to filter: each makes what `search` takes of a boolean array over the rows. Measurement finds the fastest.
    filters: dict[str, Callable[[np.ndarray], Any]]

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.filters = {}

    @abstractmethod
    def add(self, blocks: Sequence[np.ndarray]) -> None:
        """Take the rows of all blocks, `[rows, dimension]` float32 each, in place of those held until now."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, filter: Any = None) -> np.ndarray:
        """Ids of the k nearest, `[queries, k]`, best first. `filter`, made by one of `filters`, for one query."""

    def save(self, path: Path) -> None:
        """Write to a file or folder. Raises `NotImplementedError` where the store has no way to."""
        raise NotImplementedError

    def open(self, path: Path) -> None:
        """What `save` wrote."""
        raise NotImplementedError


class Votive(Store):
    """votive's EmbeddingStore; its filter is the boolean array itself, or the ids of the rows that it keeps."""

    def __init__(self, threads: int, exact: bool = True, dtype: Any = "float32") -> None:
        super().__init__(threads)
        from votive import EmbeddingStore

        self.kind = EmbeddingStore
        self.dtype = dtype
        self.proven = exact
        self.exact = exact and dtype == "float32"
        if self.exact:
            self.filters = {"boolean array": lambda mask: mask, "ids": np.flatnonzero}

    def add(self, blocks: Sequence[np.ndarray]) -> None:
        self.store: Any = None  # so that its memory is free again
        self.store = self.kind(metric="dot", dtype=self.dtype, num_threads=self.threads)
        for block in blocks:
            self.store.add_embeddings(block)

    def search(self, queries: np.ndarray, k: int, filter: Any = None) -> np.ndarray:
        return self.store.search(queries, k, filter=filter, exact=self.proven)[1]

    def save(self, path: Path) -> None:
        self.store.save_to_disk(path)

    def open(self, path: Path) -> None:
        self.store = self.kind.open(path, num_threads=self.threads)


class Gathered(NamedTuple):
    """Rows to copy together before the product."""

    rows: Any


class Picked(NamedTuple):
    """Rows whose scores are picked from the product of all."""

    rows: Any


class NumPy(Store):
    """One matrix product, then the k largest by `argpartition`, sorted."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.filters = {
            "rows gathered": lambda mask: Gathered(np.flatnonzero(mask)),
            "scores picked": lambda mask: Picked(np.flatnonzero(mask)),
        }

    def add(self, blocks: Sequence[np.ndarray]) -> None:
        self.vectors = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def search(self, queries: np.ndarray, k: int, filter: Gathered | Picked | None = None) -> np.ndarray:
        vectors = self.vectors[filter.rows] if isinstance(filter, Gathered) else self.vectors
        scores = queries @ vectors.T
        if isinstance(filter, Picked):
            scores = scores[:, filter.rows]
        best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        best_scores = np.take_along_axis(scores, best, axis=1)
        best = np.take_along_axis(best, np.argsort(-best_scores, axis=1), axis=1)
        return best if filter is None else filter.rows[best]

    def save(self, path: Path) -> None:
        np.save(path.with_suffix(".npy"), self.vectors)

    def open(self, path: Path) -> None:
        self.vectors = np.load(path.with_suffix(".npy"), mmap_mode="r")


class PyTorch(Store):
    """`torch.mm`, then `torch.topk`."""

    def __init__(self, threads: int, device: str = "cpu") -> None:
        super().__init__(threads)
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.device = device
        self.filters = {
            "rows gathered": lambda mask: Gathered(torch.from_numpy(mask).nonzero()[:, 0].to(device)),
            "scores picked": lambda mask: Picked(torch.from_numpy(mask).nonzero()[:, 0].to(device)),
        }

    def add(self, blocks: Sequence[np.ndarray]) -> None:
        rows = self.torch.from_numpy(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))
        self.vectors = rows.to(self.device)  # itself on the CPU

    def search(self, queries: np.ndarray, k: int, filter: Gathered | Picked | None = None) -> np.ndarray:
        torch = self.torch
        vectors = self.vectors[filter.rows] if isinstance(filter, Gathered) else self.vectors
        scores = torch.mm(torch.from_numpy(queries).to(self.device), vectors.T)
        if isinstance(filter, Picked):
            scores = scores[:, filter.rows]
        best = torch.topk(scores, k).indices
        return (best if filter is None else filter.rows[best]).cpu().numpy()


class FaissFlat(Store):
    """FAISS IndexFlatIP."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import faiss

        faiss.omp_set_num_threads(threads)
        self.faiss = faiss
        selectors = {
            "IDSelectorBitmap": lambda mask: faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")),
            "IDSelectorBatch": lambda mask: faiss.IDSelectorBatch(np.flatnonzero(mask)),
            "IDSelectorArray": lambda mask: faiss.IDSelectorArray(np.flatnonzero(mask)),
        }
        if self.exact:
            self.filters = selectors

    def make(self, dimension: int) -> Any:
        """An empty index."""
        return self.faiss.IndexFlatIP(dimension)

    def add(self, blocks: Sequence[np.ndarray]) -> None:
        self.index: Any = None
        self.index = self.make(blocks[0].shape[1])
        if not self.index.is_trained:
            self.index.train(blocks[0][:TRAINING_ROWS])
        for block in blocks:
            self.index.add(block)

    def search(self, queries: np.ndarray, k: int, filter: Any = None) -> np.ndarray:
        parameters = None if filter is None else self.faiss.SearchParameters(sel=filter)
        return self.index.search(queries, k, params=parameters)[1]

    def save(self, path: Path) -> None:
        self.faiss.write_index(self.index, str(path.with_suffix(".faiss")))

    def open(self, path: Path) -> None:
        self.index = self.faiss.read_index(str(path.with_suffix(".faiss")))


class FaissMapped(FaissFlat):
    """FAISS IndexFlatIP that is opened as a memory map, which its default is not."""

    def open(self, path: Path) -> None:
        self.index = self.faiss.read_index(str(path.with_suffix(".faiss")), self.faiss.IO_FLAG_MMAP_IFC)


class FaissSq8(FaissFlat):
    """FAISS IndexScalarQuantizer of 8 bits: a quarter of the bytes, and not exact."""

    exact = False

    def make(self, dimension: int) -> Any:
        kind = self.faiss.ScalarQuantizer.QT_8bit
        return self.faiss.IndexScalarQuantizer(dimension, kind, self.faiss.METRIC_INNER_PRODUCT)


class USearch(Store):
    """USearch's exact search, which reads the array in place."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from usearch import index

        self.usearch = index
        if self.exact:
            self.filters = {"rows gathered": lambda mask: Gathered(np.flatnonzero(mask))}

    def add(self, blocks: Sequence[np.ndarray]) -> None:
        self.vectors = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def search(self, queries: np.ndarray, k: int, filter: Gathered | None = None) -> np.ndarray:
        vectors = self.vectors if filter is None else self.vectors[filter.rows]
        found = self.usearch.search(
            vectors, queries, k, self.usearch.MetricKind.IP, exact=True, threads=self.threads
        ).keys.astype(np.int64)
        found = found.reshape(len(queries), k)
        return found if filter is None else filter.rows[found]


class USearchInt8(USearch):
    """The same of int8 codes with one scale for all elements, and not exact."""

    exact = False

    def add(self, blocks: Sequence[np.ndarray]) -> None:
        self.scale = 127 / max(np.abs(block).max() for block in blocks)
        self.vectors = np.concatenate([self._codes(block) for block in blocks])

    def search(self, queries: np.ndarray, k: int, filter: Any = None) -> np.ndarray:
        return super().search(self._codes(queries), k)

    def _codes(self, vectors: np.ndarray) -> np.ndarray:
        codes = np.empty(vectors.shape, np.int8)
        for start in range(0, len(vectors), CODED_AT_ONCE):
            block = vectors[start : start + CODED_AT_ONCE] * self.scale
            codes[start : start + CODED_AT_ONCE] = np.clip(np.rint(block), -127, 127)
        return codes


PEERS: dict[str, Callable[[int], Store]] = {
    "votive": Votive,
    "votive-unproven": partial(Votive, exact=False),
    "votive-int8": partial(Votive, dtype="int8"),
    "numpy": NumPy,
    "torch": PyTorch,
    "faiss-flat": FaissFlat,
    "usearch": USearch,
    "faiss-sq8": FaissSq8,
    "usearch-int8": USearchInt8,
}
# Other ways to open what a store has saved.
OPENERS: dict[str, dict[str, Callable[[int], Store]]] = {"faiss-flat": {"faiss-flat, mapped": FaissMapped}}
REFERENCE = "numpy"
EXACT = ("numpy", "torch", "faiss-flat", "usearch")  # peers
ADDING = ("votive", "votive-int8", "faiss-flat", "faiss-sq8")  # more than to keep the array
SAVING = ("votive", "numpy", "faiss-flat", "faiss-sq8")
COPY = "np.copy + int8 codes"  # no store, but what adding cannot do without
OPEN = "open + first query"  # a call, beside "add" and "save"
