"""The best pairs of rows."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive.sentence_transformers.util._exact_rows import ExactRows

Floats = NDArray[Any]
Ids = NDArray[np.int64]
# Scores, rows that were found, and how many each row of the block has.
Neighbours = tuple[Floats, Ids, Ids]

# Rows whose neighbours say how good the pairs are that will be kept.
_SAMPLE_ROWS = 512
# How many more pairs than wanted the sample is to promise.
_SAFETY = 1.5
# How many more there may be, of all rows and of one, before halves of the scores no longer do.
_MOST_MORE = 8


class BestPairs:
    """Up to `most` pairs of rows, each once, of all that are added."""

    def __init__(self, rows: int, top_k: int, most: int) -> None:
        self._rows, self._top_k, self._most = rows, top_k, most
        self._scores, self._keys = np.empty(0, np.float32), np.empty(0, np.int64)
        self._new: list[tuple[Floats, Ids]] = []
        self.least = -np.inf

    def __len__(self) -> int:
        self._merge()
        return len(self._keys)

    def add(self, numbers: Ids, neighbours: Neighbours) -> None:
        """Adds the neighbours of some rows, the best of each row first, itself among them."""
        scores, ids, counts = neighbours
        places = np.repeat(np.arange(len(counts)), counts)
        rows = numbers[places]
        others = ids != rows
        has_itself = np.zeros(len(counts), bool)
        has_itself[places[~others]] = True
        # Where as many others are as near, a row may not be among its own neighbours: then the last one is too many.
        ranks = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = others & (has_itself[places] | (ranks < self._top_k))
        low, high = np.minimum(rows, ids)[kept], np.maximum(rows, ids)[kept]
        self.add_keys(scores[kept], low * self._rows + high)

    def add_keys(self, scores: Floats, keys: Ids) -> None:
        """Adds pairs by their keys: the lower number times the number of rows, plus the higher one."""
        self._new.append((scores, keys))
        if sum(len(keys) for _, keys in self._new) > 2 * self._most + len(self._keys):
            self._merge()

    def keys(self) -> Ids:
        """The pairs' keys, ascending unless some were left out."""
        self._merge()
        return self._keys

    def lists(self) -> list[list[Any]]:
        """`[score, i, j]` with `i < j`, the best first."""
        self._merge()
        order = np.lexsort((self._keys, -self._scores))
        low, high = np.divmod(self._keys[order], self._rows)
        columns = (self._scores[order].tolist(), low.tolist(), high.tolist())
        with without_collection():
            return [list(pair) for pair in zip(*columns, strict=True)]

    def _merge(self) -> None:
        if not self._new:
            return
        keys = np.concatenate([self._keys, *(keys for _, keys in self._new)])
        scores = np.concatenate([self._scores, *(scores for scores, _ in self._new)])
        self._new = []
        self._keys, firsts = np.unique(keys, return_index=True)
        self._scores = scores[firsts]
        if len(self._keys) > self._most:
            best = np.argpartition(-self._scores, self._most - 1)[: self._most]
            self._keys, self._scores = self._keys[best], self._scores[best]
        if len(self._keys) == self._most:
            self.least = float(self._scores.min(initial=np.inf))


@contextmanager
def without_collection() -> Iterator[None]:
    """Many lists at once have the garbage collector visit all objects of the program again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def exact_pairs(vectors: Floats, rows: ExactRows, block_rows: int, top_k: int, most: int) -> BestPairs:
    """The best pairs of rows, of which one is among the `top_k` that are nearest to the other.

    A sample of rows tells which score the last pair is likely to have, so that most of the rest is never looked at;
    where it was wrong, all is done again without.
    """
    least, is_loose = _likely_least(vectors, rows, top_k, most)
    if least is not None and is_loose:
        halves = _pairs_by_halves(vectors, rows, block_rows, top_k, most, least)
        if halves is not None and len(halves) >= most:
            return halves
    while True:
        pairs = BestPairs(len(vectors), top_k, most)
        for start in range(0, len(vectors), block_rows):
            bound = max(pairs.least, -np.inf if least is None else least)
            block = vectors[start : start + block_rows]
            if bound == -np.inf:
                scores, ids = rows.nearest(block, top_k + 1)
                found = scores.ravel(), ids.ravel(), np.full(len(block), ids.shape[1])
            else:
                found = rows.near(block, bound, top_k + 1)
            pairs.add(np.arange(start, start + len(block)), found)
        if least is None or len(pairs) >= most:
            return pairs
        least = None


def _pairs_by_halves(
    vectors: Floats, rows: ExactRows, block_rows: int, top_k: int, most: int, least: float
) -> BestPairs | None:
    """The best pairs whose scores are at least `least`, with each score computed once: of a row with later ones.

    None where many rows have more neighbours than `top_k`, so that each would have to be asked for its nearest ones.
    """
    count, of_row = len(vectors), _MOST_MORE * (top_k + 1)
    near_counts = np.zeros(count, np.int64)
    parts: list[tuple[Floats, Ids]] = []
    total = 0
    for start in range(0, count, block_rows):
        scores, ids, counts = rows.near(vectors[start : start + block_rows], least, of_row, first=start)
        low = np.repeat(np.arange(start, start + len(counts)), counts)
        later = ids > low
        scores, ids, low = scores[later], ids[later], low[later]
        np.add.at(near_counts, low, 1)
        np.add.at(near_counts, ids, 1)
        parts.append((scores, low * count + ids))
        total += len(ids)
        if counts.max(initial=0) >= of_row or total > _MOST_MORE * most:
            return None
    crowded = near_counts > top_k
    if crowded.sum() > count // _MOST_MORE:
        return None
    # A pair of two crowded rows counts if it is among the nearest of one of them.
    nearest = BestPairs(count, top_k, _MOST_MORE * most)
    for numbers in np.array_split(np.flatnonzero(crowded), range(block_rows, int(crowded.sum()), block_rows)):
        nearest.add(numbers, rows.near(vectors[numbers], least, top_k + 1))
    pairs = BestPairs(count, top_k, most)
    for scores, keys in parts:
        low, high = np.divmod(keys, count)
        kept = ~(crowded[low] & crowded[high]) | np.isin(keys, nearest.keys())
        pairs.add_keys(scores[kept], keys[kept])
    return pairs


def _likely_least(vectors: Floats, rows: ExactRows, top_k: int, most: int) -> tuple[float | None, bool]:
    """A score that more than `most` pairs are likely to have, and whether few rows have so many neighbours as `top_k`.

    None where pairs may not be so many, or rows are few.
    """
    if len(vectors) < 4 * _SAMPLE_ROWS:
        return None, False
    sample = np.sort(np.random.default_rng(0).choice(len(vectors), _SAMPLE_ROWS, replace=False))
    found, ids = rows.nearest(vectors[sample], top_k + 1)
    others = ids != sample[:, None]
    scores = found[others]
    # A pair has two rows, and is found from both.
    wanted = int(_SAFETY * 2 * most * _SAMPLE_ROWS / len(vectors))
    if wanted >= len(scores):
        return None, False
    least = float(-np.partition(-scores, wanted)[wanted])
    crowded = ((found >= least) & others).sum(axis=1) >= top_k
    return least, bool(crowded.mean() < 1 / (2 * _MOST_MORE))
