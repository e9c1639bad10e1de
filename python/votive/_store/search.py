"""Searches of a store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from votive import _core
from votive._arguments import check_flag, check_positive
from votive._store import filters as _filters
from votive._store import vectors as _vectors
from votive._store.contents import Contents
from votive._store.state import StoreState
from votive.backend import device_after
from votive.report import SearchReport
from votive.stats import counting_errors

_T = TypeVar("_T")

# What a search did of which the core is not asked.
_NO_WORK = {"rows": 0, "rescored": 0, "bytes": 0, "closed_early": 0}


def search(
    state: StoreState, queries: Any, k: int | None, filter: Any, exact: bool, min_score: float | None
) -> tuple[Any, Any]:
    """See `EmbeddingStore.search`."""
    with counting_errors(state.stats):
        check_flag("exact", exact)
        _check_min_score(min_score)
        if k is None and min_score is None:
            raise TypeError("k: expected an int, found None, which is accepted beside min_score alone")
        if k is not None:
            check_positive("k", k)
        return _search(state, queries, k, filter, exact, min_score)


def search_text(
    state: StoreState, texts: Any, embedder: Any, k: int | None, filter: Any, exact: bool, min_score: float | None
) -> tuple[Any, Any]:
    """See `EmbeddingStore.search_text`."""
    encode = getattr(embedder, "encode_query", None) or embedder.encode
    return search(state, encode(texts), k, filter, exact, min_score)


def _check_min_score(min_score: Any) -> None:
    if min_score is None:
        return
    if isinstance(min_score, bool | str | bytes) or not hasattr(min_score, "__float__"):
        raise TypeError(f"min_score: expected a number or None, found {type(min_score).__name__}")
    if math.isnan(min_score):
        raise ValueError("min_score: expected a number, found NaN")


def _search(
    state: StoreState, queries: Any, k: int | None, filter: Any, exact: bool, min_score: float | None
) -> tuple[Any, Any]:
    start = time.monotonic()
    contents = state.contents
    vectors, is_single = _vectors.read_matrix(queries, "queries")
    if len(vectors) and contents.dimension is None:
        # No rows: only what queries may hold is checked.
        contents = replace(contents, core=state.budget.new_core(vectors.shape[1]), dimension=vectors.shape[1])
    if len(vectors) and contents.dimension != vectors.shape[1]:
        raise ValueError(f"queries: expected dimension {contents.dimension}, found {vectors.shape[1]}")
    mask = _filters.mask(filter, contents)
    if len(vectors):
        counted = None if mask is None else mask.view(np.uint8)
        # More than a usize is no k of the core's, and 0 is none.
        most = max(1, len(contents) if k is None else min(k, len(contents)))
        if min_score is None:
            scores, rows, work = _run(state, contents, lambda core: core.search(vectors, most, counted, exact))
        else:
            least = float(min_score)
            scores, rows, counts, work = _run(
                state, contents, lambda core: core.search_range(vectors, least, most, counted, exact)
            )
    else:
        wanted = len(contents) if mask is None else int(np.count_nonzero(mask))
        shape = (0, wanted if k is None else min(k, wanted))
        scores, rows, work = np.empty(shape, np.float32), np.empty(shape, np.int64), _NO_WORK
        counts = np.empty(0, np.int64)
    seconds = time.monotonic() - start
    state.last_search = SearchReport(
        len(vectors), work["rows"], work["rescored"], work["bytes"], work["closed_early"], seconds
    )
    state.stats.add_search(len(vectors), seconds)
    ids = contents.ids(rows.ravel()).reshape(rows.shape)
    found: list[Any] = [scores, ids]
    if min_score is not None:
        found = [np.split(values, np.cumsum(counts)[:-1]) if len(counts) else [] for values in found]
    scores, ids = (values[0] for values in found) if is_single else found
    return scores, ids


def _run(state: StoreState, contents: Contents, search: Callable[[_core.Store], _T]) -> _T:
    """What `search` finds in the core; with `fallback`, where its device fails, that on the next device."""
    while True:
        try:
            return search(contents.core)
        except _core.DeviceError as error:
            if not state.options.fallback:
                raise
            following = device_after(contents.core.device, error)
            moved = replace(contents, core=contents.core.on(following))
            state.move(contents, moved)
            contents = moved
