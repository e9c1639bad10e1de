"""Qdrant."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.search_backend import SearchBackend


class Qdrant(SearchBackend):
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
