"""Search by computing every score in float64, which the store's answers must be."""

import numpy as np


def scores(vectors: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """How near each of `vectors [rows, dimension]` is to each of `queries [queries, dimension]`: `[queries, rows]`."""
    vectors, queries = np.atleast_2d(vectors).astype(np.float64), np.atleast_2d(queries).astype(np.float64)
    if metric == "l2":
        return -np.sqrt(((queries[:, None] - vectors[None]) ** 2).sum(axis=-1))
    dots = queries @ vectors.T
    if metric == "dot":
        return dots
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)


def search(vectors: np.ndarray, queries: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the `k` best for each query, ties by the lower row."""
    found = scores(vectors, queries, metric)
    rows = np.argsort(-found, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, rows, axis=1), rows
