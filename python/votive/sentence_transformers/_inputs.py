"""One input or many, by the rules of sentence-transformers."""

from __future__ import annotations

import sys
from typing import Any

# The reference's default, which says nothing of what its caller wants.
_DEFAULT_BATCH_SIZE = 32


def batch_size_of(batch_size: int | None) -> int | None:
    """The most texts of a pass; None for None and the default, which leave it to the number of tokens.

    Raises:
        ValueError: it is not above 0.
    """
    if batch_size is not None and batch_size <= 0:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size}.")
    return None if batch_size == _DEFAULT_BATCH_SIZE else batch_size


def is_many(inputs: Any) -> bool:
    """Whether it is a collection: a list, a tuple, a column of `datasets`, or an array of str with dimensions."""
    if isinstance(inputs, list) and inputs and _is_message(inputs[0]):
        # A conversation.
        return False
    if isinstance(inputs, (list, tuple)):
        return True
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(inputs, getattr(datasets, "Column", ())):
        return True
    return getattr(inputs, "ndim", 0) >= 1 and getattr(getattr(inputs, "dtype", None), "kind", "") in ("U", "O")


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and "role" in item and "content" in item


def as_list(inputs: Any) -> list[Any]:
    """The items of a collection."""
    if isinstance(inputs, list):
        return inputs
    return inputs.tolist() if hasattr(inputs, "tolist") else list(inputs)


def as_item(item: Any) -> Any:
    """One input: what an array without dimensions holds, and everything else as it is."""
    return item.item() if getattr(item, "ndim", None) == 0 and hasattr(item, "item") else item
