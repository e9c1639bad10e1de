"""Columns that were read out of Arrow memory as values of a store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from votive import _arrow
from votive._store.input.json_values import from_lists_and_dicts
from votive._store.input.value_kinds import Label
from votive._store.table.column_type import NULL, ColumnType
from votive._store.table.column_values import ColumnValues, concatenate


def from_arrow(chunks: Iterable[_arrow.Values], label: Label, type: ColumnType = NULL) -> ColumnValues:
    """Chunks of a column, one after the other; of `type` where no row has a value.

    Raises:
        TypeError: lists or dicts hold what JSON cannot.
    """
    parts: list[ColumnValues] = []
    rows = 0
    for chunk in chunks:
        parts.append(_from_chunk(chunk, label.after(rows)))
        rows += chunk.rows
        if parts[-1].type != NULL:
            type = parts[-1].type
    return parts[0] if len(parts) == 1 and parts[0].type == type else concatenate(type, parts)


def _from_chunk(chunk: _arrow.Values, label: Label) -> ColumnValues:
    if chunk.type == "null":
        return ColumnValues.nulls(NULL, chunk.rows)
    if chunk.type == "json":
        return from_lists_and_dicts(chunk.to_list(), label)
    data: Any = chunk.data
    return ColumnValues(ColumnType(chunk.type), np.asarray(data), chunk.offsets, chunk.valid)
