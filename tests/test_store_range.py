"""Searches for all rows from a score on."""

import tracemalloc

import brute
import numpy as np
import pytest
from stores import DIMENSION, ROWS, few_rows
from votive import EmbeddingStore

METRICS = ("cosine", "dot", "l2")


def filled(vectors: np.ndarray, **options: str) -> EmbeddingStore:
    store = EmbeddingStore(**options)
    store.add_embeddings(vectors)
    return store


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_all_rows_from_a_score_on_are_found(metric: str, dtype: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    store = filled(vectors, metric=metric, dtype=dtype)
    expected = brute.scores(store.get(store.ids), queries, metric)
    keep = np.arange(ROWS) % 3 != 0
    for share in (0, 0.5, 0.9, 0.99, 1):
        # Between two scores, which may be summed in another order.
        ordered = np.sort(expected.ravel())
        place = int(share * (ordered.size - 2))
        min_score = float(ordered[place : place + 2].mean())
        for mask in (None, keep):
            for k in (None, 7, 10**30):
                scores, ids = store.search(queries, k, filter=mask, min_score=min_score)
                assert (type(scores), type(ids), len(scores), len(ids)) == (list, list, len(queries), len(queries))
                for row, (found, found_ids) in enumerate(zip(scores, ids, strict=True)):
                    right = expected[row]
                    rows = np.flatnonzero((right >= min_score) & (keep if mask is not None else True))
                    rows = rows[np.argsort(-right[rows], kind="stable")][:k]
                    np.testing.assert_allclose(found, right[rows], rtol=1e-5, atol=1e-6)
                    if dtype != "int8":  # whose vectors are rounded when they are taken
                        np.testing.assert_array_equal(found_ids, rows)


def test_the_boundary_is_the_score_in_float64() -> None:
    # Of integers, whose products and squares are exact.
    vectors = np.random.default_rng(3).integers(-9, 10, (3000, 24)).astype(np.float32)
    query = np.random.default_rng(4).integers(-9, 10, 24).astype(np.float32)
    for metric in ("dot", "l2"):
        store = filled(vectors, metric=metric)
        expected = brute.scores(vectors, query, metric)[0]
        for min_score in np.unique(expected)[::40]:
            for limit in (np.nextafter(min_score, -np.inf), min_score, np.nextafter(min_score, np.inf)):
                _, ids = store.search(query, None, min_score=float(limit))
                np.testing.assert_array_equal(np.sort(ids), np.flatnonzero(expected >= limit))
    # 1/3 in float32 is more than in float64.
    store = filled(np.array([[1, 2, 2]], np.float32))
    scores, ids = store.search([1.0, 0.0, 0.0], min_score=1 / 3)
    assert (scores.tolist(), ids.tolist()) == ([np.float32(1 / 3)], [0])
    assert len(store.search([1.0, 0.0, 0.0], min_score=float(scores[0]))[0]) == 0


def test_shapes_and_types_of_what_is_found(vectors: np.ndarray, queries: np.ndarray) -> None:
    store = filled(vectors)
    for query in (queries[0], queries[0].tolist()):
        scores, ids = store.search(query, min_score=0.1)
        assert (scores.ndim, scores.dtype, ids.ndim, ids.dtype) == (1, np.float32, 1, np.int64)
        assert len(scores) == len(ids) > 0
    scores, ids = store.search(queries, min_score=2)
    assert [values.shape for values in scores + ids] == [(0,)] * 2 * len(queries)
    assert store.search(np.empty((0, DIMENSION), np.float32), min_score=0.5) == ([], [])
    scores, ids = store.search(queries, min_score=float("-inf"), k=None)
    assert [len(values) for values in scores] == [ROWS] * len(queries)
    assert store.last_search is not None
    assert (store.last_search.queries, store.last_search.rows) == (len(queries), ROWS)
    named = few_rows(3)
    assert named.search(np.ones((1, 3)), None, min_score=0.5)[1][0].tolist() == [3, 5, 7, 9]
    empty = EmbeddingStore()
    assert [values.tolist() for values in empty.search(np.ones(3), None, min_score=0.5)] == [[], []]
    assert [values[0].tolist() for values in empty.search(np.ones((1, 3)), None, min_score=0.5)] == [[], []]


def test_texts_are_searched_by_score(vectors: np.ndarray) -> None:
    class Fixed:
        def encode(self, texts: str | list[str]) -> np.ndarray:
            return vectors[0] if isinstance(texts, str) else vectors[: len(texts)]

    store = filled(vectors)
    scores, ids = store.search_text("one", Fixed(), None, min_score=0.999)
    assert (ids.tolist(), scores.tolist()) == ([0], [1])
    scores, ids = store.search_text(["one", "two"], Fixed(), min_score=0.999)
    assert [values.tolist() for values in ids] == [[0], [1]]


def test_without_proof_no_row_is_below(vectors: np.ndarray, queries: np.ndarray) -> None:
    store = filled(vectors)
    proven, _ = store.search(queries, None, min_score=0.05)
    found, _ = store.search(queries, None, exact=False, min_score=0.05)
    assert all((scores >= 0.05).all() for scores in found)
    assert sum(map(len, found)) >= 0.9 * sum(map(len, proven))


def test_memory_is_taken_for_what_is_found() -> None:
    rng = np.random.default_rng(5)
    store = filled(rng.standard_normal((20_000, 16), np.float32))
    queries = rng.standard_normal((500, 16), np.float32)
    tracemalloc.start()
    try:
        store.search(queries, None, min_score=0.999)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All pairs would be 120 MB.
    assert peak < 1 << 20


def test_a_high_score_is_told_from_few_vectors() -> None:
    rng = np.random.default_rng(6)
    store = filled(rng.standard_normal((20_000, 64), np.float32))
    queries = rng.standard_normal((10, 64), np.float32)
    store.search(queries, None, min_score=0.95)
    assert store.last_search.rescored == 0
    store.search(queries, 100)
    assert store.last_search.rescored > 1000


def test_wrong_arguments_are_refused(vectors: np.ndarray) -> None:
    store = filled(vectors)
    for wrong in ("0.5", True, [0.5], b"1"):
        with pytest.raises(TypeError, match="min_score: expected a number or None, found"):
            store.search(vectors[0], min_score=wrong)
    with pytest.raises(ValueError, match="min_score: expected a number, found NaN"):
        store.search(vectors[0], min_score=float("nan"))
    with pytest.raises(TypeError, match="k: expected an int, found NoneType; None is accepted beside min_score alone"):
        store.search(vectors[0], None)
    with pytest.raises(ValueError, match="k: expected 1 or more, found 0"):
        store.search(vectors[0], 0, min_score=0.5)


def test_ranges_are_those_of_faiss(vectors: np.ndarray, queries: np.ndarray) -> None:
    faiss = pytest.importorskip("faiss")
    store = filled(vectors, metric="dot")
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    ordered = np.sort(brute.scores(vectors, queries, "dot").ravel())
    place = int(0.9 * ordered.size)
    min_score = float(ordered[place : place + 2].mean())
    limits, _, rows = index.range_search(queries, min_score)
    _, ids = store.search(queries, None, min_score=min_score)
    for found, right in zip(ids, np.split(rows, limits[1:-1].astype(int)), strict=True):
        np.testing.assert_array_equal(np.sort(found), np.sort(right))
