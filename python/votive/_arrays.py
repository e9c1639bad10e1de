"""Arrays of other libraries as NumPy's: by `__array__`, or by DLPack where they have no other way."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _dlpack

# How names of types of ml_dtypes begin, of which NumPy knows nothing but how to convert them.
_SMALL_FLOATS = ("bfloat16", "float8_", "float6_", "float4_")


def as_array(value: Any, name: str) -> NDArray[Any]:
    """An array of any library in memory, or what NumPy makes one of.

    Types of which NumPy knows nothing, bfloat16 and those of ml_dtypes, become float32. Gradients are left behind.

    Args:
        value: an array, a tensor, a list of these, or any other object that NumPy takes.
        name: what messages call it.

    Raises:
        TypeError: it is in the memory of a GPU, or its library cannot give it.
        ValueError: it is a list of rows that differ in length.
    """
    if isinstance(value, list | tuple) and value and _is_foreign(value[0]):
        value = [as_array(row, f"{name}[{place}]") for place, row in enumerate(value)]
    try:
        array = _foreign(value, name) if _is_foreign(value) else np.asarray(value)
    except RuntimeError as error:  # of an `__array__`
        raise _unreadable(value, name, error) from error
    return array.astype(np.float32) if array.dtype.name.startswith(_SMALL_FLOATS) else array


def _is_foreign(value: Any) -> bool:
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic)


def _foreign(value: Any, name: str) -> NDArray[Any]:
    if getattr(value, "requires_grad", False) and hasattr(value, "detach"):
        value = value.detach()
    kind = _dlpack.HOST
    with contextlib.suppress(Exception):  # of a device that DLPack does not know; the library will say so itself
        kind = value.__dlpack_device__()[0]
    if kind not in _dlpack.HOST_MEMORY:
        where = _dlpack.DEVICES.get(kind, f"device {int(kind)} of DLPack")
        raise TypeError(
            f"{name}: expected an array in the CPU's memory, found one of {where}; copy it to the CPU first"
        )
    try:
        return np.asarray(value) if hasattr(value, "__array__") else np.from_dlpack(value)
    except (TypeError, RuntimeError, BufferError) as error:
        try:
            return _dlpack.read_bfloat16(value)
        except (TypeError, RuntimeError, BufferError):
            raise _unreadable(value, name, error) from error


def _unreadable(value: Any, name: str, error: Exception) -> TypeError:
    return TypeError(f"{name}: expected an array that NumPy can read, found {type(value).__name__}; {error}")
