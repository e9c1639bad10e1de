"""The one writer of a folder with a store: it commits whole, whatever crashes.

Algorithm: shadow paging (Lorie, "Physical integrity in a large segmented database", 1977), of files instead of pages:

    write each new file under a name that no manifest has, and sync it
    sync the folder                      # what the manifest will name outlasts a power failure
    write the manifest under a temporary name, and sync it
    check that path, lock and manifest are those of before
    rename it to MANIFEST.json           # the commit
    sync the folder                      # it outlasts a power failure
    remove the files that it does not name

Why it is right: no file is written to once a manifest names it, and a rename replaces the manifest in one step. So
there is a whole manifest at any instant, the one before or the next, and all files that it names. What a crash leaves
beside them has no name in it, and goes when the next writer begins.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._core import StoreError, crc32c
from votive._store.array_file import MANIFEST, StoredArray, StoreFile
from votive._store.files.archive import PendingArray, pack
from votive._store.files.directory import Directory, with_path
from votive._store.files.disk import Disk
from votive._store.files.folder import FolderArrays, parse_manifest, read_manifest, read_manifest_text
from votive._store.files.lock import LOCK, Lock, changed_error
from votive._store.files.manifest import MAX_MANIFEST_BYTES, Manifest, is_store_file

# What writers work on; tests put one here that fails.
DISK = Disk()

# Bytes that are written at once: they stay in a cache.
_WRITTEN_BYTES = 1 << 20


class Writer:
    """The one writer of a folder: it adds files, then publishes them all by a new manifest, or discards them.

    Nothing is published and nothing removed but in the folder that was opened, and only while its path leads to it, its
    lock is in it, and its manifest is the one that was read when it was opened, or published last.
    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """Takes the folder, and removes what a writer before left behind that no manifest names.

        Args:
            path: Where a store is; with `make`, a folder that is empty or not there yet is as good.
            make: Whether there need be no store.

        Raises:
            FileNotFoundError: There is no store, and `make` is False.
            StoreError: Another writer holds it, or the folder has files but no store.
            OSError: It cannot be written to.
        """
        self.path = path
        self._disk = DISK
        # What this transaction wrote, and the names of all that discarding it removes.
        self.new: dict[str, StoreFile] = {}
        self._created: list[str] = []
        # What nothing needs once the last manifest is durable.
        self._obsolete: set[str] = set()
        # What may be the folder's manifest; None for no file. Two while it is not known whether the second replaced
        # the first, none before it was read.
        self._manifests: tuple[bytes | None, ...] = ()
        if make:
            self._make(path)
        self._folder = Directory(path)
        try:
            if not make:
                read_manifest(self._folder)
            elif MANIFEST not in self._list_own():
                # The process that made the folder may have failed before this.
                with contextlib.suppress(PermissionError):
                    self._sync_parent(path)
            self._lock: Lock = self._disk.lock(self._folder)
        except BaseException:
            self._folder.close()
            raise
        try:
            self.manifest: Manifest | None = self._remove_leftovers()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Discards what is not published, and lets others write."""
        if self._lock.is_held:
            self.discard()
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """Whether this process holds the folder."""
        return self._lock.is_held

    @property
    def generation(self) -> int:
        """Generation of the manifest to be published next."""
        return 1 if self.manifest is None else self.manifest.generation + 1

    def is_at(self, path: Path) -> bool:
        """Whether a path is that of the folder, or leads to it."""
        with contextlib.suppress(OSError):
            return path == self.path or self._folder.is_at(path)
        return False

    def begin(self) -> None:
        """Makes sure of what is published, before anything is written.

        Raises:
            StoreError: This is closed, or of another process, or the folder is not what this opened and wrote to.
        """
        self._check()
        if len(self._manifests) > 1:
            self.manifest = self._remove_leftovers()

    def read(self, location: str) -> NDArray[Any]:
        """An array that is published, checked.

        Raises:
            CorruptStoreError: it is not what was written.
        """
        assert self.manifest is not None, "what is published has a manifest"
        return FolderArrays(self._folder, self.manifest, mmap=False)[location]

    def write(self, array: PendingArray) -> str:
        """Writes and syncs an array as a file of its own, and gives its location."""
        name = self._new_name(array.name, "npy")
        self._write_new(name, array.pieces(), array.stored.bytes, {"": array.stored}, {"": 0})
        return name

    def write_archive(self, what: str, arrays: list[PendingArray]) -> dict[str, str]:
        """Writes and syncs arrays as one file whose name begins with `what`, and gives their locations by names."""
        content, offsets = pack(arrays)
        name = self._new_name(what, "npz")
        self._write_new(name, [content], len(content), {array.name: array.stored for array in arrays}, offsets)
        return {array.name: f"{name}/{array.name}" for array in arrays}

    def _new_name(self, what: str, suffix: str) -> str:
        number = sum(name.startswith(f"{what}-") for name in self.new)
        # Windows may hold one that was to be removed.
        while self._folder.has(name := f"{what}-{self.generation}-{number}.{suffix}"):
            number += 1
        return name

    def _write_new(
        self,
        name: str,
        pieces: Iterable[NDArray[np.uint8]],
        size: int,
        arrays: dict[str, StoredArray],
        offsets: dict[str, int],
    ) -> None:
        self.new[name] = StoreFile(size, self._write_file(name, _cut(pieces)), arrays, offsets)
        if self._folder.status(name).st_size != size:
            raise AssertionError(f"{name}: blocks have other sizes")

    def publish(self, manifest: Manifest) -> None:
        """Makes the manifest the folder's, and removes the files that it does not name.

        Raises:
            StoreError: The folder is not what this opened and wrote to; it is left as it is.
        """
        text = manifest.dump()
        if len(text) > MAX_MANIFEST_BYTES:
            raise StoreError(f"{self.path}: {len(manifest.segments)} segments are too many: compact() the store")
        self._disk.sync_folder(self._folder)
        temporary = f"MANIFEST-{uuid.uuid4().hex}.tmp"
        self._write_file(temporary, [np.frombuffer(text, np.uint8)])
        self._check()
        # An error or Ctrl-C from here on does not tell which manifest is the folder's.
        self._manifests = (*self._manifests, text)
        self._disk.replace(self._folder, temporary, MANIFEST)
        if self.manifest is not None:
            self._obsolete |= set(self.manifest.files) - set(manifest.files)
        self.manifest = manifest
        self.new.clear()
        self._created.clear()
        self._manifests = (text,)
        try:
            self._disk.sync_folder(self._folder)
        except OSError as error:
            warnings.warn(
                f"{self.path}: committed, but a power failure now may bring back the state before ({error})",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self._remove(self._obsolete)
        self._obsolete.clear()

    def discard(self) -> None:
        """Removes what was written since the last manifest, unless a manifest may name it already."""
        if len(self._manifests) == 1:
            self._remove(self._created)
        self.new.clear()
        self._created.clear()

    def _check(self) -> None:
        """Accepts the folder if it is the one that is locked, and as this left it.

        Raises:
            StoreError: It is not; or this is closed, or of another process.
        """
        self._lock.check()
        if read_manifest_text(self._folder) not in self._manifests:
            raise changed_error(self.path, f"{MANIFEST} is not the one any more that was opened or committed")

    def _write_file(self, name: str, pieces: Iterable[NDArray[np.uint8]]) -> int:
        """Writes and syncs a new file, and gives its checksum."""
        try:
            file = self._disk.create(self._folder, name)
        except FileNotFoundError:  # in a folder that is removed no file can be made
            self._check()
            raise
        try:
            # Known from here on, so that an error leaves nothing.
            self._created.append(name)
            checksum = 0
            for piece in pieces:
                checksum = crc32c(piece, checksum)
                self._disk.write(file, piece.data)
            self._disk.sync(file)
        except OSError as error:
            raise with_path(error, self.path / name) from None
        finally:
            os.close(file)
        return checksum

    def _make(self, path: Path) -> None:
        """Makes the folder, and those that it is in, if they are not there."""
        if path.is_dir() or path.parent == path:
            return
        self._make(path.parent)
        with contextlib.suppress(FileExistsError):
            self._disk.make_folder(path)
        self._sync_parent(path)

    def _sync_parent(self, path: Path) -> None:
        with Directory(path.parent) as parent:
            self._disk.sync_folder(parent)

    def _list_own(self) -> list[str]:
        """What is in the folder.

        Raises:
            StoreError: No store, nor what is left of a first save.
        """
        names = self._folder.names()
        if MANIFEST not in names:
            # What a first save left behind has a lock beside it.
            was_begun = LOCK in names
            others = [name for name in names if not (was_begun and (name == LOCK or is_store_file(name)))]
            if others:
                raise StoreError(
                    f"{self.path}: expected a store, an empty folder or none, found one with {min(others)!r} in it"
                )
        return names

    def _remove_leftovers(self) -> Manifest | None:
        """The manifest; without files that it does not name."""
        # What is removed must not be what the manifest before needs, which a power failure would bring back.
        self._disk.sync_folder(self._folder)
        names = self._list_own()
        text = read_manifest_text(self._folder)
        manifest = None if text is None else parse_manifest(self._folder, text)
        self._manifests = (text,)
        self._remove(name for name in names if is_store_file(name) and not (manifest and name in manifest.files))
        return manifest

    def _remove(self, names: Iterable[str]) -> None:
        """Removes files as far as that can be done, and may be; the next writer removes the rest."""
        with contextlib.suppress(OSError, StoreError):
            self._check()
            for name in names:
                with contextlib.suppress(OSError):
                    self._disk.remove(self._folder, name)


def _cut(pieces: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for data in pieces:
        for start in range(0, len(data), _WRITTEN_BYTES):
            yield data[start : start + _WRITTEN_BYTES]
