"""How near one set of vectors, `[texts, dimension]`, or of scores, `[pairs]`, is to another of the same items."""

from __future__ import annotations

import numpy as np

NEAREST = 10
BLOCK_ROWS = 512  # of similarities in memory at a time


def cosines(vectors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Cosine similarity of each text's two vectors, `[texts]` float64."""
    vectors, reference = vectors.astype(np.float64), reference.astype(np.float64)
    return (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)


def rank_correlation(scores: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's, of two `[pairs]` without ties."""
    places = [each.argsort().argsort() for each in (scores, reference)]
    return float(np.corrcoef(*places)[0, 1])


def nearest_overlap(vectors: np.ndarray, reference: np.ndarray) -> float:
    """Of each text's ten nearest others among `reference`, the share that is so among `vectors` too; the mean.

    Both hold unit vectors, of more than ten texts.
    """
    shares = [
        (_nearest(vectors, start)[:, :, None] == _nearest(reference, start)[:, None, :]).any(2).mean(1)
        for start in range(0, len(vectors), BLOCK_ROWS)
    ]
    return float(np.concatenate(shares).mean())


def _nearest(vectors: np.ndarray, start: int) -> np.ndarray:
    """Rows nearest to each of a block's, itself left out: `[block, 10]`, in no order."""
    similarities = vectors[start : start + BLOCK_ROWS] @ vectors.T
    rows = np.arange(len(similarities))
    similarities[rows, start + rows] = -np.inf
    return np.argpartition(-similarities, NEAREST, axis=1)[:, :NEAREST]
