"""Stores that are pickled and copied."""

import copy
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stored import assert_same, seen
from stores import ROWS, snapshot
from votive import EmbeddingStore, StoreError

COPIES = [copy.copy, copy.deepcopy]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", ["int64", "str"])
def test_pickle(dtype: str, kind: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    store = EmbeddingStore(dtype=dtype, metric="dot", num_threads=1)
    ids = np.arange(ROWS) if kind == "int64" else [f"é{row}" for row in range(ROWS)]
    store.add_embeddings(vectors, ids, texts=[f"ü{row}" for row in range(ROWS)], metadata={"x": np.arange(ROWS) / 7})
    store.delete(ids[5:50])
    store.add_embeddings(vectors[:3], ids[:3], texts=["new"] * 3, metadata={"x": np.zeros(3)})
    for again in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store)):
        assert snapshot(again) | {"repr": ""} == snapshot(store) | {"repr": ""} | {
            "vectors": snapshot(again)["vectors"]
        }
        for found, expected in zip(again.search(queries, 20), store.search(queries, 20), strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(again.get(ids[60:70]), store.get(ids[60:70]))
        assert (again.metric, again.dtype, again.num_threads) == ("dot", dtype, 1)
        again.delete(ids[60:70])
        again.add_embeddings(vectors[:2], ids[:2], texts=["x", "y"], metadata={"x": [1.0, 2.0]})
        assert len(again) == len(store) - 10


def test_pickle_of_an_empty_store() -> None:
    again = pickle.loads(pickle.dumps(EmbeddingStore(metric="l2", max_memory_gb=3)))
    assert repr(again) == repr(EmbeddingStore(metric="l2"))
    assert pickle.loads(pickle.dumps(EmbeddingStore(dimension=7))).dimension == 7


def test_pickle_of_much_is_refused(monkeypatch: pytest.MonkeyPatch, store: EmbeddingStore) -> None:
    monkeypatch.setattr("votive._store.pickling.MAX_PICKLED_BYTES", 10_000)
    with pytest.raises(StoreError, match=r"more than 0 MB; use save_to_disk\(folder\)"):
        pickle.dumps(store)


@pytest.fixture
def folder(store: EmbeddingStore, tmp_path: Path) -> Path:
    """With `store` in it."""
    store.save_to_disk(tmp_path / "store")
    return tmp_path / "store"


def test_a_store_on_disk_is_pickled_by_its_path(
    store: EmbeddingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    with EmbeddingStore.open(folder.name, "a", num_threads=1, max_memory_gb=1) as opened:
        for each in (store, EmbeddingStore.open(folder.name), opened):
            data = pickle.dumps(each)
            assert len(data) < 1000
            monkeypatch.chdir("/")
            assert_same(pickle.loads(data), store)
            monkeypatch.chdir(folder.parent)
        assert pickle.loads(data).num_threads == 1
        # What is in memory alone goes along.
        opened.delete(0)
        assert len(pickle.dumps(opened)) > 10_000
        assert_same(pickle.loads(pickle.dumps(opened)), opened)
        opened.commit()
        assert len(pickle.dumps(opened)) < 1000
        assert_same(pickle.loads(pickle.dumps(opened)), opened)
    message = r"was pickled as generation 1, and holds generation 2 by now: pickle it anew, .*copy\.copy\(store\)"
    with pytest.raises(StoreError, match=message):
        pickle.loads(data)


def test_a_pickle_of_a_folder_that_was_moved_or_saved_anew_says_so(store: EmbeddingStore, folder: Path) -> None:
    data = pickle.dumps(store)
    folder.rename(folder.with_name("moved"))
    message = rf"a store was pickled as the path of its folder.*open the right folder, or pickle copy\.copy.*{folder}"
    with pytest.raises(FileNotFoundError, match=message):
        pickle.loads(data)
    other = EmbeddingStore()
    other.add_embeddings(np.ones((3, 5)))
    other.save_to_disk(folder)
    with pytest.raises(StoreError, match=f"{folder}: was pickled as generation 1, and holds another store by now"):
        pickle.loads(data)
    shutil.rmtree(folder)
    folder.with_name("moved").rename(folder)
    assert_same(pickle.loads(data), store)


@pytest.mark.parametrize("change", [shutil.rmtree, lambda folder: EmbeddingStore().save_to_disk(folder)])
def test_a_store_whose_folder_is_gone_is_pickled_with_its_rows(
    store: EmbeddingStore, folder: Path, change: Callable[[Path], None]
) -> None:
    opened = EmbeddingStore.open(folder, mmap=False)
    change(folder)
    for each in (store, opened):
        assert_same(pickle.loads(pickle.dumps(each)), store)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_store_on_disk_has_its_rows(
    store: EmbeddingStore, folder: Path, copied: Callable[[EmbeddingStore], EmbeddingStore], mmap: bool
) -> None:
    for original in (store, EmbeddingStore.open(folder, mmap=mmap)):
        again = copied(original)
        assert_same(again, store)
        # In no folder: pickled it has them too.
        with pytest.raises(StoreError, match="verify: the store is not on disk"):
            again.verify()
        with pytest.raises(StoreError, match="commit: not open for writing"):
            again.commit()
        assert_same(pickle.loads(pickle.dumps(again)), store)
    folder.rename(folder.with_name("moved"))
    EmbeddingStore().save_to_disk(folder)
    assert_same(again, store)
    again.save_to_disk(folder.with_name("another"))
    assert_same(EmbeddingStore.open(folder.with_name("another"), mmap=False), store)


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_writer_is_none(folder: Path, copied: Callable[[EmbeddingStore], EmbeddingStore]) -> None:
    with EmbeddingStore.open(folder, "a") as store:
        again = copied(store)
        again.delete(0)
        with pytest.raises(StoreError, match="commit: not open for writing"):
            again.commit()
        with again:
            pass
        again.close()
        store.delete([1, 2])
        store.commit()
    assert len(EmbeddingStore.open(folder)) == ROWS - 2 == len(again) - 1


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("ids", ["int64", "str"])
def test_what_is_added_to_a_copy_is_not_in_the_store(
    vectors: np.ndarray, ids: str, copied: Callable[[EmbeddingStore], EmbeddingStore]
) -> None:
    def add(store: EmbeddingStore, first: int, what: str) -> None:
        numbers = np.arange(first, first + 3)
        keys = numbers if ids == "int64" else [f"{what} {number}" for number in numbers]
        metadata = {"what": [what] * 3, "number": numbers}
        store.add_embeddings(vectors[numbers], keys, [f"text {number} of {what}" for number in numbers], metadata)

    store = EmbeddingStore()
    # So that there is room behind the last rows.
    for first in range(0, 30, 3):
        add(store, first, "both")
    used = store.memory_usage()
    again = copied(store)
    assert again.memory_usage() == used
    before = {name: np.array(values) for name, values in seen(store).items()}
    add(again, 30, "copy")
    add(store, 30, "store")
    add(again, 33, "copy")
    add(store, 33, "store")
    for each, what in ((store, "store"), (again, "copy")):
        found = seen(each)
        for name, values in before.items():
            np.testing.assert_array_equal(found[name][:30], values)
        assert found["what"].tolist()[30:] == [what] * 6
        assert found["texts"].tolist()[30:] == [f"text {number} of {what}" for number in range(30, 36)]
        np.testing.assert_array_equal(found["vectors"][30:], vectors[30:36])
    again.clear()
    assert len(store) == 36


def test_a_copy_takes_no_memory_for_vectors_and_no_lock(store: EmbeddingStore) -> None:
    again = copy.deepcopy(store)
    assert np.shares_memory(store.vectors, again.vectors)
    done = threading.Event()

    def blocks():
        done.wait(60)
        yield np.ones((1, store.dimension))

    writer = threading.Thread(
        target=lambda: EmbeddingStore.add_embeddings(
            again, blocks(), texts=["x"], metadata={"year": [1], "even": [True]}
        )
    )
    writer.start()
    store.delete(0)
    assert len(copy.copy(again)) == ROWS
    done.set()
    writer.join()
    assert (len(store), len(again)) == (ROWS - 1, ROWS + 1)


def test_a_deep_copy_of_what_holds_stores_and_of_a_class_of_ones_own(store: EmbeddingStore) -> None:
    class Named(EmbeddingStore):
        """With a constructor and attributes of its own."""

        def __init__(self, name: str) -> None:
            super().__init__(metric="dot")
            self.names = [name]

    named = Named("first")
    named.add_embeddings(np.ones((2, 3)))
    held = copy.deepcopy({"store": store, "again": store, "named": named})
    assert held["store"] is held["again"] is not store
    assert_same(held["store"], store)
    assert_same(held["named"], named)
    assert held["named"].names == ["first"]
    assert held["named"].names is not named.names
    assert copy.copy(named).names is named.names
