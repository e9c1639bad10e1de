"""Whether the store's answers are those of comparing each query with every row, and what proving that costs.

Answers are compared id by id with two others: products in float64, ties by the
lower row, and NumPy's product in float32. The latter is itself rounded: where it ranks otherwise, the two rows'
products differ by less than its own error, and how much they differ at most is shown.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from votive import Embedder, EmbeddingStore
from votive.bench.vectors import Vectors

from benches.data import sentences
from benches.measure.comparison import say
from benches.peers import models
from benches.report import write
from benches.report.store import proof_markdown

DIMENSION = 768  # of what is made; that of texts is MiniLM's
KS = (10, 100)
BLOCK = 10_000  # rows whose products are there at once
# Rows beyond the k best that are kept, so that equal products are all seen.
MARGIN = 50
ROUNDING = 1e-13  # of a sum of products in float64; unit vectors


class Data(NamedTuple):
    """Rows and queries, unit vectors `[.., dimension]` float32, and what they are."""

    described: str
    rows: np.ndarray
    queries: np.ndarray


def proof(arguments: argparse.Namespace) -> None:
    """Check, print Markdown, write it and JSON."""
    if arguments.quick:
        arguments.rows, arguments.texts, arguments.queries = 20_000, 2_000, 100
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for name in arguments.data:
        data = _data(name, arguments)
        say(f"brute force: {data.described}")
        truth = {"float64": _best(data, np.float64), "float32": _best(data, np.float32)}
        for k in KS:
            say(f"store, k = {k}")
            found.append({"data": data.described, "k": k, **_check(data, k, truth)})
            write(arguments.out, "store_proof", found, proof_markdown(found))
    print(proof_markdown(found))


def _data(name: str, arguments: argparse.Namespace) -> Data:
    if name != "texts":
        vectors = Vectors(name, arguments.rows, DIMENSION)
        return Data(f"{name}, {vectors}", vectors.array(), vectors.queries(arguments.queries))
    say("reading texts")
    texts = sentences.read(arguments.texts + arguments.queries)
    setup = models.embedder(cache=arguments.cache)
    file = setup.cache / f"{sentences.name(texts)}.npy"
    if not file.exists():
        say(f"embedding {len(texts)} texts")
        setup.cache.mkdir(parents=True, exist_ok=True)
        np.save(file, Embedder(setup.model).encode(texts))
    vectors = np.load(file)
    rows, queries = np.split(vectors, [len(texts) - arguments.queries])
    return Data(f"MiniLM, {len(rows):,} texts x {vectors.shape[1]}", rows, queries)


def _best(data: Data, dtype: type[np.floating]) -> np.ndarray:
    """Rows by their product with each query, the best first, equal ones by number: `[queries, largest k]`.

    In float64 the products that decide are summed once more, each in the same order, so that equal rows are equal.
    """
    queries = data.queries.astype(dtype)
    kept = max(KS) + MARGIN
    scores = np.empty((len(queries), 0), dtype)
    numbers = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(data.rows), BLOCK):
        block = data.rows[start : start + BLOCK].astype(dtype, copy=False)
        here = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        scores = np.concatenate([scores, queries @ block.T], axis=1)
        numbers = np.concatenate([numbers, here], axis=1)
        if scores.shape[1] > kept:
            best = np.argpartition(scores, scores.shape[1] - kept, axis=1)[:, -kept:]
            scores, numbers = (np.take_along_axis(each, best, axis=1) for each in (scores, numbers))
    if dtype is np.float64:
        lowest, decides = scores.min(axis=1), np.sort(scores, axis=1)[:, -max(KS)]
        if (lowest > decides - ROUNDING).any() and len(data.rows) > kept:
            raise ValueError(f"more than {MARGIN} rows have equal products with a query")
        for query, candidates, row_scores in zip(queries, numbers, scores, strict=True):
            row_scores[:] = (data.rows[candidates].astype(np.float64) * query).sum(axis=1)
    order = np.lexsort((numbers, -scores), axis=1)
    return np.take_along_axis(numbers, order, axis=1)[:, : max(KS)]


def _check(data: Data, k: int, truth: dict[str, np.ndarray]) -> dict[str, Any]:
    store = EmbeddingStore(metric="dot")
    store.add_embeddings(data.rows)
    rescored, read, closed = [], [], []
    answers = np.empty((len(data.queries), k), np.int64)
    unproven = np.empty_like(answers)
    for number, query in enumerate(data.queries):
        answers[number] = store.search(query, k)[1]
        rescored.append(store.last_search.rescored)
        read.append(store.last_search.bytes_read)
        closed.append(store.last_search.closed_early)
        unproven[number] = store.search(query, k, exact=False)[1]
    at_once = store.search(data.queries, k)[1]
    return {
        "queries": len(answers),
        "rescored": [statistics.median(rescored), max(rescored)],
        "share": statistics.mean(rescored) / len(store),
        "bytes": statistics.mean(read) / store.vectors.nbytes,
        "closed": statistics.mean(closed),
        "at_once": int((at_once != answers).sum()),
        **{name: _differing(data, answers, ids[:, :k]) for name, ids in truth.items()},
        "recall": statistics.mean(
            len(np.intersect1d(mine, true)) / k for mine, true in zip(unproven, answers, strict=True)
        ),
    }


def _differing(data: Data, answers: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """How many ids differ in their place, and by how much, at most, the products of the two rows that stand there."""
    gaps = [
        abs(float(_product(data, query, answers[query, place]) - _product(data, query, others[query, place])))
        for query, place in _places(answers != others)
    ]
    return {"ids": len(gaps), "largest_gap": max(gaps, default=0.0)}


def _places(differ: np.ndarray) -> Iterator[tuple[int, int]]:
    return zip(*(axis.tolist() for axis in np.nonzero(differ)), strict=True)


def _product(data: Data, query: int, row: int) -> np.float64:
    return (data.rows[row].astype(np.float64) * data.queries[query]).sum()
