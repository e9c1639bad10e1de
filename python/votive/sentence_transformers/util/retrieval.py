"""Nearest vectors, pairs and groups, as `sentence_transformers.util.retrieval` has them, on a store's exact search.

Where scores are cosines or dot products, a store finds the rows: the same ones, in order of scores in float64. Any
other `score_function` is called as sentence-transformers calls it, on blocks of both sides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive.sentence_transformers._tensors import as_array, is_tensor
from votive.sentence_transformers.util.similarity import cos_sim, dot_score, pytorch_cos_sim
from votive.store import EmbeddingStore

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
        For each query a list of dicts, the best first: "corpus_id", and "score" as a float.
    """
    metric = _metric(score_function)
    if metric is None:
        return _searched_by(
            score_function, query_embeddings, corpus_embeddings, query_chunk_size, corpus_chunk_size, top_k
        )
    queries, corpus = _matrix(query_embeddings), _matrix(corpus_embeddings)
    if not len(queries) or not len(corpus):
        return [[] for _ in queries]
    scores, ids = _store(corpus, metric).search(queries, k=top_k)
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
    rows = len(embeddings)
    if not rows:
        return []
    metric = _metric(score_function)
    store = None if metric is None else _store(_matrix(embeddings), metric)
    best: dict[tuple[int, int], float] = {}
    for start in range(0, rows, query_chunk_size):
        block = embeddings[start : start + query_chunk_size]
        if store is None:
            found = _searched_by(score_function, block, embeddings, len(block), corpus_chunk_size, top_k + 1)
            near = [[(match["corpus_id"], match["score"]) for match in matches] for matches in found]
        else:
            scores, ids = store.search(_matrix(block), k=top_k + 1)
            near = [list(zip(*both, strict=True)) for both in zip(ids.tolist(), scores.tolist(), strict=True)]
        for i, neighbours in enumerate(near, start):
            for j, score in [each for each in neighbours if each[0] != i][:top_k]:
                best.setdefault((min(i, j), max(i, j)), score)
        if len(best) > 4 * max_pairs:
            best = dict(heapq.nlargest(max_pairs, best.items(), key=lambda pair: pair[1]))
    pairs = heapq.nlargest(max_pairs, best.items(), key=lambda pair: pair[1])
    return [[score, i, j] for (i, j), score in pairs]


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
        Lists of row numbers, the largest group first, and first in it the row in its middle. No row is in two.
    """
    if len(embeddings) < max(1, min_community_size):
        return []
    rows = _matrix(embeddings)
    store = _store(rows, "cosine")
    # What the sum in float32, as sentence-transformers has it, may be off by.
    least = float(np.float32(threshold)) - 1e-6
    groups: list[tuple[int, NDArray[Any]]] = []
    for start in range(0, len(rows), batch_size):
        scores, ids = store.search(rows[start : start + batch_size], k=None, min_score=least)
        for center, (of_row, near) in enumerate(zip(scores, ids, strict=True), start):
            if len(near) >= min_community_size and (of_row >= np.float32(threshold)).sum() >= min_community_size:
                groups.append((center, near[of_row >= np.float32(threshold)]))
    groups.sort(key=lambda group: len(group[1]), reverse=True)
    taken: set[int] = set()
    found = []
    for center, near in groups:
        left = [row for row in near.tolist() if row not in taken]
        if len(left) >= min_community_size:
            found.append([center, *(row for row in left if row != center)] if center not in taken else left)
            taken.update(left)
    found.sort(key=len, reverse=True)
    return found


def _metric(score_function: ScoreFunction) -> str | None:
    if score_function in (cos_sim, pytorch_cos_sim):
        return "cosine"
    return "dot" if score_function is dot_score else None


def _matrix(vectors: Any) -> NDArray[Any]:
    array = np.asarray(as_array(vectors))
    return array[None] if array.ndim == 1 and array.size else array


def _store(rows: NDArray[Any], metric: Any) -> EmbeddingStore:
    store = EmbeddingStore(metric=metric, max_memory_gb=None)
    store.add_embeddings(rows)
    return store


def _searched_by(
    score_function: ScoreFunction, queries: Any, corpus: Any, query_rows: int, corpus_rows: int, top_k: int
) -> list[list[Match]]:
    """What a function of the caller's ranks first; it gets what came in, rows as matrices."""
    if getattr(queries, "ndim", 2) == 1:
        queries = queries[None]
    if not is_tensor(queries) and not isinstance(queries, np.ndarray):
        queries, corpus = _matrix(queries), _matrix(corpus)
    best: list[list[tuple[float, int]]] = [[] for _ in range(len(queries))]
    for first in range(0, len(corpus), corpus_rows):
        part = corpus[first : first + corpus_rows]
        for start in range(0, len(queries), query_rows):
            scores = np.asarray(as_array(score_function(queries[start : start + query_rows], part)))
            for row, of_query in enumerate(scores, start):
                places = np.argsort(-of_query, kind="stable")[:top_k]
                best[row] += [(float(of_query[place]), first + int(place)) for place in places]
                best[row] = sorted(best[row], key=lambda pair: -pair[0])[:top_k]
    return [[{"corpus_id": row, "score": score} for score, row in matches] for matches in best]
