"""What is measured of a store, in a process of its own."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stores import CODED_AT_ONCE, Store
from vectors import Vectors

QUERIES = 64  # that calls walk through
BLOCKS = 100  # in which "in blocks" adds


class Search(NamedTuple):
    """A kind of call: `queries` at once for the nearest `k`, among a `share` of the rows if that is given.

    The filter starts as a boolean array; it is `prepared` when what the store makes of it is not timed.
    """

    k: int
    queries: int = 1
    share: float | None = None
    prepared: bool = False

    def __str__(self) -> str:
        kept = "" if self.share is None else f", filter of {self.share:.0%}"
        return f"{self.queries} {'query' if self.queries == 1 else 'queries'}{kept}{', prepared' * self.prepared}"


class StoreMeasurements:
    """One store, and the vectors, of which the process may have a copy that it shares with others."""

    def __init__(self, make: Callable[[int], Store], threads: int, vectors: Vectors) -> None:
        self.store = make(threads)
        self.vectors = vectors
        self.queries = vectors.queries(QUERIES)
        self.chosen: dict[float, str] = {}
        self.masks: dict[float, np.ndarray] = {}
        self.prepared: dict[float, Any] = {}

    def add(self, blocks: int = 1) -> float:
        """Seconds to take all rows, so many blocks of them one after another."""
        parts = np.array_split(self.vectors.array(), blocks)
        return seconds(lambda: self.store.add(parts))

    def copy_and_quantize(self) -> float:
        """Seconds of the work that adding cannot do without."""
        return seconds(lambda: copy_and_quantize(self.vectors.array(), self.store.threads))

    def memory_while_adding(self, blocks: int = 1) -> int:
        """Bytes by which the process grew at its peak, without the vectors that it was given. Once a process."""
        self.vectors.array()
        before = peak_memory()
        self.add(blocks)
        return peak_memory() - before

    def filters(self) -> list[str]:
        """The store's ways to filter."""
        return list(self.store.filters)

    def answers(self, count: int, k: int) -> np.ndarray:
        """Ids for the first queries, `[count, k]`."""
        return self.store.search(self.queries[:count], k)

    def choose(self, share: float, k: int) -> str:
        """Find the store's fastest way to filter for one query, filter prepared, and keep it."""
        mask = self.masks[share] = self.vectors.mask(share)
        fastest = {}
        for name, make in self.store.filters.items():
            prepared = make(mask)
            fastest[name] = min(seconds(lambda it=prepared: self._search(0, 1, k, it)) for _ in range(5))
        best = self.chosen[share] = min(fastest, key=fastest.__getitem__)
        self.prepared[share] = self.store.filters[best](mask)
        return best

    def filtered(self, share: float, k: int) -> np.ndarray:
        """Ids for the first query among that share of the rows."""
        return self._search(0, 1, k, self.prepared[share])[0]

    def times(self, search: Search, calls: int) -> list[float]:
        """Seconds of each call; they walk through the queries."""
        return [self._seconds(search, call * search.queries % QUERIES) for call in range(calls)]

    def save(self, path: Path) -> float:
        """Seconds."""
        return seconds(lambda: self.store.save(path))

    def _seconds(self, search: Search, first: int) -> float:
        if search.share is None:
            return seconds(lambda: self._search(first, search.queries, search.k))
        if search.prepared:
            return seconds(lambda: self._search(first, search.queries, search.k, self.prepared[search.share]))
        make, mask = self.store.filters[self.chosen[search.share]], self.masks[search.share]
        return seconds(lambda: self._search(first, search.queries, search.k, make(mask)))

    def _search(self, first: int, count: int, k: int, filter: Any = None) -> np.ndarray:
        return self.store.search(self.queries[first : first + count], k, filter)


def first_search(make: Callable[[int], Store], threads: int, path: Path, vectors: Vectors, k: int) -> float:
    """Seconds to open what was saved and to answer one query; what the store imports is there already."""
    store, query = make(threads), vectors.queries(1)

    def open_and_search() -> None:
        store.open(path)
        store.search(query, k)

    return seconds(open_and_search)


def copy_and_quantize(vectors: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """A copy, and int8 codes of each row by its own scale, by NumPy: blocks that stay in cache, one a thread."""
    copy = np.copy(vectors)
    codes = np.empty(vectors.shape, np.int8)

    def quantize(start: int) -> None:
        block = copy[start : start + CODED_AT_ONCE]
        largest = np.maximum(block.max(axis=1, keepdims=True), -block.min(axis=1, keepdims=True))
        scaled = block * (127 / np.maximum(largest, np.finfo(np.float32).tiny))
        codes[start : start + CODED_AT_ONCE] = np.rint(scaled, out=scaled)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(quantize, range(0, len(vectors), CODED_AT_ONCE)))
    return copy, codes


def seconds(do: Callable[[], Any]) -> float:
    """What it takes, once."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def peak_memory() -> int:
    """The most resident memory that this process ever had, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
