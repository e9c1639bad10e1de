"""Vectors out of Arrow columns of lists, without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._arrow.buffers import buffer
from votive._arrow.capsule import STRUCT, Array, Layout, arrays, first_null
from votive._arrow.numbers import NUMBERS

_FIXED = "+w:"
_OFFSETS = {"+l": "i4", "+L": "i8"}


def vector_blocks(column: object, name: str) -> Iterator[NDArray[Any]]:
    """Read an Arrow column of vectors in order.

    Args:
        column: Anything with `__arrow_c_stream__` or `__arrow_c_array__` whose type is a fixed_size_list, list or
            large_list of numbers; the lists of a list type must be equally long.
        name: What messages call it.

    Yields:
        For each chunk of the column an array `[rows, length]`, a read-only view that is valid until the next one is
        asked for.

    Raises:
        TypeError: `column` speaks no Arrow, holds another type, or holds a null; a null is named by its row.
        ValueError: Lists differ in length, or the array or its stream is damaged.
        OSError: The stream cannot be read further.
    """
    position = 0
    for layout, array in arrays(column, name, _check_vectors):
        yield vectors(layout, array, array.offset, array.offset + array.length, name, position)
        position += array.length


def vectors(layout: Layout, array: Array, first: int, last: int, name: str, position: int) -> NDArray[Any]:
    """Rows `first..last` of an array's buffers; `position` is where the first of them stands in the column."""
    _check_vectors(layout, name)
    [values] = layout.children
    null = first_null(layout, array, first, last)
    if null is not None:
        raise TypeError(f"{name}: row {position + null - first} is null; drop the nulls first")
    child = array.children[0].contents
    if layout.format.startswith(_FIXED):
        length = int(layout.format.removeprefix(_FIXED))
        begin = first * length
    elif first == last:
        return np.empty((0, 0), NUMBERS[values.format])  # where there may be no buffers at all
    else:
        offsets = buffer(array, 1, _OFFSETS[layout.format], first, last + 1)
        lengths = np.diff(offsets)
        length = int(lengths[0])
        if lengths.min() < 0:
            raise ValueError(f"{name}: a list of negative length, the Arrow array is damaged")
        if (lengths != length).any():
            row = int(np.argmax(lengths != length))
            raise ValueError(f"{name}: row {position + row} has {lengths[row]} elements, the rows before it {length}")
        begin = int(offsets[0])
    begin += child.offset
    end = begin + (last - first) * length
    null = first_null(values, child, begin, end)
    if null is not None:
        raise TypeError(f"{name}: row {position + (null - begin) // length} holds a null")
    return buffer(child, 1, NUMBERS[values.format], begin, end).reshape(last - first, length)


def _check_vectors(layout: Layout, name: str) -> None:
    if layout.format == STRUCT:
        raise TypeError(f"{name}: expected one column of vectors, found an Arrow table, record batch or struct")
    if not layout.format.startswith(_FIXED) and layout.format not in _OFFSETS:
        raise TypeError(f"{name}: expected an Arrow fixed_size_list, list or large_list of numbers, found {layout}")
    if layout.children[0].format not in NUMBERS:
        raise TypeError(f"{name}: expected lists of numbers, found lists of {layout.children[0]}")
