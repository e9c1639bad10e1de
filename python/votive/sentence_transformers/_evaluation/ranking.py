"""How well texts are ranked for queries, by mean average precision, mean reciprocal rank and NDCG."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation import metrics
from votive.sentence_transformers._evaluation.evaluator import logger

_KEYS = ("map", "mrr", "ndcg")


class Ranking:
    """The measures of rankings of some queries' texts.

    Attributes:
        values: "map", "mrr" and "ndcg", a number of each for each query.
    """

    def __init__(self, at_k: int) -> None:
        self._at_k = at_k
        self.values: dict[str, list[float]] = {key: [] for key in _KEYS}

    def add(self, labels: Any, scores: Any) -> None:
        """Adds a query: which of its texts are relevant, 1 or 0, and their scores."""
        mrr, ndcg, ap = measures(labels, scores, self._at_k)
        for key, value in zip(_KEYS, (ap, mrr, ndcg), strict=True):
            self.values[key].append(value)

    def add_nothing(self) -> None:
        """Adds a query without a relevant text."""
        for values in self.values.values():
            values.append(0)

    def means(self) -> dict[str, float]:
        """The means over all queries."""
        return {key: float(np.mean(values)) for key, values in self.values.items()}


def measures(labels: Any, scores: Any, at_k: int) -> tuple[float, float, float]:
    """Reciprocal rank and NDCG of the best `at_k`, and average precision."""
    ranked = np.asarray(labels)[np.argsort(-np.asarray(scores), kind="stable")]
    reciprocal = metrics.reciprocal_rank(ranked, at_k)
    return reciprocal, metrics.ndcg(labels, scores, at_k), metrics.average_precision(labels, scores)


def at_k_of(at_k: int, mrr_at_k: int | None) -> int:
    """`at_k`, or what it was called."""
    if mrr_at_k is None:
        return at_k
    logger.warning("The `mrr_at_k` parameter has been deprecated; please use `at_k=%d` instead.", mrr_at_k)
    return mrr_at_k


def named(means: dict[str, float], at_k: int, prefix: str = "") -> dict[str, Any]:
    """Means by the names of their metrics."""
    return {f"{prefix}{key}{'' if key == 'map' else f'@{at_k}'}": value for key, value in means.items()}
