"""Changing rows in place: `update`, `upsert`, and what `get` and `count` tell of it."""

import threading
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stores import snapshot
from votive import EmbeddingStore, StoreError

ROWS = 5


@pytest.fixture
def store() -> EmbeddingStore:
    """Rows whose ids are 10 to 14."""
    store = EmbeddingStore()
    store.add_embeddings(
        np.eye(ROWS),
        range(10, 10 + ROWS),
        [f"text {row}" for row in range(ROWS)],
        {"year": [*range(ROWS)], "name": ["a", "b", None, "d", "e"]},
    )
    return store


@pytest.fixture
def folder(tmp_path: Path, store: EmbeddingStore) -> Path:
    store.save_to_disk(tmp_path / "store")
    return tmp_path / "store"


def years(store: EmbeddingStore) -> list:
    return store.metadata["year"].tolist()


@pytest.mark.parametrize(
    ("ids", "given", "expected"),
    [
        (11, {"metadata": {"year": 9}}, {"year": [0, 9, 2, 3, 4]}),
        (11, {"texts": "new", "metadata": {"year": None}}, {"year": [0, None, 2, 3, 4], "text": {1: "new"}}),
        ([14, 11], {"metadata": {"year": [40, 10]}}, {"year": [0, 10, 2, 3, 40]}),
        (np.array([14, 11]), {"metadata": {"year": np.array([40, 10], np.int8)}}, {"year": [0, 10, 2, 3, 40]}),
        ([14, 11], {"metadata": pd.DataFrame({"year": [40, 10]}, index=[7, 7])}, {"year": [0, 10, 2, 3, 40]}),
        ([14, 11], {"metadata": pa.table({"year": [40, None]})}, {"year": [0, None, 2, 3, 40]}),
        ([14, 11], {"metadata": pa.table({"year": [40, 10]}).to_reader()}, {"year": [0, 10, 2, 3, 40]}),
        ([14, 11], {"texts": ["x", None]}, {"text": {4: "x", 1: None}}),
        ([14, 11], {"texts": pa.array(["x", None])}, {"text": {4: "x", 1: None}}),
        (iter([14, 11]), {"texts": iter(["x", "y"])}, {"text": {4: "x", 1: "y"}}),
        # Of an id that comes twice the last values count.
        (
            [11, 14, 11],
            {"metadata": {"year": [7, 8, 9]}, "texts": [*"xyz"]},
            {"year": [0, 9, 2, 3, 8], "text": {1: "z", 4: "y"}},
        ),
        ([11, 11], {"metadata": [{"year": 7}, {"name": "z"}]}, {"year": [0, 7, 2, 3, 4]}),
        # A key that a record lacks stays as it is; None makes it null.
        ([10, 11], {"metadata": [{"year": 7}, {"year": None, "new": [1]}]}, {"year": [7, None, 2, 3, 4]}),
        ([10, 11], {"metadata": iter([{"new": 1}, {"year": 7}])}, {"year": [0, 7, 2, 3, 4], "new": [1] + [None] * 4}),
        ([10, 11], {"metadata": ({}, None)}, {"year": [0, 1, 2, 3, 4]}),
        ([], {"metadata": {"new": []}, "texts": []}, {"year": [0, 1, 2, 3, 4]}),
        # Numbers become those that hold all.
        ([12], {"metadata": {"year": [2.5]}}, {"year": [0, 1, 2.5, 3, 4]}),
        (12, {"metadata": {"tags": ["x", "y"]}}, {"tags": [None, None, ["x", "y"], None, None]}),
    ],
)
def test_forms_of_updates(store: EmbeddingStore, ids: Any, given: dict, expected: dict) -> None:
    store.update(ids, **given)
    texts = {row: f"text {row}" for row in range(ROWS)} | expected.get("text", {})
    assert store.texts == list(texts.values())
    for name in expected.keys() - {"text"}:
        assert store.metadata[name].tolist() == expected[name]
    assert store.ids.tolist() == [10, 11, 12, 13, 14]
    np.testing.assert_array_equal(store.vectors, np.eye(ROWS))


def test_counts_of_updates(store: EmbeddingStore) -> None:
    assert store.update(10, texts="x") == 1
    assert store.update([10, 11, 10], texts=["x"] * 3) == 2
    assert store.update([], texts=[]) == 0
    assert store.update(filter={"year": {"$gte": 3}}, texts="x") == 2
    assert store.update(filter={"year": 99}, texts="x", metadata={"never": 1}) == 0
    assert "never" not in store.metadata


