"""Metadata: columns of one value for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _arrow
from votive._arguments import refuse_masked
from votive._store.chunked_array import ChunkedArray

Values = dict[str, NDArray[Any]]

# What the vectors, ids and texts are called where they stand beside the columns.
RESERVED = ("id", "text", "vector")


class Columns(Mapping[str, ChunkedArray]):
    """Columns by name, immutable. The first rows of a store say which there are, and of which type."""

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, ChunkedArray]) -> None:
        self._columns = columns

    @classmethod
    def like(cls, values: Values) -> Columns:
        """No rows, with the names and types of `values`."""
        return cls({name: ChunkedArray.empty(column.dtype) for name, column in values.items()})

    def __getitem__(self, name: str) -> ChunkedArray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(column.nbytes for column in self.values())

    def checked(self, values: Values) -> Values:
        """Values of new rows in the types of the columns.

        Raises:
            ValueError: a column is missing, or was not there before.
            TypeError: values have another type.
        """
        for name in values.keys() ^ self.keys():
            found = "given, and rows that are in the store have none" if name in values else "missing"
            raise ValueError(f"metadata[{name!r}]: {found}; all rows have the columns {list(self)}")
        return {name: _cast(values[name], column.dtype, name) for name, column in self.items()}

    def appended(self, values: Values) -> Columns:
        """These rows, and others after them with `checked` values."""
        return Columns({name: column.appended(values[name]) for name, column in self.items()})

    def sealed(self) -> Columns:
        """See `ChunkedArray.sealed`."""
        return Columns({name: column.sealed() for name, column in self.items()})

    def selected(self, rows: NDArray[np.int64]) -> Columns:
        """Some rows alone."""
        return Columns({name: ChunkedArray.of(column.take(rows)) for name, column in self.items()})


def read(metadata: Any) -> Values:
    """Columns as arrays by name.

    Args:
        metadata: a mapping of names to columns, a pandas DataFrame, or a table that speaks Arrow. A column is 1-D and
            holds booleans, integers, floats of up to 64 bits, str, bytes or points in time (datetime64).

    Raises:
        TypeError: it is no table, or a column has another type or holds nulls; the message says which and where.
        ValueError: a column is not 1-D, or has a name that is taken.
    """
    if hasattr(metadata, "keys") and hasattr(metadata, "__getitem__"):
        return {name: column(metadata[name], name) for name in metadata}
    if not _arrow.speaks_arrow(metadata):
        raise TypeError(
            f"metadata: expected a dict of arrays, a DataFrame or an Arrow table, found {type(metadata).__name__}"
        )
    parts = [
        {name: column(batch.values(name, _label(name)), name) for name in batch.names}
        for batch in _arrow.batches(metadata, "metadata")
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _label(name: object) -> str:
    return f"metadata[{name!r}]"


def column(values: Any, name: Any) -> NDArray[Any]:
    """The values of one column, checked as by `read`."""
    label = _label(name)
    if not isinstance(name, str) or not name:
        raise TypeError(f"metadata: expected names of columns, found {name!r}")
    if name in RESERVED:
        raise ValueError(f"{label}: the name is taken; {RESERVED} are what a row consists of beside its metadata")
    refuse_masked(label, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{label}: expected one value for each row; {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{label}: expected one dimension, found shape {array.shape}")
    if array.dtype.kind in "OT" or (array.dtype.kind in "US" and not isinstance(values, np.ndarray)):
        array = _strings(array if isinstance(values, np.ndarray) else np.array(values, object), label)
    if array.dtype.kind not in "biufUSM" or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        raise TypeError(
            f"{label}: expected booleans, integers, floats of up to 64 bits, str, bytes or datetime64, found "
            f"{array.dtype}"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "U":
        letters = np.ascontiguousarray(array).view(np.uint32)
        if ((letters >= 0xD800) & (letters <= 0xDFFF)).any():
            raise ValueError(f"{label}: holds a lone surrogate, which is no text")
    return array


def _strings(array: NDArray[Any], label: str) -> NDArray[Any]:
    """Objects that are all str, or all bytes, in an array of their own type; others as NumPy types them."""
    values = array.tolist()
    kinds = (str, bytes) if values and isinstance(values[0], bytes) else (bool, int, float, str)
    first = next((kind for kind in kinds if values and isinstance(values[0], kind)), str)
    for row, value in enumerate(values):
        if not isinstance(value, first):
            raise TypeError(f"{label}[{row}]: expected {first.__name__}, found {type(value).__name__}")
    found = np.array(values, first if first in (str, bytes) else None)
    if first in (str, bytes) and found.tolist() != values:
        raise ValueError(f"{label}: a value ends in a zero character, which NumPy would drop")
    return found


def _cast(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """`values` in the type of a column; str and bytes as they are, for they may be longer."""
    if values.dtype.kind == dtype.kind and dtype.kind in "US":
        return values
    if not np.can_cast(values.dtype, dtype, "safe") or (values.dtype.kind == "b") != (dtype.kind == "b"):
        raise TypeError(f"{_label(name)}: the column holds {dtype}, found {values.dtype}")
    return values.astype(dtype, copy=False)
