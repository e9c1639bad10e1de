"""The folder of a store: immutable arrays, and one manifest that is replaced in one step. Knows nothing of vectors."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from votive._core import CorruptStoreError, StoreError, crc32c
from votive._store.directory import Directory, with_path
from votive._store.disk import Disk
from votive._store.lock import LOCK, Lock, changed_error
from votive._store.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ArrayFile,
    Manifest,
    corrupt_error,
    is_store_file,
    npy_header,
)
from votive._store.mapped import MappedArray

_T = TypeVar("_T")

# What writers work on; tests put one here that fails.
DISK = Disk()

# Bytes that are written, and read for their checksum, at once: they stay in a cache.
_CHUNK = 1 << 20

# Each map costs a descriptor before Python 3.13: shorter files are read instead.
MIN_MAPPED_BYTES = 1 << 16

# Readers begin anew when a writer removed what they were about to open.
_MAX_ATTEMPTS = 100


def read_manifest(folder: Directory) -> Manifest:
    """What the folder says that it holds.

    Raises:
        FileNotFoundError: It holds no store.
        CorruptStoreError, StoreError: See `Manifest.parse`.
    """
    text = _manifest_text(folder)
    if text is None:
        raise FileNotFoundError(errno.ENOENT, f"no store here: it has no {MANIFEST}", str(folder.path))
    return Manifest.parse(folder.path / MANIFEST, text)


def _manifest_text(folder: Directory) -> bytes | None:
    """The manifest as it stands in the folder; None where there is none."""
    try:
        file = folder.open_regular(MANIFEST)
    except FileNotFoundError:
        return None
    with open(file, "rb") as stream:
        text = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(text) > MAX_MANIFEST_BYTES:
        raise corrupt_error(folder.path / MANIFEST, f"longer than {MAX_MANIFEST_BYTES} bytes, which no manifest is")
    return text


def read_consistently(path: Path, use: Callable[[Directory, Manifest], _T]) -> _T:
    """What `use` makes of a folder and its manifest, as of one generation whatever a writer does meanwhile.

    `use` is called again with the next manifest when a file is gone.
    """
    last = None
    for _ in range(_MAX_ATTEMPTS):
        # Opened anew, for it may have been removed and another put in its place.
        with Directory(path) as folder:
            manifest = read_manifest(folder)
            try:
                return use(folder, manifest)
            except FileNotFoundError as error:
                if manifest == last:
                    raise corrupt_error(Path(str(error.filename)), f"not there, but {MANIFEST} names it") from None
                last = manifest
    raise StoreError(
        f"{path}: replaced {_MAX_ATTEMPTS} times while it was being opened; try again, or commit less often"
    )


def map_array(folder: Directory, name: str, file: ArrayFile) -> NDArray[Any]:
    """The array of a file as a read-only memory map, whose checksum is not looked at; a short file is read.

    Raises:
        CorruptStoreError: The file is none such as the manifest says.
    """
    if file.bytes < MIN_MAPPED_BYTES:
        return read_array(folder, name, file)
    path = folder.path / name
    with _opened(folder, name, file) as stream:
        options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) and os.name == "posix" else {}
        try:
            mapped = mmap.mmap(stream.fileno(), file.bytes, access=mmap.ACCESS_READ, **options)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                error.strerror = "too many open files to map this one too: compact() the store, or load with mmap=False"
            raise with_path(error, path) from None
    header = npy_header(file.dtype, file.shape)
    if mapped[: len(header)] != header:
        raise _wrong_header(path, file)
    return MappedArray.of(mapped, path, file)


def read_array(folder: Directory, name: str, file: ArrayFile) -> NDArray[Any]:
    """The array of a file in memory, read-only.

    Raises:
        CorruptStoreError: The file is none such as the manifest says, or has another checksum.
    """
    path = folder.path / name
    with _opened(folder, name, file) as stream:
        # Starts where the kernels like it best.
        memory = np.empty(file.bytes + 64, np.uint8)
        memory = memory[-memory.ctypes.data % 64 :][: file.bytes]
        done = checksum = 0
        while done < file.bytes:
            chunk = memory[done : done + _CHUNK]
            count = stream.readinto(chunk.data)
            checksum = crc32c(chunk[:count], checksum)
            done += count
            if not count:
                raise corrupt_error(path, f"ends after {done} of {file.bytes} bytes")
    file.check(path, checksum)
    header = npy_header(file.dtype, file.shape)
    if memory[: len(header)].tobytes() != header:
        raise _wrong_header(path, file)
    memory.flags.writeable = False
    return memory[len(header) :].view(file.dtype).reshape(file.shape)


def check_array(folder: Directory, name: str, file: ArrayFile) -> None:
    """Reads a file in little memory.

    Raises:
        CorruptStoreError: It has another checksum than the manifest says, or another length.
    """
    memory = np.empty(_CHUNK, np.uint8)
    with _opened(folder, name, file) as stream:
        checksum = 0
        while count := stream.readinto(memory.data):
            checksum = crc32c(memory[:count], checksum)
    file.check(folder.path / name, checksum)


@contextlib.contextmanager
def _opened(folder: Directory, name: str, file: ArrayFile) -> Iterator[Any]:
    with open(folder.open_regular(name), "rb", buffering=0) as stream:
        found = os.fstat(stream.fileno()).st_size
        if found != file.bytes:
            raise corrupt_error(folder.path / name, f"expected {file.bytes} bytes, found {found}")
        yield stream


def _wrong_header(path: Path, file: ArrayFile) -> CorruptStoreError:
    return corrupt_error(path, f"its header is not that of {file.dtype} {list(file.shape)}")


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
        # Of this transaction: what was written, and the names of all that discarding it removes.
        self.new: dict[str, ArrayFile] = {}
        self._created: list[str] = []
        # What nothing needs once the last manifest is durable.
        self._old: set[str] = set()
        # What may be the folder's manifest; None for no file. Two while it is not known whether the second replaced
        # the first, none before it was read.
        self._texts: tuple[bytes | None, ...] = ()
        if make:
            self._make(path)
        self._folder = Directory(path)
        try:
            if not make:
                read_manifest(self._folder)
            elif MANIFEST not in self._refuse_others():
                # Whoever made the folder may have failed before this.
                with contextlib.suppress(PermissionError):
                    self._sync_parent(path)
            self._lock: Lock = self._disk.lock(self._folder)
        except BaseException:
            self._folder.close()
            raise
        try:
            self.manifest: Manifest | None = self._clean()
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
        if self._lock.held:
            self.discard()
        self._lock.release()

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
        if len(self._texts) > 1:
            self.manifest = self._clean()

    def write(self, what: str, dtype: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> str:
        """Writes and syncs one array, and gives the name of its file.

        Args:
            what: What the name begins with.
            dtype: As NumPy writes it, little-endian.
            shape: Of the whole array.
            blocks: Of it, along the first axis, in order.
        """
        number = sum(name.startswith(f"{what}-") for name in self.new)
        # Windows may hold one that was to be removed.
        while self._folder.has(name := f"{what}-{self.generation}-{number}.npy"):
            number += 1
        self.new[name] = file = ArrayFile(dtype, shape, self._put(name, _chunks(dtype, shape, blocks)))
        if self._folder.status(name).st_size != file.bytes:
            raise AssertionError(f"{name}: blocks of {shape} have other sizes")
        return name

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
        self._put(temporary, [np.frombuffer(text, np.uint8)])
        self._check()
        # An error or Ctrl-C from here on does not tell which manifest is the folder's.
        self._texts = (*self._texts, text)
        self._disk.replace(self._folder, temporary, MANIFEST)
        if self.manifest is not None:
            self._old |= set(self.manifest.files) - set(manifest.files)
        self.manifest = manifest
        self.new.clear()
        self._created.clear()
        self._texts = (text,)
        try:
            self._disk.sync_folder(self._folder)
        except OSError as error:
            warnings.warn(
                f"{self.path}: committed, but a power failure now may bring back the state before ({error})",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self._remove(self._old)
        self._old.clear()

    def discard(self) -> None:
        """Removes what was written since the last manifest, unless a manifest may name it already."""
        if len(self._texts) == 1:
            self._remove(self._created)
        self.new.clear()
        self._created.clear()

    def _check(self) -> None:
        """Accepts the folder if it is the one that is locked, and as this left it.

        Raises:
            StoreError: It is not; or this is closed, or of another process.
        """
        self._lock.check()
        if _manifest_text(self._folder) not in self._texts:
            raise changed_error(self.path, f"{MANIFEST} is not the one any more that was opened or committed")

    def _put(self, name: str, chunks: Iterable[NDArray[np.uint8]]) -> int:
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
            for chunk in chunks:
                checksum = crc32c(chunk, checksum)
                self._disk.write(file, chunk.data)
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

    def _refuse_others(self) -> list[str]:
        """What is in the folder.

        Raises:
            StoreError: No store, nor what is left of a first save.
        """
        names = self._folder.names()
        if MANIFEST not in names:
            others = (
                names if LOCK not in names else [name for name in names if name != LOCK and not is_store_file(name)]
            )
            if others:
                raise StoreError(
                    f"{self.path}: expected a store, an empty folder or none, found one with {min(others)!r} in it"
                )
        return names

    def _clean(self) -> Manifest | None:
        """The manifest; without files that it does not name."""
        # What is removed must not be what the manifest before needs, which a power failure would bring back.
        self._disk.sync_folder(self._folder)
        names = self._refuse_others()
        text = _manifest_text(self._folder)
        manifest = None if text is None else Manifest.parse(self.path / MANIFEST, text)
        self._texts = (text,)
        self._remove(name for name in names if is_store_file(name) and not (manifest and name in manifest.files))
        return manifest

    def _remove(self, names: Iterable[str]) -> None:
        """Removes files as far as that can be done, and may be; the next writer removes the rest."""
        with contextlib.suppress(OSError, StoreError):
            self._check()
            for name in names:
                with contextlib.suppress(OSError):
                    self._disk.remove(self._folder, name)


def _chunks(dtype: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.uint8]]:
    yield np.frombuffer(npy_header(dtype, shape), np.uint8)
    for block in blocks:
        if block.size:
            data = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8)
            for start in range(0, len(data), _CHUNK):
                yield data[start : start + _CHUNK]