@pytest.mark.parametrize(
    ("filter", "rows"),
    [
        ({"year": {"$in": [1, 3]}}, [1, 3]),
        ({"name": {"$exists": False}}, [2]),
        ({"text": "text 4"}, [4]),
        ({"id": {"$lt": 12}}, [0, 1]),
        ({}, [0, 1, 2, 3, 4]),
        ([14, 99], [4]),
        (np.array([True, False, False, True, False]), [0, 3]),
        (lambda columns: columns["year"] == 2, [2]),
    ],
)
def test_updates_by_filter(store: EmbeddingStore, filter: Any, rows: list[int]) -> None:
    assert store.count(filter) == len(rows)
    expected = store.get(filter=filter, columns=["id"])["id"].tolist()
    assert expected == [10 + row for row in rows]
    assert store.update(filter=filter, texts="new", metadata={"year": 50, "tags": [1, 2], "name": None}) == len(rows)
    for row, (year, text, name) in enumerate(zip(years(store), store.texts, store.metadata["name"], strict=True)):
        old = (row, f"text {row}", ["a", "b", None, "d", "e"][row])
        assert (year, text, name) == ((50, "new", None) if row in rows else old)
    tags = store.metadata["tags"].tolist()
    assert tags == [[1, 2] if row in rows else None for row in range(ROWS)]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"texts": "x"}, TypeError, "update: expected either ids or filter"),
        ({"ids": 10, "filter": {"year": 1}, "texts": "x"}, TypeError, "update: expected either ids or filter"),
        ({"ids": 10}, TypeError, "update: expected texts, metadata or both"),
        ({"ids": [10, 99], "texts": ["x", "y"]}, KeyError, r"ids\[1\]: 99 is not in the store"),
        ({"ids": ["a"], "texts": ["x"]}, KeyError, r"ids\[0\]: 'a' is not in the store, whose ids are int64"),
        ({"ids": 1.5, "texts": "x"}, TypeError, "ids: expected integers or str, found float"),
        ({"ids": [10], "texts": ["x", "y"]}, ValueError, "texts: expected 1, as many as ids, found 2"),
        ({"ids": [10, 11], "texts": "xy"}, ValueError, "texts: expected 2, as many as ids, found 1"),
        ({"ids": [10, 11], "texts": ["x", 5]}, TypeError, r"texts\[1\]: expected a str or None, found int"),
        ({"ids": [10], "texts": ["\ud800"]}, ValueError, r"texts\[0\]: holds a lone surrogate"),
        ({"ids": 10, "texts": ["x"]}, TypeError, "texts: expected one str for all rows, found list"),
        ({"filter": {}, "texts": ["x"]}, TypeError, "texts: expected one str for all rows, found list"),
        (
            {"ids": [10, 11], "metadata": {"year": [1, 2, 3]}},
            ValueError,
            r"metadata\['year'\]: expected 2, as many as ids, found 3",
        ),
        (
            {"ids": [10, 11], "metadata": {"name": [1], "year": [1, 2]}},
            ValueError,
            r"metadata\['name'\]: expected 2, as many as ids, found 1",
        ),
        ({"ids": [10, 11], "metadata": [{"year": 1}]}, ValueError, "metadata: expected 2, as many as ids, found 1"),
        ({"ids": [10], "metadata": [{}, {"year": 1}]}, ValueError, "metadata: expected 1, as many as ids, found 2"),
        (
            {"ids": [10, 11], "metadata": [{}, 5]},
            TypeError,
            r"metadata\[1\]: expected a mapping of names to values or None, found int",
        ),
        (
            {"ids": [10, 11], "metadata": {"year": [1, "x"]}},
            TypeError,
            r"metadata\['year'\]\[1\]: expected int or None, .* found str",
        ),
        (
            {"ids": [10, 11], "metadata": {"year": [None, "x"]}},
            TypeError,
            r"metadata\['year'\]\[1\]: expected int64 or None, as the column holds, found str",
        ),
        (
            {"ids": [10, 11], "metadata": [{}, {"year": "x"}]},
            TypeError,
            r"metadata\['year'\]\[1\]: expected int64 or None, as the column holds, found str",
        ),
        (
            {"ids": [10, 11], "metadata": [{}, {"year": 1j}]},
            TypeError,
            r"metadata\['year'\]\[1\]: expected bool, int, .*or None, found complex",
        ),
        ({"filter": {}, "metadata": {"name": 5}}, TypeError, r"metadata\['name'\].*: expected str or None"),
        ({"filter": {"yaer": 1}, "texts": "x"}, KeyError, "no column 'yaer'.* did you mean 'year'"),
        ({"ids": 10, "metadata": {"id": 5}}, ValueError, r"metadata\['id'\]: the name is taken"),
        ({"ids": [10], "metadata": {"text": ["x"]}}, ValueError, r"metadata\['text'\]: the name is taken"),
        ({"ids": [10], "metadata": 5}, TypeError, "metadata: expected a mapping of names to columns, .* found int"),
        ({"ids": 10, "metadata": [{"year": 5}]}, TypeError, "metadata: expected a mapping of names to values"),
    ],
)
def test_refused_updates_change_nothing(store: EmbeddingStore, arguments: dict, kind: type, message: str) -> None:
    before = snapshot(store)
    with pytest.raises(kind, match=message):
        store.update(**arguments)
    if "metadata" in arguments:
        # What is right beside what is wrong is not done either.
        ids = arguments.get("ids")
        with pytest.raises(kind, match=message):
            store.update(texts=["new"] * len(ids) if isinstance(ids, list) else "new", **arguments)
    assert snapshot(store) == before


