"""Searching among some of the rows: by booleans, by ids and by what a function makes of the columns."""

from collections.abc import Callable
from typing import Any

import brute
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from votive import EmbeddingStore

ROWS, DIMENSION = 200, 24


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def store(vectors: np.ndarray) -> EmbeddingStore:
    """Rows with even ids, of which some are deleted and one stands last for being replaced: 172 in all."""
    store = EmbeddingStore()
    texts = [f"text {row}" for row in range(ROWS)]
    store.add_embeddings(vectors, np.arange(ROWS) * 2, texts, {"year": np.arange(ROWS) % 10, "name": texts})
    store.delete(np.arange(20, 48) * 2)
    store.delete([398])
    store.add_embeddings(vectors[3], [6], ["text 3"], {"year": [3], "name": ["again"]})
    store.add_embeddings(vectors[199], [1], ["text 199"], {"year": [9], "name": ["odd"]})
    return store


@pytest.fixture
def ids(store: EmbeddingStore) -> np.ndarray:
    return store.ids


def expected(store: EmbeddingStore, queries: np.ndarray, kept: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What a search among the rows that a boolean array keeps has to give."""
    ids = store.ids[kept]
    scores, rows = brute.search(store.get(ids), queries, k, "cosine")
    return scores, ids[rows]


def check(store: EmbeddingStore, vectors: np.ndarray, filter: Any, kept: np.ndarray) -> None:
    for k in (1, 10, ROWS):
        scores, found = store.search(vectors[:9], k, filter=filter)
        expected_scores, expected_ids = expected(store, vectors[:9], kept, k)
        np.testing.assert_array_equal(found, expected_ids)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
        np.testing.assert_array_equal(store.search(vectors[4], k, filter)[1], found[4])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_booleans_follow_the_order_of_ids(
    store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray, share: float
) -> None:
    kept = np.random.default_rng(6).random(len(ids)) < share
    check(store, vectors, kept, kept)


@pytest.mark.parametrize(
    "kind",
    [list, tuple, pd.Series, pa.array, lambda kept: np.repeat(kept, 2)[::2], lambda kept: list(map(bool, kept))],
    ids=["list", "tuple", "Series", "Arrow", "strided", "bools"],
)
def test_kinds_of_booleans(store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray, kind: Callable) -> None:
    kept = ids % 3 == 0
    check(store, vectors, kind(kept), kept)


@pytest.mark.parametrize("kind", [list, tuple, set, np.array, lambda ids: np.array(ids, np.int16)])
def test_ids(store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray, kind: Callable) -> None:
    # Twice the same, deleted ones, and some that never were.
    wanted = [6, 6, 8, 44, 1, 3, 100_000 % 32_000]
    check(store, vectors, kind(wanted), np.isin(ids, wanted))


def test_one_id(store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray) -> None:
    check(store, vectors, 8, ids == 8)
    assert store.search(vectors[0], filter=iter([8]))[1].tolist() == [8]


def test_integers_are_ids_also_if_they_look_like_booleans(
    store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray
) -> None:
    ones = np.ones(len(ids), np.int64)
    assert store.search(vectors[0], 10, filter=ones)[1].tolist() == [1]


def test_str_ids() -> None:
    store = EmbeddingStore(metric="dot")
    store.add_embeddings(np.arange(5.0)[:, None], ["a", "b", "c", "d", "e"])
    for wanted in (["b", "x", "d"], np.array(["b", "d"]), pa.array(["d", "b"]), {"b", "d"}):
        assert store.search([1.0], 5, wanted)[1].tolist() == ["d", "b"]
    assert store.search([1.0], 5, "c")[1].tolist() == ["c"]
    assert store.search([1.0], 5, lambda row: row["id"] > "c")[1].tolist() == ["e", "d"]


def test_functions_see_the_columns_of_live_rows(store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray) -> None:
    calls = []

    def keep(rows: Any) -> np.ndarray:
        calls.append(sorted(rows))
        assert [len(rows[name]) for name in rows] == [len(ids)] * len(rows)
        assert rows["id"].tolist() == ids.tolist()
        assert rows["text"].tolist() == store.texts
        assert not any(rows[name].flags.writeable for name in rows)
        assert rows["year"] is rows["year"]
        assert rows.get("missing") is None
        return (rows["year"] >= 3) & (rows["id"] < 300) | (rows["name"] == "odd")

    year, name = store.metadata["year"], store.metadata["name"]
    kept = (year >= 3) & (ids < 300) | (name == "odd")
    store.search(vectors, 5, keep)
    assert calls == [["id", "name", "text", "year"]]
    check(store, vectors, keep, kept)


def test_functions_may_use_pandas(store: EmbeddingStore, vectors: np.ndarray, ids: np.ndarray) -> None:
    check(
        store,
        vectors,
        lambda rows: pd.DataFrame(dict(rows)).eval("year > 4 and id < 50"),
        (store.metadata["year"] > 4) & (ids < 50),
    )


def test_texts_are_not_read_unless_asked_for(
    store: EmbeddingStore, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("votive._store.contents.Contents.live_texts", None)
    assert len(store.search(vectors[0], 5, lambda rows: rows["year"] == 3)[1]) == 5


def test_function_that_fails(store: EmbeddingStore, vectors: np.ndarray) -> None:
    with pytest.raises(KeyError, match=r"no column 'month'; there are \['id', 'text', 'year', 'name'\]"):
        store.search(vectors, filter=lambda rows: rows["month"] == 3)
    with pytest.raises(ZeroDivisionError):
        store.search(vectors, filter=lambda rows: 1 // 0)


@pytest.mark.parametrize(
    ("filter", "kind", "message"),
    [
        (np.ones(199, bool), ValueError, r"filter: expected a boolean for each of the 172 rows, found shape \(199,\)"),
        (np.ones(200, bool), ValueError, r"found shape \(200,\)"),
        ([True], ValueError, r"found shape \(1,\)"),
        (np.ones((172, 1), bool), ValueError, r"found shape \(172, 1\)"),
        (np.True_, TypeError, "filter: expected integers or str, found bool"),
        (True, TypeError, "filter: expected integers or str, found bool"),
        ([True, 3], TypeError, "filter: expected booleans or ids, found both"),
        (np.ones(172), TypeError, "filter: expected integers or str, found float64"),
        (["a"], TypeError, "a boolean array, or int64 ids as the store has, found str ids"),
        ([1, "a"], TypeError, r"filter\[1\]: expected an int, found str"),
        ({"years": 3}, KeyError, r"filter: no column 'years'; there are \['id', .*'year'.*\]; did you mean 'year'"),
        (object(), TypeError, "filter: expected integers or str, found object"),
        (lambda rows: [1, 2], TypeError, "filter: expected a boolean array from the function, found list"),
        (lambda rows: True, TypeError, "filter: expected a boolean array from the function, found bool"),
        (lambda rows: rows["id"], TypeError, "found ndarray of int64"),
        (lambda rows: rows["id"][:5] > 3, ValueError, r"found shape \(5,\)"),
        (np.ma.array(np.ones(172, bool), mask=np.arange(172) == 3), ValueError, "filter: holds masked elements"),
    ],
)
def test_bad_filters(store: EmbeddingStore, vectors: np.ndarray, filter: Any, kind: type, message: str) -> None:
    assert len(store) == 172
    with pytest.raises(kind, match=message):
        store.search(vectors[0], filter=filter)


def test_nothing_is_padded(store: EmbeddingStore, vectors: np.ndarray) -> None:
    assert [values.shape for values in store.search(vectors[0], 10, [6, 8])] == [(2,), (2,)]
    assert [values.shape for values in store.search(vectors[:5], 10, [6, 8])] == [(5, 2), (5, 2)]
    assert [values.shape for values in store.search(vectors[:5], 10, [])] == [(5, 0), (5, 0)]
    assert [values.shape for values in store.search(vectors[:0], 10, [6, 8])] == [(0, 2), (0, 2)]


def test_filter_on_an_empty_store() -> None:
    store = EmbeddingStore(dimension=2)
    for nothing in (None, [], [1], ["a"], np.zeros(0, bool), lambda rows: rows["id"] > 3):
        assert store.search([1.0, 0.0], filter=nothing)[1].shape == (0,)
