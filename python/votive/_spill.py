"""Rows that memory has no room for, in files."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _core

# Bytes of rows in memory before they are written: each file costs a search a little, and the process a descriptor.
SPILL_BYTES = 256 << 20


class Spill:
    """Rows on their way to files in a folder: `add` keeps them until there are enough to write."""

    def __init__(self, core: _core.Store, folder: str, new_core: Callable[[int], _core.Store]) -> None:
        self.core = core  # with all rows but those that are kept
        self._folder = folder
        self._empty = new_core(core.dimension)
        self._kept = self._empty
        self._next = 0 if core.largest_id is None else core.largest_id + 1

    def add(self, vectors: NDArray[np.float32], ids: Any, first: int) -> Any:
        """As `_core.Store.add`, and gives the ids."""
        rows = max(1, SPILL_BYTES // (4 * vectors.shape[1]))
        if ids is None:
            ids = np.arange(self._next, self._next + len(vectors))
        for start in range(0, len(vectors), rows):
            part = slice(start, start + rows)
            self._kept, _ = self._kept.add(vectors[part], ids[part], len(vectors[part]), first + start)
            if self._kept.rows >= rows:
                self.flush()
        if isinstance(ids, np.ndarray):
            self._next = max(self._next, int(ids.max()) + 1)
        return ids

    def flush(self) -> None:
        """Writes what is kept to a file, and takes it from there from now on."""
        kept, start = self._kept, self.core.rows
        if not kept.rows:
            return
        ids = kept.id_slice(0, kept.rows)
        replaced = self.core.find(kept.ids(None))
        core = self.core.without(replaced[replaced >= 0])
        parts = kept.segments()
        arrays = _mapped([[part[which] for part in parts] for which in (1, 2, 3)], self._folder)
        self.core = core.attach(*arrays, ids, kept.deleted() + start)
        self._kept = self._empty


def _mapped(arrays: list[list[Any]], folder: str) -> list[NDArray[Any] | None]:
    """For each list, its arrays joined, in one file that goes when they do; None for a list of None."""
    sizes = [sum(-(-part.nbytes // 64) * 64 for part in parts if part is not None) for parts in arrays]
    with tempfile.TemporaryFile(prefix="votive-", dir=folder) as file:
        file.truncate(sum(sizes))
        memory = mmap.mmap(file.fileno(), sum(sizes))
    found: list[NDArray[Any] | None] = []
    start = 0
    for parts, size in zip(arrays, sizes, strict=True):
        if parts[0] is None:
            found.append(None)
            continue
        rows, width = sum(map(len, parts)), parts[0].shape[1]
        joined = np.frombuffer(memory, parts[0].dtype, rows * width, start).reshape(rows, width)
        np.concatenate(parts, out=joined)
        joined.flags.writeable = False
        found.append(joined)
        start += size
    return found
