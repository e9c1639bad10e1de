"""Searches of a store."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._arguments import check_flag, check_positive
from votive._store import filters as _filters
from votive._store import vectors as _vectors
from votive._store.contents import Contents
from votive._store.state import StoreState
from votive.backend import device_after
from votive.report import SearchReport
from votive.stats import counting_errors

# What a search did of which the core is not asked.
_NO_WORK = {"rows": 0, "rescored": 0, "bytes": 0, "closed_early": 0}


def search(
    state: StoreState, queries: Any, k: int, filter: Any, exact: bool, rescore_multiplier: int | None
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """See `EmbeddingStore.search`."""
    with counting_errors(state.stats):
        check_flag("exact", exact)
        return _search(state, queries, k, filter, exact, rescore_multiplier)


def search_text(
    state: StoreState, texts: Any, embedder: Any, k: int, filter: Any, exact: bool, rescore_multiplier: int | None
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """See `EmbeddingStore.search_text`."""
    encode = getattr(embedder, "encode_query", None) or embedder.encode
    return search(state, encode(texts), k, filter, exact, rescore_multiplier)


def _search(
    state: StoreState, queries: Any, k: int, filter: Any, exact: bool, rescore_multiplier: int | None
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    start = time.monotonic()
    contents = state.contents
    check_positive("k", k)
    form = _vectors.form_of(contents.core.dtype)
    if rescore_multiplier is not None:
        check_positive("rescore_multiplier", rescore_multiplier)
        if form is not _vectors.to_bits:
            raise ValueError(
                "rescore_multiplier: only rows of bits (metric='hamming') are looked at a second time; the store has "
                f"metric={contents.core.metric!r}, whose scores are of the vectors already"
            )
        form = _vectors.to_floats
    vectors, is_single = _vectors.read_matrix(queries, "queries", form)
    dimension = _vectors.dimension_of(vectors)
    if len(vectors) and contents.dimension is None:
        # No rows: only what queries may hold is checked.
        contents = replace(contents, core=state.budget.new_core(dimension), dimension=dimension)
    if len(vectors) and contents.dimension != dimension:
        raise ValueError(f"queries: expected dimension {contents.dimension}, found {dimension}")
    mask = _filters.mask(filter, contents)
    if len(vectors):
        counted = None if mask is None else mask.view(np.uint8)
        # More than a usize is no k of the core's, and 0 is none.
        k = max(1, min(k, len(contents)))
        if contents.core.dtype == "ubinary":
            scores, rows, work = _run_bits(contents, vectors, k, counted, rescore_multiplier)
        else:
            scores, rows, work = _run(state, contents, vectors, k, counted, exact)
    else:
        shape = (len(vectors), min(k, len(contents) if mask is None else int(np.count_nonzero(mask))))
        scores, rows, work = np.empty(shape, np.float32), np.empty(shape, np.int64), _NO_WORK
    seconds = time.monotonic() - start
    state.last_search = SearchReport(
        len(vectors), work["rows"], work["rescored"], work["bytes"], work["closed_early"], seconds
    )
    state.stats.add_search(len(vectors), seconds)
    ids = contents.ids(rows.ravel()).reshape(rows.shape)
    return (scores[0], ids[0]) if is_single else (scores, ids)


def _run_bits(
    contents: Contents,
    queries: NDArray[Any],
    k: int,
    mask: NDArray[np.uint8] | None,
    rescore_multiplier: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, int]]:
    """What the core finds by the bits of queries; of floats with a second look, if one is asked for."""
    core = contents.core
    if rescore_multiplier is None:
        return core.search_bits(queries, k, mask)
    candidates = min(k * rescore_multiplier, len(contents))
    _, rows, work = core.search_bits(np.packbits(queries > 0, axis=1), max(1, candidates), mask)
    scores, rows, rescored = core.rescore(queries, rows, k)
    return scores, rows, {**work, "rescored": rescored["rescored"], "bytes": work["bytes"] + rescored["bytes"]}


def _run(
    state: StoreState,
    contents: Contents,
    queries: NDArray[Any],
    k: int,
    mask: NDArray[np.uint8] | None,
    exact: bool,
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, int]]:
    """What the core finds; with `fallback`, where its device fails, that on the next device."""
    while True:
        try:
            return contents.core.search(queries, k, mask, exact)
        except _core.DeviceError as error:
            if not state.options.fallback:
                raise
            following = device_after(contents.core.device, error)
            moved = replace(contents, core=contents.core.on(following))
            state.move(contents, moved)
            contents = moved
