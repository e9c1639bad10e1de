"""Rows that no folder has: who is told, and when."""

import copy
import gc
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stored import assert_same
from votive import EmbeddingStore

ROWS = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((ROWS, 3)))
    store.save_to_disk(tmp_path / "store")
    return tmp_path / "store"


def add(store: EmbeddingStore, rows: int) -> np.ndarray:
    return store.add_embeddings(np.ones((rows, 3)))


def lost(rows: int) -> str:
    return f"{rows} rows that were added to the store and not committed .*call commit"


def replace(store: EmbeddingStore) -> None:
    add(store, 2)
    store.add_embeddings(np.zeros((2, 3)), ids=[0, 1])


def compact(store: EmbeddingStore) -> None:
    store.delete([0, 1])
    add(store, 6)
    store.delete(store.ids[-2:])
    store.compact()


def compact_twice(store: EmbeddingStore) -> None:
    add(store, 1)
    compact(store)
    store.delete(2)
    store.compact()
    store.delete(store.ids[-1:])


def compact_and_commit(store: EmbeddingStore) -> None:
    compact(store)
    store.commit()
    add(store, 4)


def clear(store: EmbeddingStore) -> None:
    add(store, 9)
    store.clear()
    add(store, 4)


@pytest.mark.parametrize(
    "change", [lambda store: add(store, 4), replace, compact, compact_twice, compact_and_commit, clear]
)
def test_closing_says_how_many_rows_are_lost(folder: Path, change: Callable[[EmbeddingStore], None]) -> None:
    store = EmbeddingStore.open(folder, "a")
    change(store)
    with pytest.warns(ResourceWarning, match=f"{folder}: {lost(4)}") as caught:
        store.close()
    assert [warning.filename for warning in caught] == [__file__]
    # Once: what is in memory is there for as long as the store is.
    store.close()
    del store
    gc.collect()


def test_a_store_that_is_collected_says_so_too(folder: Path) -> None:
    stores = [EmbeddingStore.open(folder, "a")]
    add(stores[0], 1)
    with pytest.warns(ResourceWarning, match="1 row that was added"):
        stores.clear()
    EmbeddingStore.open(folder, "a").close()


@pytest.mark.parametrize(
    "change",
    [
        lambda store: None,
        lambda store: (add(store, 2), store.commit()),
        lambda store: store.delete(add(store, 2)),
        lambda store: store.delete([0, 1]),
        lambda store: (store.delete(0), store.compact()),
        lambda store: (add(store, 2), store.clear()),
        lambda store: (add(store, 2), store.save_to_disk(store._state.binding.folder)),
    ],
)
def test_what_loses_no_row_says_nothing(folder: Path, change: Callable[[EmbeddingStore], None]) -> None:
    store = EmbeddingStore.open(folder, "a")
    change(store)
    store.close()
    store = EmbeddingStore.open(folder, "a")
    change(store)
    del store
    gc.collect()


def test_stores_in_memory_say_nothing(folder: Path) -> None:
    with EmbeddingStore.open(folder, "a") as writer:
        for store in (
            EmbeddingStore(),
            EmbeddingStore.load_from_disk(folder),
            copy.copy(writer),
            pickle.loads(pickle.dumps(writer)),
        ):
            for _ in range(2):
                add(store, 2)
            store.close()
    saved = EmbeddingStore()
    saved.save_to_disk(folder.with_name("other"))
    add(saved, 2)
    with saved:
        add(saved, 2)
    del store, saved
    gc.collect()


def test_a_block_that_ends_with_an_error_says_that_alone(folder: Path) -> None:
    store = EmbeddingStore.open(folder, "a")
    add(store, 2)
    with pytest.raises(KeyError), store:
        store.delete(100)
    assert len(store) == ROWS + 2
    assert len(EmbeddingStore.open(folder)) == ROWS


def test_loading_over_rows_that_were_not_committed_warns(folder: Path) -> None:
    store = EmbeddingStore.open(folder, "a")
    add(store, 3)
    with pytest.warns(ResourceWarning, match=lost(3)):
        store.load_from_disk(folder)
    assert len(store) == ROWS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_neither_a_child_nor_the_end_of_a_program_says_anything(folder: Path, run_python: Callable[..., str]) -> None:
    printed = run_python(
        """
import gc, os, sys, warnings
import numpy as np
from votive import EmbeddingStore
warnings.simplefilter("always")
sys.stderr = sys.stdout
store = EmbeddingStore.open(sys.argv[1], "a")
store.add_embeddings(np.ones((2, 3)))
for do in (lambda: store.close(), lambda: (globals().pop("store"), gc.collect())):
    child = os.fork()
    if not child:
        do()
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
""",
        str(folder),
        OPENBLAS_NUM_THREADS="1",
    )
    assert "ResourceWarning" not in printed


def test_adding_to_a_store_that_is_open_to_read_warns_once(folder: Path) -> None:
    store = EmbeddingStore.open(folder)
    store.delete(0)
    with pytest.warns(
        UserWarning, match=f"{folder} was opened with mode='r': rows that are added or changed are in"
    ) as caught:
        add(store, 2)
    assert [warning.filename for warning in caught] == [__file__]
    add(store, 2)
    assert len(store) == ROWS + 3
    # Nothing was promised for it.
    store.close()
    again = EmbeddingStore.open(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="mode='r'"):
            add(again, 2)
    assert len(again) == ROWS


def test_changing_a_store_that_is_open_to_read_warns_once(folder: Path) -> None:
    store = EmbeddingStore.open(folder)
    with pytest.warns(
        UserWarning, match="was opened with mode='r': rows that are added or changed are in memory alone"
    ):
        store.update(store.ids[:1], metadata={"n": [1]})
    store.update(store.ids[:1], metadata={"n": [2]})
    assert store.get_metadata(store.ids[0])["n"] == 2
    assert "n" not in EmbeddingStore.open(folder).metadata


def test_a_store_that_is_saved_elsewhere_is_not_one_to_read_any_more(folder: Path) -> None:
    store = EmbeddingStore.open(folder)
    store.save_to_disk(folder.with_name("other"))
    add(store, 2)


def test_loading_belongs_to_the_class_and_to_a_store(folder: Path) -> None:
    class Named(EmbeddingStore):
        """One of a user's."""

    saved = EmbeddingStore.open(folder)
    for kind in (EmbeddingStore, Named):
        for mmap in (True, False):
            store = kind.load_from_disk(folder, mmap=mmap)
            assert type(store) is kind
            assert_same(store, saved)
            store.verify()
    store = EmbeddingStore(num_threads=1, metric="dot")
    assert store.load_from_disk(str(folder)) is None
    assert_same(store, saved)
    assert store.num_threads == 1
    for target in (EmbeddingStore, store):
        with pytest.raises(FileNotFoundError):
            target.load_from_disk(folder / "nothing")
        with pytest.raises(TypeError, match="mmap"):
            target.load_from_disk(folder, mmap="r")
        with pytest.raises(TypeError, match=r"load_from_disk\(\)"):
            target.load_from_disk()
        assert target.load_from_disk.__qualname__ == "EmbeddingStore.load_from_disk"
