"""How often a text is nearer to one that belongs to it than to another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from votive.sentence_transformers._evaluation.evaluator import Metrics, is_logging, logger
from votive.sentence_transformers._evaluation.pairs import SIMILARITIES, EvaluatorOfTexts, similarities, texts_of
from votive.sentence_transformers.util.similarity import SimilarityFunction

_DEPRECATED = "deprecated"


class TripletEvaluator(EvaluatorOfTexts):
    """The share of triplets whose anchor is nearer to the positive than to the negative.

    Args:
        anchors: texts, embedded as queries.
        positives: for each one that belongs to it, embedded as documents, as are the negatives.
        negatives: for each one that does not.
        main_similarity_function: the one that models are compared by.
        margin: how much nearer; a number, or one for each similarity.
        name: of the data, before each metric.
        batch_size: texts at a time.
        show_progress_bar: see `encode`.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.
        similarity_fn_names: which similarities; None for the main one, else the model's.
        main_distance_function: `main_similarity_function` by its older name.

    Raises:
        ValueError: there is no such similarity, or `margin` is no number.
    """

    def __init__(
        self,
        anchors: Sequence[Any],
        positives: Sequence[Any],
        negatives: Sequence[Any],
        main_similarity_function: str | SimilarityFunction | None = None,
        margin: float | dict[str, float] | None = None,
        name: str = "",
        batch_size: int = 16,
        show_progress_bar: bool | None = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
        similarity_fn_names: list[str] | None = None,
        main_distance_function: str | SimilarityFunction | None = _DEPRECATED,
    ) -> None:
        super().__init__()
        assert len(anchors) == len(positives) == len(negatives)
        self.anchors, self.positives, self.negatives = anchors, positives, negatives
        self.name, self.batch_size, self.truncate_dim, self.write_csv = name, batch_size, truncate_dim, write_csv
        self.show_progress_bar = is_logging() if show_progress_bar is None else show_progress_bar
        if main_distance_function != _DEPRECATED and main_similarity_function is None:
            main_similarity_function = main_distance_function
            logger.warning("The 'main_distance_function' parameter is deprecated. Use 'main_similarity_function'.")
        main = SimilarityFunction(main_similarity_function) if main_similarity_function else None
        self.main_similarity_function = main
        self.similarity_fn_names = similarity_fn_names or ([main.value] if main else [])
        known = list(SIMILARITIES)
        if unknown := sorted(set(self.similarity_fn_names) - set(known)):
            raise ValueError(f"`similarity_fn_names` got unexpected names {unknown}, expected names in {known}.")
        if isinstance(margin, dict):
            if unknown := sorted(set(margin) - set(known)):
                raise ValueError(f"`margin` got unexpected keys {unknown}, expected keys in {known}.")
            self.margin = {**dict.fromkeys(known, 0), **margin}
        elif margin is None or isinstance(margin, (int, float)):
            self.margin = dict.fromkeys(known, margin or 0)
        else:
            raise ValueError(f"`margin` should be a float or a dictionary with keys in {known}.")
        self.csv_file = f"triplet_evaluation{f'_{name}' if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps"]
        self._append_csv_headers(self.similarity_fn_names)

    @classmethod
    def from_input_examples(cls, examples: list[Any], **kwargs: Any) -> TripletEvaluator:
        """Of `InputExample`s with three texts."""
        anchors, positives, negatives = texts_of(examples, 3)
        return cls(anchors, positives, negatives, **kwargs)

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("TripletEvaluator: Evaluating the model", epoch, steps)
        anchors = self.embed_inputs(model, self.anchors, "query")
        positives = self.embed_inputs(model, self.positives, "document")
        negatives = self.embed_inputs(model, self.negatives, "document")
        if not self.similarity_fn_names:
            self.similarity_fn_names = [model.similarity_fn_name]
            self._append_csv_headers(self.similarity_fn_names)
        found = {}
        for name in self.similarity_fn_names:
            compare = similarities(name)
            nearer = compare(anchors, positives) > compare(anchors, negatives) + self.margin[name]
            found[f"{name}_accuracy"] = float(nearer.mean())
            logger.info("%s: %s", name, found)
        self._write_row(output_path, [epoch, steps, *found.values()])
        names = self.similarity_fn_names
        if len(names) > 1:
            found["max_accuracy"] = max(found.values())
        main = self.main_similarity_function
        chosen = main.value if main else "max" if len(names) > 1 else names[0]
        self.primary_metric = f"{chosen}_accuracy"
        return self._finish(model, found, epoch, steps)

    def get_config_dict(self) -> dict[str, Any]:
        """What was set that changes results."""
        margin = {"margin": self.margin} if any(self.margin.values()) else {}
        return margin | super().get_config_dict()

    def _append_csv_headers(self, similarity_fn_names: list[str]) -> None:
        self.csv_headers += [f"accuracy_{name}" for name in similarity_fn_names]
