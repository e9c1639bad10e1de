"""Tables that speak Arrow, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from votive._arrow.capsule import STRUCT, Array, Layout, arrays, first_null
from votive._arrow.columns import check_column, read
from votive._arrow.values import Place, Values
from votive._arrow.vectors import vectors


class Batch:
    """Some rows of a table, readable until the next batch is asked for.

    Attributes:
        position: where the first of them stands in the table.
    """

    def __init__(self, layout: Layout, array: Array, position: int) -> None:
        self._columns = {child.name: (child, row) for row, child in enumerate(layout.children)}
        self._array = array
        self.position = position

    def __len__(self) -> int:
        return self._array.length

    @property
    def names(self) -> list[str]:
        """Names of the columns, in their order."""
        return list(self._columns)

    def values(self, column: str, name: str) -> Values:
        """A column that is no vectors; messages call it `name`."""
        layout, array, first, last = self._rows(column)
        check_column(layout, name)
        return read(layout, array, first, last, Place(name, self.position))

    def vectors(self, column: str, name: str) -> NDArray[Any]:
        """A column of lists of numbers as a view `[rows, length]`."""
        return vectors(*self._rows(column), name, self.position)

    def _rows(self, column: str) -> tuple[Layout, Array, int, int]:
        layout, place = self._columns[column]
        child = self._array.children[place].contents
        # A slice of a struct leaves its children as they are.
        first = child.offset + self._array.offset
        return layout, child, first, first + self._array.length


def batches(table: object, name: str) -> Iterator[Batch]:
    """The pieces of a table: of pyarrow, pandas, polars and so on, or a reader of batches.

    Raises:
        TypeError: `table` speaks no Arrow, or is no table.
        ValueError: It has two columns of a name, or the stream is damaged.
        OSError: The stream cannot be read further.
    """
    position = 0
    for layout, array in arrays(table, name, _check_table):
        if first_null(layout, array, array.offset, array.offset + array.length) is not None:
            raise TypeError(f"{name}: holds a null row")
        yield Batch(layout, array, position)
        position += array.length


def column_chunks(column: object, name: str) -> Iterator[Values]:
    """The chunks of a column; messages call it `name`.

    Raises:
        TypeError: `column` speaks no Arrow, or holds another type.
        ValueError: A string is not valid UTF-8, or the array or its stream is damaged.
        OSError: The stream cannot be read further.
    """
    position = 0
    for layout, array in arrays(column, name, check_column):
        yield read(layout, array, array.offset, array.offset + array.length, Place(name, position))
        position += array.length


def _check_table(layout: Layout, name: str) -> None:
    if layout.format != STRUCT:
        raise TypeError(f"{name}: expected an Arrow table, record batch or struct, found a column of {layout}")
    names = [child.name for child in layout.children]
    for column in names:
        if names.count(column) > 1:
            raise ValueError(f"{name}: has two columns {column!r}")
