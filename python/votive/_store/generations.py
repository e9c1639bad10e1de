"""Generations of a folder: what a store holds, written as the next one, and read to verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._core import Store, StoreError
from votive._store import segments as _segments
from votive._store.contents import Contents
from votive._store.directory import Directory
from votive._store.folder import check_array, map_array, read_consistently
from votive._store.manifest import Manifest, Segment, corrupt_error
from votive._store.strings import check_characters, check_texts
from votive._store.writer import Writer

# Rows of which codes are computed again at once, to compare them.
_COMPARED_ROWS = 1 << 14


def save(contents: Contents, path: Path) -> Manifest:
    """Writes the live rows as the next generation of a folder, which may be new.

    Raises:
        CorruptStoreError: A file that rows are in is not what was written; nothing is written then.
    """
    contents.check_files()
    with Writer(path, make=True) as writer:
        blocks = _segments.live_blocks(contents)
        segments = [_segments.write(writer, contents, blocks, 0)] if blocks else []
        return _publish(writer, contents, segments, None)


def commit(contents: Contents, writer: Writer, *, rewrite: bool) -> Manifest:
    """Writes what a folder lacks: new rows, and which are deleted.

    Args:
        contents: What the folder is to hold.
        writer: Writer of the folder.
        rewrite: Whether rows that the folder holds have other numbers now, so that all are written.

    Raises:
        CorruptStoreError: All are written, and a file that rows are in is not what was written.
    """
    core, old = contents.core, writer.manifest
    assert old is not None, "a folder that is open holds a store"
    deleted = core.deleted()
    before = 0 if old.deleted is None else old.files[old.deleted].shape[0]
    if not rewrite and (core.rows, len(deleted), contents.dimension) == (old.rows, before, old.dimension):
        return old
    if rewrite:
        contents.check_files()
    segments = [] if rewrite else [_segments.without_deleted(segment, deleted) for segment in old.segments]
    try:
        for blocks in _segments.runs(core, 0 if rewrite else old.rows):
            segments.append(_segments.write(writer, contents, blocks, blocks[0][0]))
        name = writer.write("deleted", "<i8", deleted.shape, [deleted]) if len(deleted) else None
        return _publish(writer, contents, segments, name)
    except BaseException:
        writer.discard()
        raise


def _publish(writer: Writer, contents: Contents, segments: list[Segment], deleted: str | None) -> Manifest:
    core = contents.core
    known = {**(writer.manifest.files if writer.manifest else {}), **writer.new}
    names = [name for segment in segments for name in segment.names]
    if deleted is not None:
        names.append(deleted)
    manifest = Manifest(
        generation=writer.generation,
        dimension=contents.dimension,
        dtype=core.dtype,
        metric=core.metric,
        id_kind=core.id_kind,
        rows=sum(segment.rows for segment in segments),
        largest_id=core.largest_id,
        segments=tuple(segments),
        deleted=deleted,
        files={name: known[name] for name in names},
    )
    writer.publish(manifest)
    return manifest


def verify(path: Path) -> Manifest:
    """Reads a folder all through, in little memory.

    Raises:
        CorruptStoreError: A file is not what was written, or what was written contradicts itself.
    """

    def use(folder: Directory, manifest: Manifest) -> Manifest:
        for name, file in manifest.files.items():
            check_array(folder, name, file)
        core = Store(manifest.dimension or 1, manifest.metric, manifest.dtype, "cpu", None)
        _segments.read(folder, manifest, core, map_array)
        for segment in manifest.segments:
            arrays = {name: map_array(folder, name, manifest.files[name]) for name in segment.names}
            _check_codes(folder, segment, arrays, core)
            _check_strings(folder, segment, arrays)
        return manifest

    return read_consistently(path, use)


def _check_codes(folder: Directory, segment: Segment, arrays: dict[str, NDArray[Any]], empty: Store) -> None:
    """Accepts codes that are those of the vectors: by others, a search would miss rows."""
    parts = segment.parts
    if "vectors" not in parts or "codes" not in parts:
        return
    vectors = arrays[parts["vectors"]]
    for start in range(0, segment.rows, _COMPARED_ROWS):
        rows = slice(start, start + _COMPARED_ROWS)
        try:
            made = empty.attach(vectors[rows], None, None, np.arange(len(vectors[rows])))
        except StoreError as error:
            found = f"from row {start} on, {error}"
            raise corrupt_error(folder.path / parts["vectors"], found) from None
        ((_, _, codes, bounds),) = made.segments()
        for part, made_anew in (("codes", codes), ("bounds", bounds)):
            if not np.array_equal(arrays[parts[part]][rows], made_anew):
                raise corrupt_error(
                    folder.path / parts[part], f"rows {start} to {start + len(codes) - 1} are not of the vectors"
                )


def _check_strings(folder: Directory, segment: Segment, arrays: dict[str, NDArray[Any]]) -> None:
    """Accepts texts and columns that can be decoded; ids are checked whenever they are read."""
    if "texts_bytes" in segment.parts:
        name = segment.parts["texts_bytes"]
        check_texts(folder.path / name, arrays[segment.parts["texts_offsets"]], arrays[name])
    for name in segment.columns.values():
        check_characters(folder.path / name, arrays[name])
