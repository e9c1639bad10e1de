"""Stores of vectors that find the nearest of all by inner product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from votive.bench.backends import stores
from votive.bench.backends.backend import Backend


class SearchBackend(Backend):
    """A search backend: `take` keeps the vectors, `find` answers."""

    tasks = ("search",)
    devices = ("cpu",)

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


class StoreBackend(SearchBackend):
    """One of `stores`."""

    store_kind: Callable[[int], stores.Store]

    def prepare(self) -> None:
        self.store = type(self).store_kind(self.setup.threads)

    def take(self, vectors: np.ndarray) -> None:
        self.store.add([vectors])

    def find(self, queries: np.ndarray, k: int) -> Any:
        return self.store.search(queries, k)
