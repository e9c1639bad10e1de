"""Segments: rows of a store as files, and back. `votive.persistence` describes the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._core import Store, StoreError
from votive._store.chunked_array import ChunkedArray
from votive._store.columns import Columns
from votive._store.contents import Contents
from votive._store.directory import Directory
from votive._store.manifest import ArrayFile, Manifest, Segment, code_stride, corrupt_error
from votive._store.mapped import MappedFile, mapped_file_of
from votive._store.options import DTYPES
from votive._store.strings import check_characters, check_texts
from votive._store.texts import Raw, Texts
from votive._store.writer import Writer

# Rows `start..stop`, and which of them, counted from `start`; None for all of them.
Block = tuple[int, int, NDArray[np.int64] | None]

# Gives the array of a file in a folder, by its name.
ReadArray = Callable[[Directory, str, ArrayFile], NDArray[Any]]

# Bytes of vectors that are gathered at once where rows between are deleted.
_GATHERED_BYTES = 16 << 20

_VECTOR_PARTS = ("vectors", "codes", "bounds")


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


def runs(core: Store, start: int) -> list[list[Block]]:
    """The rows from `start` on, in runs of those that have vectors and those of which only the ids are left."""
    found: list[tuple[int, int]] = []
    at, has_vectors = start, False
    for first, _, _, bounds in core.segments():
        begin, end = max(first, start), first + len(bounds)
        if begin < end:
            if begin > at:
                found.append((at, begin))
            elif has_vectors:
                begin = found.pop()[0]
            found.append((begin, end))
            at, has_vectors = end, True
    if at < core.rows:
        found.append((at, core.rows))
    return [[(begin, end, None)] for begin, end in found]


def write(writer: Writer, contents: Contents, blocks: list[Block], first_row: int) -> Segment:
    """Writes rows as a segment whose first row has the number `first_row`."""
    core = contents.core
    rows = sum(stop - start if keep is None else len(keep) for start, stop, keep in blocks)
    parts: dict[str, str] = {}
    if next(_core_rows(core, blocks, 2), None) is not None:
        dtype = DTYPES[core.dtype].npy_dtype
        if dtype is not None:
            parts["vectors"] = writer.write("vectors", dtype, (rows, core.dimension), _core_rows(core, blocks, 0))
        stride = code_stride(core.dimension)
        parts["codes"] = writer.write("codes", "|i1", (rows, stride), _core_rows(core, blocks, 1))
        parts["bounds"] = writer.write("bounds", "<f4", (rows, 6), _core_rows(core, blocks, 2))
    if core.id_kind == "str":
        parts |= _write_strings(writer, "ids", rows, core.id_slice, blocks)
    else:
        parts["ids"] = writer.write("ids", "<i8", (rows,), _block_rows(core.id_slice, blocks))
    if contents.texts is not None:
        parts |= _write_strings(writer, "texts", rows, contents.texts.slice, blocks)
    columns = {
        name: writer.write(
            "column",
            column.dtype.newbyteorder("<").str,
            (rows,),
            _block_rows(column.slice, blocks),
        )
        for name, column in contents.columns.items()
    }
    return Segment(first_row, rows, parts, columns)


def without_deleted(segment: Segment, deleted: NDArray[np.int64]) -> Segment:
    """A segment; without vectors if all of its rows are deleted."""
    start, stop = np.searchsorted(deleted, (segment.first_row, segment.first_row + segment.rows))
    if stop - start < segment.rows:
        return segment
    return replace(segment, parts={part: name for part, name in segment.parts.items() if part not in _VECTOR_PARTS})


def read(folder: Directory, manifest: Manifest, core: Store, get: ReadArray) -> Contents:
    """The rows of a folder.

    Args:
        folder: The folder.
        manifest: Its manifest.
        core: An empty store to put them in.
        get: Gives the array of a file.

    Raises:
        CorruptStoreError: What is in a file is none of what can be written there.
    """

    def of(name: str) -> NDArray[Any]:
        return get(folder, name, manifest.files[name])

    def checked(name: str) -> NDArray[Any]:
        # All of it is read below, so that its checksum costs little.
        array = of(name)
        if (file := mapped_file_of(array)) is not None:
            file.check()
        return array

    def texts_of(segment: Segment) -> Raw:
        offsets_name, name = segment.parts["texts_offsets"], segment.parts["texts_bytes"]
        texts = checked(offsets_name), of(name)
        check_offsets(folder.path / offsets_name, *texts)
        if mapped_file_of(texts[1]) is None:  # else they are looked at when they are used
            check_texts(folder.path / name, *texts)
        return texts

    def ids_of(segment: Segment) -> Any:
        if manifest.id_kind == "str":
            return checked(segment.parts["ids_offsets"]), checked(segment.parts["ids_bytes"])
        return checked(segment.parts["ids"])

    deleted = np.empty(0, np.int64)
    if manifest.deleted is not None:
        deleted = checked(manifest.deleted)
        ends = deleted[[0, -1]] if len(deleted) else [0, 0]
        if ends[0] < 0 or ends[-1] >= manifest.rows or (np.diff(deleted) <= 0).any():
            raise corrupt_error(folder.path / manifest.deleted, f"expected ascending numbers below {manifest.rows}")
    columns: dict[str, list[NDArray[Any]]] = {}
    offsets: list[NDArray[np.int64]] = []
    utf8: list[NDArray[np.uint8]] = []
    vector_files: list[MappedFile] = []
    for segment in manifest.segments:
        stop = segment.first_row + segment.rows
        gone = deleted[slice(*np.searchsorted(deleted, (segment.first_row, stop)))]
        ids = ids_of(segment)
        vectors, codes, bounds = (of(segment.parts[part]) if part in segment.parts else None for part in _VECTOR_PARTS)
        vector_files += [file for array in (vectors, codes, bounds) if (file := mapped_file_of(array)) is not None]
        try:
            core = core.attach(vectors, codes, bounds, ids, gone)
        except StoreError as error:
            name = segment.parts.get(error.argument or "") or segment.parts.get("ids") or segment.parts["ids_bytes"]
            raise corrupt_error(folder.path / name, error.reason or str(error)) from None
        if "texts_bytes" in segment.parts:
            texts = texts_of(segment)
            # Texts are counted through all segments.
            offsets.append(texts[0][1:] + sum(len(part) for part in utf8) if utf8 else texts[0][1:])
            utf8.append(texts[1])
        for column, name in segment.columns.items():
            values = of(name)
            if mapped_file_of(values) is None:
                check_characters(folder.path / name, values)
            columns.setdefault(column, []).append(values)
    if manifest.largest_id is not None:
        core = core.numbered_after(manifest.largest_id)
    if len(core) + len(deleted) != core.rows:
        raise corrupt_error(folder.path, "rows without vectors that are not among the deleted ones")
    return Contents(
        core,
        Columns({name: _chunked(arrays) for name, arrays in columns.items()}),
        Texts(_chunked(offsets), _chunked(utf8)) if utf8 else None,
        manifest.dimension,
        vector_files=tuple(vector_files),
    )


def check_offsets(path: Path, offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> None:
    """Accepts offsets that cut these bytes into strings."""
    if offsets[0] != 0 or offsets[-1] != len(utf8) or (np.diff(offsets) < 0).any():
        raise corrupt_error(path, f"expected ascending offsets from 0 to {len(utf8)}")


def _core_rows(core: Store, blocks: list[Block], at: int) -> Iterator[NDArray[Any]]:
    """The rows of blocks in the vectors, codes or bounds of segments, as `at` is 0, 1 or 2."""
    segments: list[Any] = core.segments()
    for start, stop, keep in blocks:
        for first, *arrays in segments:
            begin, end = max(start, first), min(stop, first + len(arrays[2]))
            if begin < end:
                part = arrays[at][begin - first : end - first]
                inside = slice(None) if keep is None else slice(*np.searchsorted(keep, (begin - start, end - start)))
                yield part if keep is None else part[keep[inside] + (start - begin)]


def _block_rows(rows: Callable[[int, int], Any], blocks: list[Block]) -> Iterator[NDArray[Any]]:
    """The values of blocks, where `rows(start, stop)` gives those of a range."""
    for start, stop, keep in blocks:
        yield rows(start, stop) if keep is None else rows(start, stop)[keep]


def _write_strings(
    writer: Writer, what: str, rows: int, slices: Callable[[int, int], Any], blocks: list[Block]
) -> dict[str, str]:
    """Writes the strings of blocks, where `slices(start, stop)` gives those of a range."""

    def kept() -> Iterator[Raw]:
        for start, stop, keep in blocks:
            offsets, utf8 = slices(start, stop)
            yield (offsets, utf8) if keep is None else _take_strings(offsets, utf8, keep)

    offsets = np.zeros(rows + 1, np.int64)
    at = 0
    for these, _ in kept():
        offsets[at : at + len(these)] = these + offsets[at]
        at += len(these) - 1
    return {
        f"{what}_offsets": writer.write(f"{what}_offsets", "<i8", offsets.shape, [offsets]),
        f"{what}_bytes": writer.write(f"{what}_bytes", "|u1", (int(offsets[-1]),), (utf8 for _, utf8 in kept())),
    }


def _take_strings(offsets: NDArray[np.int64], utf8: NDArray[np.uint8], keep: NDArray[np.int64]) -> Raw:
    """Some of the strings."""
    lengths = np.diff(offsets)[keep]
    kept = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(kept[-1]) + np.repeat(offsets[keep] - kept[:-1], lengths)
    return kept, utf8[places]


def _chunked(arrays: list[NDArray[Any]]) -> ChunkedArray:
    return ChunkedArray(tuple((array, len(array)) for array in arrays))
