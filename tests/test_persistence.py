"""Stores on disk: what is saved is what is opened, and who may write when."""

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import QuickDisk
from votive import CorruptStoreError, EmbeddingStore, StoreError, VotiveError, _folder

ROWS, DIMENSION = 200, 20

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((ROWS, DIMENSION), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where there is nothing yet."""
    return tmp_path / "store"


def columns(rows: int) -> dict[str, np.ndarray]:
    """A column of every type."""
    numbers = np.arange(rows)
    return {
        "flag": numbers % 3 == 0,
        "small": numbers.astype(np.uint8),
        "half": numbers.astype(np.float16),
        "exact": numbers / 7,
        "name": np.array([f"näme {i}"[: i % 7] for i in numbers], "U6"),
        "raw": np.array([bytes([65 + i % 26]) for i in numbers]),
        "day": numbers.astype("datetime64[D]"),
        "when": numbers.astype("datetime64[25s]"),
        "über / ..\n": numbers,
    }


def seen(store: EmbeddingStore) -> dict[str, Any]:
    """All that a store shows of its rows."""
    return {
        "vectors": np.concatenate(store.vectors) if isinstance(store.vectors, list) else store.vectors,
        "taken": store.get(store.ids),
        "ids": store.ids,
        "texts": np.array(store.texts),
        **store.metadata,
    }


def assert_same(found: EmbeddingStore, expected: EmbeddingStore) -> None:
    """The same rows, and the same answers."""
    assert (found.dimension, found.metric, found.dtype) == (expected.dimension, expected.metric, expected.dtype)
    values = seen(expected)
    assert seen(found).keys() == values.keys()
    for name, value in seen(found).items():
        assert value.dtype == values[name].dtype, name
        np.testing.assert_array_equal(value, values[name], err_msg=name)
    if found.dimension is not None:
        queries = np.random.default_rng(9).standard_normal((3, found.dimension), np.float32)
        for answer, right in zip(found.search(queries, 10), expected.search(queries, 10), strict=True):
            np.testing.assert_array_equal(answer, right)


def files(folder: Path) -> list[str]:
    """Those with arrays."""
    return sorted(name for name in os.listdir(folder) if name not in ("LOCK", "MANIFEST.json"))


def generation(folder: Path) -> int:
    return json.loads((folder / "MANIFEST.json").read_text())["generation"]


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
    np.testing.assert_array_equal(np.load(folder / segment["columns"]["year"]), np.arange(ROWS) + 1900)
    offsets, utf8 = np.load(folder / segment["texts_offsets"]), np.load(folder / segment["texts_bytes"])
    assert bytes(utf8[offsets[3] : offsets[4]]).decode() == "é"
    assert manifest["format_version"] == 1


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
    assert len(np.load(folder / "vectors-2-0.npy")) == 10
    np.testing.assert_array_equal(np.load(folder / "deleted-2-0.npy"), [7, 8, 195, 196, 197, 198, 199])
    assert len(after) == len(before) + 5
    assert_same(EmbeddingStore.open(folder, mmap=False), store)
    # A segment of which no row is left is.
    with EmbeddingStore.open(folder, "a") as opened:
        for target in (store, opened):
            target.delete(np.setdiff1d(np.arange(195), [7, 8]))
            target.add_embeddings(vectors[:1])
    assert not {name for name in files(folder) if name.startswith(("vectors-1", "codes-1", "bounds-1"))}
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
        assert len([name for name in files(folder) if name.startswith("vectors")]) == 5
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
    names = [name for name in files(folder) if name.startswith("vectors")]
    assert [len(np.load(folder / name)) for name in names] == [50 * ROWS]


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
    assert EmbeddingStore.open(folder, mmap=mmap).add_embeddings(vectors[0]).tolist() == [ROWS]
    with EmbeddingStore.open(folder, "a", mmap=mmap) as opened:
        opened.delete(opened.ids)
        opened.compact()
    assert EmbeddingStore.open(folder, mmap=mmap).add_embeddings(vectors[0]).tolist() == [ROWS]


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


def test_one_writer_at_a_time(vectors: np.ndarray, folder: Path, run_python: Callable[..., str]) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    code = """
import sys
from votive import EmbeddingStore, StoreError
for action in (lambda: EmbeddingStore.open(sys.argv[1], "a"), lambda: EmbeddingStore().save_to_disk(sys.argv[1])):
    try:
        action()
    except StoreError as error:
        print(error)
print(len(EmbeddingStore.open(sys.argv[1])))
"""
    with EmbeddingStore.open(folder, "a"):
        first, second, rows = run_python(code, str(folder)).splitlines()
    for message in (first, second):
        assert str(folder) in message
        assert "another writer" in message
    assert int(rows) == ROWS
    assert run_python(code, str(folder)).splitlines() == ["0"]


def test_a_lock_that_is_there_already_does_no_harm(vectors: np.ndarray, folder: Path) -> None:
    folder.mkdir()
    (folder / "LOCK").touch()
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    assert_same(EmbeddingStore.open(folder), store)


@pytest.mark.parametrize("mmap", [True, False])
def test_readers_are_not_disturbed_by_a_writer(folder: Path, mmap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folder, "DISK", QuickDisk())
    EmbeddingStore().save_to_disk(folder)
    done = threading.Event()
    commits = 0

    def write() -> None:
        nonlocal commits
        with EmbeddingStore.open(folder, "a", num_threads=1) as store:
            while not done.is_set():
                n = int(store.add_embeddings(np.full((2, 3), commits), texts=["", "x" * commits])[-1])
                store.delete(n - 1)
                if commits % 5 == 0:
                    store.compact()
                store.commit()
                commits += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        last = 0
        while last < 40 and writer.is_alive():
            store = EmbeddingStore.open(folder, mmap=mmap, num_threads=1)
            assert len(store) >= last
            last = len(store)
            assert store.ids.tolist() == list(range(1, 2 * last, 2))
            if last:
                assert (store.get(store.ids) == np.arange(last)[:, None]).all()
                assert [len(text) for text in store.texts] == list(range(last))
    finally:
        done.set()
        writer.join()
    assert last >= 40
    assert len(EmbeddingStore.open(folder)) == commits


def test_rows_are_added_while_others_are_committed(vectors: np.ndarray, folder: Path) -> None:
    EmbeddingStore().save_to_disk(folder)
    store = EmbeddingStore.open(folder, "a")
    failed = []

    def commit() -> None:
        try:
            for _ in range(20):
                store.commit()
                store.save_to_disk(folder)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=commit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for row in range(ROWS):
        store.add_embeddings(vectors[row])
        store.delete([row - 1] if row else [])
    for thread in threads:
        thread.join()
    assert not failed
    store.commit()
    assert_same(EmbeddingStore.open(folder, mmap=False), store)


@pytest.mark.parametrize("wrong", ["text.txt", "vectors-1-0.npy", "folder"])
def test_a_folder_with_other_files_is_left_alone(folder: Path, wrong: str) -> None:
    folder.mkdir()
    (folder / wrong).mkdir() if wrong == "folder" else (folder / wrong).touch()
    with pytest.raises(StoreError, match=f"expected a store, an empty folder or none, found one with '{wrong}' in it"):
        EmbeddingStore().save_to_disk(folder)
    assert os.listdir(folder) == [wrong]
    with pytest.raises(FileNotFoundError, match=r"no store here: it has no MANIFEST.json"):
        EmbeddingStore.open(folder)
    with pytest.raises(FileNotFoundError, match=r"no store here"):
        EmbeddingStore.open(folder, "a")
    assert os.listdir(folder) == [wrong]


def test_other_files_beside_a_store_stay(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    for name in ("README.md", "vectors.npy", "vectors-x-0.npy"):
        (folder / name).touch()
    (folder / "vectors-9-9.npy").touch()
    (folder / f"MANIFEST-{'0' * 32}.tmp").touch()
    store.save_to_disk(folder)
    left = set(os.listdir(folder))
    assert {"README.md", "vectors.npy", "vectors-x-0.npy"} < left
    assert not {"vectors-9-9.npy", f"MANIFEST-{'0' * 32}.tmp"} & left


@pytest.mark.parametrize("mode", ["r", "a"])
def test_what_is_no_folder_with_a_store(folder: Path, mode: str) -> None:
    with pytest.raises(FileNotFoundError, match=str(folder)):
        EmbeddingStore.open(folder, mode)
    folder.touch()
    with pytest.raises(NotADirectoryError, match=str(folder)):
        EmbeddingStore.open(folder, mode)
    with pytest.raises(OSError, match=str(folder)):
        EmbeddingStore().save_to_disk(folder)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"folder": 3}, TypeError, "int"),
        ({"folder": None}, TypeError, "None"),
        ({"mode": "w"}, ValueError, "mode: .*'w'"),
        ({"mode": None}, (TypeError, ValueError), "mode"),
        ({"metric": "dot"}, TypeError, "metric: expected an option of .*num_threads"),
        ({"nonsense": 1}, TypeError, "nonsense"),
        ({"num_threads": 0}, ValueError, "num_threads"),
    ],
)
def test_arguments_of_open(folder: Path, arguments: dict[str, Any], kind: Any, message: str) -> None:
    EmbeddingStore().save_to_disk(folder)
    with pytest.raises(kind, match=message):
        EmbeddingStore.open(**{"folder": folder, **arguments})


def test_a_newer_format_says_so(folder: Path) -> None:
    EmbeddingStore().save_to_disk(folder)
    path = folder / "MANIFEST.json"
    text = path.read_text().replace('"format_version": 1', '"format_version": 2')
    path.write_text(text.replace('"created_by": "votive', '"created_by": "votive 9 or'))
    for action in (
        lambda: EmbeddingStore.open(folder),
        lambda: EmbeddingStore.open(folder, "a"),
        lambda: EmbeddingStore().save_to_disk(folder),
    ):
        with pytest.raises(
            StoreError, match=r"format_version 2, written by 'votive 9 or.*use a newer votive"
        ) as caught:
            action()
        assert not isinstance(caught.value, CorruptStoreError)
        assert isinstance(caught.value, VotiveError)


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


@posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    (folder / "LOCK").chmod(0o400)
    folder.chmod(0o500)
    try:
        assert_same(EmbeddingStore.open(folder), store)
        with pytest.raises(PermissionError, match=str(folder)):
            EmbeddingStore.open(folder, "a")
        with pytest.raises(PermissionError, match=str(folder)):
            store.save_to_disk(folder)
    finally:
        folder.chmod(0o700)


def test_a_store_on_disk_is_pickled_by_its_path(
    vectors: np.ndarray, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.tile(vectors, (10, 1)))
    monkeypatch.chdir(folder.parent)
    store.save_to_disk(folder.name)
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
        assert len(pickle.dumps(opened)) > 100_000
        assert_same(pickle.loads(pickle.dumps(opened)), opened)
        opened.commit()
        assert len(pickle.dumps(opened)) < 1000
        assert_same(pickle.loads(pickle.dumps(opened)), opened)
    with pytest.raises(StoreError, match="was pickled as generation 1, and holds generation 2 by now"):
        pickle.loads(data)


def test_processes_share_a_folder(vectors: np.ndarray, folder: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(_search, (store, vectors[:3])), store.search(vectors[:3], 5)[1])


def _search(store: EmbeddingStore, queries: np.ndarray) -> np.ndarray:
    return store.search(queries, 5)[1]


def test_two_processes_save_to_one_folder(folder: Path) -> None:
    code = """
import sys
import numpy as np
from votive import EmbeddingStore, StoreError
store = EmbeddingStore(num_threads=1)
store.add_embeddings(np.full((int(sys.argv[2]), 3), float(sys.argv[2])))
saved = refused = 0
while saved < 20:
    try:
        store.save_to_disk(sys.argv[1])
        saved += 1
    except StoreError as error:
        assert "another writer" in str(error)
        refused += 1
"""
    command = [sys.executable, "-W", "error", "-c", code, str(folder)]
    writers = [subprocess.Popen([*command, str(rows)], stderr=subprocess.PIPE, text=True) for rows in (3, 4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    assert generation(folder) == 40
    store = EmbeddingStore.open(folder, mmap=False)
    assert len(store) in (3, 4)
    assert (store.vectors == len(store)).all()


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


@posix
def test_opening_leaves_no_descriptors(vectors: np.ndarray, folder: Path, run_python: Callable[..., str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_folder, "DISK", QuickDisk())
        EmbeddingStore().save_to_disk(folder)
        with EmbeddingStore.open(folder, "a") as store:
            for _ in range(60):
                store.add_embeddings(vectors[:2])
                store.commit()
    code = """
import os, resource, sys
from votive import EmbeddingStore
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = EmbeddingStore.open(sys.argv[1])
print(len(store))
"""
    assert run_python(code, str(folder)) == "120\n"
