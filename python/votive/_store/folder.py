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
from votive._store.disk import LOCK, Disk, Lock, named, open_regular
from votive._store.manifest import LONGEST, MANIFEST, ArrayFile, Manifest, damaged, is_ours, npy_header

_T = TypeVar("_T")

# What writers work on; tests put one here that fails.
DISK = Disk()

# Bytes that are written, and read for their checksum, at once: they stay in a cache.
_CHUNK = 1 << 20

# Each map costs a descriptor before Python 3.13: shorter files are read instead.
_SHORT = 1 << 16

# Readers begin anew when a writer removed what they were about to open.
_ATTEMPTS = 100


def read_manifest(folder: Path) -> Manifest:
    """What the folder says that it holds.

    Raises:
        FileNotFoundError: It holds no store.
        CorruptStoreError, StoreError: See `Manifest.parse`.
    """
    path = folder / MANIFEST
    try:
        file = open_regular(path)
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        raise FileNotFoundError(errno.ENOENT, f"no store here: it has no {MANIFEST}", str(folder)) from None
    with open(file, "rb") as stream:
        text = stream.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise damaged(path, f"longer than {LONGEST} bytes, which no manifest is")
    return Manifest.parse(path, text)


def read_consistently(folder: Path, use: Callable[[Manifest], _T]) -> _T:
    """What `use` makes of the manifest and its files, as of one generation whatever a writer does meanwhile.

    `use` is called again with the next manifest when a file is gone.
    """
    manifest = read_manifest(folder)
    for _ in range(_ATTEMPTS):
        try:
            return use(manifest)
        except FileNotFoundError as error:
            again = read_manifest(folder)
            if again == manifest:
                raise damaged(Path(str(error.filename)), f"not there, but {MANIFEST} names it") from None
            manifest = again
    raise StoreError(f"{folder}: replaced {_ATTEMPTS} times while it was being opened; try again, or commit less often")


def map_array(folder: Path, name: str, file: ArrayFile) -> NDArray[Any]:
    """The array of a file as a read-only memory map, whose checksum is not looked at; a short file is read.

    Raises:
        CorruptStoreError: The file is none such as the manifest says.
    """
    if file.bytes < _SHORT:
        return read_array(folder, name, file)
    path = folder / name
    with _opened(path, file) as stream:
        options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) and os.name == "posix" else {}
        try:
            mapped = mmap.mmap(stream.fileno(), file.bytes, access=mmap.ACCESS_READ, **options)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                error.strerror = "too many open files to map this one too: compact() the store, or load with mmap=False"
            raise named(error, path) from None
    header = npy_header(file.dtype, file.shape)
    if mapped[: len(header)] != header:
        raise _wrong_header(path, file)
    # As `numpy.memmap` makes it, which keeps a descriptor for each.
    return np.ndarray.__new__(np.memmap, file.shape, file.dtype, mapped, len(header))


def read_array(folder: Path, name: str, file: ArrayFile) -> NDArray[Any]:
    """The array of a file in memory, read-only.

    Raises:
        CorruptStoreError: The file is none such as the manifest says, or has another checksum.
    """
    path = folder / name
    with _opened(path, file) as stream:
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
                raise damaged(path, f"ends after {done} of {file.bytes} bytes")
    _check_checksum(path, file, checksum)
    header = npy_header(file.dtype, file.shape)
    if memory[: len(header)].tobytes() != header:
        raise _wrong_header(path, file)
    memory.flags.writeable = False
    return memory[len(header) :].view(file.dtype).reshape(file.shape)


def check_array(folder: Path, name: str, file: ArrayFile) -> None:
    """Reads a file in little memory.

    Raises:
        CorruptStoreError: It has another checksum than the manifest says, or another length.
    """
    path = folder / name
    memory = np.empty(_CHUNK, np.uint8)
    with _opened(path, file) as stream:
        checksum = 0
        while count := stream.readinto(memory.data):
            checksum = crc32c(memory[:count], checksum)
    _check_checksum(path, file, checksum)


@contextlib.contextmanager
def _opened(path: Path, file: ArrayFile) -> Iterator[Any]:
    with open(open_regular(path), "rb", buffering=0) as stream:
        found = os.fstat(stream.fileno()).st_size
        if found != file.bytes:
            raise damaged(path, f"expected {file.bytes} bytes, found {found}")
        yield stream


def _check_checksum(path: Path, file: ArrayFile, checksum: int) -> None:
    if checksum != file.crc32c:
        raise damaged(path, f"its checksum is {checksum:08x}, but {MANIFEST} says {file.crc32c:08x}")


def _wrong_header(path: Path, file: ArrayFile) -> CorruptStoreError:
    return damaged(path, f"its header is not that of {file.dtype} {list(file.shape)}")


