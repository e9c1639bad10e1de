"""PyTorch, as it searches."""

from __future__ import annotations

from votive.bench.backends import stores
from votive.bench.backends.search_backend import StoreBackend


class Torch(StoreBackend):
    """`torch.mm` and `topk`."""

    store_kind = stores.PyTorch
