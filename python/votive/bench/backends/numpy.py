"""NumPy."""

from __future__ import annotations

from votive.bench.backends import stores
from votive.bench.backends.search_backend import StoreBackend


class NumPy(StoreBackend):
    """A product and `argpartition`."""

    store_kind = stores.NumPy
