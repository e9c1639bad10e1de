"""How well similarities tell pairs that belong together from others."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation import metrics
from votive.sentence_transformers._evaluation.evaluator import Metrics, is_logging, logger
from votive.sentence_transformers._evaluation.pairs import EvaluatorOfTexts, similarities, texts_of

_COLUMNS = ("accuracy", "accuracy_threshold", "f1", "precision", "recall", "f1_threshold", "ap", "mcc")


class BinaryClassificationEvaluator(EvaluatorOfTexts):
    """Accuracy and F1 at the best thresholds of similarity, average precision and Matthews' correlation.

    Args:
        sentences1: the first texts of pairs.
        sentences2: the second ones.
        labels: 1 where the two belong together, else 0.
        name: of the data, before each metric.
        batch_size: texts at a time.
        show_progress_bar: see `encode`.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.
        similarity_fn_names: which similarities; None for the model's.
    """

    def __init__(
        self,
        sentences1: list[Any],
        sentences2: list[Any],
        labels: list[int],
        name: str = "",
        batch_size: int = 32,
        show_progress_bar: bool | None = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
        similarity_fn_names: list[str] | None = None,
    ) -> None:
        super().__init__()
        assert len(sentences1) == len(sentences2) == len(labels)
        assert all(label in (0, 1) for label in labels)
        self.sentences1, self.sentences2, self.labels = sentences1, sentences2, labels
        self.name, self.batch_size, self.truncate_dim, self.write_csv = name, batch_size, truncate_dim, write_csv
        self.show_progress_bar = is_logging() if show_progress_bar is None else show_progress_bar
        self.similarity_fn_names = similarity_fn_names or []
        self.csv_file = f"binary_classification_evaluation{f'_{name}' if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps"]
        self._append_csv_headers(self.similarity_fn_names)

    @classmethod
    def from_input_examples(cls, examples: list[Any], **kwargs: Any) -> BinaryClassificationEvaluator:
        """Of `InputExample`s with two texts and a label."""
        left, right = texts_of(examples, 2)
        return cls(left, right, [example.label for example in examples], **kwargs)

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("Binary Accuracy Evaluation of the model", epoch, steps)
        if not self.similarity_fn_names:
            self.similarity_fn_names = [model.similarity_fn_name]
            self._append_csv_headers(self.similarity_fn_names)
        scores = self.compute_metrics(model)
        row = [scores[name][column] for name in self.similarity_fn_names for column in _COLUMNS]
        self._write_row(output_path, [epoch, steps, *row])
        found = {f"{name}_{metric}": value for name, values in scores.items() for metric, value in values.items()}
        if len(scores) > 1:
            first = next(iter(scores.values()))
            found |= {f"max_{metric}": max(values[metric] for values in scores.values()) for metric in first}
        self.primary_metric = "max_ap" if len(scores) > 1 else f"{self.similarity_fn_names[0]}_ap"
        return self._finish(model, found, epoch, steps)

    def compute_metrics(self, model: Any) -> dict[str, Metrics]:
        """The metrics of each similarity."""
        left, right = self._embeddings(model)
        labels = np.asarray(self.labels)
        found = {}
        for name in self.similarity_fn_names:
            # Distances are not negated.
            is_similarity = name in ("cosine", "dot")
            scores = similarities(name)(left, right) * (1 if is_similarity else -1)
            accuracy, accuracy_threshold = self.find_best_acc_and_threshold(scores, labels, is_similarity)
            f1, precision, recall, threshold = self.find_best_f1_and_threshold(scores, labels, is_similarity)
            predicted = scores >= threshold if is_similarity else scores <= threshold
            found[name] = {
                "accuracy": accuracy,
                "accuracy_threshold": accuracy_threshold,
                "f1": f1,
                "f1_threshold": threshold,
                "precision": precision,
                "recall": recall,
                "ap": metrics.average_precision(labels, scores if is_similarity else -scores),
                "mcc": metrics.matthews_correlation(labels, predicted),
            }
            logger.info("%s: %s", name, found[name])
        return found

    compute_metrices = compute_metrics
    find_best_acc_and_threshold = staticmethod(metrics.best_accuracy)
    find_best_f1_and_threshold = staticmethod(metrics.best_f1)

    def _embeddings(self, model: Any) -> tuple[Any, Any]:
        try:
            texts = list(dict.fromkeys([*self.sentences1, *self.sentences2]))
        except TypeError:
            return self.embed_inputs(model, self.sentences1), self.embed_inputs(model, self.sentences2)
        vectors = dict(zip(texts, self.embed_inputs(model, texts), strict=True))
        return [vectors[text] for text in self.sentences1], [vectors[text] for text in self.sentences2]

    def _append_csv_headers(self, similarity_fn_names: list[str]) -> None:
        self.csv_headers += [f"{name}_{column}" for name in similarity_fn_names for column in _COLUMNS]
