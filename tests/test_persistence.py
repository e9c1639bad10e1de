"""Stores on disk: what is saved is what is opened, and what a commit writes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import assert_same, columns, files, generation
from votive import EmbeddingStore, StoreError

ROWS, DIMENSION = 200, 20


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((ROWS, DIMENSION), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where there is nothing yet."""
    return tmp_path / "store"


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("deleted", [0, 60])
@pytest.mark.parametrize("kind", ["int64", "str", "neither texts nor metadata"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_what_is_saved_is_what_is_opened(
    vectors: np.ndarray, folder: Path, metric: str, dtype: str, kind: str, deleted: int, mmap: bool
) -> None:
    store = EmbeddingStore(metric=metric, dtype=dtype)
    ids = [f"id {row} \U0001f642"[: 5 + row % 4] + str(row) for row in range(ROWS)] if kind == "str" else None
    beside = {"texts": [f"ß {row}" * (row % 3) for row in range(ROWS)], "metadata": columns(ROWS)}
    given = store.add_embeddings(vectors, ids, **(beside if kind in ("int64", "str") else {}))
    if deleted:
        store.delete(np.random.default_rng(1).choice(given, deleted, replace=False))
        # A replaced one is deleted too.
        row = {"texts": ["again"], "metadata": {name: values[:1] for name, values in columns(1).items()}}
        store.add_embeddings(-vectors[:1], store.ids[5:6].tolist(), **(row if kind in ("int64", "str") else {}))
    store.save_to_disk(folder)
    opened = EmbeddingStore.open(folder, mmap=mmap)
    assert_same(opened, store)
    opened.verify()
    # A store to read can be changed, in memory.
    opened.delete(opened.ids[:1])
    assert len(opened) == len(store) - 1
    assert_same(EmbeddingStore.open(folder, mmap=mmap), store)


def test_numpy_opens_what_was_saved(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors, np.arange(ROWS) * 2, ["é"] * ROWS, {"year": np.arange(ROWS) + 1900})
    store.save_to_disk(folder)
    mapped = np.load(folder / "vectors-1-0.npy", mmap_mode="r")
    np.testing.assert_array_equal(mapped, vectors)
    assert mapped.ctypes.data % 64 == 0
    for name in files(folder):
        assert np.load(folder / name).ndim in (1, 2)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    (segment,) = manifest["segments"]
    np.testing.assert_array_equal(np.load(folder / segment["ids"]), np.arange(ROWS) * 2)
    np.testing.assert_array_equal(np.load(folder / segment["columns"]["year"]["values"]), np.arange(ROWS) + 1900)
    offsets, utf8 = (np.load(folder / segment["columns"]["text"][part]) for part in ("offsets", "bytes"))
    assert bytes(utf8[offsets[3] : offsets[4]]).decode() == "é"
    assert manifest["format_version"] == 3


@pytest.mark.parametrize("options", [{}, {"dimension": 7}, {"dtype": "int8", "metric": "l2"}])
def test_an_empty_store_can_be_saved(folder: Path, options: dict[str, Any]) -> None:
    store = EmbeddingStore(**options)
    store.save_to_disk(folder)
    for mmap in (True, False):
        opened = EmbeddingStore.open(folder, mmap=mmap)
        assert (len(opened), opened.dimension) == (0, store.dimension)
        assert (opened.metric, opened.dtype) == (store.metric, store.dtype)
    with EmbeddingStore.open(folder, "a") as opened:
        opened.verify()
        opened.add_embeddings(np.ones((2, 7)))
    assert len(EmbeddingStore.open(folder)) == 2
    with EmbeddingStore.open(folder, "a") as opened:
        opened.clear()
    assert len(EmbeddingStore.open(folder)) == 0


def test_a_commit_writes_new_rows_and_what_is_deleted_and_nothing_else(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    before = {name: (folder / name).stat() for name in files(folder)}
    with EmbeddingStore.open(folder, "a") as opened:
        for target in (store, opened):
            target.add_embeddings(-vectors[:10], ids=np.arange(195, 205))
            target.delete([7, 8])
    after = {name: (folder / name).stat() for name in files(folder)}
    assert {name: after[name].st_mtime_ns for name in before} == {name: s.st_mtime_ns for name, s in before.items()}
    assert len(np.load(folder / "segment-2-0.npz")["vectors"]) == 10
    bits = np.unpackbits(np.load(folder / "deleted-2-0.npy"), bitorder="little")
    np.testing.assert_array_equal(np.flatnonzero(bits), [7, 8, 195, 196, 197, 198, 199])
    assert len(after) == len(before) + 2
    assert_same(EmbeddingStore.open(folder, mmap=False), store)
    # A segment of which no row is left is.
    with EmbeddingStore.open(folder, "a") as opened:
        for target in (store, opened):
            target.delete(np.setdiff1d(np.arange(195), [7, 8]))
            target.add_embeddings(vectors[:1])
    assert not {name for name in files(folder) if name.startswith(("vectors-1", "codes-1", "bounds-1", "coarse-1"))}
    assert_same(EmbeddingStore.open(folder, mmap=False), store)
    EmbeddingStore.open(folder).verify()
    # Compacted, there is one.
    with EmbeddingStore.open(folder, "a") as opened:
        opened.compact()
    assert [name for name in files(folder) if name.startswith("vectors")] == ["vectors-4-0.npy"]
    assert_same(EmbeddingStore.open(folder, mmap=False), store)


def test_compact_joins_the_rows_of_many_commits(vectors: np.ndarray, folder: Path) -> None:
    EmbeddingStore().save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as store:
        for row in range(5):
            store.add_embeddings(vectors[row])
            store.commit()
        # Four of one row were merged by the fourth.
        manifest = json.loads((folder / "MANIFEST.json").read_text())
        assert [segment["rows"] for segment in manifest["segments"]] == [4, 1]
        # In memory they are in one piece already.
        assert not isinstance(store.vectors, list)
        for _ in range(2):
            store.compact()
            store.commit()
            assert [name for name in files(folder) if name.startswith("vectors")] == ["vectors-7-0.npy"]
    assert_same(EmbeddingStore.open(folder), store)


def test_rows_that_came_and_went_between_commits_have_no_vectors(vectors: np.ndarray, folder: Path) -> None:
    EmbeddingStore(dimension=DIMENSION).save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as store:
        first = store.add_embeddings(np.tile(vectors, (50, 1)))
        store.add_embeddings(np.tile(-vectors, (50, 1)))
        store.delete(first)
    assert_same(EmbeddingStore.open(folder, mmap=False), store)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert [("vectors" in segment, segment["rows"]) for segment in manifest["segments"]] == [
        (False, 50 * ROWS),
        (True, 50 * ROWS),
    ]


def test_a_commit_without_changes_writes_nothing(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as opened:
        opened.commit()
        opened.add_embeddings(vectors[:0])
    assert generation(folder) == 1


def test_many_commits(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as opened:
        for row in range(50):
            for target in (store, opened):
                target.add_embeddings(vectors[row], ids=[row % 30], texts=[str(row)], metadata={"n": ["x" * row]})
            opened.commit()
    opened = EmbeddingStore.open(folder)
    np.testing.assert_array_equal(opened.ids, store.ids)
    assert opened.texts == store.texts
    np.testing.assert_array_equal(opened.metadata["n"], store.metadata["n"])
    np.testing.assert_array_equal(opened.get(opened.ids), store.get(store.ids))


@pytest.mark.parametrize("mmap", [True, False])
def test_numbers_of_deleted_rows_are_not_given_again(vectors: np.ndarray, folder: Path, mmap: bool) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.delete(ROWS - 1)
    store.save_to_disk(folder)
    assert EmbeddingStore.load_from_disk(folder, mmap=mmap).add_embeddings(vectors[0]).tolist() == [ROWS]
    with EmbeddingStore.open(folder, "a", mmap=mmap) as opened:
        opened.delete(opened.ids)
        opened.compact()
    assert EmbeddingStore.load_from_disk(folder, mmap=mmap).add_embeddings(vectors[0]).tolist() == [ROWS]


def test_a_store_is_saved_over_the_one_that_it_is_mapped_from(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.tile(vectors, (100, 1)))
    store.save_to_disk(folder)
    opened, reader = EmbeddingStore.open(folder), EmbeddingStore.open(folder)
    view = opened.vectors
    opened.delete(np.arange(50))
    opened.save_to_disk(folder)
    assert generation(folder) == 2
    # Those who have the files of before go on.
    assert_same(reader, store)
    np.testing.assert_array_equal(view, store.vectors)
    store.delete(np.arange(50))
    assert_same(opened, store)
    assert_same(EmbeddingStore.open(folder), store)


def test_saving_where_the_store_is_open_for_writing_commits(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as opened:
        opened.add_embeddings(vectors[0])
        opened.save_to_disk(folder / ".." / folder.name)
        assert len(EmbeddingStore.open(folder)) == ROWS + 1
        opened.save_to_disk(folder.with_name("copy"))
        opened.add_embeddings(vectors[0])
    assert len(EmbeddingStore.open(folder)) == ROWS + 2
    assert len(EmbeddingStore.open(folder.with_name("copy"))) == ROWS + 1


def test_loading_replaces_all_that_a_store_holds(vectors: np.ndarray, folder: Path) -> None:
    saved = EmbeddingStore(metric="dot", dtype="float16")
    saved.add_embeddings(vectors, texts=["t"] * ROWS)
    saved.save_to_disk(folder)
    store = EmbeddingStore(num_threads=1, dimension=3)
    store.add_embeddings(np.ones((5, 3)), metadata={"a": range(5)})
    store.load_from_disk(folder)
    assert_same(store, saved)
    assert store.num_threads == 1
    store.clear()
    assert (store.metric, store.dtype) == ("dot", "float16")
    store.load_from_disk(str(folder), mmap=False)
    assert_same(store, saved)
    with pytest.raises(FileNotFoundError):
        store.load_from_disk(folder / "nothing")
    assert_same(store, saved)


def test_without_a_commit_nothing_is_written(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    opened = EmbeddingStore.open(folder, "a")
    opened.add_embeddings(vectors)
    with pytest.warns(ResourceWarning, match=f"{folder}: {ROWS} rows that were added to the store and not committed"):
        opened.close()
    opened.close()
    assert len(opened) == 2 * ROWS
    with pytest.raises(KeyError), EmbeddingStore.open(folder, "a") as opened:
        opened.delete([0, ROWS])
    with EmbeddingStore.open(folder) as opened:
        opened.clear()
    assert_same(EmbeddingStore.open(folder), store)
    assert generation(folder) == 1


def test_commit_needs_a_store_that_is_open_for_writing(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    for _ in range(2):
        with pytest.raises(StoreError, match="commit: not open for writing; EmbeddingStore"):
            store.commit()
        store.save_to_disk(folder)
    with pytest.raises(StoreError, match="commit: not open"):
        EmbeddingStore.open(folder).commit()
    with EmbeddingStore.open(folder, "a") as opened:
        opened.close()
        with pytest.raises(StoreError, match="commit: not open"):
            opened.commit()


def test_verify_needs_a_folder(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    with pytest.raises(StoreError, match="verify: the store is not on disk"):
        store.verify()
    store.save_to_disk(folder)
    store.verify()
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        store.verify()


def test_memory_is_limited_without_mmap(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.tile(vectors, (50, 1)))
    store.save_to_disk(folder)
    with pytest.raises(StoreError, match=r"max_memory_gb: .* holds 0.00\d+ GB, more than the limit of 0.001 GB"):
        EmbeddingStore.open(folder, mmap=False, max_memory_gb=0.001)
    mapped = EmbeddingStore.open(folder, max_memory_gb=0.001)
    assert mapped.memory_usage()["total"] < 1e5 < mapped.memory_usage()["mapped"]
    read = EmbeddingStore.open(folder, mmap=False)
    assert read.memory_usage()["total"] > 1e6
    assert read.memory_usage()["mapped"] == 0


def test_a_spilled_store_can_be_saved(vectors: np.ndarray, folder: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    store = EmbeddingStore(max_memory_gb=1e-5, spill_to=spill)
    store.add_embeddings(vectors)
    assert store.memory_usage()["mapped"] > 0
    store.save_to_disk(folder)
    assert_same(EmbeddingStore.open(folder, mmap=False), store)
    with EmbeddingStore.open(folder, "a", max_memory_gb=1e-5, spill_to=spill) as opened:
        opened.add_embeddings(vectors)
    assert len(EmbeddingStore.open(folder)) == 2 * ROWS
