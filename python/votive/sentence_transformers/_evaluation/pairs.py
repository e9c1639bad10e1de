"""What evaluators of pairs of texts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from votive.sentence_transformers._evaluation.evaluator import BaseEvaluator
from votive.sentence_transformers._tensors import as_array
from votive.sentence_transformers.util.similarity import SimilarityFunction

# Names of similarity functions, in the order in which errors list them.
SIMILARITIES = ("cosine", "dot", "manhattan", "euclidean")


def similarities(name: str) -> Callable[[Any, Any], Any]:
    """A function that compares each row with the same row, and gives an array."""
    compare = SimilarityFunction.to_similarity_pairwise_fn(name)
    return lambda a, b: np.asarray(as_array(compare(a, b)))


class EvaluatorOfTexts(BaseEvaluator):
    """An evaluator that embeds texts."""

    batch_size: int
    show_progress_bar: bool | None = False

    def embed_inputs(self, model: Any, sentences: Any, encode_fn_name: str | None = None, **kwargs: Any) -> Any:
        """The texts' vectors: by `encode_query` or `encode_document` for "query" and "document", else by `encode`."""
        encode = getattr(model, "encode" if encode_fn_name is None else f"encode_{encode_fn_name}")
        return encode(
            sentences,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress_bar,
            convert_to_numpy=True,
            truncate_dim=self.truncate_dim,
            **kwargs,
        )


def texts_of(examples: list[Any], count: int) -> list[list[Any]]:
    """The first texts of `InputExample`s, the second ones, and so on."""
    return [[example.texts[place] for example in examples] for place in range(count)]
