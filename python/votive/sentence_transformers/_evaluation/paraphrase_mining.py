"""How well the pairs of texts that are nearest are those that belong together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation.evaluator import BaseEvaluator, Metrics, logger
from votive.sentence_transformers.util.retrieval import paraphrase_mining

_Graph = dict[Any, dict[Any, bool]]


class ParaphraseMiningEvaluator(BaseEvaluator):
    """Average precision of the pairs that `paraphrase_mining` finds, and F1 at the best threshold.

    Args:
        sentences_map: texts by their ids.
        duplicates_list: pairs of ids that belong together.
        duplicates_dict: the same as a dict of dicts.
        add_transitive_closure: whether what belongs to the same text belongs together.
        query_chunk_size: see `paraphrase_mining`.
        corpus_chunk_size: see `paraphrase_mining`.
        max_pairs: see `paraphrase_mining`.
        top_k: see `paraphrase_mining`.
        show_progress_bar: see `encode`.
        batch_size: texts at a time.
        name: of the data, before each metric.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.
    """

    def __init__(
        self,
        sentences_map: dict[Any, Any],
        duplicates_list: list[tuple[Any, Any]] | None = None,
        duplicates_dict: _Graph | None = None,
        add_transitive_closure: bool = False,
        query_chunk_size: int = 5000,
        corpus_chunk_size: int = 100000,
        max_pairs: int = 500000,
        top_k: int = 100,
        show_progress_bar: bool = False,
        batch_size: int = 16,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.ids, self.sentences = list(sentences_map), list(sentences_map.values())
        self.query_chunk_size, self.corpus_chunk_size = query_chunk_size, corpus_chunk_size
        self.max_pairs, self.top_k = max_pairs, top_k
        self.show_progress_bar, self.batch_size, self.name = show_progress_bar, batch_size, name
        self.write_csv, self.truncate_dim = write_csv, truncate_dim
        self._add_transitive_closure = add_transitive_closure
        self.duplicates: _Graph = defaultdict(lambda: defaultdict(bool)) if duplicates_dict is None else duplicates_dict
        for first, second in duplicates_list or []:
            if first in sentences_map and second in sentences_map:
                self.duplicates.setdefault(first, {})[second] = True
                self.duplicates.setdefault(second, {})[first] = True
        if add_transitive_closure:
            self.duplicates = self.add_transitive_closure(self.duplicates)
        self.total_num_duplicates = len(
            {
                tuple(sorted([first, second]))
                for first, near in self.duplicates.items()
                for second in near
                if first in sentences_map and second in sentences_map and self._belong(first, second)
            }
        )
        self.csv_file = f"paraphrase_mining_evaluation{f'_{name}' if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps", "precision", "recall", "f1", "threshold", "average_precision"]
        self.primary_metric = "average_precision"

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("Paraphrase Mining Evaluation of the model", epoch, steps)
        pairs = paraphrase_mining(
            model,
            self.sentences,
            show_progress_bar=self.show_progress_bar,
            batch_size=self.batch_size,
            query_chunk_size=self.query_chunk_size,
            corpus_chunk_size=self.corpus_chunk_size,
            max_pairs=self.max_pairs,
            top_k=self.top_k,
            truncate_dim=self.truncate_dim,
        )
        found = self._measured(pairs)
        logger.info("%d pairs: %s", len(pairs), found)
        self._write_row(output_path, [epoch, steps, *(found[column] for column in self.csv_headers[2:])])
        return self._finish(model, found, epoch, steps)

    @staticmethod
    def add_transitive_closure(graph: Any) -> Any:
        """Has all ids that are connected belong together, in place; returns the graph."""
        visited: set[Any] = set()
        for start in list(graph):
            if start in visited:
                continue
            group, waiting = {start}, [start]
            while waiting:
                near = [node for node, is_near in graph.get(waiting.pop(), {}).items() if is_near and node not in group]
                group.update(near)
                waiting += near
            visited |= group
            for node in group:
                graph.setdefault(node, {}).update(dict.fromkeys(group - {node}, True))
        return graph

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        own = {
            "add_transitive_closure": self._add_transitive_closure,
            "max_pairs": self.max_pairs,
            "top_k": self.top_k,
        }
        return own | super().get_config_dict()

    def _belong(self, first: Any, second: Any) -> bool:
        near = self.duplicates
        return bool(near.get(first, {}).get(second) or near.get(second, {}).get(first))

    def _measured(self, pairs: list[list[Any]]) -> Metrics:
        nothing = {"average_precision": 0, "f1": 0, "precision": 0, "recall": 0, "threshold": 0}
        belong = np.array([self._belong(self.ids[i], self.ids[j]) for _, i, j in pairs], bool)
        total = self.total_num_duplicates
        if not belong.any() or not total:
            return nothing
        scores = np.array([score for score, _, _ in pairs])
        # The last of each equal scores.
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        correct = np.cumsum(belong)[ends]
        precisions, recalls = correct / (ends + 1), correct / total
        added = np.diff(correct, prepend=0)
        f1 = np.where(added > 0, 2 * precisions * recalls / np.maximum(precisions + recalls, 1e-300), 0)
        best = int(np.argmax(f1))
        threshold = (scores[ends[best]] + scores[min(ends[best] + 1, len(scores) - 1)]) / 2
        return {
            "average_precision": float(precisions @ added / total),
            "f1": float(f1[best]),
            "precision": float(precisions[best]),
            "recall": float(recalls[best]),
            "threshold": float(threshold),
        }