class Writer:
    """The one writer of a folder: it adds files, then publishes them all by a new manifest, or discards them."""

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        """Takes the folder, and removes what a writer before left behind that no manifest names.

        Args:
            folder: Where a store is; with `make`, a folder that is empty or not there yet is as good.
            make: Whether there need be no store.

        Raises:
            FileNotFoundError: There is no store, and `make` is False.
            StoreError: Another writer holds it, or the folder has files but no store.
            OSError: It cannot be written to.
        """
        self.folder = folder
        self._disk = DISK
        # Of this transaction: what was written, and the names of all that discarding it removes.
        self.new: dict[str, ArrayFile] = {}
        self._created: list[str] = []
        # What nothing needs once the last manifest is durable.
        self._old: set[str] = set()
        # Whether which manifest is the folder's has to be looked up.
        self._unsure = False
        if make:
            self._make(folder)
            if MANIFEST not in self._refuse_others():
                # Whoever made the folder may have failed before this.
                with contextlib.suppress(PermissionError):
                    self._disk.sync_folder(folder.parent)
        else:
            read_manifest(folder)
        self._lock: Lock = self._disk.lock(folder)
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
        """Of the manifest to be published next."""
        return 1 if self.manifest is None else self.manifest.generation + 1

    def begin(self) -> None:
        """Makes sure of what is published, before anything is written.

        Raises:
            StoreError: This is closed, or of another process.
        """
        if not self._lock.held:
            raise StoreError(
                f"{self.folder}: not open for writing (any more, or in this process: a fork does not inherit that)"
            )
        if self._unsure:
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
        while os.path.lexists(path := self.folder / f"{what}-{self.generation}-{number}.npy"):
            number += 1
        self.new[path.name] = file = ArrayFile(dtype, shape, self._put(path, _chunks(dtype, shape, blocks)))
        if path.stat().st_size != file.bytes:
            raise AssertionError(f"{path.name}: blocks of {shape} have other sizes")
        return path.name

    def publish(self, manifest: Manifest) -> None:
        """Makes the manifest the folder's, and removes the files that it does not name."""
        text = manifest.dump()
        if len(text) > LONGEST:
            raise StoreError(f"{self.folder}: {len(manifest.segments)} segments are too many: compact() the store")
        self._disk.sync_folder(self.folder)
        temporary = self.folder / f"MANIFEST-{uuid.uuid4().hex}.tmp"
        self._put(temporary, [np.frombuffer(text, np.uint8)])
        # An error or Ctrl-C from here on does not tell which manifest is the folder's.
        self._unsure = True
        self._disk.replace(temporary, self.folder / MANIFEST)
        if self.manifest is not None:
            self._old |= set(self.manifest.files) - set(manifest.files)
        self.manifest = manifest
        self.new.clear()
        self._created.clear()
        self._unsure = False
        try:
            self._disk.sync_folder(self.folder)
        except OSError as error:
            warnings.warn(
                f"{self.folder}: committed, but a power failure now may bring back the state before ({error})",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self._remove(self._old)
        self._old.clear()

    def discard(self) -> None:
        """Removes what was written since the last manifest, unless a manifest may name it already."""
        if not self._unsure:
            self._remove(self._created)
        self.new.clear()
        self._created.clear()

    def _put(self, path: Path, chunks: Iterable[NDArray[np.uint8]]) -> int:
        """Writes and syncs a new file, and gives its checksum."""
        file = self._disk.create(path)
        try:
            # Known from here on, so that an error leaves nothing.
            self._created.append(path.name)
            checksum = 0
            for chunk in chunks:
                checksum = crc32c(chunk, checksum)
                self._disk.write(file, chunk.data)
            self._disk.sync(file)
        except OSError as error:
            raise named(error, path) from None
        finally:
            os.close(file)
        return checksum

    def _make(self, folder: Path) -> None:
        """Makes the folder, and those that it is in, if they are not there."""
        if folder.is_dir() or folder.parent == folder:
            return
        self._make(folder.parent)
        with contextlib.suppress(FileExistsError):
            self._disk.make_folder(folder)
        self._disk.sync_folder(folder.parent)

    def _refuse_others(self) -> list[str]:
        """What is in the folder.

        Raises:
            StoreError: No store, nor what is left of a first save.
        """
        names = os.listdir(self.folder)
        if MANIFEST not in names:
            others = names if LOCK not in names else [name for name in names if name != LOCK and not is_ours(name)]
            if others:
                raise StoreError(
                    f"{self.folder}: expected a store, an empty folder or none, found one with {min(others)!r} in it"
                )
        return names

    def _clean(self) -> Manifest | None:
        """The manifest; without files that it does not name."""
        # What is removed must not be what the manifest before needs, which a power failure would bring back.
        self._disk.sync_folder(self.folder)
        names = self._refuse_others()
        manifest = read_manifest(self.folder) if MANIFEST in names else None
        self._remove(name for name in names if is_ours(name) and not (manifest and name in manifest.files))
        self._unsure = False
        return manifest

    def _remove(self, names: Iterable[str]) -> None:
        """Removes files as far as that can be done; the next writer removes the rest."""
        for name in names:
            with contextlib.suppress(OSError):
                self._disk.remove(self.folder / name)


def _chunks(dtype: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.uint8]]:
    yield np.frombuffer(npy_header(dtype, shape), np.uint8)
    for block in blocks:
        if block.size:
            data = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8)
            for start in range(0, len(data), _CHUNK):
                yield data[start : start + _CHUNK]
