"""What all evaluators have."""

from __future__ import annotations

import csv
import logging
import re
from pathlib import Path
from typing import Any

Metrics = dict[str, Any]

logger = logging.getLogger("sentence_transformers.base.evaluation")


class BaseEvaluator:
    """A measurement of models.

    Attributes:
        greater_is_better: whether more of `primary_metric` is better.
        primary_metric: the key of the metric that models are compared by; None where the evaluator gives a number.
        csv_file: the name of the table that results are added to.
        csv_headers: its columns.
    """

    csv_file: str
    csv_headers: list[str]
    write_csv: bool = True
    truncate_dim: int | None = None

    def __init__(self) -> None:
        self.greater_is_better = True
        self.primary_metric: str | None = None

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> float | Metrics:
        """Measures a model.

        Args:
            model: what to measure.
            output_path: a folder to write tables to; None for none.
            epoch: of training, for the tables; -1 for none.
            steps: of training, for the tables; -1 for none.

        Returns:
            A number, or numbers by the names of their metrics.
        """
        raise NotImplementedError

    def prefix_name_to_metrics(self, metrics: Metrics, name: str) -> Metrics:
        """Metrics as floats, with the evaluator's name before each, and before `primary_metric`."""
        prefix = f"{name}_" if name else ""
        primary = getattr(self, "primary_metric", None)
        if primary is not None and not primary.startswith(prefix):
            self.primary_metric = prefix + primary
        return {prefix + key: _as_float(value) for key, value in metrics.items()}

    def store_metrics_in_model_card_data(self, model: Any, metrics: Metrics, epoch: int = 0, step: int = 0) -> None:
        """Tells the model's card, if it has one."""
        card = getattr(model, "model_card_data", None)
        if card is not None:
            card.set_evaluation_metrics(self, metrics, epoch, step)

    @property
    def description(self) -> str:
        """The class's name in words: "Binary Classification"."""
        name = re.sub("^CE", "CrossEncoder", type(self).__name__)
        return re.sub("([a-z])([A-Z])", r"\1 \2", name.partition("Evaluator")[0])

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        return {} if self.truncate_dim is None else {"truncate_dim": self.truncate_dim}

    def _log_start(self, what: str, epoch: int, steps: int) -> None:
        when = (
            "" if epoch == -1 else f" after epoch {epoch}" if steps == -1 else f" in epoch {epoch} after {steps} steps"
        )
        cut = "" if self.truncate_dim is None else f" (truncated to {self.truncate_dim})"
        logger.info("%s on the %s dataset%s%s:", what, getattr(self, "name", ""), when, cut)

    def _finish(self, model: Any, metrics: Metrics, epoch: int, steps: int) -> Metrics:
        """The metrics as they are returned."""
        named = self.prefix_name_to_metrics(metrics, getattr(self, "name", ""))
        self.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named

    def _write_row(self, output_path: str | None, row: list[Any], line_end: str = "\r\n") -> None:
        """Adds a row to the table in a folder, which is made if it is not there."""
        if output_path is None or not self.write_csv:
            return
        path = Path(output_path, self.csv_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.is_file()
        with path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator=line_end).writerows([self.csv_headers, row] if is_new else [row])


# The name that earlier versions had for it.
SentenceEvaluator = BaseEvaluator


def is_logging() -> bool:
    """Whether progress is shown where nobody said so."""
    return logger.getEffectiveLevel() in (logging.INFO, logging.DEBUG)


def _as_float(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value
