"""Queries whose answers hold the rows' texts and metadata, and names that an argument has beside its own."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import DIMENSION, ROWS, few_rows
from votive import Embedder, EmbeddingStore, Hit, Hits
from votive._store.table.column import Column


def expected(store: EmbeddingStore, scores: np.ndarray, ids: np.ndarray) -> Hits:
    """Hits of what `search` gave, one row at a time."""
    rows = [{name: store.get(id, columns=[name])[name] for name in store.metadata} for id in ids.tolist()]
    return Hits(
        Hit(id, float(score), store.get_texts(id), {name: value.item() for name, value in row.items()})
        for id, score, row in zip(ids.tolist(), scores, rows, strict=True)
    )


def test_a_query_is_a_search_with_rows(store: EmbeddingStore, queries: np.ndarray) -> None:
    hits = store.query(queries[0])
    assert isinstance(hits, Hits)
    assert len(hits) == 10
    assert hits == expected(store, *store.search(queries[0], 10))
    assert store.last_search is not None
    assert store.last_search.queries == 1
    # As Python has them.
    assert type(hits[0].id) is int
    assert type(hits[0].score) is float
    assert type(hits[0].metadata["year"]) is int
    assert type(hits[0].metadata["even"]) is bool


def test_several_queries_give_a_list(store: EmbeddingStore, queries: np.ndarray) -> None:
    for given in (queries, list(queries), iter([queries[:3], queries[3:]])):
        found = store.query(given, k=4)
        assert isinstance(found, list)
        assert found == [store.query(query, k=4) for query in queries]
    assert store.query(queries[:1], k=4) == [store.query(queries[0], k=4)]
    assert store.query(queries[:0]) == []


def test_arguments_are_those_of_a_search(store: EmbeddingStore, queries: np.ndarray) -> None:
    query = queries[0]
    hits = store.query(query, k=5, filter={"year": {"$lt": 1950}})
    assert hits == expected(store, *store.search(query, 5, filter={"year": {"$lt": 1950}}))
    assert all(hit.metadata["year"] < 1950 for hit in hits)
    hits = store.query(query, k=None, min_score=0.1)
    assert hits == expected(store, *store.search(query, None, min_score=0.1))
    of_each = store.query(queries, k=None, min_score=0.1)
    assert [len(hits) for hits in of_each] == [len(ids) for ids in store.search(queries, None, min_score=0.1)[1]]
    assert store.query(query, min_score=2) == Hits()
    assert store.query(query, filter={"year": 1}) == Hits()
    assert len(store.query(query, k=5, exact=False)) == 5
    with pytest.raises(TypeError, match="k: expected an int, found NoneType"):
        store.query(query, k=None)
    with pytest.raises(ValueError, match="queries: expected dimension 40, found 3"):
        store.query(np.ones(3))
    assert store.stats().errors == {"TypeError": 1, "ValueError": 1}


def test_rows_without_texts_or_metadata() -> None:
    store = EmbeddingStore()
    assert store.query([1.0, 0.0]) == Hits()
    assert store.query([[1.0, 0.0]]) == [Hits()]
    store.add_embeddings(np.eye(2), ids=["a", "b"])
    assert store.query([1.0, 0.0]) == Hits([Hit("a", 1.0), Hit("b", 0.0)])
    store.add_embeddings(np.ones((1, 2)), ids=["c"], texts=["a text"], metadata={"year": [2001], "tags": [["x"]]})
    hits = store.query([1.0, 0.0])
    assert [hit.text for hit in hits] == [None, "a text", None]
    assert hits[0].metadata == {"year": None, "tags": None}
    assert hits[1].metadata == {"year": 2001, "tags": ["x"]}


def test_bits_are_looked_at_twice() -> None:
    vectors = np.random.default_rng(1).standard_normal((100, 64)).astype(np.float32)
    store = EmbeddingStore(metric="hamming")
    store.add_embeddings(vectors, texts=[f"text {row}" for row in range(100)])
    assert store.query(vectors[7], k=1)[0].text == "text 7"
    hits = store.query(vectors[7], k=3, rescore_multiplier=4)
    np.testing.assert_array_equal(hits.ids, store.search(vectors[7], 3, rescore_multiplier=4)[1])


def test_texts_through_a_model(model: Embedder) -> None:
    store = EmbeddingStore()
    texts = [f"a text about {word}" for word in ("ice", "fire", "sand", "rain", "ash")]
    store.add_texts(texts, model)
    hits = store.query(texts[2], model, 3)
    scores, ids = store.search_text(texts[2], model, 3)
    assert hits.ids.tolist() == ids.tolist()
    np.testing.assert_array_equal(hits.scores, scores)
    assert hits.texts == [texts[id] for id in ids]
    for given in (texts[:2], tuple(texts[:2]), np.array(texts[:2]), iter(texts[:2])):
        assert store.query(given, model, 3) == [store.query(text, model, 3) for text in texts[:2]]


def test_only_rows_that_were_found_are_read(
    store: EmbeddingStore, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    to_numpy = Column.to_numpy

    def counted(self: Column, rows: Any) -> Any:
        read.append(-1 if rows is None else len(rows))
        return to_numpy(self, rows)

    monkeypatch.setattr(Column, "to_numpy", counted)
    store.query(queries, k=4)
    # Texts and two columns, once for all queries.
    assert read == [4 * len(queries)] * 3


def test_what_is_mistaken_is_told(store: EmbeddingStore, model: Embedder) -> None:
    for text in ("a", ["a"], np.array(["a"])):
        with pytest.raises(TypeError, match=r"^embedder: expected a model, as query is a text.*query\(text, model\)"):
            store.query(text)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^query: expected a text or a vector, found Embedder; the model comes second"):
        store.query(model, "a")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^embedder: expected a model with a method encode, found str"):
        store.query("a", "bert")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^embedder: expected a model with a method encode, found int"):
        store.query(np.ones(DIMENSION), 5)  # type: ignore[call-overload]
    for numbers in (np.ones(DIMENSION), [0.5] * DIMENSION, [np.ones(DIMENSION)]):
        with pytest.raises(TypeError, match=r"^query: expected a text or a column of texts beside an embedder"):
            store.query(numbers, model)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^allow_other_model: expected a bool, found str"):
        store.query("a", model, allow_other_model="yes")  # type: ignore[call-overload]


def test_hits_of_an_opened_folder(store: EmbeddingStore, queries: np.ndarray, tmp_path: Path) -> None:
    store.save_to_disk(tmp_path / "store")
    expected = store.query(queries, k=7)
    for mmap in (True, False):
        assert EmbeddingStore.open(tmp_path / "store", mmap=mmap).query(queries, k=7) == expected


def test_hits_are_of_one_state(vectors: np.ndarray) -> None:
    """While rows are deleted, replaced, compacted and forgotten, a hit's text and metadata are its id's."""
    store = EmbeddingStore()

    def fill() -> None:
        ids = np.arange(ROWS)
        store.add_embeddings(vectors, ids, [f"text {id}" for id in ids], {"number": ids})

    fill()
    stop, errors = threading.Event(), []

    def ask() -> None:
        try:
            while not stop.is_set():
                for hits in store.query(vectors[::50], k=20):
                    for hit in hits:
                        assert (hit.text, hit.metadata) == (f"text {hit.id}", {"number": hit.id})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        store.delete(store.ids[turn % 3 :: 2])
        store.compact()
        if turn % 5 == 4:
            store.clear()
        fill()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


# Names of arguments


def test_the_count_has_two_names(store: EmbeddingStore, queries: np.ndarray) -> None:
    for one, other in zip(store.search(queries, k=3), store.search(queries, top_k=3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert store.query(queries, top_k=3) == store.query(queries, k=3)
    assert len(store.search(queries[0])[1]) == 100
    for method in ("search", "query"):
        with pytest.raises(TypeError, match=rf"^{method}: k and top_k are two names of one argument; give one of them"):
            getattr(store, method)(queries, k=3, top_k=3)
        # Also where the default is given.
        with pytest.raises(TypeError, match=rf"^{method}: k and top_k"):
            getattr(store, method)(queries, k=100 if method == "search" else 10, top_k=3)
        with pytest.raises(ValueError, match=r"^top_k: expected 1 or more, found 0"):
            getattr(store, method)(queries, top_k=0)
        with pytest.raises(TypeError, match=r"^top_k: expected an int, found str"):
            getattr(store, method)(queries, top_k="3")


def test_the_count_of_texts_has_two_names(model: Embedder) -> None:
    store = EmbeddingStore()
    store.add_texts(["a", "b", "c"], model)
    assert store.search_text("a", model, top_k=2)[1].tolist() == store.search_text("a", model, 2)[1].tolist()
    with pytest.raises(TypeError, match=r"^search_text: k and top_k are two names"):
        store.search_text("a", model, 2, top_k=2)


def test_euclidean_is_l2(vectors: np.ndarray, queries: np.ndarray, tmp_path: Path) -> None:
    store, other = EmbeddingStore(metric="euclidean"), EmbeddingStore(metric="l2")
    for each in (store, other):
        each.add_embeddings(vectors)
    assert store.metric == "l2"
    assert "metric='l2'" in repr(store)
    for one, two in zip(store.search(queries), other.search(queries), strict=True):
        np.testing.assert_array_equal(one, two)
    assert EmbeddingStore.from_numpy(vectors, metric="euclidean").metric == "l2"
    store.save_to_disk(tmp_path / "store")
    assert EmbeddingStore.open(tmp_path / "store").metric == "l2"
    with pytest.raises(ValueError, match=r"metric, dtype: 'hamming' compares the bits of 'ubinary'.*found 'l2'"):
        EmbeddingStore(metric="euclidean", dtype="ubinary")


def test_texts_of_what_a_search_gives(store: EmbeddingStore, queries: np.ndarray) -> None:
    _, ids = store.search(queries, 3)
    assert store.get_texts(ids) == [[f"text {id}" for id in row] for row in ids.tolist()]
    assert store.get_texts(ids.tolist()) == store.get_texts(ids)
    _, ragged = store.search(queries, None, min_score=0.3)
    assert len({len(ids) for ids in ragged}) > 1
    assert store.get_texts(ragged) == [[f"text {id}" for id in ids] for ids in ragged]
    assert store.get_texts(ids[:0]) == []
    assert store.get_texts(ids[:, :0]) == [[]] * len(queries)
    assert store.get_texts([ids[0], ids[1][:0]]) == [[f"text {id}" for id in ids[0]], []]
    named = few_rows(3)
    with pytest.raises(KeyError, match=r"ids\[1\]\[0\]: 4 is not in the store"):
        named.get_texts(np.array([[3, 5], [4, 9]]))
    with pytest.raises(ValueError, match="expected one dimension"):
        named.get_texts(np.array([[[3, 5]]]))


def test_texts_by_names(model: Embedder) -> None:
    store = EmbeddingStore()
    store.add_texts(["a", "b", "c"], model, ids=["x", "y", "z"])
    _, ids = store.search_text(["a", "b"], model, 2)
    assert store.get_texts(ids) == [hits.texts for hits in store.query(["a", "b"], model, 2)]
