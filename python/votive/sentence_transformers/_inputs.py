"""One input or many, by the rules of sentence-transformers."""

from __future__ import annotations

import sys
from typing import Any


def is_many(inputs: Any) -> bool:
    """Whether it is a collection: a list, a tuple, a column of `datasets`, or an array of str of 1 and more dimensions."""
    if isinstance(inputs, (list, tuple)):
        return True
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(inputs, getattr(datasets, "Column", ())):
        return True
    return getattr(inputs, "ndim", 0) >= 1 and getattr(getattr(inputs, "dtype", None), "kind", "") in ("U", "O")


def is_pair(item: Any) -> bool:
    """Whether it is two texts that are read together."""
    return isinstance(item, (list, tuple)) and len(item) == 2 and all(isinstance(text, str) for text in item)


def as_list(inputs: Any) -> list[Any]:
    """The items of a collection."""
    if isinstance(inputs, list):
        return inputs
    return inputs.tolist() if hasattr(inputs, "tolist") else list(inputs)


def as_item(item: Any) -> Any:
    """One input: what an array without dimensions holds, and everything else as it is."""
    return item.item() if getattr(item, "ndim", None) == 0 and hasattr(item, "item") else item
