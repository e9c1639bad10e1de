"""Masks of filters that come again: they are those of the rows as they are, and take no more memory than there is."""

import datetime
import uuid
from typing import Any

import numpy as np
import pytest
from votive import EmbeddingStore
from votive._store.filter.mask_cache import MAX_KEY_VALUES, MAX_MASKS, key_of

DAY = datetime.date(2024, 1, 2)


def store_of(rows: int, **options: Any) -> EmbeddingStore:
    store = EmbeddingStore(**options)
    store.add_embeddings(np.ones((rows, 2), np.float32), metadata={"n": np.arange(rows) % 10, "flag": [True] * rows})
    return store


def test_a_filter_that_comes_again_sees_what_was_changed() -> None:
    store = store_of(100)
    filter = {"n": {"$in": [3, 4]}}
    for _ in range(2):
        assert store.count(filter) == 20
    store.delete([3, 13])
    for _ in range(2):
        assert store.count(filter) == 18
    store.update(5, metadata={"n": 4})
    assert store.count(filter) == 19
    store.add_embeddings(np.ones((1, 2)), metadata={"n": [3]})
    assert store.count(filter) == 20
    assert set(store.search(np.ones(2), 100, filter=filter)[1]) == set(store.get(filter=filter, columns=["id"])["id"])
    copied = EmbeddingStore()
    copied.add_embeddings(np.ones((1, 2)), metadata={"n": [3]})
    assert copied.count(filter) == 1


def test_few_masks_are_kept_and_they_count_as_memory() -> None:
    store = store_of(1000)
    before = store.memory_usage()["metadata"]
    for number in range(3 * MAX_MASKS):
        store.count({"n": {"$lt": number}})
    assert store.memory_usage()["metadata"] == before + MAX_MASKS * 1000
    # Rows are worth more.
    limit = store.memory_usage()["total"] / 1e9
    full = store_of(1000, max_memory_gb=limit)
    for number in range(MAX_MASKS):
        full.count({"n": {"$lt": number}})
    assert full.memory_usage()["total"] <= limit * 1e9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"flag": True}, {"flag": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": "x"}, {"a": b"x"}),
        ({"a": {"b": 1}}, {"a": [("b", 1)]}),
        ({"a": DAY}, {"a": datetime.datetime(2024, 1, 2)}),
        ({"a": None}, {"a": "None"}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": uuid.UUID(int=3)}, {"a": 3}),
    ],
    ids=repr,
)
def test_filters_that_differ_have_other_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key_of(one) != key_of(other)
    for filter in (one, other):
        assert key_of(filter) == key_of({**filter})
        assert key_of(filter) is not None


def test_what_is_not_plain_is_not_kept() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (np.int64(3), np.arange(3), {1, 2}, list(range(MAX_KEY_VALUES)), deep, object()):
        assert key_of({"a": value}) is None