def test_numbers_that_no_type_holds_are_refused(store: EmbeddingStore) -> None:
    store.update(11, metadata={"year": 2**60 + 1})
    before = snapshot(store)
    with pytest.raises(ValueError, match=r"metadata\['year'\]\[1\]: 2\.5 and the int64 of the column"):
        store.update([10, 12], metadata={"year": [None, 2.5]})
    with pytest.raises(ValueError, match=r"metadata\['year'\]\[0\]: 2\.5 and the int64 of the column"):
        store.add_embeddings(np.ones(ROWS), metadata={"year": [2.5]})
    assert snapshot(store) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ids": 11, "columns": ["id", "year", "name", "text"]}, {"id": 11, "year": 1, "name": "b", "text": "text 1"}),
        ({"ids": [13, 11, 13], "columns": ["year"]}, {"year": [3, 1, 3]}),
        ({"ids": [13, 11], "columns": ("name",), "offset": 1}, {"name": ["b"]}),
        ({"columns": ["id"], "limit": 2, "offset": 2}, {"id": [12, 13]}),
        ({"columns": ["id"], "offset": 9}, {"id": []}),
        ({"columns": ["id"], "limit": 0}, {"id": []}),
        ({"filter": {"year": {"$gt": 1}}, "columns": ["id", "name"], "limit": 1}, {"id": [12], "name": [None]}),
        ({"columns": []}, {}),
    ],
)
def test_forms_of_get(store: EmbeddingStore, arguments: dict, expected: dict) -> None:
    found = store.get(**arguments)
    assert {
        name: values.tolist() if hasattr(values, "tolist") else values for name, values in found.items()
    } == expected


