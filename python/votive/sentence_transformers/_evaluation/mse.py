"""How far a model's vectors are from those of another one."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation.evaluator import Metrics, logger
from votive.sentence_transformers._evaluation.pairs import EvaluatorOfTexts


class MSEEvaluator(EvaluatorOfTexts):
    """The mean squared error of vectors, times 100 and negated.

    Args:
        source_sentences: texts whose vectors by `teacher_model` are aimed at.
        target_sentences: for each the text that the model embeds.
        teacher_model: embeds `source_sentences`.
        show_progress_bar: see `encode`.
        batch_size: texts at a time.
        name: of the data, before each metric.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.

    Raises:
        ValueError: there are not as many texts on both sides.
    """

    def __init__(
        self,
        source_sentences: list[Any],
        target_sentences: list[Any],
        teacher_model: Any = None,
        show_progress_bar: bool = False,
        batch_size: int = 32,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__()
        if len(source_sentences) != len(target_sentences):
            raise ValueError(
                f"source_sentences ({len(source_sentences)}) and target_sentences ({len(target_sentences)}) must have "
                "the same length."
            )
        self.target_sentences, self.show_progress_bar, self.batch_size = target_sentences, show_progress_bar, batch_size
        self.name, self.write_csv, self.truncate_dim = name, write_csv, truncate_dim
        self.csv_file = f"mse_evaluation_{name}_results.csv"
        self.csv_headers = ["epoch", "steps", "MSE"]
        self.primary_metric = "negative_mse"
        self.source_embeddings = self.embed_inputs(teacher_model, source_sentences)

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        self._log_start("MSE evaluation (lower = better)", epoch, steps)
        error = squared_error(self.source_embeddings, self.embed_inputs(model, self.target_sentences))
        logger.info("MSE (*100):\t%4f", error)
        self._write_row(output_path, [epoch, steps, error])
        return self._finish(model, {"negative_mse": -error}, epoch, steps)

    @property
    def description(self) -> str:
        """What is measured, in words."""
        return "Knowledge Distillation"


class MSEEvaluatorFromDataFrame(EvaluatorOfTexts):
    """The mean squared error of translations' vectors, over pairs of languages, times 100 and negated.

    Args:
        dataframe: rows with a text for each language.
        teacher_model: embeds the texts of the first language of each pair.
        combinations: pairs of languages.
        batch_size: texts at a time.
        name: of the data, before each metric.
        write_csv: whether to write a table.
        truncate_dim: see `encode`.
    """

    show_progress_bar = None

    def __init__(
        self,
        dataframe: list[dict[str, str]],
        teacher_model: Any,
        combinations: list[tuple[str, str]],
        batch_size: int = 8,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.combinations, self.name, self.batch_size = combinations, name, batch_size
        self.write_csv, self.truncate_dim = write_csv, truncate_dim
        self.csv_file = f"mse_evaluation{f'_{name}' if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps", *(f"{source}-{target}" for source, target in combinations)]
        self.primary_metric = "negative_mse"
        self.data: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
        for source, target in combinations:
            both = [(row[source], row[target]) for row in dataframe if row[source].strip() and row[target].strip()]
            self.data[source, target] = [text for text, _ in both], [text for _, text in both]
        texts = list(dict.fromkeys(text for sources, _ in self.data.values() for text in sources))
        vectors = self.embed_inputs(teacher_model, texts)
        self.teacher_embeddings = dict(zip(texts, vectors, strict=True))

    def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Metrics:
        """See `BaseEvaluator`."""
        errors = []
        for combination in self.combinations:
            sources, targets = self.data[combination]
            wanted = np.asarray([self.teacher_embeddings[text] for text in sources])
            errors.append(squared_error(wanted, self.embed_inputs(model, targets)))
            logger.info("MSE (*100) of %s on the %s dataset:\t%4f", "-".join(combination), self.name, errors[-1])
        self._write_row(output_path, [epoch, steps, *errors])
        return self._finish(model, {"negative_mse": -float(np.mean(errors))}, epoch, steps)

    @property
    def description(self) -> str:
        """What is measured, in words."""
        return "Knowledge Distillation"


def squared_error(a: Any, b: Any) -> float:
    """The mean of squared differences, times 100."""
    return float(((np.asarray(a) - np.asarray(b)) ** 2).mean() * 100)
