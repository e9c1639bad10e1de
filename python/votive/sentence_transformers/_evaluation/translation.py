"""How often a text is nearest to its own translation."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation.evaluator import Metrics, logger
from votive.sentence_transformers._evaluation.pairs import EvaluatorOfTexts
from votive.sentence_transformers._tensors import as_array
from votive.sentence_transformers.util.similarity import cos_sim


class TranslationEvaluator(EvaluatorOfTexts):
    """The share of texts whose nearest text in the other language is their translation, both ways.

    Args:
        source_sentences: texts of one language.
        target_sentences: for each its translation.
        show_progress_bar: see `encode`.
        batch_size: texts at a time.
        name: of the data, before each metric.
        print_wrong_matches: whether to print those whose nearest is another.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.
    """

    def __init__(
        self,
        source_sentences: list[Any],
        target_sentences: list[Any],
        show_progress_bar: bool = False,
        batch_size: int = 16,
        name: str = "",
        print_wrong_matches: bool = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__()
        assert len(source_sentences) == len(target_sentences)
        self.source_sentences, self.target_sentences = source_sentences, target_sentences
        self.show_progress_bar, self.batch_size, self.name = show_progress_bar, batch_size, name
        self.print_wrong_matches, self.write_csv, self.truncate_dim = print_wrong_matches, write_csv, truncate_dim
        self.csv_file = f"translation_evaluation{f'_{name}' if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps", "src2trg", "trg2src"]
        self.primary_metric = "mean_accuracy"

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("Evaluating translation matching Accuracy of the model", epoch, steps)
        sources = self.embed_inputs(model, self.source_sentences)
        targets = self.embed_inputs(model, self.target_sentences)
        scores = np.asarray(as_array(cos_sim(sources, targets)))
        nearest = scores.argmax(axis=1).tolist()
        right = [self.target_sentences[i] == self.target_sentences[j] for i, j in enumerate(nearest)]
        if self.print_wrong_matches:
            for place in np.flatnonzero(~np.array(right, bool)).tolist():
                self._print(place, scores[place])
        back = scores.argmax(axis=0).tolist()
        right_back = [self.source_sentences[i] == self.source_sentences[j] for i, j in enumerate(back)]
        there_share, back_share = sum(right) / len(right), sum(right_back) / len(right_back)
        logger.info("Accuracy src2trg: %.2f, trg2src: %.2f", there_share * 100, back_share * 100)
        self._write_row(output_path, [epoch, steps, there_share, back_share])
        mean = (there_share + back_share) / 2
        found = {"src2trg_accuracy": there_share, "trg2src_accuracy": back_share, "mean_accuracy": mean}
        return self._finish(model, found, epoch, steps)

    def _print(self, place: int, scores: Any) -> None:
        best = np.argsort(-scores, kind="stable")[:5].tolist()
        print(f"\nIncorrect  : Source {place} is most similar to target {best[0]} instead of target {place}")
        print(f"Source     : {self.source_sentences[place]}")
        print(f"Pred Target: {self.target_sentences[best[0]]} (Score: {scores[best[0]]:.4f})")
        print(f"True Target: {self.target_sentences[place]} (Score: {scores[place]:.4f})")
        for row in best:
            print(f"\t {row} (Score: {scores[row]:.4f}) {self.target_sentences[row]}")
