"""Strings out of Arrow columns."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, PYFUNCTYPE, c_char_p, c_ssize_t, c_void_p, py_object
from itertools import pairwise
from typing import Any

from votive._arrow.capsule import NULL, STRUCT, Array, Layout, arrays, first_null

# Strings made at a time: enough to hide the cost of a call, little beside the tokens made from them.
MAX_STRINGS = 8192

# An own prototype, as for capsules.
_decode_utf8 = PYFUNCTYPE(py_object, c_void_p, c_ssize_t, c_char_p)(("PyUnicode_DecodeUTF8", ctypes.pythonapi))

_INDEX_TYPES: dict[str, Any] = {
    "c": ctypes.c_int8,
    "C": ctypes.c_uint8,
    "s": ctypes.c_int16,
    "S": ctypes.c_uint16,
    "i": ctypes.c_int32,
    "I": ctypes.c_uint32,
    "l": ctypes.c_int64,
    "L": ctypes.c_uint64,
}
_OFFSET_TYPES: dict[str, Any] = {"u": ctypes.c_int32, "U": ctypes.c_int64}
_VIEW = "vu"


def string_chunks(column: object, name: str = "sentences") -> Iterator[list[str]]:
    """Read an Arrow column of strings in order, at most 8192 strings at a time.

    Args:
        column: Anything with `__arrow_c_stream__` or `__arrow_c_array__`: an array or chunked array of pyarrow, a
            Series of pandas or polars, and so on. Its type is utf8, large_utf8, utf8_view, or a dictionary of these.
        name: What messages call it.

    Yields:
        Lists of 1 to 8192 strings. No list spans two chunks of the column, and an empty column yields none.

    Raises:
        TypeError: `column` speaks no Arrow, holds another type, or holds a null; a null is named by its position.
        ValueError: A string is not valid UTF-8, or the array or its stream is damaged.
        OSError: The stream cannot be read further.
    """
    position = 0
    for layout, array in arrays(column, name, _check_strings):
        for start in range(0, array.length, MAX_STRINGS):
            first = array.offset + start
            last = array.offset + min(start + MAX_STRINGS, array.length)
            yield strings(layout, array, first, last, name, position + start)
        position += array.length


def is_strings(layout: Layout) -> bool:
    """Whether a column holds strings, or nothing at all."""
    return (layout.dictionary or layout).format in (*_OFFSET_TYPES, _VIEW, NULL)


def _check_strings(layout: Layout, name: str) -> None:
    """Accepts a column of strings."""
    found = layout.dictionary or layout
    if found.format == STRUCT:
        raise TypeError(
            f"{name}: expected one column of strings, found an Arrow table, record batch or struct; pass its column"
        )
    if not is_strings(layout):
        raise TypeError(
            f"{name}: expected Arrow format 'u' (utf8), 'U' (large_utf8), 'vu' (utf8_view) or a dictionary of these, "
            f"found {layout}"
        )


def strings(layout: Layout, array: Array, first: int, last: int, name: str, position: int) -> list[str]:
    """Rows `first..last` of an array's buffers; `position` is where the first of them stands in the column."""
    if first == last:
        return []  # where there may be no buffers at all
    if layout.dictionary is None:
        return _plain_strings(layout, array, first, last, name, position)
    _refuse_null(layout, array, first, last, name, position)
    dictionary = array.dictionary.contents
    indices = ctypes.cast(array.buffers[1], POINTER(_INDEX_TYPES[layout.format]))[first:last]
    # Only what these rows name: a short slice may have a dictionary of millions.
    found: dict[int, str] = {}
    for row, index in enumerate(indices, position):
        if index not in found:
            if not 0 <= index < dictionary.length:
                raise ValueError(f"{name}[{row}]: value {index} of an Arrow dictionary of {dictionary.length}")
            begin = dictionary.offset + index
            [found[index]] = _plain_strings(layout.dictionary, dictionary, begin, begin + 1, name, row)
    return [found[index] for index in indices]


def _plain_strings(layout: Layout, array: Array, first: int, last: int, name: str, position: int) -> list[str]:
    _refuse_null(layout, array, first, last, name, position)
    if layout.format == NULL:
        return []
    if layout.format == _VIEW:
        spans = _view_spans(array, first, last, name)
    else:
        spans = _offset_spans(_OFFSET_TYPES[layout.format], array, first, last)
    decoded = []
    for row, (address, size) in enumerate(spans, position):
        if size < 0:
            raise ValueError(f"{name}[{row}]: negative length, the Arrow array is damaged")
        try:
            decoded.append(_decode_utf8(address, size, None))
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}[{row}]: not valid UTF-8, {error.reason} at byte {error.start}") from error
    return decoded


def _refuse_null(layout: Layout, array: Array, first: int, last: int, name: str, position: int) -> None:
    null = first_null(layout, array, first, last)
    if null is not None:
        row = position + null - first
        raise TypeError(f"{name}[{row}]: expected a str, found null; drop the nulls or fill them first")


def _offset_spans(offset_type: Any, array: Array, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Address and bytes of each string, for the formats that hold `[rows + 1]` offsets into one buffer."""
    offsets = ctypes.cast(array.buffers[1], POINTER(offset_type))[first : last + 1]
    data = array.buffers[2] or 0  # no buffer at all where every string is empty
    for begin, end in pairwise(offsets):
        yield data + begin, end - begin


def _view_spans(array: Array, first: int, last: int, name: str) -> Iterator[tuple[int, int]]:
    """Address and bytes of each string, for the format that holds `[rows, 4]` int32 "views".

    A view is a length and then either up to 12 bytes of text, or 4 bytes of it, a data buffer and an offset there.
    """
    views = array.buffers[1]
    data_buffers = array.n_buffers - 3  # beside these: validity, views, and the sizes of the data buffers
    numbers = ctypes.cast(views, POINTER(ctypes.c_int32))[4 * first : 4 * last]
    for row, size in enumerate(numbers[0::4]):
        if size <= 12:
            yield views + 16 * (first + row) + 4, size
        else:
            buffer, offset = numbers[4 * row + 2 : 4 * row + 4]
            if not 0 <= buffer < data_buffers:
                raise ValueError(f"{name}: a view into Arrow data buffer {buffer} of {data_buffers}")
            yield array.buffers[2 + buffer] + offset, size
