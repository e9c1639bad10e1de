"""Compaction: the live rows in one piece, numbered anew, when it is asked for or in the background of a writer.

Algorithm: as an LSM tree compacts, beside those who read and write:

    after a commit that leaves too many dead bytes in the folder, a thread
        holds the commits of others back
        compacts the rows that were committed
        publishes them as the next generation
        gives the store their numbers, with what was changed meanwhile:
            deletes the rows that were deleted
            appends the rows that were added
            patches the values that were changed

Why it is right: what is published are the committed rows and no others. What was changed since stays uncommitted, under
the new numbers. Two locks are taken at once in one order alone, that of changes first.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from votive._core import Store
from votive._store.contents import Contents, Edit
from votive._store.files import generations as _generations
from votive._store.files.manifest import Manifest
from votive._store.folder_binding import FolderBinding
from votive._store.state import StoreState
from votive._store.table.column_values import Rows
from votive._store.table.columns import Changes, Columns


def compacted(state: StoreState, contents: Contents) -> Contents | None:
    """The live rows in one piece, numbered anew; None where there is nothing to be done.

    Raises:
        CorruptStoreError: a file that rows are in is damaged.
        StoreError: that would be more memory than the store may take.
    """
    if contents.live() is not None or len(contents.core.vectors()) > 1:
        contents.check_files()
        new = contents.compacted(*state.budget.compact(contents))
    else:
        columns = state.budget.merge(contents)
        if state.binding is None or not state.binding.is_in_pieces:
            return None if columns is None else replace(contents, columns=columns)
        # For the next commit to write as one, also if nothing is to be done in memory.
        new = replace(contents, columns=columns or contents.columns, numbering=object())
    if state.binding is None:
        return replace(new, first_uncommitted=len(contents), last_edit=None)
    added = state.binding.count_uncommitted(contents)
    edit = _uncommitted_edit(contents, state.binding.edits)
    return replace(new, first_uncommitted=len(contents) - added, last_edit=edit)


def _uncommitted_edit(contents: Contents, committed: int) -> Edit | None:
    """The edits that a folder lacks as one, by the numbers that live rows have once they are compacted."""
    live = contents.live()
    numbers: Rows = np.arange(contents.core.rows) if live is None else live
    rows = {name: np.searchsorted(numbers, found) for name, found in _edited(contents, committed, numbers).items()}
    return Edit(contents.edits, rows, None) if rows else None


def start_where_due(state: StoreState, contents: Contents, manifest: Manifest) -> None:
    """Compacts in the background what was just committed, if the store was told to and enough of it is dead.

    Of a compaction that failed before, it warns (RuntimeWarning).
    """
    error, state.compaction_error = state.compaction_error, None
    if error is not None:
        warnings.warn(
            f"the store was not compacted in the background ({error}); compact() does it, or says why it cannot",
            RuntimeWarning,
            stacklevel=2,
        )
    elif state.compact_at is not None and state.compacting is None and dead_share(manifest) >= state.compact_at:
        state.compacting = contents
        threading.Thread(target=_run, args=(state, contents), name="votive-compact", daemon=True).start()


def dead_share(manifest: Manifest) -> float:
    """The share of a folder's bytes that compaction would give back, from 0 to 1."""
    segments = sum(manifest.size(segment) for segment in manifest.segments)
    changes = sum(manifest.size(change) for change in manifest.changes)
    if not segments:
        return 0.0
    return (segments * manifest.deleted_rows / manifest.rows + changes) / (segments + changes)


def _run(state: StoreState, contents: Contents) -> None:
    try:
        with state.commit_lock:
            binding = state.binding
            # Closed, or committed to again.
            if binding is None or binding.writer is None or binding.contents() is not contents:
                return
            new = compacted(state, contents)
            if new is None:
                return
            manifest = _generations.commit(new, binding.writer, committed=None)
        with state.changing() as now, state.commit_lock:
            binding = state.binding
            if binding is None or binding.writer is None or binding.writer.manifest is not manifest:
                return
            if now.numbering is contents.numbering:
                state.contents = _rebased(now, contents, new)
                state.binding = FolderBinding.of(binding.folder, manifest, new, binding.writer)
    except Exception as error:  # nobody waits for this thread: the next commit tells
        state.compaction_error = error
    finally:
        state.compacting = None


def _rebased(now: Contents, before: Contents, new: Contents) -> Contents:
    """What the store holds `now`, which came of `before`, by the numbers of `new`, its compacted rows."""
    if now is before:
        return new
    stop, rows = before.core.rows, now.core.rows
    live = before.live()
    numbers: Rows = np.arange(stop) if live is None else live
    deleted = now.core.deleted()
    gone = deleted[: int(np.searchsorted(deleted, stop))]
    core = new.core.without(np.searchsorted(numbers, np.intersect1d(gone, numbers)))
    core, resident = _attached(core, now.core, stop, deleted)
    columns = new.columns
    if rows > stop:
        added = {name: column.slice(stop, rows).trimmed() for name, column in now.columns.items()}
        columns = columns.appended(added, rows - stop)
    changes = _changes(now, before, numbers)
    places = {name: rows for name, (rows, _) in changes.items()}
    return replace(
        now,
        core=core,
        columns=_in_order(columns.patched(changes, places), now.columns),
        numbering=new.numbering,
        resident=new.resident + resident,
        vector_files=new.vector_files,
        first_uncommitted=new.core.rows,
        last_edit=Edit(now.edits, places, None) if places else None,
    )


def _attached(core: Store, now: Store, stop: int, deleted: Rows) -> tuple[Store, int]:
    """A core with the rows of another from `stop` on, whose memory they share, and how many bytes that is."""
    at, size = stop, 0
    parts: list[tuple[int, int, list[Any]]] = []
    segments: list[Any] = now.segments()
    for first, *arrays in segments:
        end = first + len(arrays[0] if arrays[1] is None else arrays[1])
        begin = max(first, stop)
        if begin < end:
            parts += [(at, begin, [None] * 4), (begin, end, [a if a is None else a[begin - first :] for a in arrays])]
            at = end
    parts.append((at, now.rows, [None] * 4))
    for begin, end, arrays in parts:
        if begin < end:
            gone = deleted[slice(*np.searchsorted(deleted, (begin, end)))] - begin + core.rows
            vectors, codes, bounds, coarse = arrays
            core = core.attach(vectors, codes, bounds, coarse, now.id_slice(begin, end), gone)
            size += sum(array.nbytes for array in arrays if array is not None)
    if now.largest_id is not None:
        core = core.numbered_after(now.largest_id)
    return core, size


def _changes(now: Contents, before: Contents, numbers: Rows) -> Changes:
    """The values of rows of `before` that were changed since, by their new numbers."""
    return {
        name: (np.searchsorted(numbers, rows), now.columns[name].take(rows))
        for name, rows in _edited(now, before.edits, numbers).items()
    }


def _edited(contents: Contents, number: int, among: Rows) -> dict[str, Rows]:
    """Those of some rows that were changed after an edit, by the names of the columns."""
    found: dict[str, list[Rows]] = {}
    for edit in contents.edits_after(number):
        for name, rows in edit.rows.items():
            found.setdefault(name, []).append(rows)
    return {name: np.intersect1d(np.concatenate(parts), among) for name, parts in found.items()}


def _in_order(columns: Columns, like: Columns) -> Columns:
    return Columns({name: columns[name] for name in like}, columns.rows)
