"""Stores of vectors that find the nearest of all by inner product."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from votive.bench.backends import stores
from votive.bench.backends.backend import Backend

ROWS_AT_ONCE = 10_000


class _Search(Backend):
    """A search backend: `take` keeps the vectors, `find` answers."""

    tasks = ("search",)

    def load(self) -> None:
        self.prepare()
        from votive.bench.vectors import Vectors

        self.take(Vectors.of(self.setup.data).array())

    def prepare(self) -> None:
        """Import what is needed."""

    def take(self, vectors: np.ndarray) -> None:
        """Hold `[rows, dimension]` float32."""
        raise NotImplementedError

    def compute(self, items: list[Any]) -> np.ndarray:
        return np.asarray(self.find(np.ascontiguousarray(items, np.float32), self.setup.data.k), np.int64)

    def find(self, queries: np.ndarray, k: int) -> Any:
        """Places of the nearest, `[queries, k]`."""
        raise NotImplementedError


class _OfStores(_Search):
    """One of `stores`."""

    store_kind: Callable[[int], stores.Store]

    def prepare(self) -> None:
        self.store = type(self).store_kind(self.setup.threads)

    def take(self, vectors: np.ndarray) -> None:
        self.store.add([vectors])

    def find(self, queries: np.ndarray, k: int) -> Any:
        return self.store.search(queries, k)


class VotiveStore(_OfStores):
    """votive's exact search."""

    is_concurrent = True

    def prepare(self) -> None:
        self.store = stores.Votive(self.setup.threads, dtype=self.setup.choice.dtype or "float32")


class Faiss(_OfStores):
    """FAISS IndexFlatIP."""

    store_kind = stores.FaissFlat


class USearch(_OfStores):
    """USearch's exact search."""

    store_kind = stores.USearch


class NumPy(_OfStores):
    """A product and `argpartition`."""

    store_kind = stores.NumPy


class Torch(_OfStores):
    """`torch.mm` and `topk`."""

    store_kind = stores.PyTorch


class Qdrant(_Search):
    """Qdrant's local mode, in memory."""

    def prepare(self) -> None:
        from qdrant_client import QdrantClient, models

        self.models, self.client = models, QdrantClient(":memory:")

    def take(self, vectors: np.ndarray) -> None:
        size = self.models.VectorParams(size=vectors.shape[1], distance=self.models.Distance.DOT)
        self.client.create_collection("vectors", vectors_config=size)
        self.client.upload_collection("vectors", vectors=vectors, ids=list(range(len(vectors))))

    def find(self, queries: np.ndarray, k: int) -> Any:
        return [[point.id for point in self.client.query_points("vectors", q, limit=k).points] for q in queries]


class LanceDb(_Search):
    """A LanceDB table without an index, so that its search is exact."""

    def prepare(self) -> None:
        import lancedb
        import pyarrow

        self.pyarrow = pyarrow
        self.folder = tempfile.TemporaryDirectory()
        self.connection = lancedb.connect(self.folder.name)

    def take(self, vectors: np.ndarray) -> None:
        arrow = self.pyarrow
        column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1])
        self.table = self.connection.create_table("v", arrow.table({"id": np.arange(len(vectors)), "vector": column}))

    def find(self, queries: np.ndarray, k: int) -> Any:
        return [
            self.table.search(q).distance_type("dot").select(["id", "_distance"]).limit(k).to_arrow()["id"].to_numpy()
            for q in queries
        ]

    def close(self) -> None:
        self.folder.cleanup()


class SqliteVec(_Search):
    """sqlite-vec's virtual table, in memory; of unit vectors the least distance is the greatest product."""

    def prepare(self) -> None:
        import sqlite3

        import sqlite_vec

        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.enable_load_extension(True)
        sqlite_vec.load(self.connection)

    def take(self, vectors: np.ndarray) -> None:
        self.connection.execute(f"create virtual table v using vec0(e float[{vectors.shape[1]}])")
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows = [(start + i, row.tobytes()) for i, row in enumerate(vectors[start : start + ROWS_AT_ONCE])]
            self.connection.executemany("insert into v(rowid, e) values (?, ?)", rows)

    def find(self, queries: np.ndarray, k: int) -> Any:
        asked = "select rowid from v where e match ? and k = ? order by distance"
        return [[row[0] for row in self.connection.execute(asked, (q.tobytes(), k))] for q in queries]
