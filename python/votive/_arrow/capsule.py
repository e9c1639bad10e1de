"""Arrow arrays out of PyCapsules.

The structs are those of the Arrow C data interface (arrow.apache.org/docs/format/CDataInterface.html) and of its
streams (CStreamInterface.html beside it). They carry no buffer sizes, so a producer's offsets are believed, as by every
reader of this interface.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, POINTER, PYFUNCTYPE, c_char_p, c_int, c_int64, c_void_p, py_object
from typing import Any, NamedTuple

# The type of a column in which no value was ever seen: fine while it is empty.
NULL = "n"
STRUCT = "+s"


class Schema(ctypes.Structure):
    """ArrowSchema: what a column or table holds."""

    format: bytes
    name: bytes | None
    metadata: int | None
    n_children: int
    children: Any
    dictionary: Any
    release: Any


class Array(ctypes.Structure):
    """ArrowArray: one chunk of it."""

    length: int
    null_count: int
    offset: int
    n_buffers: int
    n_children: int
    buffers: Any
    children: Any
    dictionary: Any
    release: Any


class Stream(ctypes.Structure):
    """ArrowArrayStream: chunks, one after the other."""

    get_schema: Any
    get_next: Any
    get_last_error: Any


Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(Schema))),
    ("dictionary", POINTER(Schema)),
    ("release", CFUNCTYPE(None, c_void_p)),
    ("private_data", c_void_p),
]
Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(Array))),
    ("dictionary", POINTER(Array)),
    ("release", CFUNCTYPE(None, c_void_p)),
    ("private_data", c_void_p),
]
Stream._fields_ = [
    ("get_schema", CFUNCTYPE(c_int, c_void_p, c_void_p)),
    ("get_next", CFUNCTYPE(c_int, c_void_p, c_void_p)),
    ("get_last_error", CFUNCTYPE(c_char_p, c_void_p)),
    ("release", CFUNCTYPE(None, c_void_p)),
    ("private_data", c_void_p),
]

# An own prototype: argument types set on `ctypes.pythonapi` itself would be shared with every other library.
_capsule_pointer = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))

# For messages.
_TYPE_NAMES = {
    "n": "null",
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
    "u": "utf8",
    "U": "large_utf8",
    "vu": "utf8_view",
    "z": "binary",
    "Z": "large_binary",
    "vz": "binary_view",
    "tdD": "date32",
    "tdm": "date64",
    "+l": "list",
    "+L": "large_list",
    "+vl": "list_view",
    "+vL": "large_list_view",
    "+r": "run-end encoded",
    "+s": "struct",
    "+m": "map",
}
# Of formats with parameters.
_FAMILY_NAMES = {
    "d:": "decimal",
    "tt": "time",
    "tD": "duration",
    "ti": "interval",
    "ts": "timestamp",
    "+u": "union",
    "+w": "fixed_size_list",
    "w:": "fixed_size_binary",
}


class Layout(NamedTuple):
    """How a column is stored.

    Attributes:
        name: of the column or field.
        format: Arrow's format string.
        children: layouts of what it is made of.
        dictionary: layout of the values that its numbers stand for; None where they stand for themselves.
        extension: name of the extension type, such as "arrow.json"; "" of others.
    """

    name: str
    format: str
    children: tuple[Layout, ...]
    dictionary: Layout | None
    extension: str = ""

    def __str__(self) -> str:
        if self.dictionary is not None:
            return f"a dictionary of {self.dictionary}"
        found = _TYPE_NAMES.get(self.format) or _FAMILY_NAMES.get(self.format[:2])
        return f"'{self.format}' ({found})" if found else f"'{self.format}'"


def arrays(column: Any, name: str, check: Callable[[Layout, str], None]) -> Iterator[tuple[Layout, Array]]:
    """Each chunk of a column or table, readable until the next one is asked for.

    Messages call it `name`. `check` is told its layout and that name before anything is read.

    A capsule releases what it holds when it dies, so the capsules stay in local variables while their memory is read.

    Raises:
        TypeError: `column` speaks no Arrow.
        ValueError: The stream is damaged.
        OSError: The stream cannot be read further.
    """
    # A column with several chunks gives them one by one as a stream, and at best a joined copy as an array.
    if hasattr(column, "__arrow_c_stream__"):
        capsule = column.__arrow_c_stream__()
        yield from _streamed(Stream.from_address(_capsule_pointer(capsule, b"arrow_array_stream")), name, check)
    elif hasattr(column, "__arrow_c_array__"):
        schema_capsule, array_capsule = column.__arrow_c_array__()
        schema = Schema.from_address(_capsule_pointer(schema_capsule, b"arrow_schema"))
        layout = _layout(schema)
        check(layout, name)
        yield layout, Array.from_address(_capsule_pointer(array_capsule, b"arrow_array"))
    else:
        raise TypeError(f"{name}: expected __arrow_c_stream__ or __arrow_c_array__, found {type(column).__name__}")


def first_null(layout: Layout, array: Array, first: int, last: int) -> int | None:
    """The first row of the array's buffers in `first..last` that holds no value; `first` counts its offset in."""
    if layout.format == NULL:
        return first if first < last else None
    if array.null_count == 0 or first >= last or not array.n_buffers or not array.buffers[0]:
        return None
    # One bit per row, lowest first, set where there is a value.
    held = ctypes.string_at(array.buffers[0] + first // 8, (last + 7) // 8 - first // 8)
    absent = ~(int.from_bytes(held, "little") >> first % 8) & ((1 << (last - first)) - 1)
    return first + (absent & -absent).bit_length() - 1 if absent else None


def _streamed(stream: Stream, name: str, check: Callable[[Layout, str], None]) -> Iterator[tuple[Layout, Array]]:
    schema = Schema()
    try:
        _receive(stream, stream.get_schema, schema)
        layout = _layout(schema)
        check(layout, name)
    finally:
        _release(schema)
    while True:
        array = Array()
        try:
            _receive(stream, stream.get_next, array)
            if not array.release:  # how a stream says that it has ended
                return
            yield layout, array
        finally:
            _release(array)


def _receive(stream: Stream, get: Any, target: Schema | Array) -> None:
    code = get(ctypes.addressof(stream), ctypes.addressof(target))
    if code:
        text = stream.get_last_error(ctypes.addressof(stream))
        message = text.decode(errors="replace") if text else "the Arrow stream failed and gave no reason"
        raise ValueError(message) if code == errno.EINVAL else OSError(code, message)


def _release(owned: Schema | Array) -> None:
    if owned.release:
        owned.release(ctypes.addressof(owned))


def _layout(schema: Schema) -> Layout:
    if schema.format is None or schema.n_children < 0 or (schema.n_children and not schema.children):
        raise ValueError("an Arrow schema that is damaged: it has no format, or not the children that it counts")
    return Layout(
        name=(schema.name or b"").decode(errors="replace"),
        format=schema.format.decode(errors="replace"),
        children=tuple(_layout(schema.children[child].contents) for child in range(schema.n_children)),
        dictionary=_layout(schema.dictionary.contents) if schema.dictionary else None,
        extension=_metadata(schema.metadata).get(b"ARROW:extension:name", b"").decode(errors="replace"),
    )


def _metadata(address: int | None) -> dict[bytes, bytes]:
    """What a schema says beside the format: a count, and as many keys and values, each after its length, as int32."""
    found: dict[bytes, bytes] = {}
    if not address:
        return found
    place = address

    def number() -> int:
        nonlocal place
        place += 4
        value = int.from_bytes(ctypes.string_at(place - 4, 4), sys.byteorder, signed=True)
        if value < 0:
            raise ValueError("the metadata of an Arrow schema is damaged: it has a negative length")
        return value

    def text() -> bytes:
        nonlocal place
        size = number()
        place += size
        return ctypes.string_at(place - size, size)

    for _ in range(number()):
        key = text()
        found[key] = text()
    return found
