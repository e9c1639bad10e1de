"""The `.npy` format of NumPy, as far as the files of a store use it."""

from __future__ import annotations

import struct


def header_of(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What stands before an array in a `.npy` file of version 1.0; a multiple of 64 bytes.

    <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Written here and not by NumPy, whose
    versions pad it differently: a reader compares it with the one it expects, and so parses none.
    """
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    length = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + text.ljust(length - 1).encode() + b"\n"


def itemsize_of(dtype: str) -> int:
    """Bytes of a number of this type."""
    size = int("".join(filter(str.isdigit, dtype.partition("[")[0])))
    return 4 * size if dtype[1] == "U" else size
