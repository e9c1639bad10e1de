"""What rows have beside vectors and ids: columns of metadata, and their texts as one more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.table.column import Column
from votive._store.table.column_type import NULL, ColumnType
from votive._store.table.column_values import ColumnValues, Rows

# Values by the names of their columns, equally many of each.
Values = dict[str, ColumnValues]
# Values of some rows by the names of their columns, each with the numbers of the rows, ascending.
Changes = dict[str, tuple[Rows, ColumnValues]]

# What the texts are called among the columns.
TEXT = "text"


class Columns(Mapping[str, Column]):
    """Columns by name, immutable, equally long. Whoever asks for one gets it checked, if it is in files.

    Attributes:
        rows: how many rows there are.
    """

    __slots__ = ("_columns", "rows")

    def __init__(self, columns: dict[str, Column], rows: int) -> None:
        self._columns = columns
        self.rows = rows

    def __getitem__(self, name: str) -> Column:
        # Texts may be much: what cannot be decoded of them is found when it is read.
        return self._columns[name].verified(bytes=name != TEXT)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def unchecked(self) -> Iterator[tuple[str, Column]]:
        """Names and columns, whatever is in their files."""
        yield from self._columns.items()

    @property
    def metadata_names(self) -> list[str]:
        """Names of all but the texts."""
        return [name for name in self._columns if name != TEXT]

    def nbytes(self, *, texts: bool | None = None) -> int:
        """Bytes in memory of the texts, of the others, or of all."""
        return sum(column.nbytes for name, column in self._columns.items() if texts in (None, name == TEXT))

    @property
    def mapped_bytes(self) -> int:
        """Bytes in files."""
        return sum(column.mapped_bytes for column in self._columns.values())

    def appended(self, values: Values, rows: int, position: int = 0) -> Columns:
        """With `rows` more rows, the first of which messages call `position`; null in the columns without values.

        Raises:
            TypeError: a column holds values of another type.
            ValueError: no type of numbers holds a value and those that the column has.
        """
        columns = dict(self._columns)
        for name in values.keys() - columns.keys():
            columns[name] = Column.nulls(self.rows)
        # New ones in the order in which they were given.
        columns = {name: columns[name] for name in (*self._columns, *(n for n in values if n not in self._columns))}
        for name, column in columns.items():
            given = _without_type(column, values.get(name) or ColumnValues.nulls(NULL, rows))
            columns[name] = column.appended(given, _promoted(column, given, name, np.arange(rows), position))
        return Columns(columns, self.rows + rows)

    def patched(self, changes: Changes, places: Mapping[str, Rows]) -> Columns:
        """With other values for some rows, and new columns where there were none.

        Args:
            changes: the values.
            places: for each column where its values stood in what was given, for messages.

        Raises:
            TypeError, ValueError: see `appended`.
        """
        columns = dict(self._columns)
        for name, (rows, values) in changes.items():
            column = columns.get(name) or Column.nulls(self.rows)
            values = _without_type(column, values)
            columns[name] = column.patched(rows, values, _promoted(column, values, name, places[name], 0))
        return Columns(columns, self.rows)

    def merged(self) -> Columns | None:
        """With changed values in the place of those before, where both are in memory; None where there are none."""
        found = {name: column.merged() for name, column in self._columns.items()}
        if all(found[name] is column for name, column in self._columns.items()):
            return None
        return Columns(found, self.rows)

    def moved(self, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Columns:
        """See `Column.moved`."""
        return Columns({name: column.moved(move) for name, column in self._columns.items()}, self.rows)

    def bytes_of(self, rows: Rows) -> int:
        """See `Column.bytes_of`."""
        return sum(column.bytes_of(rows) for column in self._columns.values())

    def selected(self, rows: Rows, move: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> Columns:
        """Some rows alone, in memory, or column by column where `move` gives arrays; no columns for no rows."""
        columns: dict[str, Column] = {}
        for name, column in self._columns.items() if len(rows) else ():
            selected = column.selected(rows)
            columns[name] = selected if move is None else selected.moved(move)
        return Columns(columns, len(rows))


def label(name: str) -> str:
    """What messages call a column."""
    return "texts" if name == TEXT else f"metadata[{name!r}]"


def _without_type(column: Column, values: ColumnValues) -> ColumnValues:
    """Values, as those of no type if all are null: a column of any type holds them."""
    if column.type == NULL or values.valid is None or values.valid.any():
        return values
    return ColumnValues.nulls(NULL, values.rows)


def _promoted(column: Column, values: ColumnValues, name: str, places: Rows, position: int) -> ColumnType:
    found = column.promoted(values)
    if not isinstance(found, int):
        return found
    row = max(found, 0)
    if values.valid is not None and not values.valid[row]:
        row = int(np.argmax(values.valid))
    where = f"{label(name)}[{position + int(places[row])}]"
    if found >= 0:
        raise ValueError(
            f"{where}: {values[row : row + 1].to_list()[0]!r} and the {column.type} of the column fit in no one type "
            "without a loss; give floats, or another column"
        )
    raise TypeError(f"{where}: expected {column.type} or None, as the column holds, found {values.type}")
