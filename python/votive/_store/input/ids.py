"""Ids of rows: int64 or str, one kind in a store; those that are given as UUIDs are their str."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from votive import _arrow
from votive._arguments import refuse_masked
from votive._arrays import as_array
from votive._store.input.array_values import is_pandas

Ids = NDArray[np.int64] | list[str]

# What finds an id that does not ascend: a key and the number of its row.
_INDEX_BYTES = 12

MAX_ID = np.iinfo(np.int64).max


def read(ids: Any, name: str = "ids") -> tuple[Ids, bool]:
    """Ids as the core takes them, and whether a single one was given.

    Args:
        ids: an integer, a str or a UUID, or an array, list, Arrow column or other iterable of one of these kinds.
        name: what messages call them.

    Raises:
        TypeError: they are of another kind, or of both, or one is null; the message says where.
        ValueError: one is beyond int64 or no text, or masked, or the array is not 1-D.
    """
    if isinstance(ids, str | UUID):
        return _strings([ids], name), True
    if type(ids) is int and -MAX_ID <= ids <= MAX_ID:  # the most common, and sooner than by an array of any type
        return np.array((ids,), np.int64), True
    if isinstance(ids, Mapping | bytes | bytearray) or not (
        isinstance(ids, Iterable | np.generic | int) or hasattr(ids, "__dlpack__")
    ):
        raise TypeError(f"{name}: expected integers or str, found {type(ids).__name__}")
    if isinstance(ids, np.generic | int):
        return _integers(np.asarray(ids)[None], name), True
    if _arrow.speaks_arrow(ids) and not is_pandas(ids):
        return _read_column(ids, name), False
    if not isinstance(ids, list) and not hasattr(ids, "__array__") and not hasattr(ids, "__dlpack__"):
        ids = list(ids)
    refuse_masked(name, ids)
    return (_strings(ids, name) if _starts_with_str(ids) else _integers(ids, name)), False


def of_arrow(values: _arrow.Values, name: str, position: int) -> Ids:
    """Ids of rows of an Arrow column, the first of which messages call `name[position]`; see `read`."""
    if values.valid is not None and not values.valid.all():
        row = position + int(values.valid.argmin())
        raise TypeError(f"{name}[{row}]: expected an int or a str, found null")
    if values.type in ("bytes", "json"):
        raise TypeError(f"{name}: expected integers or str, found {'lists' if values.type == 'json' else values.type}")
    return read(values.to_list() if values.type == "str" else values.data, name)[0]


def _read_column(column: Any, name: str) -> Ids:
    parts: list[Ids] = []
    for values in _arrow.column_chunks(column, name):
        parts.append(of_arrow(values, name, sum(map(len, parts))))
    if any(isinstance(part, list) for part in parts):
        return list(chain.from_iterable(parts))
    return np.concatenate([np.asarray(part) for part in parts]) if parts else np.empty(0, np.int64)


def refuse_negative(ids: Ids) -> None:
    """Accepts what may be the id of a row: -1 is what `search` gives for no row."""
    if isinstance(ids, np.ndarray) and len(ids) and ids.min() < 0:
        row = int(np.argmax(ids < 0))
        raise ValueError(f"ids[{row}]: expected 0 or more, found {ids[row]}")


def kind(ids: Ids) -> str | None:
    """The kind of some ids as the core calls it; None if there are none."""
    if not len(ids):
        return None
    return "str" if isinstance(ids, list) else "int64"


def extra_bytes(ids: Ids | None) -> int:
    """Bytes that ids take in the core beside the 8 of each that it counts: those of str, and an index to find them."""
    if isinstance(ids, list):
        return len("".join(ids).encode()) + _INDEX_BYTES * len(ids)
    if ids is None or (ids[1:] > ids[:-1]).all():
        return 0
    return _INDEX_BYTES * len(ids)


def to_array(ids: Ids) -> NDArray[Any]:
    """Ids as users get them: int64, or an object array of str."""
    return np.array(ids, object) if isinstance(ids, list) else ids


def _starts_with_str(ids: Any) -> bool:
    return isinstance(ids, list) and len(ids) > 0 and isinstance(ids[0], str | UUID)


def _integers(ids: Any, name: str) -> Ids:
    """Ids of an array or of a list that does not start with a str."""
    array = as_array(ids, name)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, found shape {array.shape}")
    # Of what is in a list, NumPy makes str beside a str, and floats beside an integer beyond int64.
    if array.dtype.kind in "OUT" or (array.dtype.kind == "f" and isinstance(ids, list) and array.size):
        values = ids if isinstance(ids, list) else array.tolist()
        if _starts_with_str(values):
            return _strings(values, name)
        for row, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name}[{row}]: expected an int, found {type(value).__name__}")
            if not -MAX_ID <= value <= MAX_ID:
                raise ValueError(f"{name}[{row}]: expected an int64, found {value}")
        return np.array(values, np.int64)
    if not array.size:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers or str, found {array.dtype}")
    # As uint64, since NumPy 1 compares with an int in floats.
    if array.dtype.kind == "u" and (array > np.uint64(MAX_ID)).any():
        row = int(np.argmax(array > np.uint64(MAX_ID)))
        raise ValueError(f"{name}[{row}]: expected an int64, found {array[row]}")
    return np.ascontiguousarray(array, np.int64)


def _strings(ids: list[Any], name: str) -> list[str]:
    if UUID in set(map(type, ids)):
        ids = [str(value) if isinstance(value, UUID) else value for value in ids]
    try:
        "".join(ids).encode()
    except TypeError:
        row = next(row for row, value in enumerate(ids) if not isinstance(value, str))
        raise TypeError(f"{name}[{row}]: expected a str as before it, found {type(ids[row]).__name__}") from None
    except UnicodeEncodeError:
        row = next(row for row, value in enumerate(ids) if any("\ud800" <= letter <= "\udfff" for letter in value))
        raise ValueError(f"{name}[{row}]: holds a lone surrogate, which is no text") from None
    return ids
