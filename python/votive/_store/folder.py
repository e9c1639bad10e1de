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
from votive._store.directory import Directory, with_path
from votive._store.manifest import MANIFEST, MAX_MANIFEST_BYTES, ArrayFile, Manifest, corrupt_error
from votive._store.mapped import MappedArray
from votive._store.npy import header_of

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
    return Manifest.parse(folder.path / MANIFEST, text)


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


def map_array(folder: Directory, name: str, file: ArrayFile) -> NDArray[Any]:
    """The array of a file as a read-only memory map, whose checksum is not looked at; a short file is read.

    Raises:
        CorruptStoreError: The file is none such as the manifest says.
    """
    if file.bytes < MIN_MAPPED_BYTES:
        return read_array(folder, name, file)
    path = folder.path / name
    with _opened(folder, name, file) as stream:
        try:
            mapped = map_file(stream.fileno(), file.bytes)
        except OSError as error:
            raise with_path(error, path) from None
    header = header_of(file.dtype, file.shape)
    if mapped[: len(header)].tobytes() != header:
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
            piece = memory[done : done + _READ_BYTES]
            count = stream.readinto(piece.data)
            checksum = crc32c(piece[:count], checksum)
            done += count
            if not count:
                raise corrupt_error(path, f"ends after {done} of {file.bytes} bytes")
    file.check(path, checksum)
    header = header_of(file.dtype, file.shape)
    if memory[: len(header)].tobytes() != header:
        raise _wrong_header(path, file)
    memory.flags.writeable = False
    return memory[len(header) :].view(file.dtype).reshape(file.shape)


def check_array(folder: Directory, name: str, file: ArrayFile) -> None:
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
def _opened(folder: Directory, name: str, file: ArrayFile) -> Iterator[Any]:
    with open(folder.open_regular(name), "rb", buffering=0) as stream:
        found = os.fstat(stream.fileno()).st_size
        if found != file.bytes:
            raise corrupt_error(folder.path / name, f"expected {file.bytes} bytes, found {found}")
        yield stream


def _wrong_header(path: Path, file: ArrayFile) -> CorruptStoreError:
    return corrupt_error(path, f"its header is not that of {file.dtype} {list(file.shape)}")
