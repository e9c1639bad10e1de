"""Values in files: whether what a checksum may vouch for can be decoded."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.array_file import corrupt_error
from votive._store.mapped import mapped_file_of
from votive._store.table.column_type import JSON
from votive._store.table.column_values import ColumnValues

# Bytes that are decoded, and numbers that are looked at, at once.
_CHECKED_BYTES = 1 << 20


def check_values(values: ColumnValues, paths: Mapping[str, Path] | None = None, *, bytes: bool = True) -> None:
    """Accepts values that are in files if the files are as they were written, and every value can be decoded.

    Args:
        values: mapped, or read from files.
        paths: where the arrays that are not mapped were read from, by their names.
        bytes: whether to look at the bytes of variable values; the offsets are looked at always.

    Raises:
        CorruptStoreError: they are not.
    """
    known = dict(paths or {})
    for name, array in values.arrays.items():
        if (file := mapped_file_of(array)) is not None:
            known[name] = file.path
            if bytes or name != "bytes":
                file.check()
    default = next(iter(known.values()))
    booleans = {"valid": values.valid, "values": values.data if values.type.name == "bool" else None}
    for name, found in booleans.items():
        if found is not None and (np.asarray(found).view(np.uint8) > 1).any():
            raise corrupt_error(known.get(name, default), "holds booleans that are none")
    if values.offsets is None:
        return
    check_offsets(known.get("offsets", default), values.offsets, values.data)
    if bytes and values.type.name in ("str", "json"):
        check_texts(known.get("bytes", default), values.offsets, values.data)


def check_offsets(path: Path, offsets: NDArray[np.int64], data: NDArray[Any]) -> None:
    """Accepts offsets that cut these bytes into values."""
    if offsets[0] != 0 or offsets[-1] != len(data) or (offsets[1:] < offsets[:-1]).any():
        raise corrupt_error(path, f"expected ascending offsets from 0 to {len(data)}")


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


def check_json(path: Path, values: ColumnValues) -> None:
    """Accepts lists and dicts that can be decoded.

    Raises:
        CorruptStoreError: one cannot.
    """
    if values.type != JSON or values.offsets is None:
        return
    data, valid = values.data, values.valid
    bounds = values.offsets.tolist()
    for row, (begin, end) in enumerate(pairwise(bounds)):
        if valid is not None and not valid[row]:
            continue
        try:
            found = json.loads(str(data[begin:end].tobytes(), "utf-8"))
        except (ValueError, RecursionError) as error:
            raise corrupt_error(path, f"value {row} is no JSON ({error})") from None
        if not isinstance(found, list | dict):
            raise corrupt_error(path, f"value {row} is no list or dict")
