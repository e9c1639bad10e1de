"""Rows that are searched exactly, by a store's kernels: what finds the nearest rows, pairs and groups."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from votive._store.search import SearchOptions, find
from votive.sentence_transformers.util.similarity import divisors
from votive.similarity import MIN_NORM
from votive.store import EmbeddingStore

Metric = Literal["cosine", "dot"]
Floats = NDArray[Any]
Ids = NDArray[np.int64]

# For fewer queries it takes longer to put rows in a store than to read them once.
_MIN_STORE_QUERIES = 5
# For each number, what a sum of products in float32 may be off by, relative to the lengths of both vectors.
_ROUNDOFF = 2.0**-24


class ExactRows:
    """Rows `[rows, dimension]` in a store of their own."""

    def __init__(self, rows: Floats, metric: Metric) -> None:
        self._count = len(rows)
        self._store = EmbeddingStore(metric=metric, max_memory_gb=None)
        self._store.add_embeddings(rows)

    def nearest(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """Scores and numbers of the `k` nearest rows to each query, `[queries, k]`, the best first."""
        found = self._find(queries, k, None, 0)
        return found.scores, found.rows

    def near(
        self, queries: Floats, least: float | None, k: int | None = None, first: int = 0
    ) -> tuple[Floats, Ids, Ids]:
        """The rows whose scores are at least `least`, of those from number `first` on, the best `k` for each query.

        Returns:
            Scores and numbers, those of one query after those of another, and how many each query has.
        """
        found = self._find(queries, k, least, first)
        counts = found.counts
        if counts is None:
            counts = np.full(len(queries), found.rows.shape[1])
        return found.scores.ravel(), found.rows.ravel(), counts

    def _find(self, queries: Floats, k: int | None, least: float | None, first: int) -> Any:
        state = self._store._state
        mask = np.arange(self._count) >= first if first else None
        return find(state, state.contents, queries, mask, SearchOptions(k, True, least, None))


def nearest_rows(queries: Floats, rows: Floats, metric: Metric, k: int) -> tuple[Floats, Ids]:
    """Scores and numbers of the `k` nearest of `rows [rows, dimension]` to each query, the best first."""
    if (
        len(queries) < _MIN_STORE_QUERIES
        and rows.dtype == queries.dtype == np.float32
        and rows.shape[1:] == queries.shape[1:]
    ):
        found = [_nearest_to_one(query, rows, metric, min(k, len(rows))) for query in queries]
        if all(one is not None for one in found):
            return np.stack([one[0] for one in found if one]), np.stack([one[1] for one in found if one])
    return ExactRows(rows, metric).nearest(queries, k)


def _nearest_to_one(query: Floats, rows: Floats, metric: Metric, k: int) -> tuple[Floats, Ids] | None:
    """None where a score is beyond float32, or no number."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    scores = rows @ query
    margin = 2 * (len(query) + 8) * _ROUNDOFF
    if metric == "cosine":
        scores /= np.maximum(lengths, MIN_NORM) * max(float(np.linalg.norm(query)), MIN_NORM)
    else:
        margin *= float(np.linalg.norm(query)) * float(lengths.max())
    if not (np.isfinite(lengths).all() and np.isfinite(scores).all()):
        return None
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    # All rows that may be among the best, for their scores in float64 to say.
    ids = np.flatnonzero(scores >= least - margin)
    exact = np.einsum("ij,j->i", rows[ids], query, dtype=np.float64)
    if metric == "cosine":
        exact /= divisors(rows[ids]) * divisors(query)
    best = np.lexsort((ids, -exact))[:k]
    return exact[best].astype(np.float32), ids[best]
