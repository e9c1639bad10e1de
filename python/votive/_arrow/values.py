"""What is read of a column: NumPy arrays in memory of their own, with nulls."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


class Place(NamedTuple):
    """Where rows stand, for messages.

    Attributes:
        name: what the column is called.
        first: number of the first row; None of what is in lists, structs or dictionaries.
    """

    name: str
    first: int | None

    def row(self, row: int) -> str:
        """One of the rows."""
        return (
            f"{self.name}: a value in a list, struct or dictionary"
            if self.first is None
            else f"{self.name}[{self.first + row}]"
        )


class Values(NamedTuple):
    """Values of some rows.

    Attributes:
        type: "null", "bool", "int8" to "float64", "datetime64[unit]", "str", "bytes", or "json": lists and dicts.
        data: `[rows]`; of "str" and "bytes" the bytes of all, uint8; of "json" a list, with None for null.
        offsets: of "str" and "bytes", `[rows + 1]` int64 from 0 on; None of others.
        valid: `[rows]`, False for null, of which the value is 0, NaT or empty; None where no row is null.
    """

    type: str
    data: NDArray[Any] | list[Any]
    offsets: NDArray[np.int64] | None = None
    valid: Bools | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.data) if self.offsets is None else len(self.offsets) - 1

    def to_list(self) -> list[Any]:
        """As Python has the values: None for null, and str that are UTF-8."""
        if isinstance(self.data, list):
            return self.data
        if self.type == "null":
            return [None] * self.rows
        if self.offsets is None:
            values: list[Any] = self.data.tolist()
        else:
            memory, bounds = memoryview(self.data.tobytes()), self.offsets.tolist()
            pieces = (memory[begin:end] for begin, end in pairwise(bounds))
            values = [str(piece, "utf-8") for piece in pieces] if self.type == "str" else [*map(bytes, pieces)]
        if self.valid is None:
            return values
        return [value if valid else None for value, valid in zip(values, self.valid.tolist(), strict=True)]


def of_bytes(type: str, values: list[bytes], valid: Bools | None) -> Values:
    """Values of a variable length; those that are not valid are empty."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
    return Values(type, np.frombuffer(b"".join(values), np.uint8), offsets, valid)
