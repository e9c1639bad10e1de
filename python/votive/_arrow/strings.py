"""Columns of strings, some at a time."""

from __future__ import annotations

from collections.abc import Iterator

from votive._arrow.capsule import NULL, STRUCT, Layout, arrays
from votive._arrow.columns import read
from votive._arrow.values import Place, Values
from votive._arrow.variable import holds_str, is_variable

# Strings made at a time: enough to hide the cost of a call, little beside the tokens made from them.
MAX_STRINGS = 8192


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
    for values in value_chunks(column, name, MAX_STRINGS):
        if values.valid is not None and not values.valid.all():
            row = position + int(values.valid.argmin())
            raise TypeError(f"{name}[{row}]: expected a str, found null; drop the nulls or fill them first")
        position += values.rows
        yield values.to_list()


def value_chunks(column: object, name: str, max_rows: int | None = None) -> Iterator[Values]:
    """The same as values of type "str", or "null", which may hold nulls; at most `max_rows` at a time."""
    position = 0
    for layout, array in arrays(column, name, _check_strings):
        if array.length < 0 or array.offset < 0:
            raise ValueError(f"{name}: {array.length} rows from {array.offset} on, the Arrow array is damaged")
        for start in range(0, array.length, max_rows or max(1, array.length)):
            stop = array.length if max_rows is None else min(start + max_rows, array.length)
            place = Place(name, position + start)
            yield read(layout, array, array.offset + start, array.offset + stop, place)
        position += array.length


def _check_strings(layout: Layout, name: str) -> None:
    """Accepts a column of strings."""
    found = layout.dictionary or layout
    if found.format == STRUCT:
        raise TypeError(
            f"{name}: expected one column of strings, found an Arrow table, record batch or struct; pass its column"
        )
    if found.format != NULL and not (is_variable(found) and holds_str(found)):
        raise TypeError(
            f"{name}: expected Arrow format 'u' (utf8), 'U' (large_utf8), 'vu' (utf8_view) or a dictionary of these, "
            f"found {layout}"
        )
