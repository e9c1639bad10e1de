"""Stores on disk: a folder that outlasts a crash at any instant, and that opens with plain NumPy.

A folder has `MANIFEST.json` and arrays as `numpy.save` writes them (version 1.0, in the order of C, little-endian), so that
`numpy.load("folder/vectors-1-0.npy", mmap_mode="r")` gives the vectors of a store that was saved at once. A file is
called `<what>-<generation>-<number>.npy`, and is never written to again once a manifest names it:

- vectors `[rows, dimension]`, float32 or float16; none in a store of int8;
- codes `[rows, stride]` int8, where the stride is the dimension rounded up to 64, and bounds `[rows, 6]` float32: what a
  search reads first. Where there are vectors too they may be missing, and are computed again;
- ids `[rows]` int64, or ids_offsets `[rows + 1]` int64 and ids_bytes: id `i` is the UTF-8 text
  `ids_bytes[ids_offsets[i]:ids_offsets[i + 1]]`;
- texts_offsets and texts_bytes, as with ids, and a column `[rows]` for each column of metadata: where there are any;
- deleted, int64: the numbers of deleted rows, ascending. Rows are counted through all segments, in order.

The manifest has `format_version` (1), `generation` (one more with each commit), `dimension`, `dtype`, `metric`,
`id_kind` ("int64", "str", or null without rows), `rows` (deleted ones count), `largest_id` (that there ever was: ids are
not given twice), `deleted` (a file or null), `segments` (rows that were written together: `first_row`, `rows`, the files by
what they are, and `columns`, files by name; without vectors and codes where all rows are deleted), `files` (`bytes`,
`crc32c` of the whole file, `dtype`, `shape`), `created_by`, and the `crc32c` of the rest of itself, without spaces and
with its keys in order.

A commit writes new files and syncs each, syncs the folder, writes the manifest under another name, syncs it, gives it its
name, syncs the folder, and only then removes the files that it does not name. So a crash leaves the state before or after,
and maybe files that no manifest names, which the next writer removes. One writer at a time holds the lock of the file
LOCK, which the operating system releases when the process ends; readers need none: they have their files open, and begin
anew if a commit removes one before they could open it. On Windows, where a file that is mapped cannot be removed, it stays until a writer finds
it unused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from votive import _segments
from votive._contents import Contents
from votive._core import Store
from votive._folder import Writer, check_array, map_array, read_array, read_consistently
from votive._manifest import ArrayFile, Manifest, Segment, damaged

# Rows of which codes are computed again at once, to compare them.
_COMPARED = 1 << 14


def save(contents: Contents, folder: Path) -> Manifest:
    """Writes the live rows as the next generation of a folder, which may be new."""
    with Writer(folder, make=True) as writer:
        writer.begin()
        blocks = _segments.live_blocks(contents)
        segments = [_segments.write(writer, contents, blocks, 0)] if blocks else []
        return _publish(writer, contents, segments, None)


def commit(contents: Contents, writer: Writer, *, anew: bool) -> Manifest:
    """Writes what a folder lacks: new rows, and which are deleted.

    Args:
        contents: What the folder is to hold.
        writer: Of the folder.
        anew: Whether rows that the folder holds have other numbers now, so that all are written.
    """
    writer.begin()
    core, old = contents.core, writer.manifest
    assert old is not None, "a folder that is open holds a store"
    deleted = core.deleted()
    before = 0 if old.deleted is None else old.files[old.deleted].shape[0]
    if not anew and (core.rows, len(deleted), contents.dimension) == (old.rows, before, old.dimension):
        return old
    segments = [] if anew else [_segments.without_dead(segment, deleted) for segment in old.segments]
    try:
        for blocks in _segments.runs(core, 0 if anew else old.rows):
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


def load(
    folder: Path, *, mmap: bool, device: str, num_threads: int | None, most: float
) -> tuple[Contents, Manifest]:
    """What a folder holds: mapped; or read, with a look at every checksum.

    Args:
        folder: Where it is.
        mmap: Whether to map it.
        device: What searches: see `votive.EmbeddingStore`.
        num_threads: As there.
        most: Bytes that may be read into memory.

    Raises:
        MemoryError: The files have more bytes, and `mmap` is False.
    """

    def use(manifest: Manifest) -> tuple[Contents, Manifest]:
        size = sum(file.bytes for file in manifest.files.values())
        if not mmap and size > most:
            raise MemoryError(
                f"{folder}: {size} bytes, but max_memory_gb allows {most:.0f}; raise it, or load with mmap=True"
            )
        core = Store(manifest.dimension or 1, manifest.metric, manifest.dtype, device, num_threads)
        return _segments.read(folder, manifest, core, map_array if mmap else read_array), manifest

    return read_consistently(folder, use)


def verify(folder: Path) -> Manifest:
    """Reads a folder all through, in little memory.

    Raises:
        CorruptStoreError: A file is not what was written, or what was written contradicts itself.
    """

    def use(manifest: Manifest) -> Manifest:
        for name, file in manifest.files.items():
            check_array(folder, name, file)
        core = Store(manifest.dimension or 1, manifest.metric, manifest.dtype, "cpu", None)
        _segments.read(folder, manifest, core, map_array)
        for segment in manifest.segments:
            _check_codes(folder, manifest, segment, core)
            _check_strings(folder, manifest, segment)
        return manifest

    return read_consistently(folder, use)


def _check_codes(folder: Path, manifest: Manifest, segment: Segment, empty: Store) -> None:
    """Accepts codes that are those of the vectors: a search would miss rows by others."""
    parts = segment.parts
    if "vectors" not in parts or "codes" not in parts:
        return
    vectors, codes, bounds = (
        map_array(folder, parts[part], manifest.files[parts[part]]) for part in ("vectors", "codes", "bounds")
    )
    for start in range(0, segment.rows, _COMPARED):
        rows = slice(start, start + _COMPARED)
        ids = np.arange(len(vectors[rows]))
        ((_, _, new_codes, new_bounds),) = empty.attach(vectors[rows], None, None, ids, None).segments()
        for part, found, expected in (("codes", codes, new_codes), ("bounds", bounds, new_bounds)):
            # Bits, as NaN may be among numbers of other origin.
            if found[rows].tobytes() != expected.tobytes():
                raise damaged(folder / parts[part], f"rows {start} to {start + len(ids)} are not those of the vectors")


def _check_strings(folder: Path, manifest: Manifest, segment: Segment) -> None:
    """Accepts texts, and columns of str, that can be decoded."""
    ...
