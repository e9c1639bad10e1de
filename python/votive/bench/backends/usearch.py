"""USearch."""

from __future__ import annotations

from votive.bench.backends import stores
from votive.bench.backends.search_backend import StoreBackend


class USearch(StoreBackend):
    """USearch's exact search."""

    store_kind = stores.USearch
