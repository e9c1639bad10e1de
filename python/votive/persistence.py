"""Stores on disk: a folder that outlasts a crash at any instant, and that opens with plain NumPy.

A folder has `MANIFEST.json`, and arrays as `numpy.save` writes them: version 1.0, in the order of C, little-endian. So
`numpy.load("folder/vectors-1-0.npy", mmap_mode="r")` gives the vectors of a store that was saved at once. A file is
called `<what>-<generation>-<number>.npy`, and is never written to again once a manifest names it:

- vectors `[rows, dimension]`, float32 or float16; none in a store of int8;
- codes `[rows, stride]` int8, where the stride is the dimension rounded up to 64, and bounds `[rows, 6]` float32: what
  a search reads first. Where there are vectors too they may be missing, and are computed again;
- ids `[rows]` int64, or ids_offsets `[rows + 1]` int64 and ids_bytes: id `i` is the UTF-8 text
  `ids_bytes[ids_offsets[i]:ids_offsets[i + 1]]`;
- texts_offsets and texts_bytes, as with ids, and a column `[rows]` for each column of metadata: where there are any;
- deleted, int64: the numbers of deleted rows, ascending. Rows are counted through all segments, in order; deleted ones
  stay in the other files until the store is compacted, or saved anew.

The manifest has `format_version` (1), `generation` (one more with each commit), `dimension`, `dtype`, `metric`,
`id_kind` ("int64", "str", or null without rows), `rows` (deleted ones count), `largest_id` (that there ever was: no id
is given twice), `deleted` (a file or null), `segments` (rows that were written together: `first_row`, `rows`, the
files by what they are, and `columns`, files by name; without vectors and codes where all rows are deleted), `files`
(`bytes`, `crc32c` of the whole file, `dtype`, `shape`), `created_by`, and the `crc32c` of the rest of itself, without
spaces and with its keys in order.

A commit writes new files and syncs each, syncs the folder, writes the manifest under another name, syncs it, gives it
its name, syncs the folder, and only then removes the files that it does not name. So a crash leaves the state before or
after, and maybe files that no manifest names, which the next writer removes. One writer at a time holds the lock of the
file LOCK, which the operating system releases when the process ends. Readers need none: they have their files open, and
begin anew if a commit removes one before they could open it. On Windows, which keeps a file that is mapped from being
removed, it stays until a writer finds it unused.

A writer commits to the folder that it opened and to no other: before it publishes and before it removes anything it
looks whether the path still leads to that folder, LOCK is the file that it holds, and the manifest is the one that it
read or wrote last. Where one of them was moved, removed or replaced it writes nothing, and says so. Children of a fork
hold no lock and commit nothing, and what they do keeps nobody from writing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import weakref
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from votive._arguments import check_choice, check_flag
from votive._core import StoreError
from votive._store import generations as _generations
from votive._store import segments as _segments
from votive._store.adding import GB, Room
from votive._store.contents import Contents
from votive._store.directory import Directory
from votive._store.folder import Writer, map_array, read_array, read_consistently, read_manifest
from votive._store.lock import changed_error
from votive._store.manifest import Manifest

_S = TypeVar("_S", bound="Saved")


@dataclass
class Home:
    """The folder that a store was opened from, or last saved to."""

    folder: Path
    manifest: Manifest
    # What it holds; gone when the store has let go of it, so that no memory is kept here.
    contents: weakref.ref[Contents]
    # How the rows are numbered that it holds.
    numbering: object
    writer: Writer | None = None

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, contents: Contents, writer: Writer | None = None) -> Home:
        """A folder that holds these contents."""
        return cls(folder, manifest, weakref.ref(contents), contents.numbering, writer)

    def is_current(self) -> bool:
        """Whether the folder is still there, and nobody wrote to it."""
        with contextlib.suppress(OSError, StoreError), Directory(self.folder) as folder:
            return read_manifest(folder) == self.manifest
        return False


class Saved:
    """The part of `votive.EmbeddingStore` that is about the disk."""

    _state: Contents
    _options: dict[str, Any]
    _room: Room
    _home: Home | None
    _saving: threading.RLock

    def save_to_disk(self, folder: str | PathLike[str]) -> None:
        """Writes the rows to a folder, all of them or, after an error or a crash, none.

        Deleted rows are left out. The files are described in `votive.persistence`; `numpy.load` reads them.

        Rows that are in files, as those of a store that was opened are, are read twice: first to check them, so that no
        damaged one is written anew with a checksum that vouches for it.

        Args:
            folder: one that is not there yet, or is empty; or has a store, which is replaced in one step: who has it
                open goes on with what it was. If this store is open for writing there, this is `commit`.

        Raises:
            StoreError: the folder has files that are no store, or another writer holds it, or it was replaced or
                removed meanwhile; it is left as it is.
            CorruptStoreError: a file that rows of this store are in is damaged; nothing was written.
            OSError: it cannot be written to, or the disk is full. What it held is still there.
        """
        path = _path(folder)
        with self._saving:
            home = self._home
            if home is not None and home.writer is not None and home.writer.is_at(path):
                self.commit()
                return
            contents = self._state
            manifest = _generations.save(contents, path)
            if home is None or home.writer is None:
                self._home = Home.of(path, manifest, contents)

    def load_from_disk(self, folder: str | PathLike[str], mmap: bool = True) -> None:
        """Replaces all that this store holds, and its metric, dtype and dimension, with what a folder holds.

        Args:
            folder: where `save_to_disk` or `commit` wrote a store.
            mmap: as for `open`.

        Raises:
            FileNotFoundError: there is no store.
            CorruptStoreError: it is damaged; the message says which file, and how. Nothing changed.
            StoreError: a newer version wrote it; or without `mmap` it would take more memory than `max_memory_gb`.
        """
        options = {name: self._options[name] for name in _OWN}
        other = type(self).open(folder, mmap=mmap, **options)
        with self._changing():  # type: ignore[attr-defined]
            self.close()
            self._options, self._room, self._home = other._options, other._room, other._home
            self._state = other._state

    @classmethod
    def open(cls: type[_S], folder: str | PathLike[str], mode: str = "r", mmap: bool = True, **options: Any) -> _S:
        """The store in a folder.

        Args:
            folder: where `save_to_disk` wrote it.
            mode: "r" to read; what is changed then is changed in memory alone. "a" to write changes to the folder with
                `commit`, or at the end of a `with` block that had no error; one store at a time may.
            mmap: whether to leave vectors, texts and metadata on disk and map their files, which takes no time and
                little memory: they are read when they are needed, and go on to be there when the store is saved anew
                or removed. Nothing of votive ever writes to such a file again or cuts it. **But where another program
                cuts one that is mapped, or its disk fails, the operating system ends the process by a signal (SIGBUS)
                that Python cannot catch.** Of mapped files, those of ids and of where texts begin are checked against
                their checksums when they are opened, those of metadata when they are first used; `verify` checks all.
                False to read all of it into memory, with every checksum verified: for folders that others may write
                to, or that are on a network.
            **options: `backend`, `device`, `fallback`, `max_memory_gb`, `num_threads` and `spill_to`, as for
                `EmbeddingStore`.

        Raises:
            FileNotFoundError: there is no store; `save_to_disk` makes one.
            CorruptStoreError: it is damaged; the message says which file, and how.
            StoreError: another writer has it open, or a newer version wrote it.
            ValueError, TypeError: an argument has a value that is not accepted, such as an empty path.
        """
        check_choice("mode", mode, ("r", "a"))
        check_flag("mmap", mmap)
        for name in options.keys() - _OWN:
            raise TypeError(f"{name}: expected an option of {', '.join(_OWN)}; the folder says all others")
        path = _path(folder)
        writer = Writer(path) if mode == "a" else None
        try:
            return read_consistently(path, partial(cls._read, mmap=mmap, options=options, writer=writer))
        except BaseException:
            if writer is not None:
                writer.close()
            raise

    @classmethod
    def _read(
        cls: type[_S], folder: Directory, manifest: Manifest, mmap: bool, options: dict[str, Any], writer: Writer | None
    ) -> _S:
        if writer is not None and manifest != writer.manifest:
            raise changed_error(folder.path, "the folder is another one by now")
        store = cls(**options, **{"metric": manifest.metric, "dtype": manifest.dtype})
        size = sum(file.bytes for file in manifest.files.values())
        if not mmap and size > store._room.max_bytes:
            raise StoreError(
                f"max_memory_gb: {folder.path} holds {size / GB:.3g} GB, more than the limit of "
                f"{store._room.max_bytes / GB:.3g} GB; mmap=True leaves them on disk"
            )
        core = store._room.new_core(manifest.dimension or 1)
        contents = _segments.read(folder, manifest, core, map_array if mmap else read_array)
        store._state = contents if mmap else replace(contents, resident=contents.core.memory["mapped"])
        store._home = Home.of(folder.path, manifest, store._state, writer)
        return store

    def commit(self) -> None:
        """Writes what changed since the store was opened, or since the last commit, to its folder.

        All of it is there when this returns, also after a power failure; after an error or a crash, none is. Rows that
        the folder has are not written again, except after `compact` and `clear`. Searches, and calls that change the
        store, go on meanwhile; what they change is in the next commit. Each commit of new rows adds files: after very
        many small ones, `compact` makes one of them all.

        Raises:
            StoreError: the store is not open for writing, see `open`; or not in this process, which is a fork of the
                one that opened it; or somebody moved, removed or replaced the folder, its LOCK or its manifest: what is
                at its path is not what was opened, and stays as it is.
            CorruptStoreError: after `compact`, a file that rows are in is damaged; nothing was written.
            OSError: the folder cannot be written to, or the disk is full. The last commit is still there, and this can
                be called again.
        """
        with self._saving:
            home = self._home
            if home is None or home.writer is None:
                raise StoreError('commit: not open for writing; EmbeddingStore.open(folder, mode="a") opens a store so')
            home.writer.begin()
            contents = self._state
            anew = contents.numbering is not home.numbering or home.writer.manifest != home.manifest
            manifest = _generations.commit(contents, home.writer, anew=anew)
            self._home = Home.of(home.folder, manifest, contents, home.writer)

    def verify(self) -> None:
        """Reads the whole folder that this store was opened from or last saved to, and checks all of it.

        That is every checksum, that ids and texts can be read, and that searches can rely on the codes.

        Raises:
            CorruptStoreError: a file is not what was written; the message says which.
            StoreError: the store was never on disk.
        """
        if self._home is None:
            raise StoreError("verify: the store is not on disk; save_to_disk(folder) writes it there")
        _generations.verify(self._home.folder)

    def close(self) -> None:
        """Lets other writers have the folder. What was not committed stays in memory; twice is once."""
        with self._saving:
            if self._home is not None and self._home.writer is not None:
                self._home.writer.close()
                self._home.writer = None

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commits what was changed in a store that is open for writing, unless there was an error, and closes it."""
        try:
            if kind is None and self._home is not None and self._home.writer is not None:
                self.commit()
        finally:
            self.close()

    @property
    def _in_pieces(self) -> bool:
        """Whether the folder that this is open to write to has rows of several commits."""
        home = self._home
        return home is not None and home.writer is not None and len(home.manifest.segments) > 1

    def _pickled_by_path(self) -> tuple[Any, ...] | None:
        """What `pickle` opens the folder again by; None where it does not hold what the store does."""
        home = self._home
        if home is None or home.contents() is not self._state or not home.is_current():
            return None
        options = {name: self._options[name] for name in _OWN}
        return _reopened, (type(self), str(home.folder), home.manifest.generation, home.manifest.identity, options)


# Options of a store that a folder does not decide.
_OWN = ("backend", "device", "fallback", "max_memory_gb", "num_threads", "spill_to")


def _path(folder: str | PathLike[str]) -> Path:
    """The folder, wherever the process goes."""
    path = os.fspath(folder)
    if not path:
        raise ValueError(f"folder: expected a path, found {path!r}; '.' is the working folder")
    return Path(os.path.abspath(path))


def _reopened(kind: type[_S], folder: str, generation: int, identity: str, options: dict[str, Any]) -> _S:
    """A store that was pickled by its path."""
    instead = "open the right folder, or pickle copy.copy(store), which takes the rows along"
    try:
        store = kind.open(folder, **options)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT,
            f"a store was pickled as the path of its folder, which is not there any more: {instead}",
            folder,
        ) from None
    found = store._home.manifest if store._home is not None else None
    if found is None or (found.generation, found.identity) != (generation, identity):
        other = f"generation {found.generation}" if found and found.generation != generation else "another store"
        raise StoreError(
            f"{folder}: was pickled as generation {generation}, and holds {other} by now: pickle it anew, {instead}"
        )
    return store
