"""`sentence_transformers.util.dataset`, which prepares training: it is there to be imported, and refuses."""

from __future__ import annotations

from typing import Any

from votive.sentence_transformers._unsupported import TRAINING, Unsupported

__all__ = ["resolve_ids"]


def resolve_ids(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"resolve_ids: {TRAINING}")
