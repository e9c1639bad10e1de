"""Columns of any type out of Arrow arrays, lists and structs as lists and dicts of Python."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._arrow.buffers import buffer, check_array, validity
from votive._arrow.capsule import NULL, STRUCT, Array, Layout
from votive._arrow.numbers import NUMBERS, is_number, is_time, read_fixed_width
from votive._arrow.values import Place, Values, of_bytes
from votive._arrow.variable import holds_str, is_variable, read_variable
from votive._core import take_bytes

_JSON = "arrow.json"
_MAP = "+m"
_FIXED_LIST = "+w:"
_LISTS = {"+l": "i4", "+L": "i8", _MAP: "i4"}
_VIEWS = {"+vl": "i4", "+vL": "i8"}

# A dictionary is read whole unless it has more than this many times the values that rows name.
MAX_UNUSED_RATIO = 16


def check_column(layout: Layout, name: str) -> None:
    """Accepts what `read` can read.

    Raises:
        TypeError: it holds another type; the message says which.
    """
    values = layout.dictionary or layout
    if is_number(values) or is_time(values) or is_variable(values) or values.format == NULL:
        return
    if not _is_nested(values) or values.dictionary is not None:
        raise TypeError(
            f"{name}: expected numbers, booleans, strings, bytes, dates, timestamps, lists or structs, found {layout}"
        )
    _check_nested(values, name)


def read(layout: Layout, array: Array, first: int, last: int, place: Place) -> Values:
    """Rows `first..last` of an array's buffers, in memory of their own.

    Args:
        layout: of the column; see `check_column`.
        array: a chunk of it.
        first: counts the array's offset in.
        last: one more than the last row.
        place: where the first row stands, for messages.

    Raises:
        ValueError: a string is not valid UTF-8, or the array is damaged.
    """
    check_array(layout, array, first, last, place.name)
    if layout.dictionary is not None:
        return _read_dictionary(layout, array, first, last, place)
    if layout.format == NULL:
        return Values("null", np.zeros(last - first, np.bool_), None, np.zeros(last - first, np.bool_))
    if is_variable(layout):
        values = read_variable(layout, array, first, last, place)
        return _parse(values, place) if layout.extension == _JSON and holds_str(layout) else values
    if is_number(layout) or is_time(layout):
        return read_fixed_width(layout, array, first, last)
    read_rows = _read_struct if layout.format == STRUCT else _read_lists
    objects = read_rows(layout, array, first, last, place)
    valid = validity(array, first, last)
    if valid is not None:
        objects = [value if is_held else None for value, is_held in zip(objects, valid.tolist(), strict=True)]
    return Values("json", objects, None, valid)


def _is_nested(layout: Layout) -> bool:
    return layout.format in (*_LISTS, *_VIEWS, STRUCT) or layout.format.startswith(_FIXED_LIST)


def _check_nested(layout: Layout, name: str) -> None:
    """Accepts lists and structs of what JSON can hold."""
    if layout.format == STRUCT:
        fields = [child.name for child in layout.children]
        for field in fields:
            if fields.count(field) > 1:
                raise ValueError(f"{name}: has two fields {field!r}")
    elif len(layout.children) != 1:
        raise ValueError(f"{name}: a list of {len(layout.children)} types, the Arrow schema is damaged")
    if layout.format == _MAP:
        [entries] = layout.children
        if entries.format != STRUCT or len(entries.children) != 2:
            raise ValueError(f"{name}: a map without keys and values, the Arrow schema is damaged")
        key = entries.children[0].dictionary or entries.children[0]
        if not is_variable(key) or not holds_str(key):
            raise TypeError(f"{name}: expected a map with keys of str, found {key}")
    for child in layout.children:
        values = child.dictionary or child
        if _is_nested(values) and values.dictionary is None:
            _check_nested(values, name)
        elif not (is_number(values) or values.format == NULL or (is_variable(values) and holds_str(values))):
            hint = "; cast them to strings" if is_time(values) or is_variable(values) else ""
            raise TypeError(
                f"{name}: expected numbers, booleans, str, lists or structs in lists or structs, found {child}{hint}"
            )


def _read_dictionary(layout: Layout, array: Array, first: int, last: int, place: Place) -> Values:
    assert layout.dictionary is not None, "a dictionary has values"
    if layout.format not in NUMBERS or NUMBERS[layout.format][0] not in "iu":
        raise ValueError(f"{place.name}: an Arrow dictionary whose indices are {layout._replace(dictionary=None)}")
    valid = validity(array, first, last)
    indices = buffer(array, 1, NUMBERS[layout.format], first, last)
    dictionary = array.dictionary.contents
    wrong = (indices < 0) | (indices >= max(0, dictionary.length))
    if valid is not None:
        wrong &= valid
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{place.row(row)}: value {indices[row]} of an Arrow dictionary of {dictionary.length}")
    chosen = (indices if valid is None else indices[valid]).astype(np.int64)
    if not len(chosen):
        return Values("null", np.zeros(len(indices), np.bool_), None, np.zeros(len(indices), np.bool_))
    begin, inside = dictionary.offset, Place(place.name, None)
    if dictionary.length > MAX_UNUSED_RATIO * len(chosen):
        used, order = np.unique(chosen, return_inverse=True)
        each = [read(layout.dictionary, dictionary, begin + at, begin + at + 1, inside) for at in used.tolist()]
        values, chosen = _joined(each), order.reshape(-1)
    else:
        values = read(layout.dictionary, dictionary, begin, begin + dictionary.length, inside)
    if valid is not None:
        places = np.zeros(len(indices), np.int64)
        places[valid] = chosen
        chosen = places
    return _take(values, chosen, valid)


def _joined(parts: list[Values]) -> Values:
    """Values of a dictionary, each of which was read alone."""
    type = next((part.type for part in parts if part.type != "null"), "null")
    valid = np.array([part.valid is None for part in parts])
    if type == "json":
        return Values(type, [part.to_list()[0] for part in parts], None, valid)
    if type in ("str", "bytes"):
        return of_bytes(type, [np.asarray(part.data).tobytes() for part in parts], valid)
    return Values(type, np.concatenate([np.asarray(part.data) for part in parts]), None, valid)


def _take(values: Values, places: NDArray[np.int64], valid: NDArray[np.bool_] | None) -> Values:
    """Values of a dictionary that rows stand for; those that are not valid are null."""
    if values.valid is not None:
        found = values.valid[places]
        valid = found if valid is None else valid & found
    if valid is not None and valid.all():
        valid = None
    if isinstance(values.data, list):
        objects = [values.data[place] for place in places.tolist()]
        if valid is not None:
            objects = [value if is_held else None for value, is_held in zip(objects, valid.tolist(), strict=True)]
        return Values(values.type, objects, None, valid)
    if values.offsets is None:
        data = values.data[places]
        if valid is not None:
            data[~valid] = np.datetime64("NaT") if data.dtype.kind == "M" else 0
        return Values(values.type, data, None, valid)
    # One more that is empty, for nulls.
    offsets = np.append(values.offsets, values.offsets[-1])
    if valid is not None:
        places = np.where(valid, places, values.rows)
    offsets, data = take_bytes(offsets, values.data, places)
    return Values(values.type, data, offsets, valid)


def _parse(values: Values, place: Place) -> Values:
    """Strings of the extension type for JSON as the lists and dicts that they stand for."""
    objects = values.to_list()
    for row, text in enumerate(objects):
        if text is None:
            continue
        try:
            objects[row] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place.row(row)}: expected JSON, for the column's type is {_JSON}; {error}") from None
        if objects[row] is not None and not isinstance(objects[row], list | dict):
            raise TypeError(
                f"{place.row(row)}: expected lists and dicts in a column of {_JSON}, found "
                f"{type(objects[row]).__name__}; cast the column to strings"
            )
    valid = np.fromiter((value is not None for value in objects), np.bool_, len(objects))
    return Values("json", objects, None, None if valid.all() else valid)


def _read_struct(layout: Layout, array: Array, first: int, last: int, place: Place) -> list[Any]:
    names = [child.name for child in layout.children]
    # A slice of a struct leaves its children as they are.
    columns = [_read_child(layout, array, child, first, last, place) for child in range(len(names))]
    if not columns:
        return [{} for _ in range(last - first)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _read_lists(layout: Layout, array: Array, first: int, last: int, place: Place) -> list[Any]:
    if first == last:
        return []  # where there may be no buffers at all
    if layout.format.startswith(_FIXED_LIST):
        length = int(layout.format.removeprefix(_FIXED_LIST))
        begins = length * np.arange(first, last)
        ends = begins + length
    elif layout.format in _VIEWS:
        begins = buffer(array, 1, _VIEWS[layout.format], first, last).astype(np.int64)
        ends = begins + buffer(array, 2, _VIEWS[layout.format], first, last)
    else:
        offsets = buffer(array, 1, _LISTS[layout.format], first, last + 1).astype(np.int64)
        begins, ends = offsets[:-1], offsets[1:]
    valid = validity(array, first, last)
    if valid is not None:  # what stands where there is no value is nobody's
        nowhere = int(begins[valid].min()) if valid.any() else 0
        begins, ends = np.where(valid, begins, nowhere), np.where(valid, ends, nowhere)
    wrong = (ends < begins) | (begins < 0)
    if wrong.any():
        raise ValueError(f"{place.row(int(np.argmax(wrong)))}: negative length, the Arrow array is damaged")
    start = int(begins.min())
    elements = _read_child(layout, array, 0, start, int(ends.max()), place)
    spans = zip((begins - start).tolist(), (ends - start).tolist(), strict=True)
    lists: list[Any] = [elements[begin:end] for begin, end in spans]
    return [_to_dict(entries, row, place) for row, entries in enumerate(lists)] if layout.format == _MAP else lists


def _to_dict(entries: list[Any], row: int, place: Place) -> dict[str, Any]:
    pairs = [tuple(entry.values()) for entry in entries]
    found = dict(pairs)
    if len(found) < len(pairs) or None in found:
        raise ValueError(f"{place.row(row)}: expected a map with each key once, found {[key for key, _ in pairs]}")
    return found


def _read_child(layout: Layout, array: Array, which: int, first: int, last: int, place: Place) -> list[Any]:
    """Rows `first..last` of what an array is made of, not counting an offset of its own in."""
    check_array(layout, array, array.offset, array.offset, place.name)
    child = array.children[which].contents
    inside = Place(place.name, None)
    return read(layout.children[which], child, first + child.offset, last + child.offset, inside).to_list()
