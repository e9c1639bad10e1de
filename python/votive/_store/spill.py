"""Rows beyond the memory that a store may take, in files."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._store.coarse_codes import MADE_ROWS, coarse_codes
from votive._store.files.manifest import coarse_stride
from votive._store.mapped import MappedArray
from votive._store.options import DTYPES
from votive._store.table.column_values import ColumnValues
from votive._store.table.columns import Columns

# Bytes of rows in memory before they are written: each file costs a search a little.
SPILL_BYTES = 256 << 20


class Spill:
    """Rows that go to files in a folder: `add` keeps them until there are enough to write."""

    def __init__(
        self, core: _core.Store, columns: Columns, folder: str, new_core: Callable[[int], _core.Store]
    ) -> None:
        self.core = core  # with all rows but those that are pending
        self.columns = columns
        self._folder = folder
        self._empty = new_core(core.dimension)
        self._pending = self._empty
        self._next = 0 if core.largest_id is None else core.largest_id + 1

    def add(self, vectors: NDArray[Any], ids: Any, first: int) -> Any:
        """As `_core.Store.add`, and gives the ids."""
        rows = max(1, SPILL_BYTES // max(1, vectors[:1].nbytes))
        if ids is None:
            ids = np.arange(self._next, self._next + len(vectors))
        for start in range(0, len(vectors), rows):
            part = slice(start, start + rows)
            self._pending, _ = self._pending.add(vectors[part], ids[part], len(vectors[part]), first + start)
            if self._pending.rows >= rows:
                self.flush()
        if isinstance(ids, np.ndarray):
            self._next = max(self._next, int(ids.max()) + 1)
        return ids

    def add_columns(self, columns: Columns) -> None:
        """Takes the columns of all rows, of which the last ones go to a file when they are enough."""
        self.columns = columns
        if columns.nbytes() > SPILL_BYTES:
            self.columns = columns.moved(self._move)

    def flush(self) -> None:
        """Writes what is pending to a file, and takes it from there from now on."""
        pending, start = self._pending, self.core.rows
        if not pending.rows:
            return
        ids = pending.id_slice(0, pending.rows)
        replaced = self.core.find(pending.ids(None))
        core = self.core.without(replaced[replaced >= 0])
        vectors, codes, bounds, coarse = _write_mapped(pending, np.arange(pending.rows), self._folder)
        self.core = core.attach(vectors, codes, bounds, coarse, ids, pending.deleted() + start)
        self._pending = self._empty

    def finish(self) -> None:
        """Writes all that is pending."""
        self.flush()
        self.columns = self.columns.moved(self._move)

    def _move(self, array: NDArray[Any]) -> NDArray[Any]:
        return move(array, self._folder)


def compact(core: _core.Store, folder: str, new_core: Callable[[int], _core.Store]) -> _core.Store:
    """As `_core.Store.compact`, with the rows in a file."""
    empty = new_core(core.dimension)
    if core.largest_id is not None:
        empty = empty.numbered_after(core.largest_id)
    if not len(core):
        return empty
    live = core.live()
    ids = core.ids(live)
    vectors, codes, bounds, coarse = _write_mapped(core, live, folder)
    if isinstance(ids, list):
        strings = ColumnValues.of_strings(ids)
        return empty.attach(vectors, codes, bounds, coarse, strings.bytes_parts)
    return empty.attach(vectors, codes, bounds, coarse, ids)


def move(array: NDArray[Any], folder: str) -> NDArray[Any]:
    """An array in a file that goes when it does."""
    if not array.nbytes:
        return array

    def fill(memory: mmap.mmap) -> None:
        np.frombuffer(memory, array.dtype).reshape(array.shape)[:] = array

    return MappedArray.of_nameless(_write(array.nbytes, folder, fill), array.dtype, array.shape, 0)


def _write_mapped(core: _core.Store, rows: NDArray[np.int64], folder: str) -> list[NDArray[Any] | None]:
    """The arrays of rows, ascending, in one file that goes when they do; None for what is not: see `Store.segments`."""
    segments: list[Any] = core.segments()
    parts: list[Any] = list(zip(*segments, strict=True))[1:]
    kinds: list[tuple[np.dtype[Any], int] | None] = [
        None if arrays[0] is None else (arrays[0].dtype, arrays[0].shape[1]) for arrays in parts
    ]
    if DTYPES[core.dtype].has_coarse:
        kinds[-1] = np.dtype(np.uint8), coarse_stride(core.dimension)
    sizes = [0 if kind is None else -(-len(rows) * kind[1] * kind[0].itemsize // 64) * 64 for kind in kinds]
    places = np.cumsum([0, *sizes]).tolist()

    def fill(memory: mmap.mmap) -> None:
        for arrays, kind, place in zip(parts, kinds, places, strict=False):
            if kind is None:
                continue
            joined = np.frombuffer(memory, kind[0], len(rows) * kind[1], place).reshape(len(rows), kind[1])
            # Of segments whose rows are all deleted there is nothing; their rows stay zeros.
            for (first, *there), array in zip(segments, arrays, strict=True):
                end = first + len(there[1] if there[0] is None else there[0])
                start, stop = np.searchsorted(rows, [first, end])
                if array is not None:
                    np.take(array, rows[start:stop] - first, axis=0, out=joined[start:stop], mode="clip")
                    continue
                for at in range(start, stop, MADE_ROWS):
                    some = slice(at, min(at + MADE_ROWS, stop))
                    joined[some] = coarse_codes(core, there[0][rows[some] - first])

    memory = _write(places[-1], folder, fill)
    return [
        None if kind is None else MappedArray.of_nameless(memory, kind[0], (len(rows), kind[1]), place)
        for kind, place in zip(kinds, places, strict=False)
    ]


def _write(size: int, folder: str, fill: Callable[[mmap.mmap], None]) -> NDArray[np.uint8]:
    """A new file without a name that `fill` wrote to, mapped read-only, which needs no descriptor."""
    with tempfile.TemporaryFile(prefix="votive-", dir=folder) as file:
        # Takes the space at once: where a disk is full, writing to the map would end the process.
        _reserve(file, size)
        with mmap.mmap(file.fileno(), size) as memory:
            fill(memory)
        return _core.map_file(file.fileno(), size)


def _reserve(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(1 << 20)
    for start in range(0, size, len(zeros)):
        file.write(zeros[: size - start])
    file.flush()
