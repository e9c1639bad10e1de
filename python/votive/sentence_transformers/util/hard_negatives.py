"""`sentence_transformers.util.hard_negatives`, which prepares training: it is there to be imported, and refuses."""

from __future__ import annotations

from typing import Any

from votive.sentence_transformers._unsupported import TRAINING, Unsupported

__all__ = ["mine_hard_negatives"]


def mine_hard_negatives(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"mine_hard_negatives: {TRAINING}")
