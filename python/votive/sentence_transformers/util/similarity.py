"""Similarity of vectors, as `sentence_transformers.util.similarity` has it.

Lists, arrays and tensors go in; what comes out is a tensor by the rule of `_tensors`, else an array. float64 that comes
in stays float64, everything else is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import similarity
from votive.sentence_transformers._tensors import as_floats, like
from votive.sentence_transformers._unsupported import Unsupported

__all__ = [
    "SimilarityFunction",
    "cos_sim",
    "dot_score",
    "euclidean_sim",
    "manhattan_sim",
    "maxsim",
    "maxsim_pairwise",
    "mean_maxsim",
    "mean_maxsim_pairwise",
    "pairwise_angle_sim",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
    "pytorch_cos_sim",
]

Function = Callable[[Any, Any], Any]
Array = NDArray[Any]

# Differences of float64 vectors in memory at a time.
_TILE_ELEMENTS = 1 << 20


def cos_sim(a: Any, b: Any) -> Any:
    """Cosine of every row of `a`, `[n, dimension]`, with every row of `b`, `[m, dimension]`: `[n, m]`."""
    return _each_with_each(a, b, similarity.cos_sim, lambda x, y: normalized(x) @ normalized(y).T)


def pytorch_cos_sim(a: Any, b: Any) -> Any:
    """`cos_sim` by its older name."""
    return cos_sim(a, b)


def dot_score(a: Any, b: Any) -> Any:
    """Dot product of every row of `a`, `[n, dimension]`, with every row of `b`, `[m, dimension]`: `[n, m]`."""
    return _each_with_each(a, b, similarity.dot_score, lambda x, y: x @ y.T)


def euclidean_sim(a: Any, b: Any) -> Any:
    """Euclidean distance, negated, of every row of `a` from every row of `b`: `[n, m]`."""
    return _each_with_each(a, b, similarity.euclidean_sim, lambda x, y: _by_tiles(_lengths, x, y))


def manhattan_sim(a: Any, b: Any) -> Any:
    """Manhattan distance, negated, of every row of `a` from every row of `b`: `[n, m]`."""
    return _each_with_each(a, b, similarity.manhattan_sim, lambda x, y: _by_tiles(_absolute_sums, x, y))


def pairwise_cos_sim(a: Any, b: Any) -> Any:
    """Cosine of each row of `a` with the same row of `b`: `[n]`; a scalar for two vectors."""
    return _row_by_row(a, b, lambda x, y: _dots(x, y) / (divisors(x) * divisors(y)))


def pairwise_dot_score(a: Any, b: Any) -> Any:
    """Dot product of each row of `a` with the same row of `b`: `[n]`; a scalar for two vectors."""
    return _row_by_row(a, b, _dots)


def pairwise_euclidean_sim(a: Any, b: Any) -> Any:
    """Euclidean distance, negated, of each row of `a` from the same row of `b`: `[n]`; a scalar for two vectors."""
    return _row_by_row(a, b, lambda x, y: -_lengths(x - y))


def pairwise_manhattan_sim(a: Any, b: Any) -> Any:
    """Manhattan distance, negated, of each row of `a` from the same row of `b`: `[n]`; a scalar for two vectors."""
    return _row_by_row(a, b, lambda x, y: -_absolute_sums(x - y))


def pairwise_angle_sim(x: Any, y: Any) -> Any:
    """AnglE similarity of each row of `x` with the same row of `y`, both `[n, dimension]`: `[n]`.

    The absolute value of the cosine plus a sine, for which number i of a vector and number i + dimension / 2 are the
    real and the imaginary part of a complex number; a vector of odd length has one 0 more.
    """
    left, right = normalized(as_floats("x", x)), normalized(as_floats("y", y))
    half = (left.shape[-1] + 1) // 2
    odd = [(0, 0)] * (left.ndim - 1) + [(0, 2 * half - left.shape[-1])]
    left, right = np.pad(left, odd), np.pad(right, odd)
    sines = _dots(left[..., half:], right[..., :half]) - _dots(left[..., :half], right[..., half:])
    return like(np.abs(_dots(left, right) + sines).astype(np.result_type(left, right)), x, y)


def maxsim(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise _late_interaction("maxsim")


def maxsim_pairwise(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise _late_interaction("maxsim_pairwise")


def mean_maxsim(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise _late_interaction("mean_maxsim")


def mean_maxsim_pairwise(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise _late_interaction("mean_maxsim_pairwise")


class SimilarityFunction(Enum):
    """How embeddings are compared. Taken wherever the name of a function is."""

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"
    MAXSIM = "maxsim"
    MEAN_MAXSIM = "meanmaxsim"

    @staticmethod
    def possible_values() -> list[str]:
        """All names."""
        return [function.value for function in SimilarityFunction]

    @staticmethod
    def to_similarity_fn(similarity_function: str | SimilarityFunction) -> Function:
        """The function that compares each row with each.

        Raises:
            ValueError: there is none of that name.
        """
        return _FUNCTIONS[SimilarityFunction(similarity_function)][0]

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: str | SimilarityFunction) -> Function:
        """The function that compares each row with the same row.

        Raises:
            ValueError: there is none of that name.
        """
        return _FUNCTIONS[SimilarityFunction(similarity_function)][1]


_FUNCTIONS: dict[SimilarityFunction, tuple[Function, Function]] = {
    SimilarityFunction.COSINE: (cos_sim, pairwise_cos_sim),
    SimilarityFunction.DOT_PRODUCT: (dot_score, pairwise_dot_score),
    SimilarityFunction.EUCLIDEAN: (euclidean_sim, pairwise_euclidean_sim),
    SimilarityFunction.MANHATTAN: (manhattan_sim, pairwise_manhattan_sim),
    SimilarityFunction.MAXSIM: (maxsim, maxsim_pairwise),
    SimilarityFunction.MEAN_MAXSIM: (mean_maxsim, mean_maxsim_pairwise),
}


def _late_interaction(name: str) -> Unsupported:
    return Unsupported(f"{name}: votive has no late-interaction models; use sentence-transformers for them")


def _each_with_each(a: Any, b: Any, of_floats: Function, of_doubles: Function) -> Any:
    left, right = as_floats("a", a), as_floats("b", b)
    if left.dtype == right.dtype == np.float32:
        return like(of_floats(left, right), a, b)
    matrices = [np.atleast_2d(matrix).astype(np.float64, copy=False) for matrix in (left, right)]
    if matrices[0].ndim != 2 or matrices[1].ndim != 2 or matrices[0].shape[1] != matrices[1].shape[1]:
        raise ValueError(f"expected matrices of as many columns, found a {left.shape} and b {right.shape}")
    return like(of_doubles(*matrices), a, b)


def _row_by_row(a: Any, b: Any, function: Function) -> Any:
    left, right = as_floats("a", a), as_floats("b", b)
    return like(np.asarray(function(left, right)).astype(np.result_type(left, right)), a, b)


def _by_tiles(length: Callable[[Array], Array], a: Array, b: Array) -> Array:
    found = np.empty((len(a), len(b)), a.dtype)
    columns = max(1, _TILE_ELEMENTS // max(1, a.shape[1]))
    for row, vector in enumerate(a):
        for start in range(0, len(b), columns):
            found[row, start : start + columns] = -length(vector - b[start : start + columns])
    return found


def _dots(a: Array, b: Array) -> Array:
    # In float64: no square of a float32 overflows, none of a small one is lost.
    dots: Array = np.einsum("...i,...i->...", a, b, dtype=np.float64)
    return dots


def _lengths(rows: Array) -> Array:
    lengths: Array = np.sqrt(_dots(rows, rows))
    return lengths


def divisors(rows: Array) -> Array:
    """The lengths of vectors `[..., dimension]` in float64, of which none is 0."""
    return np.maximum(_lengths(rows), similarity.MIN_NORM)


def _absolute_sums(rows: Array) -> Array:
    sums: Array = np.abs(rows).sum(axis=-1, dtype=np.float64)
    return sums


def normalized(rows: Array) -> Array:
    """Vectors `[..., dimension]` of length 1; a zero vector stays one."""
    divided: Array = (rows / divisors(rows)[..., None]).astype(rows.dtype, copy=False)
    return divided
