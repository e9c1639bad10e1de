"""What changes in a store: its rows, and the folder that they are in."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from votive import _core
from votive._arguments import check_memory_limit
from votive._store.budget import MemoryBudget
from votive._store.contents import Contents
from votive._store.folder_binding import FolderBinding
from votive._store.options import STAND_IN_DIMENSION, StoreOptions
from votive._store.table.columns import Columns
from votive.backend import device_of, on_device

if TYPE_CHECKING:
    from votive.report import SearchReport

# The stores of this process, for its children.
_states: weakref.WeakSet[StoreState] = weakref.WeakSet()


class StoreState:
    """All that one `EmbeddingStore` has, and no other.

    Attributes:
        options: what the store was told when it was made.
        budget: the memory that it may take.
        contents: its rows. One assignment replaces them, so that each call sees them as they were when it began.
        binding: the folder that it was opened from or last saved to; None for none.
        commit_lock: held by the one thread that writes to a folder, or opens or closes one.
        stats: of its searches.
        last_search: report of the last one; None before it.
        compact_at: the share of dead bytes in the folder at which a commit has it compacted in the background; None for
            never.
        compacting: what is being compacted in the background; None for nothing.
        compaction_error: why that failed, for the next commit to tell.
    """

    def __init__(self, options: StoreOptions, budget: MemoryBudget, contents: Contents) -> None:
        self.options = options
        self.budget = budget
        self.contents = contents
        self.binding: FolderBinding | None = None
        self.stats = _core.Stats()
        self.last_search: SearchReport | None = None
        self.compact_at: float | None = None
        self.compacting: Contents | None = None
        self.compaction_error: Exception | None = None
        self.commit_lock = threading.RLock()
        self._change_lock = threading.RLock()
        self._is_changing = False
        _states.add(self)

    @classmethod
    def new(cls, options: StoreOptions) -> StoreState:
        """The state of a store without rows.

        Raises:
            DeviceError: the backend or device is not there.
        """
        metric, dtype, num_threads = options.metric, options.dtype, options.num_threads

        def make_core(device: str) -> tuple[str, _core.Store]:
            return device, _core.Store(STAND_IN_DIMENSION, metric, dtype, device, num_threads)

        asked = device_of(options.backend, options.device, "backend")
        device, _ = on_device(asked, options.fallback, make_core)
        budget = MemoryBudget(
            # Without a reference to the store: in a cycle it would stay in memory after its last use.
            lambda dimension: _core.Store(dimension, metric, dtype, device, num_threads),
            check_memory_limit(options.max_memory_gb),
            options.spill_to,
        )
        return cls(options, budget, _empty_contents(options, budget))

    def empty_contents(self) -> Contents:
        """No rows, as in a store that was just made."""
        return _empty_contents(self.options, self.budget)

    def copy(self) -> StoreState:
        """The state of another store with the same rows, which is in no folder."""
        return StoreState(self.options, self.budget, self.contents)

    def replace(self, other: StoreState) -> None:
        """Takes over the options, rows and folder of another store, which is not used any more."""
        self.options, self.budget, self.binding = other.options, other.budget, other.binding
        self.contents = other.contents

    @contextmanager
    def changing(self) -> Iterator[Contents]:
        """Has one thread at a time change the rows: it replaces `contents` in one assignment, as its last step.

        Raises:
            StoreError: this thread is changing them already.
        """
        with self._change_lock:
            if self._is_changing:
                raise _core.StoreError("the store is being added to; what it reads for that may not change it")
            self._is_changing = True
            try:
                yield self.contents
            finally:
                self._is_changing = False

    def move(self, contents: Contents, moved: Contents) -> None:
        """Replaces `contents` by the same rows on another device.

        Where these are not the store's any more, or a thread is changing them, the next search moves them.
        """
        if self._change_lock.acquire(blocking=False):
            try:
                if self.contents is contents and not self._is_changing:
                    self.contents = moved
            finally:
                self._change_lock.release()

    def reset_locks(self) -> None:
        """Makes the locks anew, released."""
        self.commit_lock, self._change_lock = threading.RLock(), threading.RLock()
        self._is_changing = False
        self.compacting = None


def _empty_contents(options: StoreOptions, budget: MemoryBudget) -> Contents:
    # While the dimension is not known, another core stands in: it checks the other arguments, and holds no rows.
    return Contents(budget.new_core(options.dimension or STAND_IN_DIMENSION), Columns({}, 0), options.dimension)


def _after_fork() -> None:
    # A thread that was changing a store is not in this process, and what it did was not finished.
    for state in _states:
        state.reset_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
