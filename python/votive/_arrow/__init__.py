"""Arrow data of any library, through the PyCapsule interface and ctypes: pyarrow is not needed."""

from __future__ import annotations

from votive._arrow.strings import string_chunks, value_chunks
from votive._arrow.table import Batch, batches, column_chunks
from votive._arrow.values import Values
from votive._arrow.vectors import vector_blocks

__all__ = [
    "Batch",
    "Values",
    "batches",
    "column_chunks",
    "speaks_arrow",
    "string_chunks",
    "value_chunks",
    "vector_blocks",
]


def speaks_arrow(value: object) -> bool:
    """Whether the functions of this package can read `value`."""
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")
