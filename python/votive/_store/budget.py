"""The memory that a store may take, and the folder for what exceeds it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from votive import _core
from votive._store import spill as _spill
from votive._store.contents import Contents
from votive._store.table.columns import Columns

GB = 10**9

# Strings of fewer bytes are counted with the rows that they come with.
MIN_CHECKED_BYTES = 1 << 18


@dataclass(frozen=True)
class MemoryBudget:
    """Where rows may go.

    Attributes:
        new_core: makes an empty core of a dimension.
        max_bytes: most bytes that a store may take in memory.
        spill_to: a folder for what exceeds that; None for an error.
    """

    new_core: Callable[[int], _core.Store]
    max_bytes: float
    spill_to: str | None

    def extend_coarse_codes(self, contents: Contents, queries: int) -> None:
        """Has the core make coarse codes that a search for so many queries reads, where there is memory for them."""
        if contents.core.lacks_coarse_codes(queries):
            free = min(max(self.free_bytes(contents), 0), sys.maxsize)
            contents.core.extend_coarse_codes(int(free))

    def is_exceeded(self, contents: Contents, asked: int) -> bool:
        """Whether so many more bytes are too much, also without what searches made, which is given up for them."""
        if asked <= self.free_bytes(contents):
            return False
        contents.drop_derived()
        return asked > self.free_bytes(contents)

    def free_bytes(self, contents: Contents) -> float:
        """How many more bytes there may be; less than 0 where there are too many."""
        return self.max_bytes - contents.memory()["total"]

    def compact(self, contents: Contents) -> tuple[_core.Store, Columns]:
        """The live rows in one piece of memory, or of files.

        Raises:
            StoreError: that would be more memory than there may be.
        """
        core, columns, live = contents.core, contents.columns, contents.live()
        asked = contents.compact_bytes + (0 if live is None else columns.bytes_of(live))
        if self.spill_to is None or not self.is_exceeded(contents, asked):
            self.check(contents, len(contents), asked)
            return core.compact(), self.merge(contents) or columns if live is None else columns.selected(live)
        folder = self.spill_to
        if live is not None:
            columns = columns.selected(live, lambda array: _spill.move(array, folder))
        return _spill.compact(core, folder, self.new_core), columns

    def merge(self, contents: Contents) -> Columns | None:
        """See `Columns.merged`.

        Raises:
            StoreError: that would be more memory than there may be.
        """
        columns = contents.columns.merged()
        if columns is not None and self.spill_to is None:
            self.check(contents, len(contents), columns.nbytes())
        return columns

    def moved(self, columns: Columns) -> Columns:
        """Columns whose values are in files, all that were in memory."""
        folder = self.spill_to
        return columns if folder is None else columns.moved(lambda array: _spill.move(array, folder))

    def check_given(self, contents: Contents, texts: Any, ids: Any, metadata: Any) -> None:
        """Raises a StoreError where strings alone that were given are too much, before any of them is copied."""
        if self.spill_to is None:
            columns = list(metadata.values()) if isinstance(metadata, dict) else []
            given = [_least_bytes(values) for values in (texts, ids, *columns)]
            size = sum(size for _, size in given)
            # Less may be copied before it is looked at with the rows.
            if size > MIN_CHECKED_BYTES:
                self.check(contents, max(count for count, _ in given), size)

    def check(self, contents: Contents, rows: int, asked: int) -> None:
        """Raises a StoreError where so many bytes for so many rows are too much."""
        if not self.is_exceeded(contents, asked):
            return
        used = contents.memory()["total"]
        deleted = contents.core.rows - len(contents)
        hint = f"; {deleted} rows are deleted, and compact() gives their memory back" if deleted else ""
        raise _core.StoreError(
            f"max_memory_gb: {rows} rows of dimension {contents.dimension} need {asked / GB:.3g} GB beside the "
            f"{used / GB:.3g} GB in use, more than the limit of {self.max_bytes / GB:.3g} GB{hint}"
        )


def _least_bytes(values: Any) -> tuple[int, int]:
    """How many strings there are in a list, and how many bytes they take at least; 0 of other things."""
    if not isinstance(values, list | tuple):
        return 0, 0
    lengths = [len(value) for value in values if isinstance(value, str | bytes)]
    return len(lengths), sum(lengths)
