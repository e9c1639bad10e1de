"""Strings in files: whether what a checksum may vouch for can be decoded."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.manifest import corrupt_error

# Bytes that are decoded, and numbers that are looked at, at once.
_CHECKED_BYTES = 1 << 20


def check_texts(path: Path, offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> None:
    """Accepts the bytes of a file if each piece from offset to offset, which ascend, is UTF-8.

    Raises:
        CorruptStoreError: one is not; the message says which.
    """
    # All of it is, and no offset is within a character.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(utf8), _CHECKED_BYTES):
            decoder.decode(utf8[start : start + _CHECKED_BYTES].tobytes())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        # Found again one by one, for its number.
        for row, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            try:
                utf8[begin:end].tobytes().decode()
            except UnicodeDecodeError as found:
                raise corrupt_error(path, f"text {row} is no UTF-8 ({found})") from None
        raise corrupt_error(path, f"no UTF-8 ({error})") from None
    for first in range(0, len(offsets), _CHECKED_BYTES):
        part = offsets[first : first + _CHECKED_BYTES]
        inside = (utf8[part[part < len(utf8)]] & 0xC0) == 0x80
        if inside.any():
            raise corrupt_error(path, f"text {first + int(np.argmax(inside))} begins within a character")


def check_characters(path: Path, values: NDArray[Any]) -> None:
    """Accepts the array of a file unless it is of str, and one of them is none.

    Raises:
        CorruptStoreError: a number in it is that of no character.
    """
    if values.dtype.kind != "U":
        return
    for start in range(0, len(values), _CHECKED_BYTES):
        letters = np.ascontiguousarray(values[start : start + _CHECKED_BYTES]).view(np.uint32)
        if ((letters > 0x10FFFF) | ((letters >= 0xD800) & (letters <= 0xDFFF))).any():
            raise corrupt_error(path, "holds numbers that are no characters")
