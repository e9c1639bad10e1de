"""Values that columns of rows are changed to, as callers give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from votive import _arrow
from votive._store.input import metadata as _metadata
from votive._store.table.column_values import ColumnValues, Rows
from votive._store.table.columns import TEXT, Changes, Values, label


def read(
    rows: Rows, texts: Any, metadata: Any, check: Callable[[int], None], *, each: bool
) -> tuple[Changes, dict[str, Rows]]:
    """Reads the arguments of `EmbeddingStore.update`.

    Args:
        rows: numbers of the rows, in the order of the values.
        texts: see there.
        metadata: see there.
        check: is called with the bytes that values will take, before they are taken.
        each: whether there is one value of each, which all rows get.

    Returns:
        The changes, and for each column where its values stood in what was given.

    Raises:
        TypeError, ValueError: an argument has a type or value that is not accepted.
    """
    changes: Changes = {}
    places: dict[str, Rows] = {}
    given: list[tuple[Values, Rows]] = []
    if each:
        one = _read_one(texts, metadata)
        check(sum(column.nbytes for column in one.values()) * len(rows))
        given.append((one, np.zeros(len(rows), np.int64)))
    else:
        if texts is not None:
            given.append(({TEXT: _metadata.read_texts(texts, "texts")}, np.arange(len(rows))))
        if metadata is not None:
            given += _read_metadata(metadata, len(rows))
    for values, index in given:
        for name, column in values.items():
            if not each and column.rows != len(rows):
                raise ValueError(f"{label(name)}: expected {len(rows)}, as many as ids, found {column.rows}")
            these = rows if each else rows[index]
            # Of ids that come twice the last counts.
            unique, last = np.unique(these[::-1], return_index=True)
            last = len(these) - 1 - last
            changes[name] = (unique, column.take(index[last]))
            places[name] = index[last]
    return changes, places


def _read_one(texts: Any, metadata: Any) -> Values:
    values: Values = {}
    if texts is not None:
        if not isinstance(texts, str):
            raise TypeError(f"texts: expected one str for all rows, found {type(texts).__name__}")
        values[TEXT] = ColumnValues.of_strings([texts])
    if metadata is not None:
        values |= _metadata.read_values(metadata, "metadata")
    return values


def _read_metadata(metadata: Any, rows: int) -> list[tuple[Values, Rows]]:
    """Columns of one value for each row, with the places of the rows that they change."""
    if not isinstance(metadata, list | tuple | Iterator) or _arrow.speaks_arrow(metadata):
        return [(_metadata.read(metadata), np.arange(rows))]
    records = list(metadata)
    columns = _metadata.read(records)
    if len(records) != rows:
        raise ValueError(f"metadata: expected {rows}, as many as ids, found {len(records)}")
    return [
        ({name: column}, np.array([row for row, record in enumerate(records) if record is not None and name in record]))
        for name, column in columns.items()
    ]
