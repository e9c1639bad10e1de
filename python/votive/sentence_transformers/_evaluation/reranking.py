"""How well a model ranks the few texts of each query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation.evaluator import Metrics, logger
from votive.sentence_transformers._evaluation.pairs import EvaluatorOfTexts
from votive.sentence_transformers._evaluation.ranking import Ranking, at_k_of, named
from votive.sentence_transformers._tensors import as_array, is_tensor, like
from votive.sentence_transformers.util.similarity import cos_sim


class RerankingEvaluator(EvaluatorOfTexts):
    """Mean average precision, and mean reciprocal rank and NDCG of the best `at_k` texts.

    Args:
        samples: dicts with "query", and lists of texts "positive" and "negative".
        at_k: how many of the best count.
        name: of the data, before each metric.
        write_csv: whether to write a table.
        similarity_fct: compares a query's vector with those of its texts.
        batch_size: texts at a time.
        show_progress_bar: see `encode`.
        use_batched_encoding: whether the texts of all samples are embedded together, or those of each.
        truncate_dim: see `encode`.
        mrr_at_k: `at_k` by its older name.
    """

    def __init__(
        self,
        samples: Any,
        at_k: int = 10,
        name: str = "",
        write_csv: bool = True,
        similarity_fct: Callable[[Any, Any], Any] = cos_sim,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        use_batched_encoding: bool = True,
        truncate_dim: int | None = None,
        mrr_at_k: int | None = None,
    ) -> None:
        super().__init__()
        self.at_k = at_k_of(at_k, mrr_at_k)
        self.name, self.write_csv, self.similarity_fct = name, write_csv, similarity_fct
        self.batch_size, self.show_progress_bar, self.truncate_dim = batch_size, show_progress_bar, truncate_dim
        self.use_batched_encoding = use_batched_encoding
        given = list(samples.values()) if isinstance(samples, dict) else samples
        lists = [{**each, "positive": _texts(each["positive"]), "negative": _texts(each["negative"])} for each in given]
        self.samples = [each for each in lists if len(each["positive"]) and len(each["negative"])]
        self.csv_file = f"RerankingEvaluator{f'_{name}' if name else ''}_results_@{self.at_k}.csv"
        self.csv_headers = ["epoch", "steps", "MAP", f"MRR@{self.at_k}", f"NDCG@{self.at_k}"]
        self.primary_metric = f"ndcg@{self.at_k}"

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("RerankingEvaluator: Evaluating the model", epoch, steps)
        means = self.compute_metrics(model)
        logger.info("Queries: %d, %s", len(self.samples), means)
        self._write_row(output_path, [epoch, steps, *means.values()])
        return self._finish(model, named(means, self.at_k), epoch, steps)

    def compute_metrics(self, model: Any) -> dict[str, float]:
        """Means over the samples."""
        return (self.compute_metrics_batched if self.use_batched_encoding else self.compute_metrics_individual)(model)

    def compute_metrics_batched(self, model: Any) -> dict[str, float]:
        """The same, with all texts embedded together."""
        queries = _given(self.embed_inputs(model, [sample["query"] for sample in self.samples], "query"))
        texts = [text for sample in self.samples for text in _of(sample)]
        vectors = _given(self.embed_inputs(model, texts, "document"))
        ranking, start = Ranking(self.at_k), 0
        for query, sample in zip(queries, self.samples, strict=True):
            end = start + len(_of(sample))
            self._add(ranking, sample, query, vectors[start:end])
            start = end
        return ranking.means()

    def compute_metrics_individual(self, model: Any) -> dict[str, float]:
        """The same, with the texts of each sample embedded by themselves."""
        ranking = Ranking(self.at_k)
        for sample in self.samples:
            query = _given(self.embed_inputs(model, [sample["query"]], "query"))
            self._add(ranking, sample, query, _given(self.embed_inputs(model, _of(sample), "document")))
        return ranking.means()

    compute_metrices = compute_metrics
    compute_metrices_batched = compute_metrics_batched
    compute_metrices_individual = compute_metrics_individual

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        return {"at_k": self.at_k, **super().get_config_dict()}

    def _add(self, ranking: Ranking, sample: dict[str, Any], query: Any, vectors: Any) -> None:
        scores = np.asarray(as_array(self.similarity_fct(query, vectors)))
        labels = [1] * len(sample["positive"]) + [0] * len(sample["negative"])
        ranking.add(labels, scores[0] if scores.ndim > 1 else scores)


def _texts(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _of(sample: dict[str, Any]) -> list[Any]:
    return [*sample["positive"], *sample["negative"]]


def _given(vectors: Any) -> Any:
    return vectors if is_tensor(vectors) else like(np.asarray(vectors))
