"""Folders of stores: what may be one, and who may write to it when."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import QuickDisk
from stored import assert_same, files, generation
from votive import CorruptStoreError, EmbeddingStore, StoreError, VotiveError
from votive._store.files import generations as _generations
from votive._store.files import segment_arrays as _segment_arrays
from votive._store.files import writer as _writer

ROWS, DIMENSION = 200, 20

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((ROWS, DIMENSION), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where there is nothing yet."""
    return tmp_path / "store"


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
    monkeypatch.setattr(_writer, "DISK", QuickDisk())
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
        ({"metric": "dot"}, TypeError, "unexpected keyword argument 'metric'"),
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
    text = path.read_text().replace('"format_version": 3', '"format_version": 4')
    path.write_text(text.replace('"created_by": "votive', '"created_by": "votive 9 or'))
    for action in (
        lambda: EmbeddingStore.open(folder),
        lambda: EmbeddingStore.open(folder, "a"),
        lambda: EmbeddingStore().save_to_disk(folder),
    ):
        with pytest.raises(
            StoreError, match=r"format_version 4, written by 'votive 9 or.*use a newer votive"
        ) as caught:
            action()
        assert not isinstance(caught.value, CorruptStoreError)
        assert isinstance(caught.value, VotiveError)


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


def test_processes_share_a_folder(vectors: np.ndarray, folder: Path, run_python: Callable[..., str]) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    code = """
import pickle, sys
store, queries = pickle.loads(bytes.fromhex(sys.argv[1]))
print(store.search(queries, 5)[1].tolist())
"""
    found = run_python(code, pickle.dumps((store, vectors[:3])).hex())
    assert found.strip() == str(store.search(vectors[:3], 5)[1].tolist())


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


@posix
def test_open_stores_keep_no_descriptors(vectors: np.ndarray, folder: Path, run_python: Callable[..., str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_writer, "DISK", QuickDisk())
        patch.setattr(_segment_arrays, "MAX_ARCHIVE_BYTES", 0)
        patch.setattr(_generations, "merged_runs", lambda sizes, new: 0)
        EmbeddingStore().save_to_disk(folder)
        with EmbeddingStore.open(folder, "a") as store:
            for _ in range(60):
                store.add_embeddings(vectors[:2])
                store.commit()
    code = """
import resource, sys
from votive import EmbeddingStore
from votive._store.files import folder as _folder
_folder.MIN_MAPPED_BYTES = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = EmbeddingStore.open(sys.argv[1])
store.search(store.get(0), 3)
store.verify()
print(len(store))
"""
    assert len(files(folder)) > 200
    for min_mapped_bytes in ("0", "65536"):
        assert run_python(code, str(folder), min_mapped_bytes) == "120\n"


@pytest.mark.parametrize("path", ["", b""])
def test_an_empty_path_is_not_the_working_folder(
    vectors: np.ndarray, folder: Path, monkeypatch: pytest.MonkeyPatch, path: Any
) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.save_to_disk(folder)
    monkeypatch.chdir(folder)
    for action in (
        lambda: EmbeddingStore().save_to_disk(path),
        lambda: store.load_from_disk(path),
        lambda: EmbeddingStore.open(path),
        lambda: EmbeddingStore.open(path, "a"),
    ):
        with pytest.raises(ValueError, match=r"folder: expected a path, found b?''; '\.' is the working folder"):
            action()
    assert_same(EmbeddingStore.open("."), store)
    with pytest.raises(NotADirectoryError, match="spill_to: expected a folder"):
        EmbeddingStore(spill_to=path)
