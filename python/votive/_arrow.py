"""Strings out of Arrow columns, through the PyCapsule interface and ctypes: pyarrow is not needed.

The structs are those of the Arrow C data interface (arrow.apache.org/docs/format/CDataInterface.html) and of its
streams (CStreamInterface.html beside it). They carry no buffer sizes, so a producer's offsets are believed, as by every
reader of this interface.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, PYFUNCTYPE, c_char_p, c_int, c_int64, c_ssize_t, c_void_p, py_object
from itertools import pairwise
from typing import Any, NamedTuple

# Strings made at a time: enough to hide the cost of a call, little beside the tokens made from them.
MOST_STRINGS = 8192


class _Schema(ctypes.Structure):
    format: bytes
    dictionary: Any
    release: Any


class _Array(ctypes.Structure):
    length: int
    null_count: int
    offset: int
    n_buffers: int
    buffers: Any
    dictionary: Any
    release: Any


class _Stream(ctypes.Structure):
    get_schema: Any
    get_next: Any
    get_last_error: Any


_Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_void_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", c_void_p),
    ("dictionary", POINTER(_Schema)),
    ("release", CFUNCTYPE(None, c_void_p)),
    ("private_data", c_void_p),
]
_Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", c_void_p),
    ("dictionary", POINTER(_Array)),
    ("release", CFUNCTYPE(None, c_void_p)),
    ("private_data", c_void_p),
]
_Stream._fields_ = [
    ("get_schema", CFUNCTYPE(c_int, c_void_p, c_void_p)),
    ("get_next", CFUNCTYPE(c_int, c_void_p, c_void_p)),
    ("get_last_error", CFUNCTYPE(c_char_p, c_void_p)),
    ("release", CFUNCTYPE(None, c_void_p)),
    ("private_data", c_void_p),
]

# Own prototypes: argument types set on `ctypes.pythonapi` itself would be shared with every other library.
_capsule_pointer = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
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
# The type of a column in which no value was ever seen: fine while it is empty.
_NULL = "n"
# For messages: what somebody passes by mistake.
_TYPE_NAMES = {
    "b": "bool",
    "c": "int8",
    "C": "uint8",
    "s": "int16",
    "S": "uint16",
    "i": "int32",
    "I": "uint32",
    "l": "int64",
    "L": "uint64",
    "e": "float16",
    "f": "float32",
    "g": "float64",
    "z": "binary",
    "Z": "large_binary",
    "vz": "binary_view",
    "+l": "list",
    "+L": "large_list",
    "+r": "run-end encoded",
}


class _Layout(NamedTuple):
    """How a column is stored: the Arrow format of its strings and, where it is dictionary-encoded, of its indices."""

    strings: str
    indices: str | None


def string_chunks(column: object) -> Iterator[list[str]]:
    """Read an Arrow column of strings in order, at most 8192 strings at a time.

    Args:
        column: Anything with `__arrow_c_stream__` or `__arrow_c_array__`: an array or chunked array of pyarrow, a
            Series of pandas or polars, and so on. Its type is utf8, large_utf8, utf8_view, or a dictionary of these.

    Yields:
        Lists of 1 to 8192 strings. No list spans two chunks of the column, and an empty column yields none.

    Raises:
        TypeError: `column` speaks no Arrow, holds another type, or holds a null; a null is named by its position.
        ValueError: A string is not valid UTF-8, or the array or its stream is damaged.
        OSError: The stream cannot be read further.
    """
    position = 0
    for layout, array in _arrays(column):
        for start in range(0, array.length, MOST_STRINGS):
            stop = min(start + MOST_STRINGS, array.length)
            yield _strings(layout, array, start, stop, position + start)
        position += array.length


def _arrays(column: Any) -> Iterator[tuple[_Layout, _Array]]:
    """Each chunk of the column, readable until the next one is asked for.

    A capsule releases what it holds when it dies, so the capsules stay in local variables while their memory is read.
    """
    # A column with several chunks gives them one by one as a stream, and at best a joined copy as an array.
    if hasattr(column, "__arrow_c_stream__"):
        capsule = column.__arrow_c_stream__()
        yield from _streamed(_Stream.from_address(_capsule_pointer(capsule, b"arrow_array_stream")))
    elif hasattr(column, "__arrow_c_array__"):
        schema_capsule, array_capsule = column.__arrow_c_array__()
        schema = _Schema.from_address(_capsule_pointer(schema_capsule, b"arrow_schema"))
        yield _layout(schema), _Array.from_address(_capsule_pointer(array_capsule, b"arrow_array"))
    else:
        raise TypeError(f"sentences: expected __arrow_c_stream__ or __arrow_c_array__, found {type(column).__name__}")


def _streamed(stream: _Stream) -> Iterator[tuple[_Layout, _Array]]:
    schema = _Schema()
    try:
        _receive(stream, stream.get_schema, schema)
        layout = _layout(schema)
    finally:
        _release(schema)
    while True:
        array = _Array()
        try:
            _receive(stream, stream.get_next, array)
            if not array.release:  # how a stream says that it has ended
                return
            yield layout, array
        finally:
            _release(array)


def _receive(stream: _Stream, get: Any, target: _Schema | _Array) -> None:
    code = get(ctypes.addressof(stream), ctypes.addressof(target))
    if code:
        text = stream.get_last_error(ctypes.addressof(stream))
        message = text.decode(errors="replace") if text else "the Arrow stream failed and gave no reason"
        raise ValueError(message) if code == errno.EINVAL else OSError(code, message)


def _release(owned: _Schema | _Array) -> None:
    if owned.release:
        owned.release(ctypes.addressof(owned))


def _layout(schema: _Schema) -> _Layout:
    dictionary = schema.dictionary.contents if schema.dictionary else None
    outer = schema.format.decode()
    found = dictionary.format.decode() if dictionary else outer
    if found == "+s":
        raise TypeError(
            "sentences: expected one column of strings, found an Arrow table, record batch or struct; pass its column"
        )
    if found not in (*_OFFSET_TYPES, _VIEW, _NULL):
        name = f"'{found}' ({_TYPE_NAMES[found]})" if found in _TYPE_NAMES else f"'{found}'"
        raise TypeError(
            "sentences: expected Arrow format 'u' (utf8), 'U' (large_utf8), 'vu' (utf8_view) or a dictionary of these, "
            f"found {'a dictionary of ' if dictionary else ''}{name}"
        )
    return _Layout(found, outer if dictionary else None)


def _strings(layout: _Layout, array: _Array, start: int, stop: int, position: int) -> list[str]:
    """Rows `start..stop` of an array; `position` is where the first of them stands in the column."""
    if layout.indices is None:
        return _plain_strings(layout.strings, array, start, stop, position)
    _refuse_null(layout.indices, array, start, stop, position)
    dictionary = array.dictionary.contents
    index_type = POINTER(_INDEX_TYPES[layout.indices])
    indices = ctypes.cast(array.buffers[1], index_type)[array.offset + start : array.offset + stop]
    # Only what these rows name: a short slice may have a dictionary of millions.
    strings: dict[int, str] = {}
    for row, index in enumerate(indices, position):
        if index not in strings:
            if not 0 <= index < dictionary.length:
                raise ValueError(f"sentences[{row}]: value {index} of an Arrow dictionary of {dictionary.length}")
            [strings[index]] = _plain_strings(layout.strings, dictionary, index, index + 1, row)
    return [strings[index] for index in indices]


def _plain_strings(arrow_format: str, array: _Array, start: int, stop: int, position: int) -> list[str]:
    _refuse_null(arrow_format, array, start, stop, position)
    first, last = array.offset + start, array.offset + stop
    if arrow_format == _VIEW:
        spans = _view_spans(array, first, last)
    else:
        spans = _offset_spans(_OFFSET_TYPES[arrow_format], array, first, last)
    strings = []
    for row, (address, size) in enumerate(spans, position):
        if size < 0:
            raise ValueError(f"sentences[{row}]: negative length, the Arrow array is damaged")
        try:
            strings.append(_decode_utf8(address, size, None))
        except UnicodeDecodeError as error:
            raise ValueError(f"sentences[{row}]: not valid UTF-8, {error.reason} at byte {error.start}") from error
    return strings


def _refuse_null(arrow_format: str, array: _Array, start: int, stop: int, position: int) -> None:
    if arrow_format == _NULL:
        row = 0
    elif array.null_count == 0 or not array.buffers[0]:
        return
    else:
        # One bit per row, lowest first, set where there is a value.
        first, last = array.offset + start, array.offset + stop
        held = ctypes.string_at(array.buffers[0] + first // 8, (last + 7) // 8 - first // 8)
        absent = ~(int.from_bytes(held, "little") >> first % 8) & ((1 << (last - first)) - 1)
        if not absent:
            return
        row = (absent & -absent).bit_length() - 1
    raise TypeError(f"sentences[{position + row}]: expected a str, found null; drop the nulls or fill them first")


def _offset_spans(offset_type: Any, array: _Array, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Address and bytes of each string, for the formats that hold `[rows + 1]` offsets into one buffer."""
    offsets = ctypes.cast(array.buffers[1], POINTER(offset_type))[first : last + 1]
    data = array.buffers[2] or 0  # no buffer at all where every string is empty
    for begin, end in pairwise(offsets):
        yield data + begin, end - begin


def _view_spans(array: _Array, first: int, last: int) -> Iterator[tuple[int, int]]:
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
                raise ValueError(f"sentences: a view into Arrow data buffer {buffer} of {data_buffers}")
            yield array.buffers[2 + buffer] + offset, size
