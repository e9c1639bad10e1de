"""Arrays that stay in the files of a store, and what tells of them that they are damaged."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from votive._core import CorruptStoreError, crc32c
from votive._store.array_file import StoreFile, corrupt_error

# Bytes of which a checksum is made at once, so that Ctrl-C is heard.
_CHECKED_BYTES = 64 << 20


class MappedFile:
    """A file of a store that is mapped.

    Attributes:
        path: where the file is.
        was_checked: whether it was found as it was written, for callers that look but once.
    """

    def __init__(self, memory: NDArray[np.uint8], path: Path, file: StoreFile) -> None:
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
    """An array in a mapped file, or a view of a part of it; `numpy.memmap` would keep a descriptor for each.

    Attributes:
        mapped_file: the file of a store that it is in; None for a nameless one, and for what was computed of it.
        is_mapped: whether it is in a file.
    """

    mapped_file: MappedFile | None
    is_mapped: bool

    @classmethod
    def of(cls, memory: NDArray[np.uint8], path: Path, file: StoreFile) -> MappedArray:
        """The whole array of a file, read-only as the memory is.

        Args:
            memory: the bytes of the file, as `map_file` gives them: it is the base of all arrays of the file.
            path: where the file is.
            file: what the manifest says of it.
        """
        stored, buffer = file.arrays[""], cast(Any, memory)
        array = np.ndarray.__new__(cls, stored.shape, stored.dtype, buffer, len(stored.header))
        array.mapped_file, array.is_mapped = MappedFile(memory, path, file), True
        return array

    @classmethod
    def of_nameless(
        cls, memory: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...], offset: int
    ) -> MappedArray:
        """An array in a file without a name, which goes when its arrays do; read-only as the memory is."""
        array = np.ndarray.__new__(cls, shape, dtype, cast(Any, memory), offset)
        array.is_mapped = True
        return array

    def __array_finalize__(self, of: Any) -> None:
        # What is computed of such an array has its type, but is in memory.
        shares = getattr(of, "is_mapped", False) and np.may_share_memory(self, of)
        self.is_mapped = shares
        self.mapped_file = of.mapped_file if shares else None


def mapped_file_of(array: NDArray[Any] | None) -> MappedFile | None:
    """The file of a store that an array is in; None for one that is in none."""
    return getattr(array, "mapped_file", None)


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether an array is in a file, with a name or without."""
    return bool(getattr(array, "is_mapped", False))
