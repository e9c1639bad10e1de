"""What a folder with a store holds, read: its manifest and its arrays. Knows nothing of vectors."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from votive._core import CorruptStoreError, StoreError, crc32c, map_file
from votive._store.array_file import MANIFEST, StoredArray, StoreFile, corrupt_error, split_location
from votive._store.files.directory import Directory, with_path
from votive._store.files.manifest import MAX_MANIFEST_BYTES, Manifest
from votive._store.files.manifest_checks import check_manifest
from votive._store.mapped import MappedArray

_T = TypeVar("_T")

# Bytes that are read for their checksum at once: they stay in a cache.
_READ_BYTES = 1 << 20

# A map costs whole pages and one of the places that a process has for maps: shorter files are read instead.
MIN_MAPPED_BYTES = 1 << 16

# Readers begin anew when a writer removed what they were about to open.
_MAX_ATTEMPTS = 100


def read_manifest(folder: Directory) -> Manifest:
    """What the folder says that it holds.

    Raises:
        FileNotFoundError: It holds no store.
        CorruptStoreError, StoreError: See `Manifest.parse`.
    """
    text = read_manifest_text(folder)
    if text is None:
        raise FileNotFoundError(errno.ENOENT, f"no store here: it has no {MANIFEST}", str(folder.path))
    return parse_manifest(folder, text)


def parse_manifest(folder: Directory, text: bytes) -> Manifest:
    """The manifest of a folder, which agrees with itself.

    Raises:
        CorruptStoreError, StoreError: See `Manifest.parse` and `check_manifest`.
    """
    path = folder.path / MANIFEST
    return check_manifest(path, Manifest.parse(path, text))


def read_manifest_text(folder: Directory) -> bytes | None:
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


class FolderArrays:
    """The arrays of the files of a folder, by their locations."""

    def __init__(self, folder: Directory, manifest: Manifest, *, mmap: bool) -> None:
        """Prepares to read.

        Args:
            folder: where the files are.
            manifest: says what they are.
            mmap: whether to map files that hold one array and are not short, else they are read and checked.
        """
        self.folder = folder
        self.manifest = manifest
        self._mmap = mmap
        self._archives: dict[str, dict[str, NDArray[Any]]] = {}

    def path(self, location: str) -> Path:
        """Path of the file that an array is in."""
        return self.folder.path / split_location(location)[0]

    def __getitem__(self, location: str) -> NDArray[Any]:
        """An array, read-only: in memory and checked, or mapped and not.

        Raises:
            CorruptStoreError: the file is none such as the manifest says.
        """
        name, member = split_location(location)
        file = self.manifest.files[name]
        if not member:
            # Maps cost more than a copy of what is short.
            if self._mmap and file.bytes >= MIN_MAPPED_BYTES:
                return _map_array(self.folder, name, file)
            return _read_arrays(self.folder, name, file)[""]
        if name not in self._archives:
            self._archives[name] = _read_arrays(self.folder, name, file)
        return self._archives[name][member]


def _map_array(folder: Directory, name: str, file: StoreFile) -> NDArray[Any]:
    path = folder.path / name
    with _opened(folder, name, file) as stream:
        try:
            mapped = map_file(stream.fileno(), file.bytes)
        except OSError as error:
            raise with_path(error, path) from None
    header = file.arrays[""].header
    if mapped[: len(header)].tobytes() != header:
        raise _wrong_header(path, "", file.arrays[""])
    return MappedArray.of(mapped, path, file)


def _read_arrays(folder: Directory, name: str, file: StoreFile) -> dict[str, NDArray[Any]]:
    """All arrays of a file in memory, each where the kernels like it best, read-only."""
    path = folder.path / name
    with _opened(folder, name, file) as stream:
        content = _aligned(file.bytes)
        done = checksum = 0
        while done < file.bytes:
            piece = content[done : done + _READ_BYTES]
            count = stream.readinto(piece.data)
            checksum = crc32c(piece[:count], checksum)
            done += count
            if not count:
                raise corrupt_error(path, f"ends after {done} of {file.bytes} bytes")
    file.check(path, checksum)
    found = {}
    for member, array in file.arrays.items():
        start = file.offsets[member]
        data = content[start + len(array.header) : start + array.bytes]
        if content[start : start + len(array.header)].tobytes() != array.header:
            raise _wrong_header(path, member, array)
        if data.ctypes.data % 64:
            moved = _aligned(len(data))
            moved[:] = data
            data = moved
        found[member] = data.view(array.dtype).reshape(array.shape)
        found[member].flags.writeable = False
    return found


def _aligned(size: int) -> NDArray[np.uint8]:
    memory = np.empty(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :][:size]


def check_file(folder: Directory, name: str, file: StoreFile) -> None:
    """Reads a file in little memory.

    Raises:
        CorruptStoreError: It has another checksum than the manifest says, or another length.
    """
    memory = np.empty(_READ_BYTES, np.uint8)
    with _opened(folder, name, file) as stream:
        checksum = 0
        while count := stream.readinto(memory.data):
            checksum = crc32c(memory[:count], checksum)
    file.check(folder.path / name, checksum)


@contextlib.contextmanager
def _opened(folder: Directory, name: str, file: StoreFile) -> Iterator[Any]:
    with open(folder.open_regular(name), "rb", buffering=0) as stream:
        found = os.fstat(stream.fileno()).st_size
        if found != file.bytes:
            raise corrupt_error(folder.path / name, f"expected {file.bytes} bytes, found {found}")
        yield stream


def _wrong_header(path: Path, member: str, array: StoredArray) -> CorruptStoreError:
    where = f"the header of {member}" if member else "its header"
    return corrupt_error(path, f"{where} is not that of {array.dtype} {list(array.shape)}")
