"""Several arrays in one `.npz` file, as `numpy.savez` writes them: for what is small, so that a commit is few files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from votive._store.array_file import StoredArray


class PendingArray(NamedTuple):
    """An array that is to be written.

    Attributes:
        name: what its file's name begins with, or its name in a file of several.
        stored: its type and shape.
        blocks: parts of it along the first axis, in order.
    """

    name: str
    stored: StoredArray
    blocks: Iterable[NDArray[np.generic]]

    @classmethod
    def of(cls, name: str, array: NDArray[np.generic]) -> PendingArray:
        """An array that is in memory."""
        dtype = array.dtype.newbyteorder("<").str
        return cls(name, StoredArray(dtype, array.shape), [array])

    def pieces(self) -> Iterator[NDArray[np.uint8]]:
        """The bytes of it, header first."""
        yield np.frombuffer(self.stored.header, np.uint8)
        for block in self.blocks:
            if block.size:
                yield np.ascontiguousarray(block, self.stored.dtype).reshape(-1).view(np.uint8)


def pack(arrays: Iterable[PendingArray]) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """The bytes of an `.npz` file, and where each array begins in it, by its name."""
    buffer = io.BytesIO()
    offsets = {}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for array in arrays:
            content = b"".join(piece.tobytes() for piece in array.pieces())
            if len(content) != array.stored.bytes:
                raise AssertionError(f"{array.name}: blocks of {array.stored.shape} have other sizes")
            # Without the time, so that the same arrays are the same bytes.
            archive.writestr(zipfile.ZipInfo(f"{array.name}.npy"), content)
            offsets[array.name] = buffer.tell() - len(content)
    return np.frombuffer(buffer.getvalue(), np.uint8), offsets