def test_vectors_of_get(store: EmbeddingStore) -> None:
    np.testing.assert_array_equal(store.get(), np.eye(ROWS))
    np.testing.assert_array_equal(store.get(12), np.eye(ROWS)[2])
    np.testing.assert_array_equal(store.get(filter={"year": {"$lt": 2}}), np.eye(ROWS)[:2])
    np.testing.assert_array_equal(store.get([12], columns=["vector"])["vector"], np.eye(ROWS)[2:3])
    np.testing.assert_array_equal(store.get(12, columns=["vector"])["vector"], np.eye(ROWS)[2])
    assert store.get(limit=0).shape == (0, ROWS)
    assert EmbeddingStore().get().shape == (0, 0)
    assert (store.count(), EmbeddingStore().count()) == (ROWS, 0)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"ids": 10, "filter": {}}, TypeError, "get: expected ids or filter, found both"),
        ({"ids": 99, "columns": ["id"]}, KeyError, "99 is not in the store"),
        ({"columns": "year"}, TypeError, "columns: expected a list of names, found the str 'year'"),
        ({"columns": 5}, TypeError, "columns: expected a list of names, found int"),
        ({"columns": ["id", ["year"]]}, TypeError, r"columns\[1\]: expected a str, found list"),
        ({"columns": ["yaer"]}, ValueError, r"columns: no column 'yaer'; there are \['id', 'vector', 'text', 'year'"),
        ({"limit": -1}, ValueError, "limit"),
        ({"limit": 1.5}, TypeError, "limit"),
        ({"offset": -1}, ValueError, "offset"),
        ({"filter": {"yaer": 1}}, KeyError, "no column 'yaer'"),
    ],
)
def test_refused_gets(store: EmbeddingStore, arguments: dict, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        store.get(**arguments)


def test_upserts_keep_what_they_are_not_given(store: EmbeddingStore) -> None:
    vectors = np.full((4, ROWS), 2.0)
    ids = store.upsert(vectors, [13, 20, 11, 13], metadata={"year": [30, 200, 100, 31], "new": [None, 1, 2, 3]})
    assert ids.tolist() == [13, 20, 11, 13]
    assert store.ids.tolist() == [10, 12, 14, 20, 11, 13]
    assert store.texts == ["text 0", "text 2", "text 4", None, "text 1", "text 3"]
    assert years(store) == [0, 2, 4, 200, 100, 31]
    assert store.metadata["name"].tolist() == ["a", None, "e", None, "b", "d"]
    assert store.metadata["new"].tolist() == [None, None, None, 1, 2, 3]
    store.upsert(np.zeros(ROWS), 10, "other")
    assert store.get(10, columns=["text", "year", "name"]) == {"text": "other", "year": 0, "name": "a"}
    # A column that is given is given to all rows.
    store.upsert(np.zeros((2, ROWS)), [10, 12], metadata=[{"name": "z"}, {}])
    assert store.get([10, 12], columns=["name"])["name"].tolist() == ["z", None]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((np.ones((1, ROWS)), None), TypeError, "ids: expected one for each row, found None"),
        ((np.ones((2, ROWS)), [10]), ValueError, "ids: expected 2, as many as vectors, found 1"),
        ((np.ones((1, 3)), [10]), ValueError, "vectors: expected dimension 5, found 3"),
        ((np.ones((1, ROWS)), ["a"]), TypeError, "ids: expected int64, as the store has, found str"),
        ((np.ones((1, ROWS)), [-1]), ValueError, r"ids\[0\]: expected 0 or more"),
        ((np.full((1, ROWS), np.nan), [10]), ValueError, "row 0"),
        ((np.ones((1, ROWS)), [10], ["a", "b"]), ValueError, "texts: expected 1, as many as vectors, found 2"),
        ((np.ones((1, ROWS)), [10], None, {"year": ["x"]}), TypeError, r"metadata\['year'\]\[0\]: expected int64 or"),
    ],
)
def test_refused_upserts_change_nothing(store: EmbeddingStore, arguments: tuple, kind: type, message: str) -> None:
    before = snapshot(store)
    with pytest.raises(kind, match=message):
        store.upsert(*arguments)
    assert snapshot(store) == before


def test_arrays_that_were_given_stay_as_they_were(store: EmbeddingStore) -> None:
    store.add_embeddings(np.eye(ROWS), metadata={"year": range(5, 10), "name": ["x"] * ROWS})
    before = {"year": store.metadata["year"], "name": store.metadata["name"], "text": store.texts}
    copies = {name: list(values) for name, values in before.items()}
    seen: list[np.ndarray] = []
    store.count(lambda columns: seen.append(columns["year"]) or columns["year"] > 3)
    store.update(store.ids, metadata={"year": [-1] * 10, "name": [None] * 10}, texts=["new"] * 10)
    store.compact()
    assert {name: list(values) for name, values in before.items()} == copies
    assert seen[0].tolist() == [*range(10)]
    assert not any(before[name].flags.writeable for name in ("year", "name"))
    # What `get` gives is the caller's.
    found = store.get(columns=["year", "name"])
    found["year"][:], found["name"][:] = 5, "mine"
    assert years(store) == [-1] * 10
    assert store.metadata["name"].tolist() == [None] * 10


def test_what_was_given_to_an_update_may_change_afterwards(store: EmbeddingStore) -> None:
    given, tags = np.array([7, 8]), [[1], [2]]
    store.update([10, 11], metadata={"year": given, "tags": tags})
    given[:] = 0
    tags[0].append(5)
    assert years(store)[:2] == [7, 8]
    assert store.metadata["tags"].tolist()[:2] == [[1], [2]]


