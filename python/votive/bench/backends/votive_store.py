"""votive's exact search."""

from __future__ import annotations

from votive.bench.backends import stores
from votive.bench.backends.search_backend import StoreBackend


class VotiveStore(StoreBackend):
    """votive's exact search."""

    is_concurrent = True

    def prepare(self) -> None:
        self.store = stores.Votive(self.setup.threads, dtype=self.setup.choice.dtype or "float32")
