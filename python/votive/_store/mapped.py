"""Arrays that stay in the files of a store, and what tells of them that they are damaged."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._core import CorruptStoreError, crc32c
from votive._store.manifest import ArrayFile, corrupt_error
from votive._store.npy import header_of

# Bytes of which a checksum is made at once, so that Ctrl-C is heard.
_CHECKED_BYTES = 64 << 20


class MappedFile:
    """A file of a store that is mapped.

    Attributes:
        path: where the file is.
        was_checked: whether it was found as it was written, for callers that look but once.
    """

    def __init__(self, memory: NDArray[np.uint8], path: Path, file: ArrayFile) -> None:
        self.path = path
        self._file = file
        # Without keeping it: what has no array any more needs no check.
        self._memory = weakref.ref(memory)
        self.was_checked = False

    def check(self) -> None:
        """Reads all of it, if any array of it is left.

        Raises:
            CorruptStoreError: it is not what was written.
        """
        memory = self._memory()
        if memory is None:
            return
        checksum = 0
        for start in range(0, len(memory), _CHECKED_BYTES):
            checksum = crc32c(memory[start : start + _CHECKED_BYTES], checksum)
        self._file.check(self.path, checksum)

    def error(self, what: str) -> CorruptStoreError:
        """An error about the file."""
        return corrupt_error(self.path, what)


class MappedArray(np.ndarray[Any, Any]):
    """The array of a mapped file, or a view of a part of it; `numpy.memmap` would keep a descriptor for each."""

    mapped_file: MappedFile | None

    @classmethod
    def of(cls, memory: NDArray[np.uint8], path: Path, file: ArrayFile) -> MappedArray:
        """The whole array, read-only as the memory is.

        Args:
            memory: the bytes of the file, as `map_file` gives them: it is the base of all arrays of the file.
            path: where the file is.
            file: what the manifest says of it.
        """
        buffer: Any = memory
        array = np.ndarray.__new__(cls, file.shape, file.dtype, buffer, len(header_of(file.dtype, file.shape)))
        array.mapped_file = MappedFile(memory, path, file)
        return array

    def __array_finalize__(self, of: Any) -> None:
        # What is computed of such an array has its type, but is in memory.
        file = getattr(of, "mapped_file", None)
        self.mapped_file = file if file is not None and np.may_share_memory(self, of) else None


def mapped_file_of(array: NDArray[Any] | None) -> MappedFile | None:
    """The file that an array is in; None for one that is in memory."""
    return getattr(array, "mapped_file", None)