def test_searches_see_all_of_an_update_or_nothing() -> None:
    rows = 2000
    store = EmbeddingStore(num_threads=1)
    store.add_embeddings(np.ones((rows, 2)), metadata={"a": [0] * rows, "b": [0] * rows})
    stop = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        while not stop.is_set():
            found = store.get(columns=["a", "b"])
            kept = store.count(lambda columns: columns["a"] != columns["b"])
            ids = store.search(np.ones(2), rows, filter={"a": {"$gte": 0}})[1]
            if (found["a"] != found["b"]).any() or kept or len(ids) != rows or len({*found["a"].tolist()}) > 1:
                wrong.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 60):
            if number % 2:
                store.update(store.ids, metadata={"a": [number] * rows, "b": [number] * rows})
            else:
                store.update(filter={"a": number - 1}, metadata={"a": number, "b": number})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert store.metadata["a"].tolist() == [59] * rows


def test_updates_beyond_the_limit_change_nothing() -> None:
    store = EmbeddingStore(max_memory_gb=0.001)
    store.add_embeddings(np.ones((10, 2)), metadata={"year": range(10)})
    before, used = snapshot(store), store.memory_usage()
    for given in ({"texts": ["x" * 200_000] * 10}, {"metadata": {"a": [1] * 10, "tags": [["x" * 200_000]] * 10}}):
        with pytest.raises(StoreError, match=r"max_memory_gb: .* more than the limit of 0\.001 GB"):
            store.update(range(10), **given)
    with pytest.raises(StoreError, match="max_memory_gb"):
        store.update(filter={}, texts="x" * 200_000)
    assert snapshot(store) == before
    assert store.memory_usage() == used


def test_one_value_for_many_rows_is_refused_before_it_is_copied() -> None:
    store = EmbeddingStore(max_memory_gb=0.01)
    store.add_embeddings(np.ones((2000, 2)))
    text = "x" * 100_000
    tracemalloc.start()
    try:
        for given in ({"texts": text}, {"metadata": {"name": text}}, {"metadata": {"tags": [text]}}):
            with pytest.raises(StoreError, match=r"max_memory_gb: 2000 rows .* need 0\.2 GB"):
                store.update(filter={}, **given)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert store.texts is None


def test_updates_count_the_numbers_of_rows() -> None:
    rows = 10_000
    store = EmbeddingStore()
    store.add_embeddings(np.ones((rows, 2)), metadata={"a": np.zeros(rows, np.int8)})
    before = store.memory_usage()["metadata"]
    store.update(store.ids, metadata={"a": np.ones(rows, np.int8)})
    assert store.memory_usage()["metadata"] - before >= 9 * rows
    store.delete(0)
    store.compact()
    assert store.memory_usage()["metadata"] == rows - 1


def reopened(folder: Path) -> dict[str, Any]:
    store = EmbeddingStore.open(folder)
    store.verify()
    return snapshot(store) | {"repr": ""}


def update_and_compact(store: EmbeddingStore) -> None:
    store.update([11, 12], metadata={"year": [7, 8]}, texts=["new", None])
    store.delete(10)
    store.compact()


def update_new_rows(store: EmbeddingStore) -> None:
    store.add_embeddings(np.zeros((2, ROWS)), [30, 31], metadata={"year": [5, 6]})
    store.update([31, 11], metadata={"year": [60, 10], "new": ["x", "y"]})


def update_merged_segments(store: EmbeddingStore) -> None:
    for number in range(20):
        store.add_embeddings(np.zeros(ROWS), [50 + number], metadata={"year": [number]})
        store.commit()
        store.update([50 + number, 50, 12], metadata={"year": [-number, 1000 + number, number]})
        store.commit()
    assert len(store._state.binding.manifest.segments) < 10
    assert len(store._state.binding.manifest.changes) < 10
    store.update(filter={"id": {"$gte": 60}}, texts="late")


def update_replaced_rows(store: EmbeddingStore) -> None:
    store.update(11, metadata={"year": 7})
    store.add_embeddings(np.zeros(ROWS), [11], metadata={"year": [8]})
    store.update(11, texts="new")
    store.delete(12)


