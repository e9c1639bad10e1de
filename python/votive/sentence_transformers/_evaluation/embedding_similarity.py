"""How similarities of pairs go with scores that people gave."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation import metrics
from votive.sentence_transformers._evaluation.evaluator import Metrics, is_logging, logger
from votive.sentence_transformers._evaluation.pairs import SIMILARITIES, EvaluatorOfTexts, similarities, texts_of
from votive.sentence_transformers.util.similarity import SimilarityFunction


class EmbeddingSimilarityEvaluator(EvaluatorOfTexts):
    """Pearson's and Spearman's correlations of similarities with scores.

    Args:
        sentences1: the first texts of pairs.
        sentences2: the second ones.
        scores: how similar the two are.
        batch_size: texts at a time.
        main_similarity: the one that models are compared by.
        similarity_fn_names: which similarities; None for the main one, else the model's.
        name: of the data, before each metric.
        show_progress_bar: see `encode`.
        write_csv: whether to write a table.
        precision: see `encode`; embeddings are normalized then.
        truncate_dim: see `encode`.
    """

    def __init__(
        self,
        sentences1: list[Any],
        sentences2: list[Any],
        scores: list[float],
        batch_size: int = 16,
        main_similarity: str | SimilarityFunction | None = None,
        similarity_fn_names: list[str] | None = None,
        name: str = "",
        show_progress_bar: bool | None = False,
        write_csv: bool = True,
        precision: str | None = None,
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__()
        assert len(sentences1) == len(sentences2) == len(scores)
        self.sentences1, self.sentences2, self.scores = sentences1, sentences2, scores
        self.name, self.batch_size, self.write_csv = name, batch_size, write_csv
        self.precision, self.truncate_dim = precision, truncate_dim
        self.main_similarity = SimilarityFunction(main_similarity) if main_similarity else None
        self.similarity_fn_names = similarity_fn_names or [main.value for main in [self.main_similarity] if main]
        self.show_progress_bar = is_logging() if show_progress_bar is None else show_progress_bar
        parts = [part for part in (name, precision) if part]
        self.csv_file = "_".join(["similarity_evaluation", *parts, "results.csv"])
        self.csv_headers = ["epoch", "steps"]
        self._append_csv_headers(self.similarity_fn_names)

    @classmethod
    def from_input_examples(cls, examples: list[Any], **kwargs: Any) -> EmbeddingSimilarityEvaluator:
        """Of `InputExample`s with two texts and a score as their label."""
        left, right = texts_of(examples, 2)
        return cls(left, right, [example.label for example in examples], **kwargs)

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("EmbeddingSimilarityEvaluator: Evaluating the model", epoch, steps)
        left, right = self._embeddings(model)
        if not self.similarity_fn_names:
            self.similarity_fn_names = [model.similarity_fn_name]
            self._append_csv_headers(self.similarity_fn_names)
        names = [name for name in self.similarity_fn_names if name in SIMILARITIES]
        found = {}
        for name in names:
            scores = similarities(name)(left, right)
            found[f"pearson_{name}"] = metrics.pearson(self.scores, scores)
            found[f"spearman_{name}"] = metrics.spearman(self.scores, scores)
            logger.info("%s: %s", name, found)
        self._write_row(output_path, [epoch, steps, *found.values()])
        if len(self.similarity_fn_names) > 1:
            for kind in ("pearson", "spearman"):
                found[f"{kind}_max"] = max(found[f"{kind}_{name}"] for name in names)
        if self.main_similarity:
            self.primary_metric = f"spearman_{self.main_similarity.value}"
        else:
            is_one = len(self.similarity_fn_names) == 1
            self.primary_metric = f"spearman_{self.similarity_fn_names[0] if is_one else 'max'}"
        return self._finish(model, found, epoch, steps)

    def embed_inputs(self, model: Any, sentences: Any, encode_fn_name: str | None = None, **kwargs: Any) -> Any:
        """The texts' vectors, in the precision that was asked for."""
        precision = {"precision": self.precision, "normalize_embeddings": bool(self.precision)}
        return super().embed_inputs(model, sentences, encode_fn_name, **precision, **kwargs)

    @property
    def description(self) -> str:
        """What is measured, in words."""
        return "Semantic Similarity"

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        return super().get_config_dict() | ({"precision": self.precision} if self.precision is not None else {})

    def _embeddings(self, model: Any) -> tuple[Any, Any]:
        if self.precision in ("int8", "uint8"):
            # Of one call, so that both sides have the same ranges.
            both = self.embed_inputs(model, [*self.sentences1, *self.sentences2])
            sides = both[: len(self.sentences1)], both[len(self.sentences1) :]
        else:
            sides = self.embed_inputs(model, self.sentences1), self.embed_inputs(model, self.sentences2)
        if self.precision == "binary":
            sides = tuple(np.asarray(side).view(np.uint8) ^ 0x80 for side in sides)  # type: ignore[assignment]
        if self.precision in ("binary", "ubinary"):
            sides = tuple(np.unpackbits(side, axis=1) for side in sides)  # type: ignore[assignment]
        if self.precision not in (None, "float32"):
            sides = tuple(np.asarray(side, np.float32) for side in sides)  # type: ignore[assignment]
        return sides

    def _append_csv_headers(self, similarity_fn_names: list[str]) -> None:
        self.csv_headers += [f"{name}_{metric}" for name in similarity_fn_names for metric in ("pearson", "spearman")]
