"""Numbers, booleans and points in time out of Arrow buffers, as NumPy arrays."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._arrow.capsule import Array, Layout, first_null
from votive._arrow.strings import is_strings, strings

# Arrow format to NumPy type: what buffers hold as they are.
NUMBERS = {
    "c": "i1",
    "C": "u1",
    "s": "i2",
    "S": "u2",
    "i": "i4",
    "I": "u4",
    "l": "i8",
    "L": "u8",
    "e": "f2",
    "f": "f4",
    "g": "f8",
}
_BOOL = "b"
# Points in time: the type of the buffer, and the one that its numbers mean. Timestamps with a time zone count from the
# same instant, and come as UTC.
_TIMES = {
    "tdD": ("i4", "datetime64[D]"),
    "tdm": ("i8", "datetime64[ms]"),
    "tss": ("i8", "datetime64[s]"),
    "tsm": ("i8", "datetime64[ms]"),
    "tsu": ("i8", "datetime64[us]"),
    "tsn": ("i8", "datetime64[ns]"),
}


def buffer(array: Array, which: int, dtype: str, first: int, last: int) -> NDArray[Any]:
    """Elements `first..last` of one of an array's buffers: a read-only view, valid as long as the array."""
    kind = np.dtype(dtype)
    size = (last - first) * kind.itemsize
    if size <= 0:
        return np.empty(0, kind)
    memory: Any = (ctypes.c_char * size).from_address(array.buffers[which] + first * kind.itemsize)
    view = np.frombuffer(memory, kind)
    view.flags.writeable = False
    return view


def column_values(
    layout: Layout, array: Array, first: int, last: int, name: str, position: int
) -> NDArray[Any] | list[str]:
    """Rows `first..last` of an array's buffers, in memory of their own; strings as a list.

    Args:
        layout: of the column.
        array: a chunk of it.
        first: counts the array's offset in.
        last: one more than the last row.
        name: what messages call the column.
        position: where the first row stands in the column, for messages.

    Raises:
        TypeError: the column holds a null, or values that have no fixed width.
    """
    if is_strings(layout):
        return strings(layout, array, first, last, name, position)
    null = first_null(layout, array, first, last)
    if null is not None:
        raise TypeError(f"{name}[{position + null - first}]: expected a value, found null; fill the nulls first")
    if layout.dictionary is not None:
        values = layout._replace(dictionary=None)
        raise TypeError(f"{name}: expected a dictionary of strings, found indices {values} of {layout.dictionary}")
    if layout.format in NUMBERS:
        return buffer(array, 1, NUMBERS[layout.format], first, last).copy()
    if layout.format == _BOOL:
        # One bit per row, lowest first.
        packed = buffer(array, 1, "u1", first // 8, (last + 7) // 8)
        return np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + last - first].astype(np.bool_)
    stored, meaning = _TIMES.get(layout.format.partition(":")[0], (None, None))
    if stored is None:
        raise TypeError(f"{name}: expected numbers, booleans, strings or dates, found Arrow format {layout}")
    return buffer(array, 1, stored, first, last).astype(np.int64).astype(meaning)
