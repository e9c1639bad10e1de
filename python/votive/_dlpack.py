"""bfloat16 out of DLPack capsules by ctypes: NumPy, which reads all other types of them, has no such type.

The structs are those of dlpack.h of version 0 (dmlc.github.io/dlpack/latest/c_api.html), which all libraries give that
are not asked for another.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, PYFUNCTYPE, c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOST = 1
# Memory that the CPU reads: its own, and what CUDA and ROCm have pinned in it.
HOST_MEMORY = (HOST, 3, 11)
DEVICES = {
    2: "CUDA",
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    10: "ROCm",
    13: "CUDA (managed)",
    14: "oneAPI",
    15: "WebGPU",
}

_BFLOAT = 4


class _Tensor(ctypes.Structure):
    """DLTensor: where numbers are, and of which type."""

    data: int | None
    device_type: int
    ndim: int
    code: int
    bits: int
    lanes: int
    shape: Any
    strides: Any
    byte_offset: int


_Tensor._fields_ = [
    ("data", c_void_p),
    ("device_type", c_int32),
    ("device_id", c_int32),
    ("ndim", c_int32),
    ("code", c_uint8),
    ("bits", c_uint8),
    ("lanes", c_uint16),
    ("shape", POINTER(c_int64)),
    ("strides", POINTER(c_int64)),
    ("byte_offset", c_uint64),
]

# An own prototype: argument types set on `ctypes.pythonapi` itself would be shared with every other library.
_capsule_pointer = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


def read_bfloat16(value: Any) -> NDArray[np.float32]:
    """A tensor of bfloat16 in the memory of the CPU, as float32 in memory of its own.

    Raises:
        TypeError: it is of another type, or elsewhere.
    """
    # It releases the tensor when it dies, as nothing takes it over.
    capsule = value.__dlpack__()
    tensor = _Tensor.from_address(_capsule_pointer(capsule, b"dltensor"))
    if (tensor.code, tensor.bits, tensor.lanes) != (_BFLOAT, 16, 1) or tensor.device_type not in HOST_MEMORY:
        raise TypeError(f"expected bfloat16, found type {tensor.code} of DLPack with {tensor.bits} bits")
    shape = tuple(tensor.shape[: tensor.ndim])
    if 0 in shape:
        return np.empty(shape, np.float32)
    strides = _strides(tensor, shape)
    # From the first number in memory to the last; strides may be negative.
    spans = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    low, high = sum(span for span in spans if span < 0), sum(span for span in spans if span > 0)
    memory: Any = (c_uint16 * (high - low + 1)).from_address((tensor.data or 0) + tensor.byte_offset + 2 * low)
    numbers = np.ndarray(shape, np.uint16, memory, -2 * low, [2 * stride for stride in strides])
    # bfloat16 is the upper half of float32.
    widened = numbers.astype(np.uint32, order="C")
    widened <<= 16
    return widened.view(np.float32)


def _strides(tensor: _Tensor, shape: tuple[int, ...]) -> list[int]:
    """Numbers from one element to the next of each axis; none are given of what is contiguous."""
    if tensor.strides:
        return list(tensor.strides[: tensor.ndim])
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * shape[axis]
    return strides
