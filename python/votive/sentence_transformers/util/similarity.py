"""Similarity of vectors, as `sentence_transformers.util.similarity` has it, by `votive.similarity`.

Lists, arrays and tensors go in; what comes out is a tensor by the rule of `_tensors`, else an array.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from votive import similarity
from votive.sentence_transformers._tensors import as_array, like
from votive.similarity_function import SimilarityFunction

__all__ = [
    "SimilarityFunction",
    "cos_sim",
    "dot_score",
    "euclidean_sim",
    "manhattan_sim",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
    "pytorch_cos_sim",
]


def _on_any(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @wraps(function)
    def on_any(a: Any, b: Any) -> Any:
        return like(function(as_array(a), as_array(b)), a, b)

    return on_any


cos_sim = _on_any(similarity.cos_sim)
dot_score = _on_any(similarity.dot_score)
euclidean_sim = _on_any(similarity.euclidean_sim)
manhattan_sim = _on_any(similarity.manhattan_sim)
pairwise_cos_sim = _on_any(similarity.pairwise_cos_sim)
pairwise_dot_score = _on_any(similarity.pairwise_dot_score)
pairwise_euclidean_sim = _on_any(similarity.pairwise_euclidean_sim)
pairwise_manhattan_sim = _on_any(similarity.pairwise_manhattan_sim)


def pytorch_cos_sim(a: Any, b: Any) -> Any:
    """`cos_sim` by its older name."""
    return cos_sim(a, b)
