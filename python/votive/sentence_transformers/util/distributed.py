"""Groups of processes, as `sentence_transformers.util.distributed` has them: votive trains in none."""

from __future__ import annotations

import sys
from typing import Any

from votive.sentence_transformers._unsupported import TRAINING, Unsupported
from votive.sentence_transformers.util.environment import is_dist_initialized

__all__ = ["all_gather", "all_gather_padded", "all_gather_with_grad", "get_rank", "get_world_size"]


def get_rank() -> int:
    """The number of this process in its group; 0 where it is in none."""
    return int(sys.modules["torch"].distributed.get_rank()) if is_dist_initialized() else 0


def get_world_size() -> int:
    """How many processes are in this one's group; 1 where it is in none."""
    return int(sys.modules["torch"].distributed.get_world_size()) if is_dist_initialized() else 1


def all_gather(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"all_gather: {TRAINING}")


def all_gather_padded(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"all_gather_padded: {TRAINING}")


def all_gather_with_grad(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"all_gather_with_grad: {TRAINING}")
