"""Nearest vectors, pairs and groups, as `sentence_transformers.util.retrieval` has them, on a store's exact search.

Where scores are cosines or dot products, a store finds the rows: the same ones, in order of scores in float64. Any
other `score_function` is called as sentence-transformers calls it, on blocks of both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive.sentence_transformers._tensors import as_array, as_floats, is_tensor, like
from votive.sentence_transformers.util._communities import communities
from votive.sentence_transformers.util._exact_rows import ExactRows, Metric, nearest_rows
from votive.sentence_transformers.util._pairs import BestPairs, exact_pairs
from votive.sentence_transformers.util.similarity import cos_sim, dot_score, pytorch_cos_sim

__all__ = [
    "community_detection",
    "information_retrieval",
    "paraphrase_mining",
    "paraphrase_mining_embeddings",
    "semantic_search",
]

Match = dict[str, Any]
ScoreFunction = Callable[[Any, Any], Any]


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500000,
    top_k: int = 10,
    score_function: ScoreFunction = cos_sim,
) -> list[list[Match]]:
    """The nearest of some vectors for each query.

    Args:
        query_embeddings: `[queries, dimension]`, or `[dimension]` for one: lists, arrays or tensors.
        corpus_embeddings: `[rows, dimension]`.
        query_chunk_size: queries that another `score_function` is given at a time.
        corpus_chunk_size: rows that it is given at a time.
        top_k: how many rows for each query.
        score_function: of matrices `[n, dimension]` and `[m, dimension]`, gives `[n, m]`; greater is nearer.

    Returns:
        For each query a list of dicts, the best first: "corpus_id", and "score" as a float. Of equal scores the row
        with the lower number is first.
    """
    if not len(query_embeddings) or not len(corpus_embeddings) or top_k < 1:
        return [[] for _ in query_embeddings]
    metric = _metric(score_function)
    if metric is None:
        queries = _given(query_embeddings, corpus_embeddings)
        corpus = _given(corpus_embeddings, query_embeddings)
        parts = [
            _ranked(score_function, queries[start : start + query_chunk_size], corpus, corpus_chunk_size, top_k)
            for start in range(0, len(queries), query_chunk_size)
        ]
        scores, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    else:
        queries = _matrix("query_embeddings", query_embeddings)
        scores, ids = nearest_rows(queries, _matrix("corpus_embeddings", corpus_embeddings), metric, top_k)
    return [
        [{"corpus_id": row, "score": score} for row, score in zip(rows, of_query, strict=True)]
        for rows, of_query in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


def information_retrieval(*args: Any, **kwargs: Any) -> list[list[Match]]:
    """`semantic_search` by its older name."""
    return semantic_search(*args, **kwargs)


def paraphrase_mining(
    model: Any,
    sentences: list[str],
    show_progress_bar: bool = False,
    batch_size: int = 32,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: ScoreFunction = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[Any]]:
    """Pairs of texts that say nearly the same: `paraphrase_mining_embeddings` of their embeddings by `model`."""
    embeddings = model.encode(
        sentences,
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return paraphrase_mining_embeddings(
        embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function
    )


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: ScoreFunction = cos_sim,
) -> list[list[Any]]:
    """The best pairs of rows, of which one is among the `top_k` rows that are nearest to the other.

    Args:
        embeddings: `[rows, dimension]`.
        query_chunk_size: rows that are searched for at a time.
        corpus_chunk_size: rows that another `score_function` is given at a time.
        max_pairs: how many pairs at most.
        top_k: how many neighbours of each row are looked at.
        score_function: see `semantic_search`; symmetric.

    Returns:
        Lists `[score, i, j]` with `i < j`, the best first.
    """
    if not len(embeddings) or max_pairs < 1 or top_k < 1:
        return []
    metric = _metric(score_function)
    if metric is not None:
        rows = _matrix("embeddings", embeddings)
        return exact_pairs(rows, ExactRows(rows, metric), query_chunk_size, top_k, max_pairs).lists()
    given = _given(embeddings)
    pairs = BestPairs(len(given), top_k, max_pairs)
    for start in range(0, len(given), query_chunk_size):
        block = given[start : start + query_chunk_size]
        scores, ids = _ranked(score_function, block, given, corpus_chunk_size, top_k + 1)
        pairs.add(start, (scores.ravel(), ids.ravel(), np.full(len(block), ids.shape[1])))
    return pairs.lists()


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Groups of rows around a row whose cosine with each of them is at least `threshold`.

    Args:
        embeddings: `[rows, dimension]`.
        threshold: the least cosine.
        min_community_size: how many rows make a group, the one in its middle included.
        batch_size: rows that are searched for at a time.
        show_progress_bar: nothing happens.

    Returns:
        Lists of row numbers, the largest group first; in each first the row in its middle, then those nearest to it. No
        row is in two.
    """
    if not len(embeddings):
        return []
    rows = _matrix("embeddings", embeddings)
    return [] if len(rows) < min_community_size else communities(rows, threshold, min_community_size, batch_size)


def _metric(score_function: ScoreFunction) -> Metric | None:
    if score_function in (cos_sim, pytorch_cos_sim):
        return "cosine"
    return "dot" if score_function is dot_score else None


def _matrix(name: str, vectors: Any) -> NDArray[Any]:
    rows = np.atleast_2d(as_floats(name, vectors))
    if rows.ndim != 2:
        raise ValueError(f"{name}: expected 1-D (one vector) or 2-D, found shape {rows.shape}")
    return rows


def _given(vectors: Any, *others: Any) -> Any:
    """What a function of the caller's is given: what came in, as a matrix; a tensor by the rule of `_tensors`."""
    if not is_tensor(vectors):
        is_array = isinstance(vectors, np.ndarray)
        vectors = like(as_array(vectors) if is_array else as_floats("embeddings", vectors), vectors, *others)
    return vectors[None] if vectors.ndim == 1 else vectors


def _ranked(
    score_function: ScoreFunction, queries: Any, corpus: Any, corpus_rows: int, top_k: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Scores and numbers of the rows that a function of the caller's ranks first, `[queries, top_k]`."""
    scores, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for first in range(0, len(corpus), corpus_rows):
        found = np.asarray(as_array(score_function(queries, corpus[first : first + corpus_rows])))
        k = min(top_k, found.shape[1])
        # Of equal scores a partition may keep any, as sentence-transformers' does.
        places = np.argpartition(-found, k - 1, axis=1)[:, :k] if k < found.shape[1] else np.arange(k)[None]
        places = np.broadcast_to(places, (len(found), k))
        scores = np.concatenate([scores, np.take_along_axis(found, places, axis=1)], axis=1)
        ids = np.concatenate([ids, places + first], axis=1)
        best = np.lexsort((ids, -scores), axis=1)[:, :top_k]
        scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
    return scores, ids