def change_types(store: EmbeddingStore) -> None:
    store.update(10, metadata={"year": None, "late": None})
    store.commit()
    store.update(10, metadata={"year": 1.5, "late": b"\0"})
    store.commit()
    store.update(10, metadata={"year": None, "late": None})


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(
    "change", [update_and_compact, update_new_rows, update_merged_segments, update_replaced_rows, change_types]
)
def test_updates_are_committed(folder: Path, change: Callable[[EmbeddingStore], None], mmap: bool) -> None:
    before = reopened(folder)
    store = EmbeddingStore.open(folder, "a", mmap)
    change(store)
    if change not in (update_merged_segments, change_types):
        assert reopened(folder) == before
    expected = snapshot(store) | {"repr": ""}
    store.commit()
    assert reopened(folder) == expected
    store.compact()
    store.commit()
    assert reopened(folder) == expected
    store.close()


def close_updated(store: EmbeddingStore) -> None:
    store.update([11, 12], metadata={"year": [7, 8]})
    store.update([12], texts=["again"])


def close_compacted(store: EmbeddingStore) -> None:
    close_updated(store)
    store.delete(10)
    store.compact()


def close_compacted_twice(store: EmbeddingStore) -> None:
    close_compacted(store)
    store.update(11, texts="x")
    store.delete(13)
    store.compact()


def close_updated_and_deleted(store: EmbeddingStore) -> None:
    store.update([10, 11, 12], metadata={"year": [6, 7, 8]})
    store.delete(10)
    store.compact()


@pytest.mark.parametrize("change", [close_updated, close_compacted, close_compacted_twice, close_updated_and_deleted])
def test_uncommitted_updates_are_told_of(folder: Path, change: Callable[[EmbeddingStore], None]) -> None:
    store = EmbeddingStore.open(folder, "a")
    change(store)
    with pytest.warns(ResourceWarning, match="2 rows that were changed in the store and not committed"):
        store.close()
    store = EmbeddingStore.open(folder, "a")
    change(store)
    store.add_embeddings(np.zeros(ROWS), [77])
    store.update(77, texts="of a new row")
    with pytest.warns(
        ResourceWarning, match="1 row that was added to the store and 2 rows that were changed in the store"
    ):
        store.close()


@pytest.mark.parametrize("change", [close_updated, close_compacted, close_compacted_twice, close_updated_and_deleted])
def test_committed_updates_are_not_told_of(folder: Path, change: Callable[[EmbeddingStore], None]) -> None:
    store = EmbeddingStore.open(folder, "a")
    change(store)
    store.commit()
    assert store.update(filter={"year": 99}, texts="x") == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.close()


def test_updates_of_no_rows_are_not_written(folder: Path) -> None:
    with EmbeddingStore.open(folder, "a") as store:
        before = sorted(path.name for path in folder.iterdir())
        store.update([], texts=[])
        store.update(filter={"year": 99}, metadata={"new": 5})
        store.commit()
        assert sorted(path.name for path in folder.iterdir()) == before


def test_updates_beyond_the_limit_go_to_files(tmp_path: Path) -> None:
    store = EmbeddingStore(max_memory_gb=1e-9, spill_to=tmp_path)
    store.add_embeddings(np.ones((3, 2)), metadata={"year": [1, 2, 3]})
    mapped = store.memory_usage()["mapped"]
    assert store.update([0, 2], metadata={"year": [0.5, None], "name": ["a", "x" * 100_000]}) == 2
    assert store.update(filter={"year": 2}, texts="new") == 1
    assert store.metadata["year"].tolist() == [0.5, 2, None]
    assert store.metadata["name"].tolist() == ["a", None, "x" * 100_000]
    assert store.texts == [None, "new", None]
    memory = store.memory_usage()
    assert (memory["metadata"], memory["texts"]) == (0, 0)
    assert memory["mapped"] >= mapped + 100_000
    store.save_to_disk(tmp_path / "store")
    assert reopened(tmp_path / "store") == snapshot(store) | {"repr": ""}
    store.delete(0)
    store.compact()
    assert store.metadata["name"].tolist() == [None, "x" * 100_000]
    store.update(1, metadata={"year": None})
    assert store.metadata["year"].tolist() == [None, None]


def test_compact_gives_back_what_updates_replaced() -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((100, 4)), texts=["x" * 1000] * 100, metadata={"a": range(100)})
    before, arrays = store.memory_usage(), store.vectors
    for number in range(5):
        store.update(store.ids, texts=[f"{number}" * 1000] * 100, metadata={"a": [number] * 100})
    assert store.memory_usage()["texts"] > 2 * before["texts"]
    store.compact()
    assert store.memory_usage() == before
    assert np.shares_memory(arrays, store.vectors)
    assert (store.texts, store.metadata["a"].tolist()) == (["4" * 1000] * 100, [4] * 100)
