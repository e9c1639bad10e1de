"""Buffers of Arrow arrays, as NumPy has them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._arrow.capsule import NULL, Array, Layout
from votive._arrow.values import Bools


def check_array(layout: Layout, array: Array, first: int, last: int, name: str) -> None:
    """Accepts an array that says that it has what its layout asks for, and the rows `first..last`.

    Raises:
        ValueError: it does not; the message calls it `name`.
    """
    buffers = _buffer_count(layout.format) if layout.dictionary is None else 2
    is_damaged = (
        array.length < 0
        or array.offset < 0
        or not array.offset <= first <= last <= array.offset + array.length
        or array.n_buffers < buffers
        or array.n_children != len(layout.children)
        or (bool(array.n_buffers) and not array.buffers)
        or (bool(array.n_children) and not array.children)
        or (layout.dictionary is not None and not array.dictionary)
    )
    if is_damaged:
        raise ValueError(
            f"{name}: an Arrow array of {layout} that is damaged: {array.length} rows from {array.offset} on, "
            f"{array.n_buffers} buffers, {array.n_children} children"
        )


def buffer(array: Array, which: int, dtype: str, first: int, last: int) -> NDArray[Any]:
    """Elements `first..last` of one of an array's buffers: a read-only view, valid as long as the array.

    Raises:
        ValueError: there is no such buffer.
    """
    kind = np.dtype(dtype)
    size = (last - first) * kind.itemsize
    if size <= 0:
        return np.empty(0, kind)
    address = array.buffers[which] if which < array.n_buffers else None
    if not address:
        raise ValueError(f"an Arrow array that is damaged: it has no buffer {which}")
    memory: Any = (ctypes.c_char * size).from_address(address + first * kind.itemsize)
    view = np.frombuffer(memory, kind)
    view.flags.writeable = False
    return view


def bits(array: Array, which: int, first: int, last: int) -> Bools:
    """Elements `first..last` of a buffer of booleans: one bit each, lowest first."""
    packed = buffer(array, which, "u1", first // 8, (last + 7) // 8)
    return np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + last - first].astype(np.bool_)


def validity(array: Array, first: int, last: int) -> Bools | None:
    """Which of the rows `first..last` have a value; None where all have, as far as the array's own nulls go."""
    if array.null_count == 0 or first >= last or not array.n_buffers or not array.buffers[0]:
        return None
    valid = bits(array, 0, first, last)
    return None if valid.all() else valid


def _buffer_count(format: str) -> int:
    """How many buffers an array has at least."""
    if format == NULL or format.startswith("+u"):
        return 0
    if format in ("u", "U", "z", "Z", "+vl", "+vL"):
        return 3
    return 1 if format in ("+s", "+r") or format.startswith("+w") else 2
