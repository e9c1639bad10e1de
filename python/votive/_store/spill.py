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
from votive._store.mapped import MappedArray
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
        vectors, codes, bounds = _write_mapped(pending, np.arange(pending.rows), self._folder)
        self.core = core.attach(vectors, codes, bounds, ids, pending.deleted() + start)
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
    vectors, codes, bounds = _write_mapped(core, live, folder)
    if isinstance(ids, list):
        strings = ColumnValues.of_strings(ids)
        return empty.attach(vectors, codes, bounds, strings.bytes_parts)
    return empty.attach(vectors, codes, bounds, ids)


def move(array: NDArray[Any], folder: str) -> NDArray[Any]:
    """An array in a file that goes when it does."""
    if not array.nbytes:
        return array

    def fill(memory: mmap.mmap) -> None:
        np.frombuffer(memory, array.dtype).reshape(array.shape)[:] = array

    return MappedArray.of_nameless(_write(array.nbytes, folder, fill), array.dtype, array.shape, 0)


def _write_mapped(core: _core.Store, rows: NDArray[np.int64], folder: str) -> list[NDArray[Any] | None]:
    """Vectors, codes and bounds of rows, ascending, in one file that goes when the arrays do; None for what is not."""
    segments: list[Any] = core.segments()
    parts: list[Any] = list(zip(*segments, strict=True))[1:]
    shapes = [None if arrays[0] is None else (len(rows), arrays[0].shape[1]) for arrays in parts]
    sizes = [
        0 if shape is None else -(-shape[0] * shape[1] * arrays[0].itemsize // 64) * 64
        for shape, arrays in zip(shapes, parts, strict=True)
    ]
    places = np.cumsum([0, *sizes]).tolist()

    def fill(memory: mmap.mmap) -> None:
        for arrays, shape, place in zip(parts, shapes, places, strict=False):
            if shape is not None:
                joined = np.frombuffer(memory, arrays[0].dtype, shape[0] * shape[1], place).reshape(shape)
                # Of segments whose rows are all deleted there is nothing; their rows stay zeros.
                for (first, *_), array in zip(segments, arrays, strict=True):
                    start, stop = np.searchsorted(rows, [first, first + len(array)])
                    np.take(array, rows[start:stop] - first, axis=0, out=joined[start:stop], mode="clip")

    memory = _write(places[-1], folder, fill)
    return [
        None if shape is None else MappedArray.of_nameless(memory, arrays[0].dtype, shape, place)
        for arrays, shape, place in zip(parts, shapes, places, strict=False)
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
