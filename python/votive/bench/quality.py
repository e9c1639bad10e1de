"""How near a backend's vectors, scores or hits are to the reference's."""

from __future__ import annotations

import numpy as np

from votive.bench.cells import Consistency


def of_vectors(vectors: np.ndarray, reference: np.ndarray, against: str, top: int) -> Consistency:
    """Of texts; both `[texts, dimension]`. Neighbours are other texts by cosine, `top` of each.

    A row with a number that is none counts in `nan_count` alone. `spearman` is over the similarities of all pairs of
    up to 500 texts.

    Raises `ValueError` where shapes differ.
    """
    _check(vectors, reference)
    whole = np.isfinite(vectors).all(1) & np.isfinite(reference).all(1)
    nan_count = int((~np.isfinite(vectors)).sum())
    if not whole.any():
        return Consistency(against=against, max_difference=None, nan_count=nan_count)
    ours, theirs = vectors[whole].astype(np.float64), reference[whole].astype(np.float64)
    difference = float(np.abs(ours - theirs).max())
    ours, theirs = _units(ours), _units(theirs)
    cosines = (ours * theirs).sum(1)
    spearmans = overlap = None
    if len(ours) > 2:
        near, wanted = ours @ ours.T, theirs @ theirs.T
        pairs = np.triu_indices(min(len(ours), 500), 1)
        spearmans = spearman(near[pairs], wanted[pairs])
        for similarities in (near, wanted):
            np.fill_diagonal(similarities, -np.inf)
        overlap = overlap_of(_best(near, top), _best(wanted, top))
    return Consistency(
        against=against,
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        max_difference=difference,
        spearman=spearmans,
        rank_overlap=overlap,
        nan_count=nan_count,
    )


def of_scores(scores: list[np.ndarray], reference: list[np.ndarray], against: str, top: int) -> Consistency:
    """Of the documents of each query: ranks within a query, and the mean of the queries."""
    pairs = [(_flat(ours), _flat(theirs)) for ours, theirs in zip(scores, reference, strict=True)]
    for ours, theirs in pairs:
        _check(ours, theirs)
    nan_count = sum(int((~np.isfinite(ours)).sum()) for ours, _ in pairs)
    whole = [(ours, theirs) for ours, theirs in pairs if np.isfinite(ours).all() and np.isfinite(theirs).all()]
    if not whole:
        return Consistency(against=against, max_difference=None, nan_count=nan_count)
    ranked = [(ours, theirs) for ours, theirs in whole if len(ours) > 1]
    each = [spearman(ours, theirs) for ours, theirs in ranked]
    found = [value for value in each if value is not None]
    return Consistency(
        against=against,
        max_difference=max(float(np.abs(ours - theirs).max()) for ours, theirs in whole),
        spearman=float(np.mean(found)) if found else None,
        rank_overlap=float(np.mean([overlap_of(_best(a[None], top), _best(b[None], top)) for a, b in ranked]))
        if ranked
        else None,
        nan_count=nan_count,
    )


def of_hits(hits: np.ndarray, reference: np.ndarray, against: str) -> Consistency:
    """Of searches; both `[queries, k]`, places of vectors. `rank_overlap` is the recall."""
    _check(hits, reference)
    return Consistency(against=against, max_difference=None, rank_overlap=overlap_of(hits, reference))


def worst(each: list[Consistency]) -> Consistency:
    """Of several models: the farthest number of any, and all numbers that are none."""

    def known(name: str) -> list[float]:
        return [value for one in each if (value := getattr(one, name)) is not None]

    least = ("cosine_mean", "cosine_min", "spearman", "rank_overlap")
    return Consistency(
        against=each[0].against,
        max_difference=max(known("max_difference"), default=None),
        nan_count=sum(one.nan_count for one in each),
        **{name: min(known(name), default=None) for name in least},
    )


def spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """Correlation of the ranks, equal values sharing the mean of theirs; None where all of a side are equal."""
    ranks, others = _ranks(one), _ranks(other)
    if np.ptp(ranks) == 0 or np.ptp(others) == 0:
        return None
    return float(np.corrcoef(ranks, others)[0, 1])


def overlap_of(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of each row of `wanted` that is in the same row of `found`, in any order; the mean."""
    return float((wanted[:, :, None] == found[:, None, :]).any(2).mean())


def _flat(scores: np.ndarray) -> np.ndarray:
    return scores.ravel().astype(np.float64)


def _check(ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.shape != theirs.shape:
        raise ValueError(f"its results have the shape {ours.shape}, the reference's {theirs.shape}")


def _units(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1.0, lengths)


def _best(similarities: np.ndarray, top: int) -> np.ndarray:
    """Columns of the greatest of each row, best first; of equal ones the first."""
    top = min(top, similarities.shape[1] - 1)
    return np.argsort(-similarities, axis=1, kind="stable")[:, :top]


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[places]
