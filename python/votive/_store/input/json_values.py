"""Lists and dicts of metadata: whether JSON gives them back as they are."""

from __future__ import annotations

import datetime
import enum
import json
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from votive._store.input.value_kinds import Label, is_array, is_missing
from votive._store.table.column_values import ColumnValues, to_json

# Lists in lists that are accepted: readers of JSON call themselves for each.
MAX_NESTED_LEVELS = 100

_LEAVES = frozenset((type(None), bool, int, float, str))

_INSTEAD: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((datetime.date, datetime.time, np.datetime64), "give its isoformat()"),
    (uuid.UUID, "give its str"),
    ((set, frozenset), "give a sorted list"),
    ((bytes, bytearray, memoryview), "give its hex() or base64"),
    (enum.Enum, "give its value"),
)

# What stands between a value of a row and one in it: the path to what holds it, and the key or the place there.
Path = tuple[Any, Any] | None


def from_lists_and_dicts(values: Sequence[Any], label: Label) -> ColumnValues:
    """Lists, tuples, arrays and dicts, with None for null.

    Raises:
        TypeError: one holds what JSON cannot; the message says where and what to give instead.
        ValueError: a str in it holds a lone surrogate, or it is nested too deep.
    """
    plain = [None if value is None else _plain(value, label, row, None, 1) for row, value in enumerate(values)]
    try:
        return to_json(plain)
    except ValueError:
        for row, value in enumerate(plain):
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise ValueError(f"{label.row(row)}: holds a lone surrogate, which is no text") from None
            except ValueError as error:
                raise ValueError(f"{label.row(row)}: {error}") from None
        raise


def _plain(value: Any, label: Label, row: int, path: Path, level: int) -> Any:
    """The same of lists, dicts with keys of str, and what else `json.loads` gives."""
    kind = type(value)
    if kind in _LEAVES:
        return value
    if level > MAX_NESTED_LEVELS and isinstance(value, list | tuple | dict):
        raise ValueError(f"{label.row(row)}: expected at most {MAX_NESTED_LEVELS} lists and dicts in each other")
    if kind is list and _LEAVES.issuperset(map(type, value)):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, label, row, (path, place), level + 1) for place, item in enumerate(value)]
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            if not isinstance(key, str) or isinstance(key, enum.Enum):
                raise TypeError(f"{_place(label, row, path)}: expected keys of str, found {type(key).__name__}")
            found[str.__str__(key)] = _plain(item, label, row, (path, key), level + 1)
        return found
    if is_missing(kind):
        return None
    if is_array(kind):
        return _plain(np.ma.asanyarray(value).tolist(), label, row, path, level)
    if isinstance(value, np.bool_ | np.integer | np.floating) and not isinstance(value, np.timedelta64):
        item = value.item()
        if type(item) in _LEAVES:
            return item
    if isinstance(value, int | float | str) and not isinstance(value, enum.Enum):
        return value
    instead = next((f"; {text}" for kinds, text in _INSTEAD if isinstance(value, kinds)), "")
    raise TypeError(
        f"{_place(label, row, path)}: expected None, bool, int, float, str, a list or a dict in a list or a dict, "
        f"found {kind.__name__}{instead}"
    )


def _place(label: Label, row: int, path: Path) -> str:
    keys = []
    while path is not None:
        path, key = path
        keys.append(f"[{key!r}]")
    return label.row(row) + "".join(reversed(keys))
