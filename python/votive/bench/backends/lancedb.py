"""LanceDB."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from votive.bench.backends.search_backend import SearchBackend


class LanceDb(SearchBackend):
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
