"""Several evaluators, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from votive.sentence_transformers._evaluation.evaluator import BaseEvaluator, Metrics


def _last(scores: list[float]) -> float:
    return scores[-1]


class SequentialEvaluator(BaseEvaluator):
    """Gives what all its evaluators give, and "sequential_score", which `main_score_function` makes of their scores."""

    def __init__(
        self, evaluators: Iterable[BaseEvaluator], main_score_function: Callable[[list[float]], Any] = _last
    ) -> None:
        super().__init__()
        self.evaluators = list(evaluators)
        self.main_score_function = main_score_function

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        results: Metrics = {}
        scores = []
        for number, evaluator in enumerate(self.evaluators):
            found = evaluator(model, output_path, epoch, steps)
            if not isinstance(found, dict):
                scores.append(found)
                results[f"evaluator_{number}"] = found
                continue
            primary = getattr(evaluator, "primary_metric", None)
            scores.append(found[next(iter(found)) if primary is None else primary])
            results |= found
        self.primary_metric = "sequential_score"
        return {**results, "sequential_score": self.main_score_function(scores) if scores else 0.0}
