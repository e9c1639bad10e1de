"""Columns of NumPy and pandas as values of a store."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.input.python_values import from_objects, from_strings, from_times
from votive._store.input.value_kinds import Label
from votive._store.table.column_type import BYTES, NULL, ColumnType
from votive._store.table.column_values import Bools, ColumnValues, concatenate

# What is made into Python objects at a time of arrays that hold all strings at the length of the longest.
MAX_PIECE_BYTES = 16 << 20
MAX_PIECE_ROWS = 1 << 16


def is_pandas(values: Any) -> bool:
    """Whether it is a Series, Index or array of pandas, which need not be installed."""
    return type(values).__module__.partition(".")[0] == "pandas" and hasattr(values, "dtype")


def from_array(array: NDArray[Any], label: Label) -> ColumnValues:
    """The values of an array, in memory of their own; masked ones are null.

    Raises:
        TypeError: it holds what no column does.
        ValueError: it has not one dimension, or a str holds a lone surrogate.
    """
    if array.ndim != 1:
        hint = "; .tolist() makes a list of each row" if array.ndim > 1 else ""
        raise ValueError(f"{label.column}: expected one dimension, found shape {array.shape}{hint}")
    valid = ~np.ma.getmaskarray(array) if np.ma.is_masked(array) else None
    array = np.asarray(array)
    if array.dtype.kind == "O":
        return from_objects(_held(array, valid), label)
    if array.dtype.kind in "UST":
        return _from_fixed_width(array, valid, label)
    type = ColumnType.of(array.dtype)
    if type is None:
        raise TypeError(
            f"{label.column}: expected booleans, integers, floats of up to 64 bits, str, bytes or datetime64, found "
            f"{array.dtype}"
        )
    data = array.astype(type.dtype)
    if data.dtype.kind == "M":
        return from_times(data, valid)
    if valid is not None:
        data[~valid] = 0
    return ColumnValues(type, data, None, valid)


def from_pandas(column: Any, label: Label) -> ColumnValues:
    """The values of a Series, Index or array of pandas; what pandas calls missing is null, but NaN among floats.

    A column of NaN alone is null: so pandas has columns of any type of which a part of a file has no value.
    """
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        array = column.to_numpy()
        if array.ndim == 1 and len(array) and array.dtype.kind == "f" and np.isnan(array).all():
            return ColumnValues.nulls(NULL, len(array))
        is_column = array.ndim == 1 and array.dtype.kind == "O"
        return from_objects(array.tolist(), label, nan_is_null=True) if is_column else from_array(array, label)
    kind = type(dtype).__name__
    if kind == "CategoricalDtype":
        return _from_categories(getattr(column, "array", column), label)
    if kind == "DatetimeTZDtype":
        return from_array(np.asarray(column, dtype=f"M8[{dtype.unit}]"), label)
    if kind == "SparseDtype":
        return from_array(np.asarray(column), label)
    missing = np.asarray(column.isna())
    number = getattr(dtype, "numpy_dtype", None)
    if kind != "ArrowDtype" and isinstance(number, np.dtype) and number.kind in "biuf":
        data = column.to_numpy(dtype=number, na_value=number.type(0))
        return from_array(np.ma.MaskedArray(data, missing), label)
    objects = np.array(column.to_numpy(dtype=object), object)
    return from_objects(_held(objects, ~missing), label)


def _from_categories(column: Any, label: Label) -> ColumnValues:
    codes = np.asarray(column.codes)
    valid = codes >= 0
    if not valid.any():
        return ColumnValues.nulls(NULL, len(codes))
    categories = from_pandas(column.categories, label)
    # What no category stands for is one more, which is null.
    values = concatenate(categories.type, [categories, ColumnValues.nulls(NULL, 1)])
    return values.take(np.where(valid, codes, categories.rows).astype(np.int64))


def _from_fixed_width(array: NDArray[Any], valid: Bools | None, label: Label) -> ColumnValues:
    """Strings or bytes some rows at a time, for all take as much as the longest."""
    rows = max(1, min(MAX_PIECE_ROWS, MAX_PIECE_BYTES // max(1, array.dtype.itemsize)))
    parts = []
    for start in range(0, max(1, len(array)), rows):
        held = _held(array[start : start + rows], None if valid is None else valid[start : start + rows])
        if array.dtype.kind == "S":
            parts.append(ColumnValues.of_bytes(BYTES, held))
            continue
        if array.dtype.kind == "T" and hasattr(array.dtype, "na_object"):
            held = [value if isinstance(value, str) else None for value in held]
        parts.append(from_strings(held, label.after(start)))
    return parts[0] if len(parts) == 1 else concatenate(parts[0].type, parts)


def _held(array: NDArray[Any], valid: Bools | None) -> list[Any]:
    """The objects of an array, None where there is no value."""
    values: list[Any] = array.tolist()
    if valid is None:
        return values
    return [value if is_held else None for value, is_held in zip(values, valid.tolist(), strict=True)]
