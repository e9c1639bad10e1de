"""Arrays in the files of a store, as its manifest describes them: see `votive.persistence`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from votive._core import CorruptStoreError
from votive._store.npy import header_of, itemsize_of

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class StoredArray:
    """An array as `numpy.save` writes it, in the order of C.

    Attributes:
        dtype: type of its elements, as NumPy writes it.
        shape: shape of the array.
    """

    dtype: str
    shape: tuple[int, ...]

    @cached_property
    def header(self) -> bytes:
        """What stands before its elements."""
        return header_of(self.dtype, self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of all of it, with its header."""
        return len(self.header) + math.prod(self.shape) * itemsize_of(self.dtype)


@dataclass(frozen=True)
class StoreFile:
    """A file of a store.

    Attributes:
        bytes: length of the file.
        crc32c: checksum of all of it.
        arrays: what is in it: of a `.npy` file the one array, under no name; of an `.npz` file its members by their
            names.
        offsets: where each array begins in the file.
    """

    bytes: int
    crc32c: int
    arrays: Mapping[str, StoredArray]
    offsets: Mapping[str, int]

    @classmethod
    def of(cls, array: StoredArray, crc32c: int) -> StoreFile:
        """A `.npy` file."""
        return cls(array.bytes, crc32c, {"": array}, {"": 0})

    def check(self, path: Path, checksum: int) -> None:
        """Accepts the checksum that the file was written with.

        Raises:
            CorruptStoreError: It is another.
        """
        if checksum != self.crc32c:
            raise corrupt_error(path, f"its checksum is {checksum:08x}, but {MANIFEST} says {self.crc32c:08x}")


def split_location(location: str) -> tuple[str, str]:
    """The file that an array is in, and its name there: "vectors-1-0.npy", "segment-2-0.npz/ids"."""
    file, _, member = location.partition("/")
    return file, member


def corrupt_error(path: Path, what: str) -> CorruptStoreError:
    """An error about a file, with what to do."""
    return CorruptStoreError(f"{path}: {what}; restore the folder from a copy, or remove it and save the store anew")
