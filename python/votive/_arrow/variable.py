"""Strings and bytes out of Arrow buffers."""

from __future__ import annotations

import codecs
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from votive._arrow.buffers import buffer, validity
from votive._arrow.capsule import Array, Layout
from votive._arrow.values import Place, Values, of_bytes
from votive._core import take_bytes

_STRINGS = ("u", "U", "vu")
_OFFSETS = {"u": "i4", "U": "i8", "z": "i4", "Z": "i8"}
_FIXED = "w:"
UUID = "arrow.uuid"

# Bytes that are decoded at once to see whether they are UTF-8.
_DECODED_BYTES = 1 << 20
# The most bytes that a view holds itself.
_INLINE_BYTES = 12
# Where the hexadecimal digits of a UUID stand in its str of 36 characters; hyphens are between them.
_UUID_DIGITS = np.array([place for place in range(36) if place not in (8, 13, 18, 23)])


def is_variable(layout: Layout) -> bool:
    """Whether a column holds strings or bytes."""
    format = layout.format
    return layout.dictionary is None and (format in (*_OFFSETS, "vu", "vz") or format.startswith(_FIXED))


def holds_str(layout: Layout) -> bool:
    """Whether such a column is read as str."""
    return layout.format in _STRINGS or layout.extension == UUID


def read_variable(layout: Layout, array: Array, first: int, last: int, place: Place) -> Values:
    """Rows `first..last` of an array's buffers, of a layout that `is_variable`.

    Raises:
        ValueError: a string is not valid UTF-8, or the array is damaged; the message says in which row.
    """
    valid = validity(array, first, last)
    type = "str" if layout.format in _STRINGS else "bytes"
    if layout.format in _OFFSETS:
        values = _read_offsets(_OFFSETS[layout.format], array, first, last, place)
    elif layout.format.startswith(_FIXED):
        size = int(layout.format.removeprefix(_FIXED))
        if size < 0:
            raise ValueError(f"{place.name}: a size of {size} bytes, the Arrow array is damaged")
        data = buffer(array, 1, "u1", first * size, last * size).copy()
        if layout.extension == UUID and size == 16:
            type, size, data = "str", 36, _to_uuids(data)
        values = Values(type, data, size * np.arange(last - first + 1))
    else:
        values = _read_views(array, first, last, valid, place)
    values = _without_nulls(values._replace(type=type, valid=valid))
    if type == "str":
        _check_utf8(values, place)
    return values


def _read_offsets(dtype: str, array: Array, first: int, last: int, place: Place) -> Values:
    if first == last:
        return Values("bytes", np.empty(0, np.uint8), np.zeros(1, np.int64))  # where there may be no buffers at all
    offsets = buffer(array, 1, dtype, first, last + 1).astype(np.int64)
    wrong = (np.diff(offsets) < 0) | (offsets[:-1] < 0)
    if wrong.any():
        raise ValueError(f"{place.row(int(np.argmax(wrong)))}: negative length, the Arrow array is damaged")
    data = buffer(array, 2, "u1", int(offsets[0]), int(offsets[-1])).copy()
    return Values("bytes", data, offsets - offsets[0])


def _read_views(array: Array, first: int, last: int, valid: NDArray[np.bool_] | None, place: Place) -> Values:
    """A view has 16 bytes: a length, and up to 12 bytes of value, or 4 bytes of it, a data buffer and a place there."""
    # Beside the data buffers: validity, views, and the sizes of the data buffers.
    count = array.n_buffers - 3
    available = buffer(array, array.n_buffers - 1, "i8", 0, count)
    views = buffer(array, 1, "i4", 4 * first, 4 * last).reshape(-1, 4)
    lengths = views[:, 0].astype(np.int64)
    if valid is not None:
        lengths[~valid] = 0
    if (lengths < 0).any():
        raise ValueError(f"{place.row(int(np.argmin(lengths)))}: negative length, the Arrow array is damaged")
    is_long = lengths > _INLINE_BYTES
    _check_views(np.flatnonzero(is_long), views, available, place)
    which = np.where(is_long, views[:, 2], -1)
    begins = np.where(is_long, views[:, 3], 16 * np.arange(len(views)) + 4)
    parts = []
    for source in np.unique(which).tolist():
        memory = (
            views.view(np.uint8).reshape(-1) if source < 0 else buffer(array, 2 + source, "u1", 0, available[source])
        )
        rows = np.flatnonzero(which == source)
        bounds = np.stack([begins[rows], begins[rows] + lengths[rows]], axis=1).reshape(-1)
        offsets, data = take_bytes(bounds, memory, np.arange(0, len(bounds), 2))
        parts.append((rows, offsets, data))
    if not parts:
        return Values("bytes", np.empty(0, np.uint8), np.zeros(1, np.int64))
    if len(parts) == 1:
        return Values("bytes", parts[0][2], parts[0][1])
    # From the order of the buffers into that of the rows.
    order = np.concatenate([rows for rows, _, _ in parts])
    offsets = np.zeros(len(order) + 1, np.int64)
    np.cumsum(lengths[order], out=offsets[1:])
    offsets, data = take_bytes(offsets, np.concatenate([data for _, _, data in parts]), np.argsort(order))
    return Values("bytes", data, offsets)


def _check_views(rows: NDArray[np.int64], views: NDArray[np.int32], available: NDArray[np.int64], place: Place) -> None:
    """Accepts views into data buffers, of which `available` says the bytes."""
    lengths, which, begins = views[rows, 0].astype(np.int64), views[rows, 2], views[rows, 3].astype(np.int64)
    wrong = (which < 0) | (which >= len(available))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{place.row(int(rows[first]))}: a view into Arrow data buffer {which[first]} of {len(available)}"
        )
    wrong = (begins < 0) | (begins + lengths > available[which]) if len(rows) else wrong
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"{place.row(int(rows[first]))}: a view beyond the end of Arrow data buffer {which[first]}")


def _to_uuids(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    digits = np.frombuffer(data.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    found = np.full((len(digits), 36), ord("-"), np.uint8)
    found[:, _UUID_DIGITS] = digits
    return found.reshape(-1)


def _without_nulls(values: Values) -> Values:
    """The same, without the bytes that may stand where there is no value."""
    assert values.offsets is not None, "the values are variable"
    if values.valid is None or not np.diff(values.offsets)[~values.valid].any():
        return values
    kept = Values("bytes", values.data, values.offsets, values.valid).to_list()
    return of_bytes(values.type, [b"" if value is None else value for value in kept], values.valid)


def _check_utf8(values: Values, place: Place) -> None:
    """Accepts values each of which is UTF-8: all of it is, and none begins within a character."""
    data, offsets = values.data, values.offsets
    assert isinstance(data, np.ndarray), "the values are variable"
    assert offsets is not None, "the values are variable"
    if not len(data) or data.max() < 0x80:
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _DECODED_BYTES):
            decoder.decode(data[start : start + _DECODED_BYTES].tobytes())
        decoder.decode(b"", final=True)
        is_utf8 = not ((data[offsets[offsets < len(data)]] & 0xC0) == 0x80).any()
    except UnicodeDecodeError:
        is_utf8 = False
    if is_utf8:
        return
    # Found again one by one, for the row.
    for row, (begin, end) in enumerate(pairwise(offsets.tolist())):
        try:
            data[begin:end].tobytes().decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{place.row(row)}: not valid UTF-8, {error.reason} at byte {error.start}") from error
