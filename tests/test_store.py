"""What an EmbeddingStore does: adding, searching, deleting, and what it says of its rows."""

import gc
import weakref

import brute
import numpy as np
import pytest
from stores import DIMENSION, ROWS, snapshot
from votive import DeviceError, EmbeddingStore, StoreError, VotiveError
from votive.report import SearchReport

METRICS = ("cosine", "dot", "l2")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 10, ROWS, 10**9, 10**30])
def test_search_gives_what_comparing_with_every_row_gives(
    metric: str, k: int, vectors: np.ndarray, queries: np.ndarray
) -> None:
    store = EmbeddingStore(metric=metric)
    ids = store.add_embeddings(vectors)
    expected_scores, expected_rows = brute.search(vectors, queries, min(k, ROWS), metric)
    scores, found = store.search(queries, k)
    assert (scores.dtype, found.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(found, ids[expected_rows])
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-6, atol=1e-6)
    one_scores, one = store.search(queries[3], k)
    np.testing.assert_array_equal(one, found[3])
    np.testing.assert_array_equal(one_scores, scores[3])


def test_defaults_are_a_hundred_rows_by_cosine(store: EmbeddingStore, queries: np.ndarray) -> None:
    assert store.search(queries[0])[1].shape == (100,)
    assert (store.metric, store.dtype) == ("cosine", "float32")


def test_ties_go_to_the_row_that_was_added_first() -> None:
    store = EmbeddingStore(metric="dot")
    store.add_embeddings(np.ones((5, 3)), ids=[9, 3, 7, 1, 5])
    assert store.search(np.ones(3), 3)[1].tolist() == [9, 3, 7]


