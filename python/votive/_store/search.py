"""Searches of a store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._arguments import check_flag, check_positive
from votive._store.contents import Contents
from votive._store.filter import filters as _filters
from votive._store.input import vectors as _vectors
from votive._store.input.text_encoder import text_encoder
from votive._store.recorded_embedder import check_embedder
from votive._store.state import StoreState
from votive.backend import device_after
from votive.report import SearchReport
from votive.stats import counting_errors

_T = TypeVar("_T")

Mask = NDArray[np.uint8]
# Scores and row numbers, how many each query has where they are not equally many, and what was done.
Results = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64] | None, dict[str, int]]

# What a search did of which the core is not asked.
_NO_WORK = {"rows": 0, "rescored": 0, "bytes": 0, "closed_early": 0}


@dataclass(frozen=True)
class SearchOptions:
    """Arguments of `EmbeddingStore.search`, checked: see there."""

    k: int | None
    exact: bool
    min_score: float | None
    rescore_multiplier: int | None

    @classmethod
    def read(cls, dtype: str, k: Any, exact: Any, min_score: Any, rescore_multiplier: Any) -> SearchOptions:
        """Checks arguments for a store of a dtype.

        Raises:
            ValueError, TypeError: one has a value that is not accepted.
        """
        check_flag("exact", exact)
        if min_score is not None:
            if isinstance(min_score, bool | str | bytes) or not hasattr(min_score, "__float__"):
                raise TypeError(f"min_score: expected a number or None, found {type(min_score).__name__}")
            if math.isnan(min_score):
                raise ValueError("min_score: expected a number, found NaN")
            min_score = float(min_score)
        if k is None and min_score is None:
            raise TypeError("k: expected an int, found NoneType; None is accepted beside min_score alone")
        if k is not None:
            check_positive("k", k)
        if rescore_multiplier is not None:
            check_positive("rescore_multiplier", rescore_multiplier)
            if dtype != "ubinary":
                raise ValueError(
                    "rescore_multiplier: only rows of bits (metric='hamming') are looked at a second time; the store "
                    f"has dtype={dtype!r}, whose scores are of the vectors already"
                )
            if min_score is not None:
                raise ValueError("rescore_multiplier: expected None beside min_score, which is a Hamming distance")
        return cls(k, exact, min_score, rescore_multiplier)


class Found(NamedTuple):
    """The rows that a search found.

    Attributes:
        scores: `[queries, columns]`; of one query after the other where each has its own number of rows.
        rows: their numbers, as `scores`.
        counts: how many each query has; None where all have as many.
        is_single: whether there was one query, and not an array of them.
    """

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    counts: NDArray[np.int64] | None
    is_single: bool

    def of_queries(self, values: NDArray[Any]) -> Any:
        """Values `[rows]` as `[queries, columns]`, or as a list with an array for each query; of one query its own."""
        if self.counts is None:
            found: Any = values.reshape(self.rows.shape)
        else:
            found = np.split(values, np.cumsum(self.counts)[:-1]) if len(self.counts) else []
        return found[0] if self.is_single else found


def search(
    state: StoreState, queries: Any, k: Any, filter: Any, exact: Any, min_score: Any, rescore_multiplier: Any
) -> tuple[Any, Any]:
    """See `EmbeddingStore.search`."""
    with counting_errors(state.stats):
        options = SearchOptions.read(state.options.dtype, k, exact, min_score, rescore_multiplier)
        contents = state.contents
        return _with_ids(contents, find(state, contents, queries, filter, options))


def search_text(
    state: StoreState,
    texts: Any,
    embedder: Any,
    k: Any,
    filter: Any,
    exact: Any,
    min_score: Any,
    rescore_multiplier: Any,
    allow_other_model: Any,
) -> tuple[Any, Any]:
    """See `EmbeddingStore.search_text`."""
    with counting_errors(state.stats):
        options = SearchOptions.read(state.options.dtype, k, exact, min_score, rescore_multiplier)
        contents = state.contents
        queries = encoded_queries(contents, texts, embedder, allow_other_model)
        return _with_ids(contents, find(state, contents, queries, filter, options))


def encoded_queries(contents: Contents, texts: Any, embedder: Any, allow_other_model: Any) -> Any:
    """The vectors of texts that a store's contents are searched with.

    Raises:
        TypeError: it is none, or texts and embedder were given the other way around.
        StoreError: the embedder is another model than the one that made the store's vectors.
    """
    encode = text_encoder(texts, embedder, "encode_query")
    check_embedder(contents, embedder, check_flag("allow_other_model", allow_other_model))
    return encode(texts)


def _with_ids(contents: Contents, found: Found) -> tuple[Any, Any]:
    return found.of_queries(found.scores.ravel()), found.of_queries(contents.ids(found.rows.ravel()))


def find(state: StoreState, contents: Contents, queries: Any, filter: Any, options: SearchOptions) -> Found:
    """The best rows of a store's contents for each query; see `EmbeddingStore.search`."""
    start = time.monotonic()
    form = _vectors.form_of(contents.core.dtype)
    if options.rescore_multiplier is not None:
        form = _vectors.to_floats
    vectors, is_single = _vectors.read_matrix(queries, "queries", form)
    dimension = _vectors.dimension_of(vectors)
    if len(vectors) and contents.dimension is None:
        # No rows: only what queries may hold is checked.
        contents = replace(contents, core=state.budget.new_core(dimension), dimension=dimension)
    if len(vectors) and contents.dimension != dimension:
        raise ValueError(f"queries: expected dimension {contents.dimension}, found {dimension}")
    mask = _filters.mask(filter, contents, state.budget)
    counts: NDArray[np.int64] | None
    if len(vectors):
        find = _find_bits if contents.core.dtype == "ubinary" else _find
        scores, rows, counts, work = find(
            state, contents, vectors, None if mask is None else mask.view(np.uint8), options
        )
    else:
        wanted = len(contents) if mask is None else int(np.count_nonzero(mask))
        shape = (0, wanted if options.k is None else min(options.k, wanted))
        scores, rows, work = np.empty(shape, np.float32), np.empty(shape, np.int64), _NO_WORK
        counts = None if options.min_score is None else np.empty(0, np.int64)
    seconds = time.monotonic() - start
    state.last_search = SearchReport(
        len(vectors), work["rows"], work["rescored"], work["bytes"], work["closed_early"], seconds
    )
    state.stats.add_search(len(vectors), seconds)
    return Found(scores, rows, counts, is_single)


