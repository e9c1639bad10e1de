"""A column of metadata: one value or none for each row of a store, some of which were changed since."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from votive._core import CorruptStoreError
from votive._store.mapped import MappedFile, is_mapped, mapped_file_of
from votive._store.table.column_type import JSON, NULL, ColumnType, first_inexact, promote
from votive._store.table.column_values import ColumnValues, Rows, concatenate
from votive._store.table.tiers import merged_runs
from votive._store.table.value_checks import check_values

_T = TypeVar("_T")

# Larger chunks are not copied to be merged with those after them.
MAX_MERGED_CHUNK_BYTES = 64 << 20


class Patch(NamedTuple):
    """Values that rows were changed to.

    Attributes:
        rows: ascending numbers of rows.
        values: one for each of them.
    """

    rows: Rows
    values: ColumnValues


class Column:
    """A value or null for each row, immutable: `appended` and `patched` give another, which shares its memory.

    Values are in chunks, in the order of rows, and in patches over them, of which the last that has a row counts. Both
    are merged by their sizes (see `tiers`), so that there are few, and each value is seldom copied.

    Attributes:
        type: of all values; chunks and patches may be of one that it holds.
        chunks: all rows, in order.
        patches: what was changed since, the newest last.
        rows: how many rows there are.
    """

    __slots__ = ("_firsts", "_found_sizes", "_verified", "chunks", "patches", "rows", "type")

    def __init__(self, type: ColumnType, chunks: tuple[ColumnValues, ...], patches: tuple[Patch, ...] = ()) -> None:
        self.type = type
        self.chunks = chunks
        self.patches = patches
        self._firsts = [0]
        for chunk in chunks:
            self._firsts.append(self._firsts[-1] + chunk.rows)
        self.rows = self._firsts[-1]
        self._found_sizes: tuple[int, int] | None = None
        self._verified = 0  # 1 without the bytes of variable values, 2 with them

    @classmethod
    def nulls(cls, rows: int) -> Column:
        """Rows without a value, of no type yet."""
        return cls(NULL, (ColumnValues.nulls(NULL, rows),) if rows else ())

    @property
    def nbytes(self) -> int:
        """Bytes in memory; those in files count as none."""
        return self._sizes[0]

    @property
    def mapped_bytes(self) -> int:
        """Bytes in files."""
        return self._sizes[1]

    @property
    def _sizes(self) -> tuple[int, int]:
        if self._found_sizes is None:
            held = sum(values.nbytes for values in self.all_values())
            in_files = sum(values.mapped_bytes for values in self.all_values())
            for patch in self.patches:
                held += 0 if is_mapped(patch.rows) else patch.rows.nbytes
                in_files += patch.rows.nbytes if is_mapped(patch.rows) else 0
            self._found_sizes = held, in_files
        return self._found_sizes

    def promoted(self, given: ColumnValues) -> ColumnType | int:
        """The type of a column that has these values too.

        Where there is none, the place of the first value that fits in no type with the others; -1 if none does.
        """
        found: int = -1
        for type in promote(self.type, given.type):
            place = _first_misfit(given, type)
            if place is None and (type == self.type or all(_first_misfit(v, type) is None for v in self.all_values())):
                return type
            found = 0 if place is None else place
        return found

    def appended(self, values: ColumnValues, type: ColumnType) -> Column:
        """With more rows at the end, in a `promoted` type."""
        mergeable: list[ColumnValues] = []
        for chunk in reversed(self.chunks):
            if chunk.is_mapped or chunk.nbytes > MAX_MERGED_CHUNK_BYTES:
                break
            mergeable.insert(0, chunk)
        if not values.rows:
            return Column(type, self.chunks, self.patches)
        count = merged_runs([chunk.rows for chunk in mergeable], values.rows)
        if not count:
            return Column(type, (*self.chunks, values), self.patches)
        merged = concatenate(type, [*self.chunks[-count:], values])
        return Column(type, (*self.chunks[:-count], merged), self.patches)

    def patched(self, rows: Rows, values: ColumnValues, type: ColumnType) -> Column:
        """With other values for some rows, ascending, in a `promoted` type."""
        if not len(rows):
            return Column(type, self.chunks, self.patches)
        patch = Patch(rows, values)
        count = merged_runs([len(patch.rows) for patch in self.patches], len(rows))
        kept = self.patches[: len(self.patches) - count]
        return Column(type, self.chunks, (*kept, _merge([*self.patches[len(kept) :], patch], type)))

    def bytes_of(self, rows: Rows) -> int:
        """Bytes that `selected` takes, at most."""
        size = sum(array.nbytes for patch in self.patches for array in patch.values.arrays.values())
        size += len(rows) * (9 if self.type.is_variable else self.type.dtype.itemsize + 1)
        for first, chunk in zip(self._firsts, self.chunks, strict=False):
            if chunk.offsets is not None:
                these = rows[slice(*np.searchsorted(rows, (first, first + chunk.rows)))] - first
                size += int((chunk.offsets[these + 1] - chunk.offsets[these]).sum())
        return size

    def merged(self) -> Column:
        """The same, with changed values in the place of those before, if all are in memory."""
        if not self.patches or any(values.is_mapped for values in self.all_values()):
            return self
        return self.selected(np.arange(self.rows))

    def moved(self, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Column:
        """The same, whose arrays that are in memory `move` gives elsewhere; the last chunks that are become one."""
        kept = len(self.chunks)
        while kept and not self.chunks[kept - 1].is_mapped:
            kept -= 1
        chunks = self.chunks
        if kept < len(chunks) and self.type != NULL:
            chunks = (*chunks[:kept], concatenate(self.type, chunks[kept:]).moved(move))
        patches = (p if is_mapped(p.rows) else Patch(move(p.rows), p.values.moved(move)) for p in self.patches)
        return Column(self.type, chunks, tuple(patches))

    def selected(self, rows: Rows) -> Column:
        """Some rows alone, in memory."""
        if not len(rows):
            return Column(self.type, ())
        return Column(self.type, (self.take(rows),))

    def take(self, rows: Rows) -> ColumnValues:
        """Values of some rows, in the order asked for, in memory of their own."""
        if len(self.chunks) == 1:
            return self._with_patches(self.chunks[0].take(rows).cast(self.type), rows)
        places = np.searchsorted(self._firsts, rows, side="right") - 1
        if not len(rows) or (places == places[0]).all():
            chunk = int(places[0]) if len(rows) else 0
            found = self.chunks[chunk].take(rows - self._firsts[chunk]) if self.chunks else ColumnValues.nulls(NULL, 0)
            return self._with_patches(found.cast(self.type), rows)
        order = np.argsort(places, kind="stable")
        parts = [
            self.chunks[chunk].take(rows[order[places[order] == chunk]] - self._firsts[chunk])
            for chunk in np.unique(places).tolist()
        ]
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        return self._with_patches(concatenate(self.type, parts).take(inverse), rows)

    def value(self, row: int) -> Any:
        """The value of one row as Python has it; a NumPy scalar of numbers, booleans and points in time."""
        values, place = self._locate(row)
        if values.type == NULL or (values.valid is not None and not values.valid[place]):
            return np.datetime64("NaT") if self.type.dtype.kind == "M" else None
        if values.offsets is None:
            return values.data[place].astype(self.type.dtype)
        return self.reading(lambda: values[place : place + 1].to_list()[0])

    def slice(self, start: int, stop: int) -> ColumnValues:
        """Values of the rows `start..stop`, which share the memory where they are in one chunk and unchanged."""
        parts = list(self._pieces(start, stop))
        found = parts[0] if len(parts) == 1 and parts[0].type == self.type else concatenate(self.type, parts)
        for patch in self.patches:
            first, last = np.searchsorted(patch.rows, (start, stop))
            if first < last:
                return self._with_patches(found, np.arange(start, stop))
        return found

    def to_numpy(self, rows: Rows | None) -> NDArray[Any]:
        """The values of some rows, or of all, as users get them: see `ColumnValues.to_numpy`.

        Raises:
            CorruptStoreError: they are in a file that is damaged.
        """
        return self.reading(lambda: (self.slice(0, self.rows) if rows is None else self.take(rows)).to_numpy())

    def files(self) -> Iterator[MappedFile]:
        """Files that values are in."""
        for values in self.all_values():
            for array in values.arrays.values():
                if (file := mapped_file_of(array)) is not None:
                    yield file

    def check(self, names: set[str] | None = None) -> None:
        """Reads files that values are in: those of some names, or all.

        Raises:
            CorruptStoreError: one is not as it was written, or holds what cannot be decoded.
        """
        for values in self.all_values():
            files = [mapped_file_of(array) for array in values.arrays.values()]
            if any(file is not None and (names is None or file.path.name in names) for file in files):
                check_values(values)

    def verified(self, *, bytes: bool = True) -> Column:
        """The same, whose files were checked, now or before; `bytes`: those of variable values, too."""
        if self._verified >= 1 + bytes:
            return self
        for values in self.all_values():
            files = [(name, mapped_file_of(array)) for name, array in values.arrays.items()]
            if any(f is not None and not f.was_checked and (bytes or name != "bytes") for name, f in files):
                check_values(values, bytes=bytes)
                for name, file in files:
                    if file is not None and (bytes or name != "bytes"):
                        file.was_checked = True
        self._verified = 1 + bytes
        return self

    def reading(self, read: Callable[[], _T]) -> _T:
        """What `read` gives.

        Raises:
            CorruptStoreError: values cannot be decoded; the message names the file that is mapped and damaged.
        """
        try:
            return read()
        except (ValueError, RecursionError) as error:
            for file in self.files():
                file.check()
            for values in self.all_values():
                if values.is_mapped:
                    check_values(values)
            for file in self.files():
                raise file.error(f"holds a value that cannot be decoded ({error})") from None
            # What was read to memory was checked but for its JSON, which votive itself writes whole.
            if self.type == JSON and isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
                raise CorruptStoreError(
                    f"a list or dict in a column cannot be decoded ({error}): the folder that it was read from is "
                    "damaged, and `verify` says where; restore the folder from a copy, or remove it and save the store "
                    "anew"
                ) from None
            raise

    def all_values(self) -> Iterator[ColumnValues]:
        """Values of the chunks, and of the patches."""
        yield from self.chunks
        for patch in self.patches:
            yield patch.values

    def _pieces(self, start: int, stop: int) -> Iterator[ColumnValues]:
        for first, chunk in zip(self._firsts, self.chunks, strict=False):
            if start < first + chunk.rows and first < stop:
                yield chunk[max(0, start - first) : stop - first]

    def _locate(self, row: int) -> tuple[ColumnValues, int]:
        for patch in reversed(self.patches):
            place = int(np.searchsorted(patch.rows, row))
            if place < len(patch.rows) and patch.rows[place] == row:
                return patch.values, place
        chunk = bisect_right(self._firsts, row) - 1
        return self.chunks[chunk], row - self._firsts[chunk]

    def _with_patches(self, values: ColumnValues, rows: Rows) -> ColumnValues:
        """Values of the chunks, with those instead that rows were changed to."""
        if not self.patches:
            return values
        index = np.arange(len(rows))
        parts = [values]
        count = len(rows)
        for patch in self.patches:
            places = np.searchsorted(patch.rows, rows)
            places[places == len(patch.rows)] = 0
            found = np.flatnonzero(patch.rows[places] == rows)
            if len(found):
                parts.append(patch.values.take(places[found]))
                index[found] = np.arange(count, count + len(found))
                count += len(found)
        return values if len(parts) == 1 else concatenate(self.type, parts).take(index)


def _merge(patches: list[Patch], type: ColumnType) -> Patch:
    """Patches as one; of a row that several have, the last counts."""
    if len(patches) == 1:
        return patches[0]
    rows = np.concatenate([patch.rows for patch in patches])
    unique, places = np.unique(rows[::-1], return_index=True)
    return Patch(unique, concatenate(type, [patch.values for patch in patches]).take(len(rows) - 1 - places))


def _first_misfit(values: ColumnValues, type: ColumnType) -> int | None:
    if type.is_variable or values.type in (NULL, type):
        return None
    data = np.asarray(values.data)
    if values.valid is not None and data.dtype.kind != "M":  # where nulls are NaT
        data = np.where(values.valid, data, data.dtype.type(0))
    return first_inexact(data, type)
