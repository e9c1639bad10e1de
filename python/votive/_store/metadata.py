"""Metadata and texts as callers give them: tables, mappings of columns, and mappings for each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _arrow, _inputs
from votive._store.array_values import from_array, from_pandas, is_pandas
from votive._store.arrow_values import from_arrow
from votive._store.column_type import STR
from votive._store.column_values import ColumnValues
from votive._store.python_values import from_objects, from_strings
from votive._store.value_kinds import Label, is_missing

# What the vectors, ids and texts are called where they stand beside the columns.
RESERVED = ("id", "text", "vector")

_TABLES = (
    "a mapping of names to columns, a DataFrame, an Arrow table, or a list of mappings of names to values, one for each row"
)


def read(metadata: Any, rows: int | None) -> dict[str, ColumnValues]:
    """Columns by name.

    Args:
        metadata: a mapping of names to columns, a DataFrame, a table that speaks Arrow, or a list, tuple or iterator of
            mappings of names to values, one for each row or None. A name that a row has not is null.
        rows: how many rows there are; None where that is not known.

    Raises:
        TypeError: it is nothing of this, or a column holds what none does; the message says which row, and what may be.
        ValueError: there are not as many values as rows, a name is taken, or no type holds all values of a column.
    """
    if _is_mapping(metadata):
        columns = {_checked_name(name): read_column(metadata[name], name) for name in metadata}
    elif _arrow.speaks_arrow(metadata):
        columns = _read_table(metadata)
    elif isinstance(metadata, list | tuple | Iterator):
        count, values = _transposed(metadata)
        _check_rows("metadata", count, rows)
        columns = {name: from_objects(column, _label(name)) for name, column in values.items()}
    else:
        raise TypeError(f"metadata: expected {_TABLES}, found {type(metadata).__name__}")
    for name, values in columns.items():
        _check_rows(_label(name).column, values.rows, rows)
    return columns


def read_column(values: Any, name: str) -> ColumnValues:
    """The values of one column: of NumPy, pandas, a library that speaks Arrow, or any iterable in order."""
    label = _label(name)
    if is_pandas(values):
        if type(values.dtype).__name__ == "ArrowDtype":
            values = getattr(values, "array", values).__arrow_array__()
        else:
            return from_pandas(values, label)
    if isinstance(values, np.ndarray):
        return from_array(values, label)
    if isinstance(values, list | tuple):
        return from_objects(values, label)
    if _arrow.speaks_arrow(values):
        return from_arrow(_arrow.column_chunks(values, label.column), label)
    if hasattr(values, "__array__") or hasattr(values, "__dlpack__"):
        return from_array(_as_array(values, label), label)
    if isinstance(values, str | bytes | bytearray | Mapping | Set) or not isinstance(values, Iterable):
        raise TypeError(
            f"{label.column}: expected a column, which is a list or an array of one value for each row, found "
            f"{type(values).__name__}"
        )
    return from_objects(list(values), label)


def read_values(metadata: Any, name: str = "metadata") -> dict[str, ColumnValues]:
    """One value for each name, as a column of one row.

    Args:
        metadata: a mapping of names to values, of which None is null, and a list or dict is itself a value.
        name: what messages call it.

    Raises:
        TypeError: it is no mapping, or a value is none that a column holds.
        ValueError: a name is taken, or no type holds a value.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"{name}: expected a mapping of names to values, found {type(metadata).__name__}")
    return {
        _checked_name(column, name): from_objects([value], Label(f"{name}[{column!r}]", None))
        for column, value in metadata.items()
    }


def _is_mapping(metadata: Any) -> bool:
    return hasattr(metadata, "keys") and hasattr(metadata, "__getitem__")


def _label(name: object) -> Label:
    return Label(f"metadata[{name!r}]")


def _checked_name(name: Any, argument: str = "metadata") -> str:
    """Accepts what a column may be called."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"{argument}: expected names of columns, found {name!r}")
    if name in RESERVED:
        raise ValueError(
            f"{argument}[{name!r}]: the name is taken; {RESERVED} are what a row consists of beside its metadata"
        )
    return name


def _check_rows(name: str, found: int, rows: int | None) -> None:
    if rows is not None and found != rows:
        raise ValueError(f"{name}: expected {rows}, as many as vectors, found {found}")


def _transposed(metadata: Iterable[Any]) -> tuple[int, dict[str, list[Any]]]:
    """How many rows there are, and the values of each name in them, in the order in which names first occur."""
    columns: dict[str, list[Any]] = {}
    count = 0
    for row in metadata:
        if row is not None and not isinstance(row, Mapping):
            raise TypeError(
                f"metadata[{count}]: expected a mapping of names to values or None, found {type(row).__name__}"
            )
        for name, value in () if row is None else row.items():
            column = columns.get(name)
            if column is None:
                column = columns[_checked_name(name)] = []
            if len(column) < count:
                column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    return count, columns


def _as_array(values: Any, label: Label) -> NDArray[Any]:
    try:
        return np.asanyarray(values) if hasattr(values, "__array__") else np.from_dlpack(values)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{label.column}: NumPy makes no array of {type(values).__name__} ({error})") from error


def read_texts(texts: Any, rows: int | None, name: str = "texts") -> ColumnValues:
    """Texts, or None for null, as a column of str.

    Args:
        texts: one str; or a list, array or column of pandas or Arrow of them, or any other iterable in order.
        rows: how many there are; None where that is not known.
        name: what messages call them.

    Raises:
        TypeError: it is no column, or one is neither a str nor null; the message says which.
        ValueError: there are not as many as rows, or one holds a lone surrogate.
    """
    values = _read_texts([texts] if isinstance(texts, str) else texts, name)
    _check_rows(name, values.rows, rows)
    return values


def _read_texts(texts: Any, name: str) -> ColumnValues:
    label = Label(name)
    if is_pandas(texts) and getattr(texts, "ndim", 1) == 1:
        held = np.array(texts.to_numpy(dtype=object), object)
        held[np.asarray(texts.isna())] = None
        return _from_texts(held.tolist(), label)
    if isinstance(texts, np.ndarray) and texts.dtype.kind in "UT" and texts.ndim == 1:
        return from_array(texts, label).cast(STR)
    if _arrow.speaks_arrow(texts) and not is_pandas(texts):
        return from_arrow(_arrow.value_chunks(texts, name), label, STR)
    return _from_texts(_inputs.whole(_inputs.column(texts, name)), label)


def _from_texts(texts: list[Any], label: Label) -> ColumnValues:
    classes = set(map(type, texts))
    if not classes <= {str, type(None)}:
        missing = {cls for cls in classes if is_missing(cls)}
        for row, text in enumerate(texts):
            if not isinstance(text, str) and type(text) not in missing:
                raise TypeError(f"{label.row(row)}: expected a str or None, found {type(text).__name__}")
        # A class of its own may have other methods.
        texts = [None if type(text) in missing else str.__str__(text) for text in texts]
    return from_strings(texts, label)


def _read_table(table: Any) -> dict[str, ColumnValues]:
    """The columns of a table that speaks Arrow."""
    parts: dict[str, list[_arrow.Values]] = {}
    for batch in _arrow.batches(table, "metadata"):
        for name in batch.names:
            label = _label(_checked_name(name))
            parts.setdefault(name, []).append(batch.values(name, label.column))
    return {name: from_arrow(values, _label(name)) for name, values in parts.items()}
