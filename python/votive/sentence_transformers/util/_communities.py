"""Groups of rows around a row that is near to each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive.sentence_transformers.util._exact_rows import ExactRows
from votive.sentence_transformers.util.similarity import normalized

Floats = NDArray[Any]

# Scores are compared after they are rounded to float32: what that may raise a score by.
_ROUNDING = 1e-6
# Pairs that a block of rows may make, some 50 bytes each for a moment,
_BLOCK_PAIRS = 1 << 22
# and that are kept of all rows, 4 bytes each. Rows with more neighbours than their share are searched for again.
_KEPT_PAIRS = 1 << 26


class Neighbourhoods:
    """For each row the rows whose cosine with it is at least `threshold`, itself included.

    Attributes:
        counts: how many they are, `[rows]`.
    """

    def __init__(self, vectors: Floats, threshold: float, block_rows: int) -> None:
        self._vectors, self._threshold = vectors, np.float32(threshold)
        self._rows = ExactRows(vectors, "cosine")
        self.counts = np.zeros(len(vectors), np.int64)
        self._most = max(1, _KEPT_PAIRS // len(vectors))
        parts = [self._pairs_from(start, block_rows) for start in range(0, len(vectors), block_rows)]
        rows = np.concatenate([rows for rows, _ in parts])
        order = np.argsort(rows, kind="stable")
        self._members = np.concatenate([members for _, members in parts])[order]
        kept = np.bincount(rows, minlength=len(vectors))
        self._starts = np.concatenate([[0], np.cumsum(kept)])

    def of(self, row: int) -> NDArray[Any]:
        """The rows near to one."""
        if self.counts[row] > self._most:
            return self._search(row, 1, 0)[1]
        return self._members[self._starts[row] : self._starts[row + 1]]

    def _pairs_from(self, start: int, block_rows: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows, and rows near to them: what a block of rows from `start` on adds, in both directions."""
        rows, members = self._search(start, block_rows, start)
        # Pairs within the block are found from both rows.
        later = members >= start + block_rows
        rows, members = np.concatenate([rows, members[later]]), np.concatenate([members, rows[later]])
        np.add.at(self.counts, rows, 1)
        kept = self.counts[rows] <= self._most
        return rows[kept], members[kept]

    def _search(self, start: int, block_rows: int, first: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows of a block, and rows near to them, of those from number `first` on."""
        block = self._vectors[start : start + block_rows]
        scores, members, counts = self._rows.near(block, float(self._threshold) - _ROUNDING, first=first)
        rows = np.repeat(np.arange(start, start + len(block), dtype=np.int32), counts)
        near = scores >= self._threshold
        return rows[near], members[near].astype(np.int32)


def communities(vectors: Floats, threshold: float, min_size: int, block_rows: int) -> list[list[int]]:
    """Groups of at least `min_size` rows, the largest first; see `community_detection`."""
    block_rows = max(1, min(block_rows, _BLOCK_PAIRS // len(vectors)))
    near = Neighbourhoods(vectors, threshold, block_rows)
    centres = np.argsort(-near.counts, kind="stable")
    used = np.zeros(len(vectors), bool)
    found = []
    for centre in centres[near.counts[centres] >= min_size].tolist():
        if used[centre]:
            continue
        members = near.of(centre)
        members = members[~used[members]]
        if len(members) >= min_size:
            others = _by_score(vectors, centre, members[members != centre])
            found.append([centre, *others.tolist()])
            used[centre] = used[members] = True
    return sorted(found, key=len, reverse=True)


def _by_score(vectors: Floats, centre: int, members: NDArray[Any]) -> NDArray[Any]:
    scores = normalized(vectors[members].astype(np.float64)) @ vectors[centre].astype(np.float64)
    return members[np.lexsort((members, -scores))]
