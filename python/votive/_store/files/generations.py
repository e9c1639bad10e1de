"""Generations of a folder: what a store holds, written as the next one, and read to verify it.

Algorithm: a log-structured merge tree (O'Neil et al., 1996) whose runs are segments, which `tiers` merges:

    commit:  merged = the last segments that are not much larger than the new rows
             write merged and new rows as one segment
             merged = the last sets of changes that are not much larger than the new one
             write the rows that they change, and the new ones, as one set, with the values that rows have now
             write a bit for each row that says whether it is deleted
             publish the manifest of these and of what was before and not merged

Why it is right: a row's values are those of the last set of changes that has it, else of its segment. Every change of a
row that the folder had goes to a set, also where its segment is written anew with the same commit. So the last set that
has a row has its last change, and what is merged is at the end and holds the values of now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from votive._core import CorruptStoreError, Store, StoreError
from votive._store.array_file import corrupt_error, split_location
from votive._store.coarse_codes import coarse_codes
from votive._store.contents import Contents
from votive._store.files import segments as _segments
from votive._store.files.archive import PendingArray
from votive._store.files.directory import Directory
from votive._store.files.folder import FolderArrays, check_file, read_consistently
from votive._store.files.manifest import ChangeSet, Manifest, Segment
from votive._store.files.writer import Writer
from votive._store.options import STAND_IN_DIMENSION
from votive._store.table.column_values import Rows
from votive._store.table.tiers import merged_runs
from votive._store.table.value_checks import check_json

# Rows of which codes are computed again at once, to compare them.
_COMPARED_ROWS = 1 << 14

# Larger segments are not written anew with those after them.
MAX_MERGED_SEGMENT_BYTES = 256 << 20


def save(contents: Contents, path: Path) -> Manifest:
    """Writes the live rows as the next generation of a folder, which may be new.

    Raises:
        CorruptStoreError: A file that rows are in is not what was written; nothing is written then.
    """
    contents.check_files()
    with Writer(path, make=True) as writer:
        blocks = _segments.live_blocks(contents)
        segments = []
        if blocks:
            segments = [_segments.write(writer, contents, blocks, 0, has_vectors=True, may_archive=False)]
        return _publish(writer, contents, segments, [], None, 0)


def commit(contents: Contents, writer: Writer, *, committed: int | None) -> Manifest:
    """Writes what a folder lacks: new rows, and which were changed and deleted.

    Args:
        contents: What the folder is to hold.
        writer: Writer of the folder.
        committed: Number of the last edit that the folder has; None where rows that it holds have other numbers now, so
            that all are written.

    Raises:
        CorruptStoreError: What is written anew is in a file that is not what was written; nothing is written then.
    """
    old = writer.manifest
    assert old is not None, "a folder that is open holds a store"
    if committed is not None and not _differs(contents, old, committed):
        return old
    try:
        if committed is None:
            contents.check_files()
            segments = _write_runs(writer, contents, 0, may_archive=False)
            changes: list[ChangeSet] = []
        else:
            segments = _write_new(writer, contents, old)
            changes = _write_changes(writer, contents, old, _changed(contents, committed, old.rows))
        deleted = None
        if contents.deleted_rows:
            mask = _deleted_mask(contents)
            segments = [_segments.without_deleted(segment, mask) for segment in segments]
            deleted = writer.write(PendingArray.of("deleted", np.packbits(mask, bitorder="little")))
        return _publish(writer, contents, segments, changes, deleted, contents.deleted_rows)
    except BaseException:
        writer.discard()
        raise


def _differs(contents: Contents, old: Manifest, committed: int) -> bool:
    core = contents.core
    types = {name: column.type for name, column in contents.columns.unchecked()}
    found = (core.rows, contents.deleted_rows, contents.dimension, types, list(types), contents.embedder)
    return contents.edits != committed or found != (
        old.rows,
        old.deleted_rows,
        old.dimension,
        dict(old.columns),
        list(old.columns),
        old.embedder,
    )


def _write_runs(writer: Writer, contents: Contents, start: int, *, may_archive: bool) -> list[Segment]:
    return [
        _segments.write(writer, contents, [(begin, end, None)], begin, has_vectors=has_vectors, may_archive=may_archive)
        for begin, end, has_vectors in _segments.runs(contents.core, start)
    ]


def _write_new(writer: Writer, contents: Contents, old: Manifest) -> list[Segment]:
    """The segments with all rows: the new ones in one with those before that are not much larger."""
    new = contents.core.rows - old.rows
    if not new:
        return list(old.segments)
    sizes: list[int] = []
    for segment in reversed(old.segments):
        if old.size(segment) > MAX_MERGED_SEGMENT_BYTES:
            break
        sizes.insert(0, segment.rows)
    kept = len(old.segments) - merged_runs(sizes, new)
    merged = old.segments[kept:]
    if merged:
        contents.check_files({split_location(place)[0] for segment in merged for place in segment.locations})
    start = merged[0].first_row if merged else old.rows
    return [*old.segments[:kept], *_write_runs(writer, contents, start, may_archive=True)]


def _changed(contents: Contents, committed: int, stop: int) -> dict[str, Rows]:
    """The rows before `stop` that were changed since an edit, by the names of the columns."""
    found: dict[str, list[Rows]] = {}
    for edit in contents.edits_after(committed):
        for name, rows in edit.rows.items():
            found.setdefault(name, []).append(rows[: int(np.searchsorted(rows, stop))])
    return {name: np.unique(np.concatenate(rows)) for name, rows in found.items()}


def _write_changes(writer: Writer, contents: Contents, old: Manifest, changed: Mapping[str, Rows]) -> list[ChangeSet]:
    """The sets of changes: the new one as one with those before that are not much larger."""
    count = sum(len(rows) for rows in changed.values())
    if not count:
        return list(old.changes)
    kept = len(old.changes) - merged_runs([change.rows for change in old.changes], count)
    merged = old.changes[kept:]
    if merged:
        contents.check_files({split_location(place)[0] for change in merged for place in change.locations})
    rows: dict[str, list[Rows]] = {name: [found] for name, found in changed.items()}
    for change in merged:
        for name, parts in change.columns.items():
            rows.setdefault(name, []).append(writer.read(parts["rows"]))
    joined = {name: np.unique(np.concatenate(found)) for name, found in rows.items()}
    new = _segments.write_changes(writer, contents, joined)
    return [*old.changes[:kept], *([] if new is None else [new])]


def _deleted_mask(contents: Contents) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mask = np.zeros(contents.core.rows, np.bool_)
    mask[contents.core.deleted()] = True
    return mask


def _publish(
    writer: Writer,
    contents: Contents,
    segments: list[Segment],
    changes: list[ChangeSet],
    deleted: str | None,
    deleted_rows: int,
) -> Manifest:
    core = contents.core
    known = {**(writer.manifest.files if writer.manifest else {}), **writer.new}
    manifest = Manifest(
        generation=writer.generation,
        dimension=contents.dimension,
        dtype=core.dtype,
        metric=core.metric,
        id_kind=core.id_kind,
        rows=sum(segment.rows for segment in segments),
        largest_id=core.largest_id,
        columns={name: column.type for name, column in contents.columns.unchecked()},
        segments=tuple(segments),
        changes=tuple(changes),
        deleted=deleted,
        deleted_rows=deleted_rows,
        files=known,
        embedder=contents.embedder,
    )
    names = dict.fromkeys(split_location(location)[0] for location in manifest.locations)
    manifest = replace(manifest, files={name: known[name] for name in names})
    writer.publish(manifest)
    return manifest


def verify(path: Path) -> Manifest:
    """Reads a folder all through, in little memory.

    Raises:
        CorruptStoreError: A file is not what was written, or what was written contradicts itself.
    """

    def use(folder: Directory, manifest: Manifest) -> Manifest:
        for name, file in manifest.files.items():
            check_file(folder, name, file)
        core = Store(manifest.dimension or STAND_IN_DIMENSION, manifest.metric, manifest.dtype, "cpu", None)
        arrays = FolderArrays(folder, manifest, mmap=True)
        contents = _segments.read(arrays, core)
        try:
            contents.core.refuse_duplicate_ids()
        except CorruptStoreError as error:
            raise corrupt_error(folder.path, str(error)) from None
        for segment in manifest.segments:
            _check_codes(arrays, segment, core)
        contents.check_files()
        for name, column in contents.columns.items():
            for values in column.all_values():
                check_json(folder.path / f"column {name!r}", values)
        return manifest

    return read_consistently(path, use)


def _check_codes(arrays: FolderArrays, segment: Segment, empty: Store) -> None:
    """Accepts codes that are those of the vectors: by others, a search would miss rows."""
    parts = segment.parts
    if "vectors" not in parts or "codes" not in parts:
        return
    vectors = arrays[parts["vectors"]]
    for start in range(0, segment.rows, _COMPARED_ROWS):
        rows = slice(start, start + _COMPARED_ROWS)
        try:
            made = empty.attach(vectors[rows], None, None, None, np.arange(len(vectors[rows])))
        except StoreError as error:
            found = f"from row {start} on, {error}"
            raise corrupt_error(arrays.path(parts["vectors"]), found) from None
        segments: list[Any] = made.segments()
        ((_, _, codes, bounds, _),) = segments
        expected = {"codes": codes, "bounds": bounds}
        if "coarse" in parts:
            expected["coarse"] = coarse_codes(empty, vectors[rows])
        for part, made_anew in expected.items():
            if not np.array_equal(arrays[parts[part]][rows], made_anew):
                raise corrupt_error(
                    arrays.path(parts[part]), f"rows {start} to {start + len(codes) - 1} are not of the vectors"
                )
