"""FAISS."""

from __future__ import annotations

from votive.bench.backends import stores
from votive.bench.backends.search_backend import StoreBackend


class Faiss(StoreBackend):
    """FAISS IndexFlatIP."""

    store_kind = stores.FaissFlat
