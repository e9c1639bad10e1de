"""Ids of every kind that is accepted, and a clear error for all others."""

from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stores import few_rows, snapshot
from votive import EmbeddingStore

DIMENSION = 6
GOOD = np.ones((2, DIMENSION))


@pytest.fixture
def store() -> EmbeddingStore:
    return few_rows(DIMENSION)


BAD_IDS = [
    ([1], ValueError, "ids: expected 2, as many as vectors, found 1"),
    ([1, 2, 3], ValueError, "ids: expected 2, as many as vectors, found 3"),
    ([1, -1], ValueError, r"ids\[1\]: expected 0 or more, found -1"),
    ([1, 2.0], TypeError, r"ids\[1\]: expected an int, found float"),
    (np.array([1.0, 2.0]), TypeError, "ids: expected integers or str, found float64"),
    ([True, False], TypeError, "ids: expected integers or str, found bool"),
    (["a", "b"], TypeError, "ids: expected int64, as the store has, found str"),
    (["a", 1], TypeError, r"ids\[1\]: expected a str as before it, found int"),
    ([1, "a"], TypeError, r"ids\[1\]: expected an int, found str"),
    ([1, None], TypeError, r"ids\[1\]: expected an int, found NoneType"),
    ([None, None], TypeError, r"ids\[0\]: expected an int, found NoneType"),
    ([1, 2**63], ValueError, r"ids\[1\]: expected an int64, found 9223372036854775808"),
    (np.array([1, 2**63], np.uint64), ValueError, r"ids\[1\]: expected an int64, found 9223372036854775808"),
    ([1, 2**70], ValueError, r"ids\[1\]: expected an int64"),
    (["a", "\ud800"], ValueError, r"ids\[1\]: holds a lone surrogate"),
    (["\ud83d", "\udc00"], ValueError, r"ids\[0\]: holds a lone surrogate"),
    ([b"a", b"b"], TypeError, r"ids: expected integers or str, found \|S1"),
    (b"ab", TypeError, "ids: expected integers or str, found bytes"),
    ({1: 2}, TypeError, "ids: expected integers or str, found dict"),
    ({1, 2}, TypeError, "ids: expected an order, that of the vectors, found set"),
    (3.0, TypeError, "ids: expected integers or str, found float"),
    (np.zeros((2, 1), int), ValueError, r"ids: expected one dimension, found shape \(2, 1\)"),
    (np.array([1, 2], "M8[s]"), TypeError, "found datetime64"),
]


@pytest.mark.parametrize(("ids", "kind", "message"), BAD_IDS)
def test_bad_ids_change_nothing(store: EmbeddingStore, ids: Any, kind: type, message: str) -> None:
    before = snapshot(store)
    with pytest.raises(kind, match=message):
        store.add_embeddings(GOOD, ids, ["x", "y"], {"year": [1, 2]})
    assert snapshot(store) == before


@pytest.mark.parametrize(
    "ids",
    [
        [8, 2],
        (8, 2),
        np.array([8, 2]),
        np.array([8, 2], np.uint8),
        np.array([8, 2], ">i2"),
        np.array([8, 0, 2])[::2],
        np.array([8, 2], object),
        pd.Series([8, 2]),
        pa.array([8, 2]),
        iter([8, 2]),
        range(8, 0, -6),
        [np.int8(8), np.uint64(2)],
    ],
    ids=repr,
)
def test_kinds_of_int_ids(ids: Any) -> None:
    store = EmbeddingStore()
    found = store.add_embeddings(GOOD, ids)
    assert found.dtype == np.int64
    assert found.tolist() == store.ids.tolist() == [8, 2]


@pytest.mark.parametrize(
    "ids",
    [
        ["b", "aä"],
        ("b", "aä"),
        np.array(["b", "aä"]),
        np.array(["b", "aä"], object),
        pd.Series(["b", "aä"]),
        pd.Index(["b", "aä"]),
        pa.array(["b", "aä"]),
        iter(["b", "aä"]),
    ],
    ids=repr,
)
def test_kinds_of_str_ids(ids: Any) -> None:
    store = EmbeddingStore()
    found = store.add_embeddings(GOOD, ids)
    assert found.dtype == object
    assert found.tolist() == store.ids.tolist() == ["b", "aä"]


