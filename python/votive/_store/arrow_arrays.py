"""Columns of a store as pyarrow arrays, from which the readers of Arrow make the same columns again.

Lists and dicts become Arrow's lists and structs where these give back exactly what was stored: all dicts of a place
have the same keys in the same order, and all values one type. Others are strings of the extension type "arrow.json".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.input.python_values import from_objects
from votive._store.input.value_kinds import Label
from votive._store.table.column_type import JSON, NULL, ColumnType, first_inexact
from votive._store.table.column_values import Bools, ColumnValues

# Lists and structs in each other that all readers of Arrow and Parquet are sure to take.
MAX_NESTED_LEVELS = 16
# As its columns are marked in a schema: the name of the type, and its parameters.
JSON_EXTENSION = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}

_INT64 = range(-(2**63), 2**63)
# Units of NumPy, and the coarsest of Arrow's that has all of their points in time.
_UNITS = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s", "ps": "ns", "fs": "ns", "as": "ns"}
_LEAVES = {bool: "bool", int: "int64", float: "float64", str: "str"}

# What values of a place among lists and dicts have in common: the name of a type; the pair of "list" and what its
# elements have in common; or the pair of "dict" and pairs of a key and its shape. "null" where there is no value yet.
Shape = str | tuple[str, Any]


class _NoShapeError(Exception):
    """Values have nothing in common that Arrow could hold."""


def to_array(values: ColumnValues, field: Any, name: str) -> Any:
    """Values as a pyarrow array, in their own memory where that is possible.

    Args:
        values: of some rows.
        field: what `field_of` gives for the column.
        name: what messages call them.

    Raises:
        ValueError: a point in time is beyond what Arrow holds.
    """
    pa = import_module("pyarrow")
    type = values.type
    if pa.types.is_null(field.type):
        return pa.nulls(values.rows)
    if type == JSON and not pa.types.is_large_string(field.type):
        return pa.array(values.to_list(), field.type)
    if type == NULL:
        return pa.nulls(values.rows, field.type)
    if values.offsets is not None:
        buffers = [_bits(pa, values.valid), _memory(pa, values.offsets), _memory(pa, values.data)]
        return pa.Array.from_buffers(field.type, values.rows, buffers)
    data, valid = np.asarray(values.data), values.valid
    if data.dtype.kind == "M":
        is_null = np.isnat(data)
        valid = ~is_null if is_null.any() else None
        data = _in_arrow_units(data, valid, field.type == pa.date32(), name)
    memory = _bits(pa, data) if data.dtype == np.bool_ else _memory(pa, data)
    return pa.Array.from_buffers(field.type, values.rows, [_bits(pa, valid), memory])


def table_of(arrays: dict[str, Any], columns: dict[str, list[Any]]) -> Any:
    """A pyarrow table of arrays, and of values as a store gives them, None for null.

    Raises:
        ValueError: see `to_array`.
    """
    pa = import_module("pyarrow")
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    found = list(arrays.values())
    for name, objects in columns.items():
        values = from_objects(objects, Label(name))
        field = field_of(name, values.type, partial(list, [values]))
        fields.append(field)
        found.append(to_array(values, field, name))
    return pa.table(found, pa.schema(fields))


def field_of(name: str, type: ColumnType, pieces: Callable[[], Iterable[ColumnValues]]) -> Any:
    """The pyarrow field of a column.

    Args:
        name: of the column.
        type: of its values.
        pieces: gives them, of lists and dicts alone: how they are stored depends on all of them.
    """
    pa = import_module("pyarrow")
    if type == JSON:
        shape = _shape_of(pieces())
        if shape is None:
            return pa.field(name, pa.large_string(), metadata=JSON_EXTENSION)
        return pa.field(name, _nested_type(pa, shape))
    if type == NULL:
        return pa.field(name, pa.null())
    if type.is_variable:
        return pa.field(name, pa.large_string() if type.name == "str" else pa.large_binary())
    if type.dtype.kind == "M":
        unit = _arrow_unit(type.dtype)
        return pa.field(name, pa.date32() if unit == "D" else pa.timestamp(unit))
    return pa.field(name, pa.from_numpy_dtype(type.dtype))


def _arrow_unit(dtype: np.dtype[Any]) -> str:
    unit = np.datetime_data(dtype)[0]
    return _UNITS.get(unit, unit)


def _in_arrow_units(data: NDArray[Any], valid: Bools | None, is_date: bool, name: str) -> NDArray[Any]:
    unit = _arrow_unit(data.dtype)
    held = data if valid is None else data[valid]
    wrong = first_inexact(held, ColumnType(f"datetime64[{unit}]"))
    found = data.astype(f"M8[{unit}]").view(np.int64)
    if is_date and wrong is None:
        days = found if valid is None else found[valid]
        beyond = (days < np.iinfo(np.int32).min) | (days > np.iinfo(np.int32).max)
        wrong = int(np.argmax(beyond)) if beyond.any() else None
    if wrong is not None:
        raise ValueError(
            f"{name}: {held[wrong]} of {data.dtype} is no point in time that Arrow holds in its unit {unit!r}"
        )
    return found.astype(np.int32) if is_date else found


def _memory(pa: Any, array: NDArray[Any]) -> Any:
    return pa.py_buffer(np.ascontiguousarray(np.asarray(array)))


def _bits(pa: Any, booleans: Bools | None) -> Any:
    return None if booleans is None else pa.py_buffer(np.packbits(np.asarray(booleans), bitorder="little"))


def _shape_of(pieces: Iterable[ColumnValues]) -> tuple[str, Any] | None:
    """What all lists and dicts of a column have in common; None where Arrow cannot hold them as such."""
    shape: Shape = "null"
    try:
        for piece in pieces:
            for value in piece.to_list():
                if value is not None:
                    shape = _merged(shape, _shape(value, 1))
    except _NoShapeError:
        return None
    return None if isinstance(shape, str) else shape


def _shape(value: Any, level: int) -> Shape:
    if value is None:
        return "null"
    kind = _LEAVES.get(type(value))
    if kind is not None:
        if kind == "int64" and value not in _INT64:
            raise _NoShapeError
        return kind
    if level > MAX_NESTED_LEVELS:
        raise _NoShapeError
    if isinstance(value, list):
        return "list", _elements(value, level)
    # Parquet holds no structs without fields, and names end at a zero character in other libraries.
    if not value or any("\0" in key for key in value):
        raise _NoShapeError
    return "dict", tuple((key, _shape(item, level + 1)) for key, item in value.items())


def _elements(values: Sequence[Any], level: int) -> Shape:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        kind = _LEAVES.get(kinds.pop())
        if kind == "int64" and not (min(values) in _INT64 and max(values) in _INT64):
            raise _NoShapeError
        if kind is not None:
            return kind
    shape: Shape = "null"
    for value in values:
        shape = _merged(shape, _shape(value, level + 1))
    return shape


def _merged(left: Shape, right: Shape) -> Shape:
    if left == right or right == "null":
        return left
    if left == "null":
        return right
    if isinstance(left, str) or isinstance(right, str) or left[0] != right[0]:
        raise _NoShapeError
    if left[0] == "list":
        return "list", _merged(left[1], right[1])
    if [key for key, _ in left[1]] != [key for key, _ in right[1]]:
        raise _NoShapeError
    return "dict", tuple((key, _merged(a, b)) for (key, a), (_, b) in zip(left[1], right[1], strict=True))


def _nested_type(pa: Any, shape: Shape) -> Any:
    if isinstance(shape, str):
        return {"null": pa.null(), "bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64()}.get(
            shape, pa.large_string()
        )
    if shape[0] == "list":
        return pa.large_list(_nested_type(pa, shape[1]))
    return pa.struct([pa.field(key, _nested_type(pa, inner)) for key, inner in shape[1]])