def test_vector_of_zeros_has_a_cosine_of_zero() -> None:
    store = EmbeddingStore()
    store.add_embeddings([[1, 0], [0, 0], [-1, 0]])
    assert [values.tolist() for values in store.search([2.0, 0.0])] == [[1, 0, -1], [0, 1, 2]]
    assert [values.tolist() for values in store.search([0.0, 0.0])] == [[0, 0, 0], [0, 1, 2]]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_types_answer_for_what_they_store(dtype: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    store = EmbeddingStore(dtype=dtype)
    store.add_embeddings(vectors)
    stored = store.get(store.ids)
    np.testing.assert_allclose(stored, vectors, atol=0.03)
    assert not np.array_equal(stored, vectors)
    scores, ids = store.search(queries, 10)
    expected, _ = brute.search(stored, queries, 10, "cosine")
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert store.vectors.dtype == dtype
    assert store.vectors.shape == vectors.shape
    assert ids.shape == (7, 10)


def test_without_proof_answers_are_about_the_same(
    store: EmbeddingStore, vectors: np.ndarray, queries: np.ndarray
) -> None:
    _, exact = store.search(queries, 20)
    _, found = store.search(queries, 20, exact=False)
    shared = [len({*a} & {*b}) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert min(shared) >= 18


def test_last_search_says_what_was_done(store: EmbeddingStore, queries: np.ndarray) -> None:
    assert EmbeddingStore().last_search is None
    store.search(queries)
    report = store.last_search
    assert isinstance(report, SearchReport)
    assert (report.queries, report.rows) == (len(queries), ROWS)
    assert len(queries) * 100 <= report.rescored <= len(queries) * ROWS
    assert report.bytes_read > 0
    assert 0 <= report.closed_early <= len(queries)
    assert report.seconds > 0
    store.search(queries[0], filter=[1, 2, 3])
    assert (store.last_search.queries, store.last_search.rows) == (1, 3)
    assert report.rows == ROWS
    with pytest.raises(AttributeError):
        report.rows = 3


def test_empty_store() -> None:
    store = EmbeddingStore()
    assert (len(store), store.dimension, store.texts, store.metadata) == (0, None, None, {})
    assert store.ids.shape == (0,)
    assert store.vectors.shape == (0, 0)
    assert [values.shape for values in store.search(np.zeros(5))] == [(0,), (0,)]
    assert [values.shape for values in store.search(np.zeros((3, 5)))] == [(3, 0), (3, 0)]
    assert [values.shape for values in store.search(np.zeros((3, 5)), filter=[])] == [(3, 0), (3, 0)]
    assert list(store) == []
    assert store.get([]).shape == (0, 0)
    assert store.delete([]) == 0
    assert 3 not in store
    store.compact()
    store.clear()
    assert store.add_embeddings([]).shape == (0,)
    assert EmbeddingStore(dimension=8).vectors.shape == (0, 8)
    assert EmbeddingStore(dimension=8).search(np.zeros((0, 8)))[0].shape == (0, 0)


def test_no_queries(store: EmbeddingStore) -> None:
    scores, ids = store.search(np.zeros((0, DIMENSION)), 10)
    assert scores.shape == ids.shape == (0, 10)
    assert store.search([], 10)[0].shape == (0, 10)


def test_rows_are_numbered_from_the_largest_id_on() -> None:
    store = EmbeddingStore()
    assert store.add_embeddings(np.ones((3, 2))).tolist() == [0, 1, 2]
    assert store.add_embeddings(np.ones((2, 2)), ids=[10, 5]).tolist() == [10, 5]
    assert store.add_embeddings(np.ones(2)).tolist() == [11]
    store.delete(11)
    store.compact()
    assert store.add_embeddings(np.ones(2)).tolist() == [12]
    store.clear()
    assert store.add_embeddings(np.ones(2)).tolist() == [0]


def test_rows_with_a_known_id_are_replaced_and_come_last(store: EmbeddingStore) -> None:
    new = np.full((3, DIMENSION), 2.0)
    new[2] = 3.0
    given = store.add_embeddings(new, [7, 500, 7], ["a", "b", "c"], {"year": [1, 2, 3], "even": [True, False, True]})
    assert given.tolist() == [7, 500, 7]
    assert len(store) == ROWS + 1
    assert store.ids.tolist() == [*range(7), *range(8, ROWS), 500, 7]
    assert store.get(7).tolist() == new[2].tolist()
    assert store.get_texts(7) == "c"
    assert store.get_metadata(7) == {"year": 3, "even": True}
    assert store.texts[-2:] == ["b", "c"]
    assert {*store.search(np.ones(DIMENSION), 2)[1].tolist()} == {500, 7}


def test_str_ids(vectors: np.ndarray) -> None:
    names = [f"row {row} 東京" for row in range(ROWS)]
    store = EmbeddingStore()
    ids = store.add_embeddings(vectors, names)
    assert ids.dtype == object
    assert ids.tolist() == store.ids.tolist() == list(store) == names
    assert store.search(vectors[5], 1)[1].tolist() == [names[5]]
    assert store.search(vectors[:4], 1)[1].tolist() == [[name] for name in names[:4]]
    assert names[3] in store
    assert "row 3" not in store
    assert 3 not in store
    assert store.delete(names[3]) == 1
    assert store.contains([names[3], names[4]]).tolist() == [False, True]


def test_delete(store: EmbeddingStore, vectors: np.ndarray) -> None:
    assert store.delete([5, 7, 5]) == 2
    assert store.delete(9) == 1
    assert store.delete(np.array([11, 12], np.uint8)) == 2
    assert store.delete({20, 21}) == 2
    assert len(store) == ROWS - 7
    assert 5 not in store
    assert store.search(vectors[5], 1)[1] != 5
    left = np.delete(np.arange(ROWS), [5, 7, 9, 11, 12, 20, 21])
    assert store.ids.tolist() == left.tolist()
    assert store.texts == [f"text {row}" for row in left]
    assert store.metadata["year"].tolist() == (1900 + left).tolist()
    assert len(store.vectors) > 1
    np.testing.assert_array_equal(np.concatenate(store.vectors), vectors[left])
    before = snapshot(store) | {"repr": None}
    store.compact()
    assert snapshot(store) | {"repr": None} == before
    assert isinstance(store.vectors, np.ndarray)
    np.testing.assert_array_equal(store.search(vectors[left], 1)[1][:, 0], left)


def test_all_rows_deleted(store: EmbeddingStore, queries: np.ndarray) -> None:
    store.delete(store.ids)
    assert len(store) == 0
    assert [values.shape for values in store.search(queries)] == [(7, 0), (7, 0)]
    assert store.vectors.shape == (0, DIMENSION)
    assert store.texts == []
    store.compact()
    # Nothing is left that says what rows have.
    store.add_embeddings(np.ones((2, DIMENSION)))
    assert store.texts is None
    assert store.metadata == {}


@pytest.mark.parametrize("ids", [1000, [3, 1000], ["3"], "x"])
def test_ids_that_are_not_there_are_named(store: EmbeddingStore, ids: object) -> None:
    before = snapshot(store)
    missing = "'3'" if ids == ["3"] else "'x'" if ids == "x" else "1000"
    for method in (store.delete, store.get, store.get_texts, store.get_metadata):
        with pytest.raises(KeyError, match=rf"ids\[\d\]: {missing} is not in the store"):
            method(ids)
    assert snapshot(store) == before
    assert not np.all(store.contains(ids))


def test_get_gives_copies_in_the_order_asked_for(store: EmbeddingStore, vectors: np.ndarray) -> None:
    rows = [7, 3, 7, 0, ROWS - 1]
    found = store.get(rows)
    np.testing.assert_array_equal(found, vectors[rows])
    found[:] = 0
    np.testing.assert_array_equal(store.get(np.int32(7)), vectors[7])
    assert store.get([7]).shape == (1, DIMENSION)
    assert store.get_texts(rows) == [f"text {row}" for row in rows]
    assert store.get_metadata(rows)["year"].tolist() == [1900 + row for row in rows]


def test_contains(store: EmbeddingStore) -> None:
    assert store.contains(3) is True
    assert store.contains(ROWS) is False
    assert store.contains([0, ROWS, -1]).tolist() == [True, False, False]
    assert 3 in store
    assert np.int16(3) in store
    for other in (-1, ROWS, "3", 3.0, None, True, "\ud800", (3,), 10**30):
        assert other not in store


def test_views_are_read_only_and_stay_as_they_are(store: EmbeddingStore, vectors: np.ndarray) -> None:
    views = [store.vectors, store.metadata["year"]]
    for view in views:
        assert not view.flags.writeable
        assert not view.flags.owndata
    copies = [view.copy() for view in views]
    store.add_embeddings(vectors, texts=["t"] * ROWS, metadata={"year": [0] * ROWS, "even": [True] * ROWS})
    store.delete(range(0, ROWS, 2))
    store.compact()
    store.clear()
    del store
    gc.collect()
    for view, expected in zip(views, copies, strict=True):
        np.testing.assert_array_equal(view, expected)


def test_adding_moves_nothing(vectors: np.ndarray) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    view = store.vectors
    for _ in range(100):
        store.add_embeddings(vectors[:3])
    pieces = store.vectors
    assert len(pieces) < 8
    assert np.shares_memory(view, pieces[0])
    assert sum(map(len, pieces)) == len(store) == ROWS + 300


def test_memory_is_given_back_at_once(vectors: np.ndarray) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    gone = weakref.ref(store)
    gc.disable()
    try:
        del store
        assert gone() is None
    finally:
        gc.enable()


def test_memory_usage_adds_up(store: EmbeddingStore) -> None:
    memory = store.memory_usage()
    assert set(memory) == {"vectors", "codes", "ids", "metadata", "texts", "reserved", "mapped", "device", "total"}
    assert memory["vectors"] == ROWS * DIMENSION * 4
    assert memory["metadata"] == ROWS * 9
    assert memory["texts"] == (ROWS + 1) * 8 + sum(len(text) for text in store.texts)
    assert memory["total"] == sum(memory.values()) - memory["total"] - memory["mapped"] - memory["device"]
    store.delete(range(100))
    store.compact()
    assert store.memory_usage()["vectors"] == (ROWS - 100) * DIMENSION * 4


def test_compact_of_a_compact_store_is_nothing(store: EmbeddingStore) -> None:
    view = store.vectors
    store.compact()
    assert np.shares_memory(view, store.vectors)


def test_clear_forgets_everything(store: EmbeddingStore) -> None:
    store.clear()
    assert (len(store), store.dimension, store.texts, store.metadata) == (0, None, None, {})
    store.add_embeddings(np.ones((2, 5)), ids=["a", "b"])
    assert store.dimension == 5
    declared = EmbeddingStore(dimension=3)
    declared.add_embeddings(np.ones((2, 3)))
    declared.clear()
    assert declared.dimension == 3


def test_repr(store: EmbeddingStore) -> None:
    assert repr(EmbeddingStore()) == (
        "EmbeddingStore(0 rows, dimension=None, metric='cosine', dtype='float32', 0.0 MB)"
    )
    assert repr(store).startswith("EmbeddingStore(300 rows, dimension=40, metric='cosine', dtype='float32', 0.")
    assert repr(store).endswith("MB, texts, metadata=['year', 'even'])")


@pytest.mark.parametrize(
    "arguments", [{"backend": "mlx"}, {"backend": "cuda"}, {"device": "mps"}, {"device": "cuda:1"}]
)
def test_devices_that_are_not_there_are_refused(arguments: dict) -> None:
    with pytest.raises(DeviceError, match=f"{next(iter(arguments.values()))!r}".replace("'", "['\"]")):
        EmbeddingStore(**arguments)


def test_accepted_devices() -> None:
    for backend in (None, "auto", "cpu", "numpy"):
        for device in (None, "auto", "cpu"):
            assert len(EmbeddingStore(backend=backend, device=device)) == 0


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"backend": 3}, TypeError, "backend: expected str, Backend or None, found int"),
        ({"device": "gpu"}, ValueError, "gpu"),
        ({"metric": "manhattan"}, ValueError, "metric: expected one of .*'manhattan'"),
        ({"dtype": "bfloat16"}, ValueError, "dtype: expected one of .*'bfloat16'"),
        ({"dimension": 0}, ValueError, "dimension: expected 1 or more"),
        ({"dimension": 3.0}, TypeError, "dimension: expected an int"),
        ({"num_threads": 0}, ValueError, "num_threads: expected 1 or more"),
        ({"max_memory_gb": 0}, ValueError, "max_memory_gb: expected more than 0, found 0"),
        ({"max_memory_gb": float("nan")}, ValueError, "max_memory_gb: expected more than 0, found nan"),
        ({"max_memory_gb": "20"}, TypeError, "max_memory_gb: expected a number or None, found str"),
    ],
)
def test_constructor_arguments_are_checked(arguments: dict, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        EmbeddingStore(**arguments)


def test_errors_are_votives() -> None:
    assert issubclass(StoreError, VotiveError)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("exact", [True, False])
def test_cosines_have_an_angle(dtype: str, exact: bool) -> None:
    rng = np.random.default_rng(8)
    for dimension in (1, 3, 100, 768):
        vectors = rng.standard_normal((500, dimension), np.float32)
        store = EmbeddingStore(dtype=dtype)
        store.add_embeddings(np.concatenate([vectors, -vectors]))
        scores, _ = store.search(store.get(range(500)), k=1000, exact=exact)
        assert np.isfinite(np.arccos(scores)).all()
        assert (scores[:, 0] == 1).mean() > 0.9
