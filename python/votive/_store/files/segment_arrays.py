"""The arrays of a segment or of changed rows: which there are, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._core import Store
from votive._store.array_file import StoredArray
from votive._store.coarse_codes import MADE_ROWS, coarse_codes
from votive._store.contents import Contents
from votive._store.files.archive import PendingArray
from votive._store.files.manifest import coarse_stride, code_stride
from votive._store.files.writer import Writer
from votive._store.options import DTYPES
from votive._store.table.column import Column
from votive._store.table.column_type import NULL, STR
from votive._store.table.column_values import ColumnValues, Rows
from votive._store.table.columns import TEXT

# Rows `start..stop`, and which of them, counted from `start`; None for all of them.
Block = tuple[int, int, Rows | None]

Parts = dict[str, PendingArray]
Locations = dict[str, str]

# Values of columns that are gathered at once.
_GATHERED_ROWS = 1 << 16

# Arrays of no more bytes together go to one file.
MAX_ARCHIVE_BYTES = 4 << 20


def core_arrays(contents: Contents, blocks: list[Block], rows: int, *, has_vectors: bool) -> Parts:
    """Vectors, codes, bounds and coarse codes of blocks where the rows have them, and ids."""
    core = contents.core
    layout, width = DTYPES[core.dtype], core.dimension
    parts: Parts = {}

    def add(name: str, dtype: str, columns: int, at: int) -> None:
        parts[name] = PendingArray(name, StoredArray(dtype, (rows, columns)), _Rows(core, blocks, at, dtype, columns))

    if has_vectors:
        if layout.npy_dtype is not None:
            add("vectors", layout.npy_dtype, layout.row_elements(width), 0)
        if layout.has_codes:
            add("codes", "|i1", code_stride(width), 1)
            add("bounds", "<f4", 6, 2)
        if layout.has_coarse:
            add("coarse", "|u1", coarse_stride(width), 3)
    if core.id_kind == "str":
        parts |= _id_strings(core, blocks, rows)
    else:
        parts["ids"] = PendingArray(
            "ids",
            StoredArray("<i8", (rows,)),
            (_kept(core.id_slice(start, stop), keep) for start, stop, keep in blocks),
        )
    return parts


def column_arrays(contents: Contents, blocks: list[Block]) -> dict[str, Parts]:
    """The arrays of the columns of blocks that have a value there."""
    found = {name: _column_parts(name, _Pieces(column, blocks)) for name, column in contents.columns.items()}
    return {name: parts for name, parts in found.items() if parts}


def change_arrays(contents: Contents, changed: Mapping[str, Rows]) -> dict[str, Parts]:
    """The arrays of the values of rows, and of the numbers of the rows, by the names of the columns."""
    found = {}
    for name, rows in changed.items():
        column = contents.columns[name]
        if column.type != NULL and len(rows):
            values = column.take(rows)
            parts = _column_parts(name, [values]) or _column_parts(name, [values], all_null=True)
            found[name] = {"rows": PendingArray.of("rows", rows), **parts}
    return found


def write_arrays(
    writer: Writer, what: str, parts: Parts, columns: Mapping[str, Parts], *, may_archive: bool
) -> tuple[Locations, dict[str, Locations]]:
    """Writes arrays, and gives their locations: in one file named `what` where they are few bytes and `may_archive`."""
    arrays = [*parts.values(), *(array for column in columns.values() for array in column.values())]
    if not may_archive or sum(array.stored.bytes for array in arrays) > MAX_ARCHIVE_BYTES:
        return (
            {part: writer.write(array) for part, array in parts.items()},
            {name: {part: writer.write(array) for part, array in column.items()} for name, column in columns.items()},
        )
    named = {
        name: {part: array._replace(name=f"{array.name}-{number}") for part, array in column.items()}
        for number, (name, column) in enumerate(columns.items())
    }
    members = [*parts.values(), *(array for column in named.values() for array in column.values())]
    at = writer.write_archive(what, members)
    return (
        {part: at[array.name] for part, array in parts.items()},
        {name: {part: at[array.name] for part, array in column.items()} for name, column in named.items()},
    )


class _Rows:
    """The rows of blocks in the vectors, codes, bounds or coarse codes of a core, as `at` is 0 to 3.

    Zeros are for rows of which the core has nothing. Coarse codes that were not saved are made.
    """

    def __init__(self, core: Store, blocks: list[Block], at: int, dtype: str, columns: int) -> None:
        self._core = core
        self._segments: list[Any] = core.segments()
        self._blocks, self._at = blocks, at
        self._dtype, self._columns = dtype, columns

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for start, stop, keep in self._blocks:
            done = start
            for first, *arrays in self._segments:
                array = arrays[self._at]
                there = next(array for array in arrays if array is not None)
                begin, end = max(start, first), min(stop, first + len(there))
                if begin >= end:
                    continue
                rows: Rows | slice = slice(begin - first, end - first)
                if keep is None:
                    yield self._zeros(begin - done)
                else:
                    inside = slice(*np.searchsorted(keep, (begin - start, end - start)))
                    rows = keep[inside] + (start - first)
                if array is not None:
                    yield array[rows]
                else:
                    vectors = arrays[0][rows]
                    for at in range(0, len(vectors), MADE_ROWS):
                        yield coarse_codes(self._core, vectors[at : at + MADE_ROWS])
                done = end
            if keep is None:
                yield self._zeros(stop - done)

    def _zeros(self, rows: int) -> NDArray[Any]:
        return np.zeros((rows, self._columns), self._dtype)


class _Pieces:
    """The values of a column of blocks, some rows at a time."""

    def __init__(self, column: Column, blocks: list[Block]) -> None:
        self._column = column
        self._blocks = blocks

    def __iter__(self) -> Iterator[ColumnValues]:
        for start, stop, keep in self._blocks:
            for begin in range(start, stop, _GATHERED_ROWS):
                end = min(begin + _GATHERED_ROWS, stop)
                values = self._column.slice(begin, end)
                if keep is not None:
                    inside = slice(*np.searchsorted(keep, (begin - start, end - start)))
                    values = values.take(keep[inside] - (begin - start))
                yield values.trimmed()


def _column_parts(name: str, pieces: Any, *, all_null: bool = False) -> Parts:
    """The arrays of values, which are gone through twice; none where all are null, unless `all_null`."""
    what = "texts" if name == TEXT else "column"
    valid: list[NDArray[np.bool_]] = []
    lengths: list[NDArray[np.int64]] = []
    has_nulls, type = False, NULL
    for values in pieces:
        type = values.type
        has_nulls |= values.valid is not None
        valid.append(np.ones(values.rows, np.bool_) if values.valid is None else values.valid)
        if values.offsets is not None:
            lengths.append(np.diff(values.offsets))
    rows = sum(map(len, valid))
    if type == NULL or (not all_null and has_nulls and not any(part.any() for part in valid)):
        return {}
    parts: Parts = {}
    if type.is_variable:
        offsets = np.zeros(rows + 1, np.int64)
        np.cumsum(np.concatenate(lengths), out=offsets[1:])
        parts["offsets"] = PendingArray.of(f"{what}_offsets", offsets)
        stored = StoredArray("|u1", (int(offsets[-1]),))
        parts["bytes"] = PendingArray(f"{what}_bytes", stored, (values.data for values in pieces))
    else:
        stored = StoredArray(type.dtype.newbyteorder("<").str, (rows,))
        parts["values"] = PendingArray("column", stored, (values.data for values in pieces))
    if has_nulls and not all(part.all() for part in valid):
        parts["valid"] = PendingArray.of(f"{what}_valid", np.concatenate(valid))
    return parts


def _id_strings(core: Store, blocks: list[Block], rows: int) -> Parts:
    def kept() -> Iterator[ColumnValues]:
        for start, stop, keep in blocks:
            offsets, utf8 = core.id_slice(start, stop)
            values = ColumnValues(STR, utf8, offsets)
            yield values if keep is None else values.take(keep)

    return {
        f"ids_{part}": array._replace(name=f"ids_{part}") for part, array in _column_parts("", _Again(kept)).items()
    }


class _Again:
    """What can be gone through again."""

    def __init__(self, begin: Callable[[], Iterator[ColumnValues]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[ColumnValues]:
        return self._begin()


def _kept(values: Any, keep: Rows | None) -> NDArray[Any]:
    return values if keep is None else values[keep]
