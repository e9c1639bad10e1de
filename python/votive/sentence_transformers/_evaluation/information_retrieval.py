"""How well a model finds the documents that are relevant to queries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation.evaluator import Metrics, logger
from votive.sentence_transformers._evaluation.pairs import EvaluatorOfTexts
from votive.sentence_transformers._tensors import as_array, is_tensor, like
from votive.sentence_transformers.util.similarity import SimilarityFunction

_Hits = list[list[dict[str, Any]]]
_DEFAULT_KS = (1, 3, 5, 10)
_HEADERS = {
    "accuracy@k": "Accuracy",
    "precision@k": "Precision",
    "recall@k": "Recall",
    "mrr@k": "MRR",
    "ndcg@k": "NDCG",
    "map@k": "MAP",
}


class InformationRetrievalEvaluator(EvaluatorOfTexts):
    """Accuracy, precision, recall, mean reciprocal rank, NDCG and mean average precision of the best documents.

    Args:
        queries: texts by their ids.
        corpus: documents by their ids.
        relevant_docs: for ids of queries the ids of documents that are relevant.
        corpus_chunk_size: documents that are embedded and compared at a time.
        mrr_at_k: how many of the best count for the reciprocal rank, several numbers.
        ndcg_at_k: the same for NDCG.
        accuracy_at_k: the same for accuracy.
        precision_recall_at_k: the same for precision and recall.
        map_at_k: the same for the average precision.
        show_progress_bar: see `encode`.
        batch_size: texts at a time.
        name: of the data, before each metric.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.
        score_functions: functions of matrices of queries and documents, by their names; None for the model's.
        main_score_function: the name of the one that models are compared by; None for the best one.
        query_prompt: see `encode`.
        query_prompt_name: see `encode`.
        corpus_prompt: see `encode`.
        corpus_prompt_name: see `encode`.
        write_predictions: whether to write the best documents of each query, a JSON object to a line.
    """

    def __init__(
        self,
        queries: dict[str, Any],
        corpus: dict[str, Any],
        relevant_docs: dict[str, set[str]],
        corpus_chunk_size: int = 50000,
        mrr_at_k: list[int] | None = None,
        ndcg_at_k: list[int] | None = None,
        accuracy_at_k: list[int] | None = None,
        precision_recall_at_k: list[int] | None = None,
        map_at_k: list[int] | None = None,
        show_progress_bar: bool = False,
        batch_size: int = 32,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
        score_functions: dict[str, Callable[[Any, Any], Any]] | None = None,
        main_score_function: str | SimilarityFunction | None = None,
        query_prompt: str | None = None,
        query_prompt_name: str | None = None,
        corpus_prompt: str | None = None,
        corpus_prompt_name: str | None = None,
        write_predictions: bool = False,
    ) -> None:
        super().__init__()
        self.queries_ids = [query for query in queries if relevant_docs.get(query)]
        self.queries = [queries[query] for query in self.queries_ids]
        self.corpus_ids, self.corpus = list(corpus), list(corpus.values())
        self.relevant_docs, self.corpus_chunk_size = relevant_docs, corpus_chunk_size
        self.mrr_at_k, self.ndcg_at_k = mrr_at_k or [10], ndcg_at_k or [10]
        self.accuracy_at_k = accuracy_at_k or list(_DEFAULT_KS)
        self.precision_recall_at_k = precision_recall_at_k or list(_DEFAULT_KS)
        self.map_at_k = map_at_k or [100]
        self.query_prompt, self.query_prompt_name = query_prompt, query_prompt_name
        self.corpus_prompt, self.corpus_prompt_name = corpus_prompt, corpus_prompt_name
        self.show_progress_bar, self.batch_size, self.name = show_progress_bar, batch_size, name
        self.write_csv, self.truncate_dim, self.write_predictions = write_csv, truncate_dim, write_predictions
        self.score_functions: dict[str, Callable[[Any, Any], Any]] = score_functions or {}
        self.score_function_names = sorted(self.score_functions)
        self._are_of_model = score_functions is None
        self.main_score_function = SimilarityFunction(main_score_function) if main_score_function else None
        suffix = f"_{name}" if name else ""
        self.csv_file = f"Information-Retrieval_evaluation{suffix}_results.csv"
        self.predictions_file = f"Information-Retrieval_evaluation{suffix}_predictions.jsonl"
        self.csv_headers = ["epoch", "steps"]
        self._append_csv_headers(self.score_function_names)

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,
        epoch: int = -1,
        steps: int = -1,
        corpus_model: Any = None,
        corpus_embeddings: Any = None,
    ) -> Metrics:
        """See `BaseEvaluator`; `corpus_model` embeds the documents, or `corpus_embeddings` are their vectors."""
        self._log_start("Information Retrieval Evaluation of the model", epoch, steps)
        if self._are_of_model:
            self.score_functions = {model.similarity_fn_name: model.similarity}
            if self.score_function_names != [model.similarity_fn_name]:
                self.score_function_names = [model.similarity_fn_name]
                self.csv_headers = ["epoch", "steps"]
                self._append_csv_headers(self.score_function_names)
                self.primary_metric = None
        scores = self.compute_all_metrics(model, corpus_model, corpus_embeddings, output_path)
        row = [scores[name][metric][k] for name in self.score_function_names for metric, k in self._columns()]
        self._write_row(output_path, [epoch, steps, *row], line_end="\n")
        if not self.primary_metric:
            k = max(self.ndcg_at_k)
            main = self.main_score_function
            best = max(self.score_function_names, key=lambda name: scores[name]["ndcg@k"][k])
            self.primary_metric = f"{main.value if main else best}_ndcg@{k}"
        found = {
            f"{name}_{metric[:-1]}{k}": value
            for name, of_function in scores.items()
            for metric, values in of_function.items()
            for k, value in values.items()
        }
        return self._finish(model, found, epoch, steps)

    def compute_all_metrics(
        self, model: Any, corpus_model: Any = None, corpus_embeddings: Any = None, output_path: str | None = None
    ) -> dict[str, Any]:
        """The metrics of each function, by their names and numbers of documents."""
        hits = self._hits(model, corpus_model or model, corpus_embeddings)
        if self.write_predictions and output_path is not None:
            self._write_predictions(output_path, hits)
        scores = {name: self.compute_metrics(hits[name]) for name in self.score_functions}
        logger.info("Queries: %d, corpus: %d, %s", len(self.queries), len(self.corpus), scores)
        return scores

    def compute_metrics(self, queries_result_list: _Hits) -> dict[str, Any]:
        """The means over all queries, whose documents are dicts with "corpus_id" and "score"."""
        values: dict[str, dict[int, list[float]]] = {}

        def add(metric: str, k: int, value: float) -> None:
            values.setdefault(metric, {}).setdefault(k, []).append(value)

        for query, hits in zip(self.queries_ids, queries_result_list, strict=True):
            relevant = self.relevant_docs[query]
            ranked = sorted(hits, key=lambda hit: (-hit["score"], hit["corpus_id"]))
            right = np.array([hit["corpus_id"] in relevant for hit in ranked], bool)
            found = np.cumsum(right)
            for k in self.accuracy_at_k:
                add("accuracy@k", k, float(right[:k].any()))
            for k in self.precision_recall_at_k:
                add("precision@k", k, right[:k].sum() / k)
                add("recall@k", k, right[:k].sum() / len(relevant))
            for k in self.ndcg_at_k:
                ideal = self.compute_dcg_at_k([1] * len(relevant), k)
                add("ndcg@k", k, self.compute_dcg_at_k(right, k) / ideal)
            for k in self.mrr_at_k:
                add("mrr@k", k, 1 / (right[:k].argmax() + 1) if right[:k].any() else 0.0)
            for k in self.map_at_k:
                precisions = found[:k] / (np.arange(len(found[:k])) + 1)
                add("map@k", k, (precisions * right[:k]).sum() / min(k, len(relevant)))
        return {metric: {k: float(np.mean(of_k)) for k, of_k in by_k.items()} for metric, by_k in values.items()}

    @staticmethod
    def compute_dcg_at_k(relevances: Any, k: int) -> float:
        """The discounted gain of the first `k`."""
        gains = np.asarray(relevances, np.float64)[:k]
        return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2)))

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        names = ("query_prompt", "query_prompt_name", "corpus_prompt", "corpus_prompt_name")
        prompts = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return super().get_config_dict() | prompts

    def _hits(self, model: Any, corpus_model: Any, corpus_embeddings: Any) -> dict[str, _Hits]:
        most = max(*self.mrr_at_k, *self.ndcg_at_k, *self.accuracy_at_k, *self.precision_recall_at_k, *self.map_at_k)
        prompts = {"prompt_name": self.query_prompt_name, "prompt": self.query_prompt}
        queries = _given(self.embed_inputs(model, self.queries, "query", **prompts))
        prompts = {"prompt_name": self.corpus_prompt_name, "prompt": self.corpus_prompt}
        # Of documents with equal scores those whose ids come first are found.
        places = np.empty(len(self.corpus), np.int64)
        places[sorted(range(len(self.corpus)), key=self.corpus_ids.__getitem__)] = np.arange(len(self.corpus))
        best: dict[str, list[Any]] = {
            name: [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(self.queries)
            for name in self.score_functions
        }
        for start in range(0, len(self.corpus), self.corpus_chunk_size):
            part = slice(start, start + self.corpus_chunk_size)
            given = corpus_embeddings is not None
            vectors = corpus_embeddings[part] if given else self._documents(corpus_model, self.corpus[part], prompts)
            for name, function in self.score_functions.items():
                scores = np.asarray(as_array(function(queries, vectors)))
                best[name] = [
                    _better(kept, row, start, places, most) for kept, row in zip(best[name], scores, strict=True)
                ]
        return {
            name: [
                [
                    {"corpus_id": self.corpus_ids[document], "score": score}
                    for score, document in zip(scores.tolist(), documents.tolist(), strict=True)
                ]
                for scores, documents in of_function
            ]
            for name, of_function in best.items()
        }

    def _documents(self, model: Any, documents: list[Any], prompts: dict[str, Any]) -> Any:
        return _given(self.embed_inputs(model, documents, "document", **prompts))

    def _write_predictions(self, output_path: str, hits: dict[str, _Hits]) -> None:
        Path(output_path).mkdir(parents=True, exist_ok=True)
        for name, of_queries in hits.items():
            path = Path(output_path, self.predictions_file.replace(".jsonl", f"_{name}.jsonl"))
            with path.open("w", encoding="utf-8") as file:
                for query, text, results in zip(self.queries_ids, self.queries, of_queries, strict=True):
                    file.write(json.dumps({"query_id": query, "query": text, "results": results}) + "\n")

    def _columns(self) -> list[tuple[str, int]]:
        columns = [("accuracy@k", k) for k in self.accuracy_at_k]
        columns += [(metric, k) for k in self.precision_recall_at_k for metric in ("precision@k", "recall@k")]
        columns += [("mrr@k", k) for k in self.mrr_at_k]
        return columns + [("ndcg@k", k) for k in self.ndcg_at_k] + [("map@k", k) for k in self.map_at_k]

    def _append_csv_headers(self, score_function_names: list[str]) -> None:
        for name in score_function_names:
            self.csv_headers += [f"{name}-{_HEADERS[metric]}@{k}" for metric, k in self._columns()]


def _better(kept: Any, scores: Any, start: int, places: Any, most: int) -> tuple[Any, Any]:
    """Scores and numbers of the best documents, of those that were kept and of one more chunk."""
    if len(scores) > most:
        least = np.partition(scores, len(scores) - most)[len(scores) - most]
        found = np.flatnonzero(scores >= least)
    else:
        found = np.arange(len(scores))
    values, documents = np.concatenate([kept[0], scores[found]]), np.concatenate([kept[1], found + start])
    order = np.lexsort((places[documents], -values))[:most]
    return values[order], documents[order]


def _given(vectors: Any) -> Any:
    return vectors if is_tensor(vectors) else like(np.asarray(vectors))
