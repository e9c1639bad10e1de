"""What a worker's process holds, and does when it is called: an engine with items, or a store with vectors."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from votive.bench.backends.engines import Choice, Engine, EngineSetup
from votive.bench.backends.stores import CODED_AT_ONCE, Store
from votive.bench.vectors import Vectors

from benches.data.vectors import Search

RUN = 32  # items alike in length: the largest batch
QUERIES = 64  # that calls walk through
BLOCKS = 100  # in which "in blocks" adds


class LoadedEngine:
    """One engine and the items, which are texts or pairs of them."""

    def __init__(self, make: Callable[[EngineSetup], Engine], setup: EngineSetup) -> None:
        self.engine = make(setup)
        self.engine.load()
        self.sets: dict[str, list[Any]] = {}
        self.chosen: dict[tuple[str, int | None], Choice] = {}

    def compute(self, items: list[Any]) -> Any:
        """The vectors, `[texts, dimension]`, or the scores, `[pairs]`."""
        return self.engine.compute(items)

    def memory(self) -> int:
        """Resident memory of the process, bytes."""
        import psutil

        return psutil.Process().memory_info().rss

    def take(self, sets: dict[str, list[Any]]) -> None:
        """Keep the items that `choose` and `times` name."""
        self.sets = sets

    def choose(self, name: str, size: int | None = None) -> str | None:
        """Find the fastest of the engine's choices for the set, in calls with `size` items or else all, and keep it.

        A whole set is tried on every third run of items alike in length, longest first: batches are as full as those
        of the whole. Calls of a size are the first ones of the set, with `RUN` items or more together.
        """
        if not self.engine.choices or size == 1:
            return None
        if size is None:
            by_length = sorted(self.sets[name], key=_characters, reverse=True)
            samples = [[item for start in range(0, len(by_length), 3 * RUN) for item in by_length[start : start + RUN]]]
        else:
            samples = [self._call(name, size, call) for call in range(-(-RUN // size))]
        fastest = {}
        for choice in self.engine.choices:
            self._seconds_with(choice, [samples[-1][-self.engine.setup.threads :]])  # loads what the choice needs
            fastest[choice] = self._seconds_with(choice, samples)
        for choice in sorted(fastest, key=fastest.__getitem__)[:3]:
            fastest[choice] = min(fastest[choice], self._seconds_with(choice, samples))
        self.chosen[name, size] = min(fastest, key=fastest.__getitem__)
        return str(self.chosen[name, size])

    def times(self, name: str, size: int, calls: int) -> list[float]:
        """Seconds of each of `calls` calls with `size` items, which walk through the set and begin again at its end."""
        self._take_choice(name, size)
        return [self._seconds(self._call(name, size, call)) for call in range(calls)]

    def times_after(self, pause: float, calls: int, item: Any) -> list[float]:
        """Seconds of each of `calls` calls with one item, each of which comes so many seconds after the one before."""
        taken = []
        for _ in range(calls):
            if pause:
                time.sleep(pause)
            taken.append(self._seconds([item]))
        return taken

    def times_together(self, name: str, size: int, callers: int, seconds: float) -> list[list[float]]:
        """Of threads that all call at once, the seconds of each one's calls with `size` items.

        All start together, call without a pause, and begin no call after `seconds`.
        """
        self._take_choice(name, size)
        start_together = threading.Barrier(callers)

        def call_until_then(caller: int) -> list[float]:
            taken: list[float] = []
            start_together.wait()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                taken.append(self._seconds(self._call(name, size, len(taken) * callers + caller)))
            return taken

        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(call_until_then, range(callers)))

    def _take_choice(self, name: str, size: int) -> None:
        """What was found for calls of this size, else for the set."""
        choice = self.chosen.get((name, size)) or self.chosen.get((name, None))
        if choice is not None:
            self.engine.choice = choice

    def _call(self, name: str, size: int, number: int) -> list[Any]:
        """The items of one call of many that walk through the set."""
        items = self.sets[name]
        return [items[(number * size + i) % len(items)] for i in range(size)]

    def _seconds_with(self, choice: Choice, calls: list[list[Any]]) -> float:
        self.engine.choice = choice
        return sum(map(self._seconds, calls))

    def _seconds(self, items: list[Any]) -> float:
        return seconds(lambda: self.engine.compute(items))


def _characters(item: str | tuple[str, str]) -> int:
    return len(item) if isinstance(item, str) else sum(map(len, item))


class LoadedStore:
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
    """The most resident memory that this process ever had, bytes.

    On Linux not `ru_maxrss`, which begins at what the process had that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