@pytest.mark.parametrize(
    "ids",
    [
        np.ma.array([8, 2], mask=[0, 1]),
        np.ma.array(["b", "a"], mask=[1, 0]),
        np.ma.array([8, 2], mask=[0, 1], dtype=object),
        [8, np.ma.masked],
        ["b", np.ma.masked],
    ],
    ids=repr,
)
def test_masked_ids(store: EmbeddingStore, ids: Any) -> None:
    message = "holds masked elements; fill them first"
    for action in (
        lambda: store.add_embeddings(GOOD, ids),
        lambda: store.delete(ids),
        lambda: store.get(ids),
        lambda: store.contains(ids),
    ):
        with pytest.raises(ValueError, match=f"ids: {message}"):
            action()
    with pytest.raises(ValueError, match=f"filter: {message}"):
        store.search(np.ones(DIMENSION), filter=ids)
    # Without a mask they are ids as any.
    assert EmbeddingStore().add_embeddings(GOOD, np.ma.array([8, 2])).tolist() == [8, 2]


def test_str_ids_must_be_given(store: EmbeddingStore) -> None:
    named = EmbeddingStore()
    named.add_embeddings(GOOD, ["a", "b"])
    with pytest.raises(ValueError, match="ids: those of the store are str"):
        named.add_embeddings(GOOD)
    with pytest.raises(TypeError, match="ids: expected str, as the store has, found int64"):
        named.add_embeddings(GOOD, [1, 2])
    assert named.ids.tolist() == ["a", "b"]


def test_odd_str_ids() -> None:
    names = ["", "\0", "a\0", "a", "\U0001f600", "x" * 100_000]
    store = EmbeddingStore()
    store.add_embeddings(np.ones((6, 2)), names)
    assert store.ids.tolist() == names
    assert store.contains(names).all()


def test_last_of_equal_ids_in_a_call_wins() -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.diag([1.0, 2.0, 3.0, 4.0]), [5, 6, 5, 5])
    assert store.ids.tolist() == [6, 5]
    assert store.get(5).tolist() == [0, 0, 0, 4]


def test_largest_id() -> None:
    store = EmbeddingStore()
    store.add_embeddings(GOOD, [2**63 - 1, 0])
    assert store.search(np.ones(DIMENSION), 1)[1].tolist() == [2**63 - 1]
    with pytest.raises(ValueError, match="ids"):
        store.add_embeddings(GOOD)
    assert len(store) == 2


def test_uuids_are_the_str_of_them() -> None:
    first, second, third = (UUID(int=number) for number in range(2**100, 2**100 + 3))
    store = EmbeddingStore()
    assert store.add_embeddings([1.0, 2.0], ids=first).tolist() == [str(first)]
    store.add_embeddings(np.ones((2, 2)), ids=[second, "name"])
    store.add_embeddings(np.ones((1, 2)), ids=np.array([third], object))
    assert store.ids.tolist() == [str(first), str(second), "name", str(third)]
    assert all(type(id) is str for id in store.ids)
    assert store.contains(first)
    assert first in store
    assert UUID(int=1) not in store
    assert store.contains([third, "name", str(second), UUID(int=1)]).tolist() == [True, True, True, False]
    np.testing.assert_array_equal(store.get([second, "name"]), np.ones((2, 2)))
    assert store.search([1.0, 0.0], filter=[first, "name"])[1].tolist() == ["name", str(first)]
    assert store.search([1.0, 0.0], filter=first)[1].tolist() == [str(first)]
    assert store.search([1.0, 0.0], filter={second})[1].tolist() == [str(second)]
    assert store.delete(UUID(str(first).upper())) == 1
    with pytest.raises(TypeError, match=r"ids\[1\]: expected a str as before it, found int"):
        store.contains([second, 3])
