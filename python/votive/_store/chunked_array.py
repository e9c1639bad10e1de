"""Values in memory that grows at its end and never moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.mapped import MappedFile, mapped_file_of
from votive._store.strings import check_characters


class ChunkedArray:
    """One value for each row, immutable: `appended` gives another, which shares the memory of this one.

    Each shelf is an array of which the first elements are written. Only the newest `ChunkedArray` of a store is appended to,
    by one thread at a time, and what it writes behind its own rows is in no other. A full shelf is followed by another,
    larger the more there is: no row is copied, and single rows are cheap.
    """

    __slots__ = ("_shelves", "dtype", "nbytes", "rows")

    def __init__(self, shelves: tuple[tuple[NDArray[Any], int], ...]) -> None:
        # Each with the number of rows that are written to it.
        self._shelves = shelves
        self.rows = sum(rows for _, rows in shelves)
        # That of all values: of str the longest.
        self.dtype: np.dtype[Any] = np.result_type(*{memory.dtype for memory, _ in shelves})
        # Of the values in memory; those in files count as none.
        self.nbytes = sum(rows * memory.itemsize for memory, rows in shelves if mapped_file_of(memory) is None)

    @classmethod
    def of(cls, values: NDArray[Any]) -> ChunkedArray:
        """ChunkedArray that hold `values` itself, which nobody writes to: a memory map, or an array of the store's own."""
        return cls(((values, len(values)),))

    @classmethod
    def empty(cls, dtype: np.dtype[Any]) -> ChunkedArray:
        """No rows, of values of a type."""
        return cls.of(np.empty(0, dtype))

    def sources(self, start: int, stop: int) -> list[MappedFile]:
        """The files that the values of rows `start..stop` are in."""
        found = (mapped_file_of(part) for _, part in self.runs(start, stop))
        return [source for source in found if source is not None]

    def check(self) -> None:
        """Accepts files that values are in if they are as they were written, and what is of str can be decoded.

        Raises:
            CorruptStoreError: one is not.
        """
        for _, values in self.runs(0, self.rows):
            if (source := mapped_file_of(values)) is not None:
                source.check()
                check_characters(source.path, values)

    def intact(self) -> ChunkedArray:
        """The same, after a `check` if there was none before."""
        unchecked = [source for source in self.sources(0, self.rows) if not source.was_checked]
        if unchecked:
            self.check()
        for source in unchecked:
            source.was_checked = True
        return self

    def sealed(self) -> ChunkedArray:
        """The same values without room for others, so that what is appended to this is behind none of those."""
        return ChunkedArray(tuple((memory[:rows], rows) for memory, rows in self._shelves))

    def appended(self, values: NDArray[Any]) -> ChunkedArray:
        """These values, and `values` after them, of a type that can be cast to that of these or is a longer str."""
        if not len(values):
            return self
        return self.extended(len(values), values.dtype, [values])

    def extended(self, count: int, dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> ChunkedArray:
        """As `appended`, of `count` values that come in pieces."""
        if not count:
            return self
        *before, (memory, rows) = self._shelves
        if rows + count > len(memory) or dtype.itemsize > memory.dtype.itemsize:
            before = list(self._shelves) if self.rows else []
            rows, memory = 0, np.empty(max(count, self.rows // 2), np.promote_types(dtype, self.dtype))
        for values in pieces:
            memory[rows : rows + len(values)] = values
            rows += len(values)
        return ChunkedArray((*before, (memory, rows)))

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Values of the rows `start..stop`, read-only; a view where they are on one shelf."""
        parts = [values[max(0, start - first) : stop - first] for first, values in self.runs(start, stop)]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, self.dtype)
        found = found.view(np.ndarray)
        found.flags.writeable = False
        return found

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Values of some rows, in the order asked for."""
        values = np.empty(len(rows), self.dtype)
        for first, part in self.runs(0, self.rows):
            inside = (rows >= first) & (rows < first + len(part))
            values[inside] = part[rows[inside] - first]
        return values

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """The written part of each shelf that has some of the rows `start..stop`, and its first row."""
        first = 0
        for memory, rows in self._shelves:
            if start < first + rows and first < stop:
                yield first, memory[:rows]
            first += rows
