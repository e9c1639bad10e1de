"""Masks of filters that were used lately, as search engines cache filters: programs ask with few, again and again."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Hashable, Mapping
from typing import Any

from votive._store.table.column_values import Bools

# How many masks are kept, each of a byte for each row.
MAX_MASKS = 8

# Filters of more values are not looked up: that would take as long as to evaluate them.
MAX_KEY_VALUES = 64

_PLAIN = (bool, int, float, str, bytes, datetime.date, uuid.UUID, type(None))


class MaskCache:
    """Masks by their filters, of rows that do not change. Those that were made first go first."""

    def __init__(self) -> None:
        self._masks: dict[Hashable, Bools] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the masks."""
        return sum(mask.nbytes for mask in list(self._masks.values()))

    def get(self, key: Hashable | None) -> Bools | None:
        """The mask of a filter; None where there is none."""
        return None if key is None else self._masks.get(key)

    def put(self, key: Hashable, mask: Bools) -> None:
        """Keeps a mask, which becomes read-only."""
        mask.flags.writeable = False
        while len(self._masks) >= MAX_MASKS:
            self._masks.pop(next(iter(self._masks), None), None)
        self._masks[key] = mask

    def clear(self) -> None:
        """Gives the memory back."""
        self._masks.clear()


def key_of(given: Mapping[Any, Any]) -> Hashable | None:
    """What is equal for filters that are, values and their types; None where that is not known, or takes long."""
    left = MAX_KEY_VALUES

    def key(value: Any) -> Hashable:
        nonlocal left
        left -= 1
        if left < 0:
            raise OverflowError
        kind = type(value)
        if kind is dict:
            return "{}", tuple((key(name), key(item)) for name, item in value.items())
        if kind is list or kind is tuple:
            return "[]", tuple(map(key, value))
        if kind is float and value != value:
            return "nan"
        if kind in _PLAIN or kind is datetime.datetime:
            # With its type, as 1 and True are equal.
            return kind, value
        raise TypeError

    try:
        return key(given)
    except (TypeError, OverflowError, RecursionError):
        return None
