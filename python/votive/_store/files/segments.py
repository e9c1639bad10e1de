"""Segments: rows of a store as files, and back. `votive.persistence` describes the files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._core import Store, StoreError
from votive._store.array_file import corrupt_error
from votive._store.contents import Contents
from votive._store.files.folder import FolderArrays
from votive._store.files.manifest import ChangeSet, Segment
from votive._store.files.segment_arrays import Block, change_arrays, column_arrays, core_arrays, write_arrays
from votive._store.files.writer import Writer
from votive._store.mapped import MappedFile, mapped_file_of
from votive._store.table.column import Column, Patch
from votive._store.table.column_type import NULL, ColumnType
from votive._store.table.column_values import ColumnValues, Rows, concatenate
from votive._store.table.columns import Columns
from votive._store.table.value_checks import check_values

# Bytes of vectors that are gathered at once where rows between are deleted.
_GATHERED_BYTES = 16 << 20

# Rows without vectors, all of them deleted, that are written as zeros rather than as a segment of their own.
_MAX_FILLED_ROWS = 1024

# Of a folder with more rows it is not looked for ids that come twice before `verify`: that would be most of opening.
MAX_EAGER_ROWS = 1 << 16

# Rows that are decoded at once.
_DECODED_ROWS = 1 << 14

_VECTOR_PARTS = ("vectors", "codes", "bounds", "coarse")


def live_blocks(contents: Contents) -> list[Block]:
    """The live rows."""
    live, rows = contents.live(), contents.core.rows
    if live is None:
        return [(0, rows, None)] if rows else []
    size = max(1, _GATHERED_BYTES // (4 * contents.core.dimension))
    blocks: list[Block] = []
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        these = live[slice(*np.searchsorted(live, (start, stop)))]
        if len(these):
            blocks.append((start, stop, None if len(these) == stop - start else these - start))
    return blocks


def runs(core: Store, start: int) -> list[tuple[int, int, bool]]:
    """The rows from `start` on, in runs that have vectors, or of which only the ids are left: those are long."""
    found: list[tuple[int, int, bool]] = []

    def add(begin: int, end: int, has_vectors: bool) -> None:
        if begin >= end:
            return
        is_short = not has_vectors and end - begin <= _MAX_FILLED_ROWS
        if found and (found[-1][2] == has_vectors or is_short):
            found[-1] = (found[-1][0], end, found[-1][2])
        elif found and has_vectors and found[-1][1] - found[-1][0] <= _MAX_FILLED_ROWS:
            begin = found.pop()[0]
            add(begin, end, True)
        else:
            found.append((begin, end, has_vectors))

    at = start
    segments: list[Any] = core.segments()
    for first, vectors, codes, *_ in segments:
        begin, end = max(first, start), first + len(codes if vectors is None else vectors)
        if begin < end:
            add(at, begin, False)
            add(begin, end, True)
            at = end
    add(at, core.rows, False)
    return found


def write(
    writer: Writer, contents: Contents, blocks: list[Block], first_row: int, *, has_vectors: bool, may_archive: bool
) -> Segment:
    """Writes rows as a segment whose first row has the number `first_row`."""
    rows = sum(stop - start if keep is None else len(keep) for start, stop, keep in blocks)
    parts = core_arrays(contents, blocks, rows, has_vectors=has_vectors)
    columns = column_arrays(contents, blocks) if has_vectors else {}
    return Segment(first_row, rows, *write_arrays(writer, "segment", parts, columns, may_archive=may_archive))


def write_changes(writer: Writer, contents: Contents, changed: Mapping[str, Rows]) -> ChangeSet | None:
    """Writes the values of rows of segments before; None where no column has any."""
    columns = change_arrays(contents, changed)
    if not columns:
        return None
    _, locations = write_arrays(writer, "changes", {}, columns, may_archive=True)
    return ChangeSet(sum(len(changed[name]) for name in columns), locations)


def without_deleted(segment: Segment, deleted: NDArray[np.bool_]) -> Segment:
    """A segment; of one whose rows are all deleted the ids alone, where the others are in files of their own."""
    stop = segment.first_row + segment.rows
    if not deleted[segment.first_row : stop].all() or any("/" in place for place in segment.locations):
        return segment
    parts = {part: place for part, place in segment.parts.items() if part not in _VECTOR_PARTS}
    return replace(segment, parts=parts, columns={})


def read(arrays: FolderArrays, core: Store) -> Contents:
    """The rows of a folder.

    Args:
        arrays: of the folder.
        core: an empty store to put the vectors and ids in.

    Raises:
        CorruptStoreError: What is in a file is none of what can be written there.
    """
    manifest = arrays.manifest
    deleted = _read_deleted(arrays)
    chunks: dict[str, list[ColumnValues]] = {name: [] for name in manifest.columns}
    vector_files: list[MappedFile] = []
    resident = 0
    for segment in manifest.segments:
        stop = segment.first_row + segment.rows
        gone = deleted[slice(*np.searchsorted(deleted, (segment.first_row, stop)))]
        if manifest.id_kind == "str":
            ids: Any = _checked(arrays, segment.parts["ids_offsets"]), _checked(arrays, segment.parts["ids_bytes"])
        else:
            ids = _checked(arrays, segment.parts["ids"])
        vectors, codes, bounds, coarse = (
            arrays[segment.parts[part]] if part in segment.parts else None for part in _VECTOR_PARTS
        )
        for array in (vectors, codes, bounds, coarse):
            if (file := mapped_file_of(array)) is not None:
                vector_files.append(file)
            elif array is not None:
                resident += array.nbytes
        try:
            attach = core.attach_deferred if manifest.rows > MAX_EAGER_ROWS else core.attach
            core = attach(vectors, codes, bounds, coarse, ids, gone)
        except StoreError as error:
            location = segment.parts.get(error.argument or "") or segment.parts.get("ids") or segment.parts["ids_bytes"]
            raise corrupt_error(arrays.path(location), error.reason or str(error)) from None
        for name, type in manifest.columns.items():
            if name in segment.columns:
                chunks[name].append(_read_values(arrays, segment.columns[name], type))
            else:
                chunks[name].append(ColumnValues.nulls(NULL, segment.rows))
    if manifest.largest_id is not None:
        core = core.numbered_after(manifest.largest_id)
    if len(core) + len(deleted) != core.rows:
        raise corrupt_error(arrays.folder.path, "rows without vectors that are not among the deleted ones")
    columns = {
        name: Column(type, tuple(chunks[name]), _read_patches(arrays, name, type))
        for name, type in manifest.columns.items()
    }
    return Contents(
        core,
        Columns(columns, core.rows),
        manifest.dimension,
        resident=resident,
        vector_files=tuple(vector_files),
        embedder=manifest.embedder,
    )


def _checked(arrays: FolderArrays, location: str) -> NDArray[Any]:
    """An array all of which is read anyway, so that its checksum costs little."""
    array = arrays[location]
    if (file := mapped_file_of(array)) is not None:
        file.check()
    return array


def _read_deleted(arrays: FolderArrays) -> Rows:
    """The numbers of the deleted rows."""
    manifest = arrays.manifest
    if manifest.deleted is None:
        return np.empty(0, np.int64)
    found = _checked(arrays, manifest.deleted)
    if manifest.array(manifest.deleted).dtype == "<i8":  # of version 1
        deleted = np.asarray(found)
        ends = deleted[[0, -1]] if len(deleted) else [0, 0]
        if ends[0] < 0 or ends[-1] >= manifest.rows or (np.diff(deleted) <= 0).any():
            raise corrupt_error(arrays.path(manifest.deleted), f"expected ascending numbers below {manifest.rows}")
        return deleted
    deleted = np.flatnonzero(np.unpackbits(found, bitorder="little"))
    if len(deleted) != manifest.deleted_rows or (len(deleted) and deleted[-1] >= manifest.rows):
        raise corrupt_error(arrays.path(manifest.deleted), f"expected {manifest.deleted_rows} of {manifest.rows} bits")
    return deleted.astype(np.int64, copy=False)


def _read_patches(arrays: FolderArrays, name: str, type: ColumnType) -> tuple[Patch, ...]:
    patches = []
    for change in arrays.manifest.changes:
        if name not in change.columns:
            continue
        location = change.columns[name]["rows"]
        rows = _checked(arrays, location)
        if rows[0] < 0 or rows[-1] >= arrays.manifest.rows or (np.diff(rows) <= 0).any():
            raise corrupt_error(arrays.path(location), f"expected ascending numbers below {arrays.manifest.rows}")
        patches.append(Patch(rows, _read_values(arrays, change.columns[name], type)))
    return tuple(patches)


def _read_values(arrays: FolderArrays, parts: Mapping[str, str], type: ColumnType) -> ColumnValues:
    """The values of a column: mapped, or checked."""
    valid = arrays[parts["valid"]] if "valid" in parts else None
    if type.is_variable and "values" in parts:
        return _read_fixed_width(_checked(arrays, parts["values"]), type, arrays, parts["values"])
    if type.is_variable:
        values = ColumnValues(type, arrays[parts["bytes"]], arrays[parts["offsets"]], valid)
    else:
        dtype = arrays.manifest.array(parts["values"]).dtype
        values = ColumnValues(ColumnType.of_npy(dtype), arrays[parts["values"]], None, valid)
    if not values.is_mapped:
        check_values(values, {part: arrays.path(place) for part, place in parts.items()})
    return values


def _read_fixed_width(array: NDArray[Any], type: ColumnType, arrays: FolderArrays, location: str) -> ColumnValues:
    """Values of version 1, which kept str and bytes in arrays as wide as the longest."""
    pieces = []
    for start in range(0, len(array), _DECODED_ROWS):
        part = np.asarray(array[start : start + _DECODED_ROWS])
        # NumPy makes a str of any numbers, also one that is none and encodes to what is no UTF-8.
        if type.name == "str" and (part.view("<u4") > sys.maxunicode).any():
            raise corrupt_error(arrays.path(location), "holds numbers that are no characters")
        try:
            values = part.tolist()
            pieces.append(ColumnValues.of_bytes(type, [v.encode() if type.name == "str" else v for v in values]))
        except ValueError as error:  # that of UnicodeError, too
            raise corrupt_error(arrays.path(location), f"holds numbers that are no characters ({error})") from None
    return concatenate(type, pieces)
