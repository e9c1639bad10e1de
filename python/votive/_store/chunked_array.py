"""Values in memory that grows at its end and never moves: a chunked array, as Arrow and others call it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.mapped import MappedFile, mapped_file_of
from votive._store.strings import check_characters


class ChunkedArray:
    """One value for each row, immutable: `appended` gives another, which shares the memory of this one.

    Each chunk is an array of which the first elements are written. Only the newest array of a store is appended to, by
    one thread at a time, and what it writes behind its own rows is in no other. A full chunk is followed by another,
    larger the more there is: no row is copied, and single rows are cheap.

    Attributes:
        rows: how many values there are.
        dtype: type of all of them: of str the longest.
        nbytes: bytes of those in memory; those in files count as none.
    """

    __slots__ = ("_chunks", "dtype", "nbytes", "rows")

    def __init__(self, chunks: tuple[tuple[NDArray[Any], int], ...]) -> None:
        """Makes it of arrays, each with the number of rows that are written to it."""
        self._chunks = chunks
        self.rows = sum(rows for _, rows in chunks)
        self.dtype: np.dtype[Any] = np.result_type(*{memory.dtype for memory, _ in chunks})
        self.nbytes = sum(rows * memory.itemsize for memory, rows in chunks if mapped_file_of(memory) is None)

    @classmethod
    def of(cls, values: NDArray[Any]) -> ChunkedArray:
        """`values` itself as the one chunk. Nothing writes to it: a memory map, or an array of the store's own."""
        return cls(((values, len(values)),))

    @classmethod
    def empty(cls, dtype: np.dtype[Any]) -> ChunkedArray:
        """No rows, of values of a type."""
        return cls.of(np.empty(0, dtype))

    def files(self, start: int, stop: int) -> list[MappedFile]:
        """The files that the values of rows `start..stop` are in."""
        found = (mapped_file_of(values) for _, values in self.chunks(start, stop))
        return [file for file in found if file is not None]

    def check(self) -> None:
        """Accepts files that values are in if they are as they were written, and what is of str can be decoded.

        Raises:
            CorruptStoreError: one is not.
        """
        for _, values in self.chunks(0, self.rows):
            if (file := mapped_file_of(values)) is not None:
                file.check()
                check_characters(file.path, values)

    def verified(self) -> ChunkedArray:
        """The same, after a `check` if there was none before."""
        unchecked = [file for file in self.files(0, self.rows) if not file.was_checked]
        if unchecked:
            self.check()
        for file in unchecked:
            file.was_checked = True
        return self

    def sealed(self) -> ChunkedArray:
        """The same values without room for others, so that what is appended to this is behind none of those."""
        return ChunkedArray(tuple((memory[:rows], rows) for memory, rows in self._chunks))

    def appended(self, values: NDArray[Any]) -> ChunkedArray:
        """These values, and `values` after them, of a type that can be cast to that of these or is a longer str."""
        if not len(values):
            return self
        return self.extended(len(values), values.dtype, [values])

    def extended(self, count: int, dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> ChunkedArray:
        """As `appended`, of `count` values that come in pieces."""
        if not count:
            return self
        *before, (memory, rows) = self._chunks
        if rows + count > len(memory) or dtype.itemsize > memory.dtype.itemsize:
            before = list(self._chunks) if self.rows else []
            rows, memory = 0, np.empty(max(count, self.rows // 2), np.promote_types(dtype, self.dtype))
        for values in pieces:
            memory[rows : rows + len(values)] = values
            rows += len(values)
        return ChunkedArray((*before, (memory, rows)))

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Values of the rows `start..stop`, read-only; a view where they are in one chunk."""
        parts = [values[max(0, start - first) : stop - first] for first, values in self.chunks(start, stop)]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, self.dtype)
        found = found.view(np.ndarray)
        found.flags.writeable = False
        return found

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Values of some rows, in the order asked for."""
        values = np.empty(len(rows), self.dtype)
        for first, part in self.chunks(0, self.rows):
            inside = (rows >= first) & (rows < first + len(part))
            values[inside] = part[rows[inside] - first]
        return values

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """The written part of each chunk that has some of the rows `start..stop`, and its first row."""
        first = 0
        for memory, rows in self._chunks:
            if start < first + rows and first < stop:
                yield first, memory[:rows]
            first += rows
