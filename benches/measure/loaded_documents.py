"""What the process of a store of documents holds, and does when it is called."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benches.data.documents import BATCH, FILTERS, LOW_PRICE, TWO_COLUMNS, YEARS, Documents
from benches.measure.loaded import QUERIES, peak_memory, seconds
from benches.peers.documents import COUNT, GET, SEARCH, DocumentStore, Votive

K = 10
MOST_CALLS = 1000  # of a kind in a round
CALLS = (GET, SEARCH, *(f"{SEARCH}, {name}" for name in FILTERS), COUNT)


class LoadedDocuments:
    """One store in a folder. Rows and queries are made here, outside of what is timed."""

    def __init__(self, make: Callable[[Path], DocumentStore], documents: Documents, folder: Path) -> None:
        self.store = make(folder)
        self.documents = documents
        self.folder = folder
        self.queries = documents.queries(QUERIES)
        self.random = np.random.default_rng(0)
        self.masks: dict[str, np.ndarray] = {}
        self.asked = 0

    def build(self, limit: float) -> dict[str, Any]:
        """Add all rows, or those that are added within so many seconds, and finish.

        Of the peak of memory what the process had before is left out; that includes one batch.
        """
        self.store.prepare(self.documents.batch(0))
        before = peak_memory()
        self.store.create()
        rows, added, size = 0, 0.0, 0
        while rows < self.documents.rows and added < limit:
            batch = self.documents.batch(rows)
            size += batch.size
            rows += len(batch.ids)
            prepared = self.store.prepare(batch)
            added += seconds(lambda it=prepared: self.store.add(it))
        memory = peak_memory() - before
        finished = _seconds_if_any(self.store.finish)
        self.store.close()
        return {"rows": rows, "add": added, "finish": finished, "memory": memory, "size": size}

    def open(self, writable: bool) -> list[float]:
        """Seconds to open the folder, and for the first query."""
        return [seconds(lambda: self.store.open(writable)), seconds(lambda: self.store.search(self.queries[0], K))]

    def close(self) -> None:
        """Let go of the folder."""
        self.store.close()

    def answers(self, filter: str | None, count: int) -> list[list[str]]:
        """Ids for the first queries."""
        return [self.store.search(query, K, filter) for query in self.queries[:count]]

    def times(self, call: str, limit: float, most: int = MOST_CALLS) -> list[float]:
        """Seconds of each call of a kind, until they take `limit` together."""
        return self._until(limit, most, self._calls()[call])

    def pairs(self, filter: str, limit: float) -> list[list[float]]:
        """Seconds of searches with a filter, and of those with its mask given ready, which take turns."""
        if not isinstance(self.store, Votive):
            raise NotImplementedError("a mask is votive's alone")
        if filter not in self.masks:
            starts = range(0, self.documents.rows, BATCH)
            self.masks[filter] = np.concatenate([self.documents.mask(filter, start) for start in starts])
        mask, taken = self.masks[filter], ([], [])
        while not taken[1] or (sum(taken[0]) + sum(taken[1]) < limit and len(taken[0]) < MOST_CALLS):
            query = self._query()
            taken[0].append(seconds(lambda it=query: self.store.search(it, K, filter)))
            taken[1].append(seconds(lambda it=query: self.store.search(it, K, mask)))
        return list(taken)

    def updates(self, limit: float, most: int) -> list[list[float]]:
        """Seconds of changing one value, and of committing that where there are commits; values of rows at random."""
        taken: tuple[list[float], list[float]] = ([], [])
        while not taken[0] or (sum(taken[0]) + sum(taken[1]) < limit and len(taken[0]) < most):
            id, year = self._id(), int(self.random.integers(YEARS[0], YEARS[1] + 1))
            taken[0].append(seconds(lambda id=id, year=year: self.store.update(id, year)))
            taken[1].extend(_seconds_if_any(self.store.commit))
        return list(taken)

    def delete(self) -> list[list[float]]:
        """Seconds to delete what a filter keeps, and to commit that where there are commits."""
        return [[seconds(lambda: self.store.delete(LOW_PRICE))], _seconds_if_any(self.store.commit)]

    def create_on_disk(self) -> None:
        """An empty store."""
        self.store.create_on_disk()

    def commit_rows(self, first: int, count: int) -> dict[str, Any]:
        """Add rows and commit each: the seconds of all, those of the CPUs, and what is in the folder then."""
        batch = self.documents.batch(first // BATCH * BATCH)
        at = range(first % BATCH, first % BATCH + count)
        rows = [
            batch._replace(
                ids=batch.ids[row : row + 1],
                vectors=batch.vectors[row : row + 1],
                texts=batch.texts[row : row + 1],
                columns={name: values[row : row + 1] for name, values in batch.columns.items()},
            )
            for row in at
        ]
        prepared = [self.store.prepare(row) for row in rows]
        cpu, start = time.process_time(), time.perf_counter()
        for row in prepared:
            self.store.add(row)
            with contextlib.suppress(NotImplementedError):
                self.store.commit()
        taken = {"commits": count, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        return taken | self.files()

    def files(self) -> dict[str, int]:
        """How many there are in the folder, their bytes, and those of votive's manifest."""
        sizes = {path: path.stat().st_size for path in self.folder.rglob("*") if path.is_file()}
        manifest = sizes.get(self.folder / "MANIFEST.json", 0)
        return {"files": len(sizes), "bytes": sum(sizes.values()), "manifest": manifest}

    def _calls(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        """For each kind of `CALLS` what makes the next call."""

        def search(filter: str | None = None) -> Callable[[], Any]:
            query = self._query()
            return lambda: self.store.search(query, K, filter)

        def get() -> Callable[[], Any]:
            id = self._id()
            return lambda: self.store.get(id)

        searches = {f"{SEARCH}, {name}": lambda name=name: search(name) for name in FILTERS}
        return {GET: get, SEARCH: search, **searches, COUNT: lambda: lambda: self.store.count(TWO_COLUMNS)}

    def _until(self, limit: float, most: int, make: Callable[[], Callable[[], Any]]) -> list[float]:
        taken: list[float] = []
        while not taken or (sum(taken) < limit and len(taken) < most):
            taken.append(seconds(make()))
        return taken

    def _query(self) -> np.ndarray:
        self.asked += 1
        return self.queries[self.asked % QUERIES]

    def _id(self) -> str:
        return self.documents.id(int(self.random.integers(self.documents.rows)))


def _seconds_if_any(do: Callable[[], Any]) -> list[float]:
    """What it takes, once; empty where the store has no need of it."""
    try:
        return [seconds(do)]
    except NotImplementedError:
        return []
