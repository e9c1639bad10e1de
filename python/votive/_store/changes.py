"""What changes the rows of a store: each change is made whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._arguments import check_count, check_flag
from votive._store import compaction as _compaction
from votive._store import saving as _saving
from votive._store.budget import MemoryBudget
from votive._store.contents import Batch, Contents
from votive._store.filter import filters as _filters
from votive._store.input import batches as _batches
from votive._store.input import ids as _ids
from votive._store.input import updates as _updates
from votive._store.input import vectors as _vectors
from votive._store.input.batches import RowExtras
from votive._store.recorded_embedder import recording
from votive._store.spill import Spill
from votive._store.state import StoreState
from votive._store.table.column_values import ColumnValues, concatenate


def add_embeddings(
    state: StoreState, vectors: Any, ids: Any, texts: Any, metadata: Any, dimension: int | None
) -> NDArray[Any]:
    """See `EmbeddingStore.add_embeddings`."""
    check_count("dimension", dimension)
    rows, blocks = _vectors.read(vectors, "vectors", _vectors.form_of(state.options.dtype))
    state.budget.check_given(state.contents, texts, ids, metadata)
    extras = RowExtras.read(rows, ids, texts, metadata)
    with state.changing() as contents:
        if contents.dimension is None and dimension is not None:
            contents = replace(contents, core=state.budget.new_core(dimension), dimension=dimension)
        if dimension not in (None, contents.dimension):
            raise ValueError(f"dimension: the store has {contents.dimension}, found {dimension}")
        return _add(state, contents, _batches.join(blocks, extras), rows)


def add_texts(
    state: StoreState,
    texts: Any,
    embedder: Any,
    ids: Any,
    metadata: Any,
    batch_size: int | None,
    show_progress_bar: bool | None,
    allow_other_model: bool,
) -> NDArray[Any]:
    """See `EmbeddingStore.add_texts`."""
    check_flag("allow_other_model", allow_other_model)
    extras = RowExtras.read(None, ids, None, metadata)
    with state.changing() as contents:
        contents = recording(contents, embedder, allow_other_model)
        form = _vectors.form_of(state.options.dtype)
        batches = _batches.embed(texts, embedder, extras, batch_size, show_progress_bar, form)
        return _add(state, contents, batches, None)


def add_batches(state: StoreState, batches: Iterator[Batch]) -> None:
    """Adds rows that are read from elsewhere, all of them or, after an error, none."""
    with state.changing() as contents:
        _add(state, contents, batches, None)


def upsert(state: StoreState, vectors: Any, ids: Any, texts: Any, metadata: Any) -> NDArray[Any]:
    """See `EmbeddingStore.upsert`."""
    rows, blocks = _vectors.read(vectors, "vectors", _vectors.form_of(state.options.dtype))
    if ids is None:
        raise TypeError("ids: expected one for each row, found None; add_embeddings numbers rows")
    state.budget.check_given(state.contents, texts, ids, metadata)
    extras = RowExtras.read(rows, ids, texts, metadata)
    with state.changing() as contents:
        assert extras.ids is not None, "ids were given"
        known = contents.find(extras.ids)
        there = known >= 0
        columns = dict(extras.columns)
        for name in contents.columns if there.any() else ():
            if name not in columns:
                kept = contents.columns[name]
                nulls = ColumnValues.nulls(kept.type, 1)
                found = concatenate(kept.type, [kept.take(known[there]), nulls])
                index = np.full(len(known), found.rows - 1)
                index[there] = np.arange(found.rows - 1)
                columns[name] = found.take(index)
        return _add(state, contents, _batches.join(blocks, extras._replace(columns=columns)), rows)


def update(state: StoreState, ids: Any, filter: Any, texts: Any, metadata: Any) -> int:
    """See `EmbeddingStore.update`."""
    if (ids is None) == (filter is None):
        raise TypeError("update: expected either ids or filter")
    if texts is None and metadata is None:
        raise TypeError("update: expected texts, metadata or both")
    state.budget.check_given(state.contents, texts, None, metadata)
    with state.changing() as contents:
        if ids is None:
            rows, each = _filters.live_rows(filter, contents, state.budget), True
        else:
            keys, each = _ids.read(ids)
            rows = contents.rows_of(keys)

        def check(asked: int) -> None:
            if state.budget.spill_to is None:
                state.budget.check(contents, len(rows), asked)

        changes, places = _updates.read(rows, texts, metadata, check, each=each)
        if not len(rows):
            return 0
        asked = sum(values.nbytes + rows.nbytes for rows, values in changes.values())
        check(asked)
        spills = state.budget.is_exceeded(contents, asked)
        binding = state.binding
        committed = None if binding is None or binding.writer is None else binding.edits
        _saving.warn_of_reader(state)
        new = contents.edited(changes, places, committed)
        state.contents = replace(new, columns=state.budget.moved(new.columns)) if spills else new
        return len(np.unique(rows))


def delete(state: StoreState, ids: Any, filter: Any) -> int:
    """See `EmbeddingStore.delete`."""
    if (ids is None) == (filter is None):
        raise TypeError("delete: expected either ids or filter; clear() forgets all rows")
    with state.changing() as contents:
        if ids is None:
            left = contents.without(_filters.live_rows(filter, contents, state.budget))
        else:
            keys, _ = _ids.read(ids)
            left = contents.without(contents.rows_of(keys))
        state.contents = left
        return len(contents) - len(left)


def compact(state: StoreState) -> None:
    """See `EmbeddingStore.compact`."""
    with state.changing() as contents:
        if (new := _compaction.compacted(state, contents)) is not None:
            state.contents = new


def clear(state: StoreState) -> None:
    """See `EmbeddingStore.clear`."""
    with state.changing():
        state.contents = state.empty_contents()


def _add(state: StoreState, contents: Contents, batches: Iterator[Batch], rows: int | None) -> NDArray[Any]:
    contents, ids = append(contents, batches, rows, state.budget)
    if len(ids):
        _saving.warn_of_reader(state)
        state.contents = contents
    return ids


def append(
    contents: Contents, batches: Iterator[Batch], rows: int | None, budget: MemoryBudget
) -> tuple[Contents, NDArray[Any]]:
    """`contents` and rows after them, and the ids of those.

    Args:
        contents: stay as they are.
        batches: the rows.
        rows: how many there are; None if that is not known.
        budget: of the store; nothing is allocated beyond it.

    Raises:
        StoreError: it does not suffice.
        TypeError, ValueError: see `Contents.checked`; or a vector holds NaN or infinity.
    """
    first = 0
    found: list[_ids.Ids] = []
    spill: Spill | None = None
    for batch in batches:
        count, width = len(batch.vectors), _vectors.dimension_of(batch.vectors)
        if not count and not width:
            continue
        batch = contents.checked(batch)
        if not count:
            continue
        if contents.dimension is None:
            contents = replace(contents, core=budget.new_core(width), dimension=width)
        columns = contents.columns.appended(batch.columns, count, first)
        expected = max(count, (rows or 0) - first)
        asked = contents.core.size_of(expected) + batch.nbytes
        if spill is None and budget.spill_to is not None and budget.is_exceeded(contents, asked):
            spill = Spill(contents.core, contents.columns, budget.spill_to, budget.new_core)
        if spill is None:
            budget.check(contents, expected, asked)
            core, ids = contents.core.add(batch.vectors, batch.ids, expected, first)
            contents = replace(contents, core=core, columns=columns)
        else:
            ids = spill.add(batch.vectors, batch.ids, first)
            spill.add_columns(columns)
            contents = replace(contents, columns=spill.columns)
        found.append(ids)
        first += count
    if spill is not None:
        spill.finish()
        contents = replace(contents, core=spill.core, columns=spill.columns)
    return contents, _join_ids(found, contents)


def _join_ids(found: list[_ids.Ids], contents: Contents) -> NDArray[Any]:
    parts = [_ids.to_array(ids) for ids in found]
    if not parts:
        return np.empty(0, object if contents.core.id_kind == "str" else np.int64)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
