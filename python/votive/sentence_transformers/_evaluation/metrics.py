"""Measures of classifications and rankings, as scikit-learn and SciPy compute them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """The mean of the precisions at each score, weighted by what it adds to the recall. 0 where nothing is relevant."""
    ends, correct = _at_ends(np.asarray(labels), np.asarray(scores))
    if not correct[-1]:
        return 0.0
    return float(np.sum(np.diff(correct, prepend=0) / correct[-1] * correct / ends))


def ndcg(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """The discounted gain of the best `k`, of that of the best order; rows with equal scores share their gain."""
    gains, values = np.asarray(labels, np.float64), np.asarray(scores)
    discounts = 1 / np.log2(np.arange(len(gains)) + 2)
    discounts[k:] = 0
    ideal = float(np.sort(gains)[::-1] @ discounts)
    _, groups, counts = np.unique(-values, return_inverse=True, return_counts=True)
    mean_gains = np.bincount(groups.ravel(), gains) / counts
    shares = np.add.reduceat(discounts, np.cumsum(counts) - counts)
    return float(mean_gains @ shares) / ideal if ideal else 0.0


def reciprocal_rank(labels: ArrayLike, k: int) -> float:
    """1 / the place of the first relevant one of the best `k`, which are in their order; 0 where there is none."""
    places = np.flatnonzero(np.asarray(labels)[:k])
    return float(1 / (places[0] + 1)) if len(places) else 0.0


def matthews_correlation(labels: ArrayLike, predicted: ArrayLike) -> float:
    """From -1 to 1; 0 where all labels or all predictions are the same."""
    found = pearson(np.asarray(labels), np.asarray(predicted))
    return 0.0 if np.isnan(found) else found


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """The linear correlation of two rows of numbers; NaN where one is constant."""
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    left, right = left - left.mean(), right - right.mean()
    lengths = np.linalg.norm(left) * np.linalg.norm(right)
    return float(np.clip(left @ right / lengths, -1, 1)) if lengths else float("nan")


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """The correlation of ranks, of which equal numbers share the mean; NaN where one row is constant."""
    return pearson(_ranks(np.asarray(a)), _ranks(np.asarray(b)))


def f1_scores(labels: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """F1 of several classes, by how they are averaged: "macro", "micro" and "weighted"."""
    true, found = np.asarray(labels), np.asarray(predicted)
    classes = np.union1d(true, found)
    hits = np.array([np.sum((true == each) & (found == each)) for each in classes])
    support = np.array([np.sum(true == each) for each in classes])
    sums = support + np.array([np.sum(found == each) for each in classes])
    scores = 2 * hits / sums
    weighted = float(scores @ support / support.sum())
    return {"macro": float(scores.mean()), "micro": float(hits.sum() / len(true)), "weighted": weighted}


def best_accuracy(scores: Any, labels: Any, high_score_more_similar: bool) -> tuple[float, Any]:
    """The greatest accuracy that a threshold of scores gives, and that threshold."""
    values, ordered = _ordered(scores, labels, high_score_more_similar)
    if not len(values):
        return 0, -1
    ends, correct = _group_ends(values), np.cumsum(ordered == 1)
    negatives = np.sum(ordered == 0)
    accuracies = (correct[ends] + negatives - (ends + 1 - correct[ends])) / len(values)
    best = int(np.argmax(accuracies))
    if accuracies[best] > negatives / len(values):
        return float(accuracies[best]), _between(values, ends[best])
    dtype: Any = np.result_type(values.dtype, np.float16)
    beyond = np.inf if high_score_more_similar else -np.inf
    return float(negatives / len(values)), np.nextafter(values[0], beyond, dtype=dtype)


def best_f1(scores: Any, labels: Any, high_score_more_similar: bool) -> tuple[float, float, float, Any]:
    """The greatest F1 that a threshold of scores gives, its precision and recall, and that threshold."""
    values, ordered = _ordered(scores, labels, high_score_more_similar)
    total = int(np.sum(ordered))
    if not total:
        return 0, 0, 0, 0
    ends = _group_ends(values)
    correct = np.cumsum(ordered == 1)[ends]
    precisions, recalls = correct / (ends + 1), correct / total
    f1 = 2 * precisions * recalls / np.maximum(precisions + recalls, np.finfo(np.float64).tiny)
    best = int(np.argmax(f1))
    return float(f1[best]), float(precisions[best]), float(recalls[best]), _between(values, ends[best])


def _ordered(scores: Any, labels: Any, descending: bool) -> tuple[Array, Array]:
    values, found = np.asarray(scores), np.asarray(labels)
    assert len(values) == len(found)
    order = np.argsort(values, kind="stable")
    order = order[::-1] if descending else order
    return values[order], found[order]


def _group_ends(ordered: Array) -> NDArray[np.int64]:
    """The last places of equal values."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _between(values: Array, place: Any) -> Any:
    """A threshold between the value at a place and the next one, and not that one."""
    if place == len(values) - 1:
        return values[place]
    middle = (values[place] + values[place + 1]) / 2
    return values[place] if middle == values[place + 1] else middle


def _at_ends(labels: Array, scores: Array) -> tuple[Array, Array]:
    """At the last of each equal scores, best first: how many there are so far, and how many of them are relevant."""
    values, ordered = _ordered(scores, labels, True)
    ends = _group_ends(values)
    return ends + 1, np.cumsum(ordered)[ends]


def _ranks(values: Array) -> Array:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[places.ravel()]
    return ranks
