"""Metadata and texts as callers give them: tables, mappings of columns, and mappings for each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np

from votive import _arrow, _inputs
from votive._arrays import as_array
from votive._store.input.array_values import from_array, from_pandas, is_pandas
from votive._store.input.arrow_values import from_arrow
from votive._store.input.python_values import from_objects, from_strings
from votive._store.input.value_kinds import Label, is_missing
from votive._store.table.column_type import STR
from votive._store.table.column_values import ColumnValues
from votive._store.table.columns import TEXT, Values

# What the vectors, ids and texts are called where they stand beside the columns.
RESERVED = ("id", TEXT, "vector")

_TABLES = (
    "a mapping of names to columns, a DataFrame, an Arrow table, or a list of mappings of names to values for each row"
)


def read(metadata: Any, rows: int | None = None) -> Values:
    """Columns by name.

    Args:
        metadata: a mapping of names to columns, a DataFrame, a table that speaks Arrow, or a list, tuple or iterator of
            mappings of names to values, one for each row or None. A name that a row has not is null.
        rows: how many rows there are; None where that is not known. Only mappings for rows are counted here, for they
            may have no names.

    Raises:
        TypeError: it is nothing of this, or a column holds what none does; the message says which row, and what may be.
        ValueError: there are not as many mappings as rows, a name is taken, or no type holds all values of a column.
    """
    if hasattr(metadata, "keys") and hasattr(metadata, "__getitem__"):
        return {_checked_name(name): read_column(metadata[name], name) for name in metadata}
    if _arrow.speaks_arrow(metadata):
        return _read_table(metadata)
    if not isinstance(metadata, list | tuple | Iterator):
        raise TypeError(f"metadata: expected {_TABLES}, found {type(metadata).__name__}")
    count, columns = _transposed(metadata)
    if rows is not None and count != rows:
        raise ValueError(f"metadata: expected {rows}, as many as vectors, found {count}")
    return {name: from_objects(column, _label(name)) for name, column in columns.items()}


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
    values = _joined(values)
    if _arrow.speaks_arrow(values):
        shape = getattr(values, "shape", ())
        if len(shape) > 1:  # a table, which would be read as a column of dicts
            raise ValueError(f"{label.column}: expected one dimension, found shape {shape}")
        return from_arrow(_arrow.column_chunks(values, label.column), label)
    if hasattr(values, "__array__") or hasattr(values, "__dlpack__"):
        return from_array(as_array(values, label.column), label)
    if isinstance(values, str | bytes | bytearray | Mapping | Set) or not isinstance(values, Iterable):
        raise TypeError(
            f"{label.column}: expected a column, which is a list or an array of one value for each row, found "
            f"{type(values).__name__}; values of one row stand in a mapping, and the mappings of rows in a list"
        )
    return from_objects(list(values), label)


def read_values(metadata: Any, name: str = "metadata") -> Values:
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


def read_texts(texts: Any, name: str = "texts", position: int = 0) -> ColumnValues:
    """Texts, or None for null, as a column of str.

    Args:
        texts: one str; or a list, array or column of pandas or Arrow of them, or any other iterable in order.
        name: what messages call them.
        position: number of the first row, for messages.

    Raises:
        TypeError: it is no column, or one is neither a str nor null; the message says which.
        ValueError: one holds a lone surrogate.
    """
    label = Label(name, position)
    if is_pandas(texts) and getattr(texts, "ndim", 1) == 1:
        held = np.array(texts.to_numpy(dtype=object), object)
        held[np.asarray(texts.isna())] = None
        return _from_texts(held.tolist(), label)
    if isinstance(texts, np.ndarray) and texts.dtype.kind in "UT" and texts.ndim == 1:
        return from_array(texts, label)
    texts = _joined(texts)
    if _arrow.speaks_arrow(texts) and not is_pandas(texts):
        return from_arrow(_arrow.value_chunks(texts, name), label, STR)
    return _from_texts([texts] if isinstance(texts, str) else _inputs.whole(_inputs.column(texts, name)), label)


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


def _joined(column: Any) -> Any:
    """One chunk of those of pyarrow before version 15, which speak no Arrow while they are several."""
    is_chunked = hasattr(column, "combine_chunks") and not _arrow.speaks_arrow(column)
    return column.combine_chunks() if is_chunked else column


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


def _read_table(table: Any) -> Values:
    """The columns of a table that speaks Arrow."""
    parts: dict[str, list[_arrow.Values]] = {}
    for batch in _arrow.batches(table, "metadata"):
        for name in batch.names:
            parts.setdefault(name, []).append(batch.values(name, _label(_checked_name(name)).column))
    return {name: from_arrow(values, _label(name)) for name, values in parts.items()}


def read_column_of(batch: _arrow.Batch, name: str) -> ColumnValues:
    """A column of some rows of a table, checked as by `read`."""
    label = _label(_checked_name(name))
    return from_arrow([batch.values(name, label.column)], label.after(batch.position))


def read_texts_of(batch: _arrow.Batch, name: str) -> ColumnValues:
    """The column of some rows of a table that holds their texts, checked as by `read_texts`."""
    values = batch.values(name, "texts")
    if values.type not in ("str", "null"):
        raise TypeError(f"texts: expected a column of strings, found {values.type}")
    return from_arrow([values], Label("texts"), STR)
