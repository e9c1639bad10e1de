"""Evaluators of cross-encoders."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation import metrics
from votive.sentence_transformers._evaluation.evaluator import BaseEvaluator, Metrics, is_logging, logger
from votive.sentence_transformers._evaluation.ranking import Ranking, at_k_of, measures, named


class _EvaluatorOfPairs(BaseEvaluator):
    name: str
    prompt_name: str | None
    batch_size: int
    show_progress_bar: bool | None

    def _scores(self, model: Any, pairs: list[Any]) -> Any:
        return model.predict(
            pairs,
            prompt_name=self.prompt_name,
            batch_size=self.batch_size,
            convert_to_numpy=True,
            show_progress_bar=self.show_progress_bar,
        )


class CrossEncoderClassificationEvaluator(_EvaluatorOfPairs):
    """Of one label accuracy, F1 and average precision, as `BinaryClassificationEvaluator`; of several F1.

    Args:
        sentence_pairs: pairs of texts.
        labels: their classes.
        name: of the data, before each metric.
        prompt_name: see `predict`.
        batch_size: pairs at a time.
        show_progress_bar: see `predict`.
        write_csv: whether to write a table.
        **kwargs: nothing happens.

    Raises:
        ValueError: there are not as many labels as pairs.
    """

    def __init__(
        self,
        sentence_pairs: list[Any],
        labels: list[int],
        *,
        name: str = "",
        prompt_name: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        write_csv: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if len(sentence_pairs) != len(labels):
            raise ValueError("sentence_pairs and labels must have the same length")
        self.sentence_pairs, self.labels = sentence_pairs, np.asarray(labels)
        self.name, self.prompt_name, self.batch_size, self.write_csv = name, prompt_name, batch_size, write_csv
        self.show_progress_bar = is_logging() if show_progress_bar is None else show_progress_bar
        self.csv_file = f"CrossEncoderClassificationEvaluator{f'_{name}' if name else ''}_results.csv"

    @classmethod
    def from_input_examples(cls, examples: list[Any], **kwargs: Any) -> CrossEncoderClassificationEvaluator:
        """Of `InputExample`s with two texts and a label."""
        return cls([example.texts for example in examples], [example.label for example in examples], **kwargs)

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("CrossEncoderClassificationEvaluator: Evaluating the model", epoch, steps)
        scores = np.asarray(self._scores(model, self.sentence_pairs))
        if model.num_labels == 1:
            accuracy, accuracy_threshold = metrics.best_accuracy(scores, self.labels, True)
            f1, precision, recall, f1_threshold = metrics.best_f1(scores, self.labels, True)
            found = {
                "accuracy": accuracy,
                "accuracy_threshold": accuracy_threshold,
                "f1": f1,
                "f1_threshold": f1_threshold,
                "precision": precision,
                "recall": recall,
                "average_precision": metrics.average_precision(self.labels, scores),
            }
            columns = ["Accuracy", "Accuracy_Threshold", "F1", "F1_Threshold", "Precision", "Recall"]
            self.csv_headers = ["epoch", "steps", *columns, "Average_Precision"]
            self.primary_metric = "average_precision"
        else:
            averages = metrics.f1_scores(self.labels, scores.argmax(axis=1))
            found = {f"f1_{name}": value for name, value in averages.items()}
            self.csv_headers = ["epoch", "steps", "Macro_F1", "Micro_F1", "Weighted_F1"]
            self.primary_metric = "f1_macro"
        logger.info("%s", found)
        self._write_row(output_path, [epoch, steps, *found.values()])
        return self._finish(model, found, epoch, steps)


class CrossEncoderCorrelationEvaluator(_EvaluatorOfPairs):
    """Pearson's and Spearman's correlations of a model's scores with scores that people gave.

    Args:
        sentence_pairs: pairs of texts.
        scores: how similar the two are.
        name: of the data, before each metric.
        prompt_name: see `predict`.
        batch_size: pairs at a time.
        show_progress_bar: see `predict`.
        write_csv: whether to write a table.
    """

    def __init__(
        self,
        sentence_pairs: list[Any],
        scores: list[float],
        name: str = "",
        prompt_name: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        write_csv: bool = True,
    ) -> None:
        super().__init__()
        self.sentence_pairs, self.scores = sentence_pairs, scores
        self.name, self.prompt_name, self.batch_size, self.write_csv = name, prompt_name, batch_size, write_csv
        self.show_progress_bar = is_logging() if show_progress_bar is None else show_progress_bar
        self.csv_file = f"CrossEncoderCorrelationEvaluator{f'_{name}' if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps", "Pearson_Correlation", "Spearman_Correlation"]
        self.primary_metric = "spearman"

    @classmethod
    def from_input_examples(cls, examples: list[Any], **kwargs: Any) -> CrossEncoderCorrelationEvaluator:
        """Of `InputExample`s with two texts and a score as their label."""
        return cls([example.texts for example in examples], [example.label for example in examples], **kwargs)

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("CrossEncoderCorrelationEvaluator: Evaluating the model", epoch, steps)
        scores = self._scores(model, self.sentence_pairs)
        found = {"pearson": metrics.pearson(self.scores, scores), "spearman": metrics.spearman(self.scores, scores)}
        logger.info("%s", found)
        self._write_row(output_path, [epoch, steps, *found.values()])
        return self._finish(model, found, epoch, steps)


class CrossEncoderRerankingEvaluator(_EvaluatorOfPairs):
    """Mean average precision, and mean reciprocal rank and NDCG of the best `at_k` texts of each query.

    Args:
        samples: dicts with "query", "positive", and "negative" or "documents": lists of texts. "documents" are in the
            order of an earlier search, whose measures are given, too.
        at_k: how many of the best count.
        always_rerank_positives: whether positives that are not among "documents" are ranked with them.
        name: of the data, before each metric.
        prompt_name: see `predict`.
        batch_size: pairs at a time.
        show_progress_bar: see `predict`.
        write_csv: whether to write a table.
        mrr_at_k: `at_k` by its older name.
    """

    def __init__(
        self,
        samples: Any,
        at_k: int = 10,
        always_rerank_positives: bool = True,
        name: str = "",
        prompt_name: str | None = None,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        write_csv: bool = True,
        mrr_at_k: int | None = None,
    ) -> None:
        super().__init__()
        self.samples = list(samples.values()) if isinstance(samples, dict) else samples
        self.at_k, self.always_rerank_positives = at_k_of(at_k, mrr_at_k), always_rerank_positives
        self.name, self.prompt_name, self.batch_size, self.write_csv = name, prompt_name, batch_size, write_csv
        self.show_progress_bar = show_progress_bar
        self.csv_file = f"CrossEncoderRerankingEvaluator{f'_{name}' if name else ''}_results_@{self.at_k}.csv"
        self.csv_headers = ["epoch", "steps", "MAP", f"MRR@{self.at_k}", f"NDCG@{self.at_k}"]
        self.primary_metric = f"ndcg@{self.at_k}"

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("CrossEncoderRerankingEvaluator: Evaluating the model", epoch, steps)
        before, ranking = Ranking(self.at_k), Ranking(self.at_k)
        samples = [self._sample(sample, before) for sample in self.samples]
        pairs = [[query, text] for query, texts, labels in samples if any(labels) for text in texts]
        scores = np.asarray(self._scores(model, pairs)) if pairs else np.empty(0)
        start = 0
        for _, texts, labels in samples:
            if any(labels):
                ranking.add(labels, scores[start : start + len(texts)])
                start += len(texts)
            else:
                ranking.add_nothing()
        means = ranking.means()
        found: Metrics = named(means, self.at_k)
        card = found
        if before.values["map"]:
            base = before.means()
            card = {key: f"{value:.4f} ({value - base[key.partition('@')[0]]:+.4f})" for key, value in found.items()}
            found = found | named(base, self.at_k, "base_")
        logger.info("Queries: %d, %s", len(self.samples), found)
        self.store_metrics_in_model_card_data(model, self.prefix_name_to_metrics(card, self.name), epoch, steps)
        self._write_row(output_path, [epoch, steps, *means.values()])
        return self.prefix_name_to_metrics(found, self.name)

    def compute_metrics(self, y_true: Any, y_pred: Any) -> tuple[float, float, float]:
        """Reciprocal rank, NDCG and average precision of one query."""
        return measures(y_true, y_pred, self.at_k)

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        has_documents = bool(self.samples) and "documents" in self.samples[0]
        return {
            "at_k": self.at_k,
            **({"always_rerank_positives": self.always_rerank_positives} if has_documents else {}),
        }

    def _sample(self, sample: dict[str, Any], before: Ranking) -> tuple[Any, list[Any], list[int]]:
        """A query, the texts to rank, and which are relevant; what an earlier search ranked is added to `before`."""
        for key in ("query", "positive"):
            if key not in sample:
                raise ValueError(f"CrossEncoderRerankingEvaluator requires a '{key}' key in each sample.")
        if ("negative" in sample) == ("documents" in sample):
            raise ValueError(
                "CrossEncoderRerankingEvaluator requires exactly one of 'negative' and 'documents' in each sample."
            )
        positive = [sample["positive"]] if isinstance(sample["positive"], str) else list(sample["positive"])
        documents = sample.get("documents")
        if not documents:
            negative = list(sample.get("negative") or [])
            return sample["query"], positive + negative, [1] * len(positive) + [0] * len(negative)
        labels = [int(text in positive) for text in documents]
        if any(labels):
            # Those that the search did not find come after all.
            ranked = labels + [1] * (len(positive) - sum(labels))
            before.add(ranked, np.arange(len(ranked), 0, -1))
        else:
            before.add_nothing()
        if not self.always_rerank_positives:
            return sample["query"], list(documents), labels
        others = [text for text in documents if text not in positive]
        return sample["query"], positive + others, [1] * len(positive) + [0] * len(others)


class CEBinaryAccuracyEvaluator(CrossEncoderClassificationEvaluator):
    """`CrossEncoderClassificationEvaluator` by an older name."""


class CEBinaryClassificationEvaluator(CrossEncoderClassificationEvaluator):
    """`CrossEncoderClassificationEvaluator` by an older name."""


class CEF1Evaluator(CrossEncoderClassificationEvaluator):
    """`CrossEncoderClassificationEvaluator` by an older name."""


class CESoftmaxAccuracyEvaluator(CrossEncoderClassificationEvaluator):
    """`CrossEncoderClassificationEvaluator` by an older name."""


class CECorrelationEvaluator(CrossEncoderCorrelationEvaluator):
    """`CrossEncoderCorrelationEvaluator` by an older name."""


class CERerankingEvaluator(CrossEncoderRerankingEvaluator):
    """`CrossEncoderRerankingEvaluator` by an older name."""
