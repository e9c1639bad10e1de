"""Similarity of vectors: the functions of `sentence_transformers.util`, on NumPy.

Every function takes what `numpy.asarray` makes a 1-D or 2-D array of floats or integers from (a 1-D one is a single
row), computes from its float32 values, and returns float32: a greater number means more alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from votive._arguments import refuse_masked
from votive._arrays import as_array
from votive._tracebacks import short_traceback

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Vectors shorter than this are divided by it instead of by their length, as in torch.nn.functional.normalize: a zero
# vector stays zero.
MIN_NORM = 1e-12
# float32 differences in memory at a time, 1 MB: they stay in a core's cache.
TILE_ELEMENTS = 1 << 18
# Rows of each side in float64 at a time.
TILE_ROWS = 1024


@short_traceback
def cos_sim(a: ArrayLike, b: ArrayLike) -> Floats:
    """Cosine similarity of every row of `a` with every row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, `[m, columns]` or `[columns]`.

    Returns:
        `[n, m]`, from -1 to 1; 0 where either vector is zero.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or columns differ.

    Source: `sentence_transformers.util.cos_sim`.
    """
    left, right = _operands(a, b)
    normalized = np.divide(left, _divisors(left)[:, None], out=np.empty_like(left), casting="same_kind")
    # The longer side is usually `b`: its lengths divide the product, so that it needs no second copy.
    similarities: Floats = normalized @ right.T
    similarities /= _divisors(right)
    # Products in float32 exceed 1 by some 1e-7, of which arccos makes NaN.
    np.clip(similarities, -1, 1, out=similarities)
    return similarities


@short_traceback
def dot_score(a: ArrayLike, b: ArrayLike) -> Floats:
    """Dot product of every row of `a` with every row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, `[m, columns]` or `[columns]`.

    Returns:
        `[n, m]`.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or columns differ.

    Source: `sentence_transformers.util.dot_score`.
    """
    left, right = _operands(a, b)
    similarities: Floats = left @ right.T
    return similarities


@short_traceback
def euclidean_sim(a: ArrayLike, b: ArrayLike) -> Floats:
    """Euclidean distance, negated, of every row of `a` from every row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, `[m, columns]` or `[columns]`.

    Returns:
        `[n, m]`, at most 0. Beside it, the memory taken does not grow with `n` or `m`. Equal vectors may score below 0
        by some 1e-8 of their length.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or columns differ.

    Source: `sentence_transformers.util.euclidean_sim`.
    """
    left, right = _operands(a, b)
    return _by_tiles(_euclidean_tile, left, right, TILE_ROWS, TILE_ROWS)


@short_traceback
def manhattan_sim(a: ArrayLike, b: ArrayLike) -> Floats:
    """Manhattan distance, negated, of every row of `a` from every row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, `[m, columns]` or `[columns]`.

    Returns:
        `[n, m]`, at most 0. Beside it, the memory taken does not grow with `n` or `m`.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or columns differ.

    Source: `sentence_transformers.util.manhattan_sim`.
    """
    left, right = _operands(a, b)
    pairs = TILE_ELEMENTS // max(1, left.shape[1])
    # As square as `a` allows: a tile then reads few rows for the pairs it makes.
    tile_rows = max(1, min(left.shape[0], math.isqrt(pairs)))
    return _by_tiles(_manhattan_tile, left, right, tile_rows, max(1, pairs // tile_rows))


@short_traceback
def pairwise_cos_sim(a: ArrayLike, b: ArrayLike) -> Floats:
    """Cosine similarity of each row of `a` with the same row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, the same shape.

    Returns:
        `[n]`, from -1 to 1; 0 where either vector is zero.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or shapes differ.

    Source: `sentence_transformers.util.pairwise_cos_sim`.
    """
    left, right = _paired_operands(a, b)
    similarities: Floats = (_dots(left, right) / (_divisors(left) * _divisors(right))).astype(np.float32)
    return similarities


@short_traceback
def pairwise_dot_score(a: ArrayLike, b: ArrayLike) -> Floats:
    """Dot product of each row of `a` with the same row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, the same shape.

    Returns:
        `[n]`.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or shapes differ.

    Source: `sentence_transformers.util.pairwise_dot_score`.
    """
    left, right = _paired_operands(a, b)
    return _dots(left, right).astype(np.float32)


@short_traceback
def pairwise_euclidean_sim(a: ArrayLike, b: ArrayLike) -> Floats:
    """Euclidean distance, negated, of each row of `a` from the same row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, the same shape.

    Returns:
        `[n]`, at most 0; exactly 0 for equal vectors. Beside it, the memory taken does not grow with `n`.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or shapes differ.

    Source: `sentence_transformers.util.pairwise_euclidean_sim`.
    """
    left, right = _paired_operands(a, b)
    return _by_blocks(_lengths, left, right)


@short_traceback
def pairwise_manhattan_sim(a: ArrayLike, b: ArrayLike) -> Floats:
    """Manhattan distance, negated, of each row of `a` from the same row of `b`.

    Args:
        a: Vectors, `[n, columns]` or `[columns]`.
        b: Vectors, the same shape.

    Returns:
        `[n]`, at most 0; exactly 0 for equal vectors. Beside it, the memory taken does not grow with `n`.

    Raises:
        TypeError: `a` or `b` does not hold floats or integers.
        ValueError: `a` or `b` is not 1-D or 2-D, or holds NaN, infinity or numbers beyond float32; or shapes differ.

    Source: `sentence_transformers.util.pairwise_manhattan_sim`.
    """
    left, right = _paired_operands(a, b)
    return _by_blocks(_absolute_sums, left, right)


# By the names that a model's `similarity_fn_name` takes.
SIMILARITY_FUNCTIONS: dict[str, Callable[[ArrayLike, ArrayLike], Floats]] = {
    "cosine": cos_sim,
    "dot": dot_score,
    "euclidean": euclidean_sim,
    "manhattan": manhattan_sim,
}
PAIRWISE_SIMILARITY_FUNCTIONS: dict[str, Callable[[ArrayLike, ArrayLike], Floats]] = {
    "cosine": pairwise_cos_sim,
    "dot": pairwise_dot_score,
    "euclidean": pairwise_euclidean_sim,
    "manhattan": pairwise_manhattan_sim,
}


def _operands(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    left, right = _rows("a", a), _rows("b", b)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"b: expected {left.shape[1]} columns, as many as a has, found {right.shape[1]}")
    return left, right


def _paired_operands(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    left, right = _operands(a, b)
    if left.shape[0] != right.shape[0]:
        raise ValueError(f"b: expected {left.shape[0]} rows, as many as a has, found {right.shape[0]}")
    return left, right


def _rows(name: str, vectors: ArrayLike) -> Floats:
    """The argument `name` as finite float32 `[rows, columns]`, copied only where its type has to change."""
    refuse_masked(name, vectors)
    try:
        array = as_array(vectors, name)
    except ValueError as error:
        raise ValueError(f"{name}: expected vectors of equal length; {error}") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected floats or integers, found {array.dtype}")
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: expected 1-D (one vector) or 2-D, found shape {array.shape}")
    with np.errstate(over="ignore"):  # becomes infinity, refused below
        rows = np.atleast_2d(array).astype(np.float32, copy=False)
    # The extremes tell whether all is finite without a mask the size of the input.
    with np.errstate(invalid="ignore"):
        extremes = [rows.min(initial=0), rows.max(initial=0)]
    if not np.isfinite(extremes).all():
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise ValueError(f"{name}: row {row} holds NaN, infinity or a number beyond float32")
    return rows


def _divisors(rows: Floats) -> Doubles:
    return np.maximum(_lengths(rows), MIN_NORM)


def _lengths(rows: Floats) -> Doubles:
    squares = _dots(rows, rows)
    return np.sqrt(squares, out=squares)


def _dots(a: Floats, b: Floats) -> Doubles:
    # In float64: no square of a float32 overflows, none of a small one is lost.
    dots: Doubles = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    return dots


def _absolute_sums(rows: Floats) -> Floats:
    # Over `rows`, which both callers have just made.
    sums: Floats = np.abs(rows, out=rows).sum(axis=-1)
    return sums


def _by_tiles(
    tile: Callable[[Floats, Floats], Floats | Doubles], a: Floats, b: Floats, tile_rows: int, tile_columns: int
) -> Floats:
    similarities = np.empty((a.shape[0], b.shape[0]), np.float32)
    for i in range(0, a.shape[0], tile_rows):
        for j in range(0, b.shape[0], tile_columns):
            rows, columns = slice(i, i + tile_rows), slice(j, j + tile_columns)
            similarities[rows, columns] = tile(a[rows], b[columns])
    return similarities


def _euclidean_tile(a: Floats, b: Floats) -> Doubles:
    # By one product, |a - b|^2 = |a|^2 - 2ab + |b|^2. In float64, where what cancels leaves float32's precision.
    squares: Doubles = a.astype(np.float64) @ b.T.astype(np.float64)
    squares *= -2
    squares += _dots(a, a)[:, None]
    squares += _dots(b, b)
    np.maximum(squares, 0, out=squares)
    np.sqrt(squares, out=squares)
    return np.negative(squares, out=squares)


def _manhattan_tile(a: Floats, b: Floats) -> Floats:
    return -_absolute_sums(a[:, None] - b)


def _by_blocks(length: Callable[[Floats], Floats | Doubles], a: Floats, b: Floats) -> Floats:
    similarities = np.empty(a.shape[0], np.float32)
    block_rows = max(1, TILE_ELEMENTS // max(1, a.shape[1]))
    for start in range(0, a.shape[0], block_rows):
        block = slice(start, start + block_rows)
        similarities[block] = -length(a[block] - b[block])
    return similarities
