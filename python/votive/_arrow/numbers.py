"""Numbers, booleans and points in time out of Arrow buffers."""

from __future__ import annotations

import numpy as np

from votive._arrow.buffers import bits, buffer, validity
from votive._arrow.capsule import Array, Layout
from votive._arrow.values import Values

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


def is_number(layout: Layout) -> bool:
    """Whether a column holds numbers or booleans."""
    return layout.dictionary is None and (layout.format in NUMBERS or layout.format == _BOOL)


def is_time(layout: Layout) -> bool:
    """Whether a column holds points in time."""
    return layout.dictionary is None and layout.format.partition(":")[0] in _TIMES


def read_fixed_width(layout: Layout, array: Array, first: int, last: int) -> Values:
    """Rows `first..last` of an array's buffers, of a layout that `is_number` or `is_time`."""
    valid = validity(array, first, last)
    if layout.format == _BOOL:
        data = bits(array, 1, first, last)
    elif layout.format in NUMBERS:
        data = buffer(array, 1, NUMBERS[layout.format], first, last).copy()
    else:
        stored, meaning = _TIMES[layout.format.partition(":")[0]]
        data = buffer(array, 1, stored, first, last).astype(np.int64).view(meaning)
    if data.dtype.kind == "M":
        # NaT is what NumPy takes the least of numbers for.
        data[[] if valid is None else ~valid] = np.datetime64("NaT")
        is_null = np.isnat(data)
        valid = ~is_null if is_null.any() else None
    elif valid is not None:
        data[~valid] = 0
    return Values(data.dtype.name, data, None, valid)
