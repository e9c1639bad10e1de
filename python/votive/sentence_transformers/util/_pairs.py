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

    def add(self, start: int, neighbours: Neighbours) -> None:
        """Adds the neighbours of a block of rows from `start` on, the best of each row first, itself among them."""
        scores, ids, counts = neighbours
        rows = np.repeat(np.arange(start, start + len(counts)), counts)
        others = ids != rows
        # Of a row that is not among its own neighbours, as many are as near, the last one is too many.
        places = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
        has_itself = np.zeros(len(counts), bool)
        has_itself[rows[~others] - start] = True
        kept = others & (has_itself[rows - start] | (places < self._top_k))
        low, high = np.minimum(rows, ids)[kept], np.maximum(rows, ids)[kept]
        self._new.append((scores[kept], low * self._rows + high))
        if sum(len(keys) for _, keys in self._new) > 2 * self._most + len(self._keys):
            self._merge()

    def lists(self) -> list[list[Any]]:
        """`[score, i, j]` with `i < j`, the best first."""
        self._merge()
        order = np.lexsort((self._keys, -self._scores))
        low, high = np.divmod(self._keys[order], self._rows)
        columns = (self._scores[order].tolist(), low.tolist(), high.tolist())
        with _without_collection():
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
def _without_collection() -> Iterator[None]:
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
    least = _likely_least(vectors, rows, top_k, most)
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
            pairs.add(start, found)
        if least is None or len(pairs) >= most:
            return pairs
        least = None


def _likely_least(vectors: Floats, rows: ExactRows, top_k: int, most: int) -> float | None:
    """A score that more than `most` pairs are likely to have; None where pairs may not be so many, or rows are few."""
    if len(vectors) < 4 * _SAMPLE_ROWS:
        return None
    sample = np.random.default_rng(0).choice(len(vectors), _SAMPLE_ROWS, replace=False)
    scores, ids = rows.nearest(vectors[np.sort(sample)], top_k + 1)
    scores = scores[ids != np.sort(sample)[:, None]]
    # A pair has two rows, and is found from both.
    wanted = int(_SAFETY * 2 * most * _SAMPLE_ROWS / len(vectors))
    return None if wanted >= len(scores) else float(-np.partition(-scores, wanted)[wanted])