def _find(
    state: StoreState, contents: Contents, queries: NDArray[Any], mask: Mask | None, options: SearchOptions
) -> Results:
    """What the core finds."""
    most, exact, least = _most(contents, options.k), options.exact, options.min_score
    state.budget.extend_coarse_codes(contents, len(queries))
    if least is None:
        scores, rows, work = _run(state, contents, lambda core: core.search(queries, most, mask, exact))
        return scores, rows, None, work
    return _run(state, contents, lambda core: core.search_range(queries, least, most, mask, exact))


def _find_bits(
    state: StoreState, contents: Contents, queries: NDArray[Any], mask: Mask | None, options: SearchOptions
) -> Results:
    """What the core finds by the bits of queries; of floats with a second look, if one is asked for."""
    core, most = contents.core, _most(contents, options.k)
    if options.min_score is not None:
        return _find_bits_within(core, queries, most, mask, options.min_score)
    if options.rescore_multiplier is None:
        scores, rows, work = core.search_bits(queries, most, mask)
        return scores, rows, None, work
    candidates = _most(contents, most * options.rescore_multiplier)
    _, rows, work = core.search_bits(np.packbits(queries > 0, axis=1), candidates, mask)
    scores, rows, rescored = core.rescore(queries, rows, most)
    return scores, rows, None, _added(work, rescored)


def _find_bits_within(core: _core.Store, queries: NDArray[Any], most: int, mask: Mask | None, least: float) -> Results:
    """The rows whose scores are at least so much: one query at a time, for all rows may be among the nearest."""
    parts, work = [], _NO_WORK
    for query in queries:
        scores, rows, done = core.search_bits(query[None], most, mask)
        kept = scores[0] >= least
        parts.append((scores[0][kept], rows[0][kept]))
        work = _added(work, done)
    counts = np.array([len(rows) for _, rows in parts], np.int64)
    return np.concatenate([s for s, _ in parts]), np.concatenate([r for _, r in parts]), counts, work


def _most(contents: Contents, k: int | None) -> int:
    # More than a usize is no k of the core's, and 0 is none.
    return max(1, len(contents) if k is None else min(k, len(contents)))


def _added(work: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return {name: max(work[name], more[name]) if name == "rows" else work[name] + more[name] for name in work}


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
