"""A store's folder after crashes, power failures and errors: what was committed is there, and nothing by halves."""

import errno
import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import FailingDisk, Power, QuickDisk, RecordingDisk
from votive import EmbeddingStore, StoreError
from votive._store import folder as _folder
from votive._store import writer as _writer
from votive._store.directory import Directory
from votive._store.manifest import Manifest

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

State = dict[str, Any] | None

# Forking beside threads is warned of: NumPy shall have none.
ALONE = {"OPENBLAS_NUM_THREADS": "1"}


def vector(id: int) -> np.ndarray:
    """That of a row, told by its id alone."""
    return np.random.default_rng(abs(2 * id + (id < 0))).standard_normal(5, np.float32)


def rows(ids: range) -> dict[str, Any]:
    """Rows to be added."""
    return {
        "vectors": np.stack([vector(id) for id in ids]),
        "ids": np.array(ids),
        "texts": [f"text {id}" for id in ids],
        "metadata": {"parity": np.array(ids) % 2},
    }


def state(folder: Path) -> State:
    """What a folder holds; None for no store."""
    try:
        store = EmbeddingStore.open(folder, mmap=False, num_threads=1)
    except FileNotFoundError:
        return None
    # Whose text begins with "other" has the vector of another id.
    expected = [
        vector(-id if (text or "").startswith("other") else id) for id, text in zip(store, store.texts, strict=True)
    ]
    assert np.array_equal(store.get(store.ids), expected if len(store) else store.get([]))
    return {
        "generation": generation(folder),
        "ids": store.ids.tolist(),
        "texts": store.texts,
        **{name: column.tolist() for name, column in store.metadata.items()},
    }


def manifest(path: Path) -> Manifest:
    """That of a folder with a store."""
    with Directory(path) as folder:
        return _folder.read_manifest(folder)


def generation(folder: Path) -> int:
    """The number of commits to a folder."""
    return manifest(folder).generation if (folder / "MANIFEST.json").exists() else 0


def left(folder: Path) -> set[str]:
    """Files of the folder that its manifest does not name."""
    return set(os.listdir(folder)) - {"LOCK", "MANIFEST.json", *manifest(folder).files}


def save_first(folder: Path) -> None:
    """To a folder that is in one that is not there either."""
    store = EmbeddingStore(num_threads=1)
    store.add_embeddings(**rows(range(4)))
    store.save_to_disk(folder)


def save_again(folder: Path) -> None:
    """Over another store."""
    store = EmbeddingStore(num_threads=1)
    store.add_embeddings(**rows(range(20, 23)))
    store.delete(21)
    store.save_to_disk(folder)


def save_over_itself(folder: Path) -> None:
    """To where it is mapped from."""
    store = EmbeddingStore.open(folder, num_threads=1)
    with pytest.warns(UserWarning, match="mode='r'"):
        store.add_embeddings(**rows(range(20, 21)))
    store.delete(0)
    store.save_to_disk(folder)


def add(folder: Path) -> None:
    """And commit."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.add_embeddings(**rows(range(3, 7)))


def delete(folder: Path) -> None:
    """All rows of a segment and some others, and commit."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.delete([2, 4, 5])


def compact(folder: Path) -> None:
    """And commit."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.compact()


def add_twice(folder: Path) -> None:
    """With a commit after each."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.add_embeddings(**rows(range(30, 31)))
        store.commit()
        store.add_embeddings(**rows(range(31, 32)))


def update(folder: Path) -> None:
    """Values of rows of both segments, some to null, some of a column that is new, and commit."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.update([0, 4, 5], texts=["new", None, ""], metadata={"parity": [7, None, 9], "name": ["ä", None, "b"]})
        store.update(filter={"id": 3}, metadata={"parity": None, "tags": [3, {"a": None}]})


def upsert(folder: Path) -> None:
    """A row that is there and one that is new, and commit."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        vectors = np.stack([vector(-3), vector(-50)])
        store.upsert(vectors, [3, 50], ["other 3", "other 50"], {"parity": [None, 5]})


def delete_by_filter(folder: Path) -> None:
    """And commit."""
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        assert store.delete(filter={"parity": 0}) == 3


def merge_segments(folder: Path) -> None:
    """A commit that writes anew the small segments before it, of which a row is deleted and one is changed."""
    before = len(manifest(folder).segments)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.add_embeddings(**rows(range(70, 71)))
        store.delete(61)
        store.update(60, texts="new", metadata={"parity": None})
    assert len(manifest(folder).segments) < before


def merge_changes(folder: Path) -> None:
    """A commit that writes anew the sets of changes before it."""
    before = len(manifest(folder).changes)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.update([2, 3], texts=[None, "last"], metadata={"parity": [None, 8]})
    assert len(manifest(folder).changes) < before


ACTIONS = [
    *(save_first, save_again, save_over_itself, add, delete, compact, add_twice),
    *(update, upsert, delete_by_filter, merge_segments, merge_changes),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet, nor the one that it would be in."""
    return tmp_path / "stores" / "one"


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> RecordingDisk:
    """The disk of all writers."""
    disk = RecordingDisk()
    monkeypatch.setattr(_writer, "DISK", disk)
    return disk


def fails(action: Callable[[Path], None], folder: Path) -> bool:
    """Whether an action comes upon a disk that is full; the error says where."""
    try:
        action(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC or not str(error.filename).startswith(str(folder.parent.parent)):
            raise
        return True
    return False


def begin(folder: Path, action: Callable[[Path], None]) -> None:
    """A folder for an action to change: two segments with a deleted row, and what it merges; none for `save_first`."""
    if action is save_first:
        return
    store = EmbeddingStore(num_threads=1)
    store.add_embeddings(**rows(range(4)))
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.add_embeddings(**rows(range(4, 6)))
        store.delete(1)
        for id in range(60, 62) if action is merge_segments else ():
            store.commit()
            store.add_embeddings(**rows(range(id, id + 1)))
        for id in (0, 2, 4) if action is merge_changes else ():
            store.commit()
            store.update(id, texts=f"changed {id}", metadata={"parity": id + 10})


def between(folder: Path, action: Callable[[Path], None]) -> list[State]:
    """The states that an action goes through."""
    before = state(folder)
    states = [before]
    commit = EmbeddingStore.commit

    def noted(store: EmbeddingStore) -> None:
        commit(store)
        states.append(state(folder))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingStore, "commit", noted)
        action(folder)
    return [*states, state(folder)]


@pytest.mark.parametrize("action", ACTIONS)
def test_after_a_power_failure_a_folder_holds_what_it_held_before_or_after(
    folder: Path, tmp_path: Path, recorder: RecordingDisk, action: Callable[[Path], None]
) -> None:
    begin(folder, action)
    power = Power.of(tmp_path)
    recorder.log.clear()
    states = between(folder, action)
    log = list(recorder.log)
    assert {"create", "write", "sync", "sync_folder", "replace"} <= {operation[0] for operation in log}
    rng = random.Random(6)
    # What each possible folder holds.
    seen: dict[tuple[Any, ...], int] = {}
    for stop in range(len(log) + 1):
        if stop:
            power.apply(stop - 1, log[stop - 1])
        last = set()
        for files in power.failures(rng, 5):
            key = tuple(sorted(files.items(), key=str))
            if key in seen:
                last.add(seen[key])
                continue
            power.materialise(files)
            found = state(folder)
            assert found in states, f"after {stop} of {len(log)}: {log[stop - 1]}"
            seen[key] = states.index(found)
            last.add(seen[key])
            # And it can be written to.
            if found is None:
                save_again(folder)
                assert state(folder)["ids"] == [20, 22]
            else:
                with EmbeddingStore.open(folder, "a", num_threads=1) as store:
                    store.add_embeddings(**rows(range(40, 42)))
                assert state(folder)["ids"] == [*found["ids"], 40, 41]
            assert left(folder) == set()
    assert set(seen.values()) == {states.index(each) for each in states}
    # What is committed is not lost: after all of it there is one answer.
    assert last == {states.index(states[-1])}


@pytest.mark.parametrize("on", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("action", ACTIONS)
def test_after_an_error_of_the_disk_a_folder_holds_what_it_held_before_or_after(
    folder: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[Path], None], on: bool
) -> None:
    begin(folder, action)
    action(folder)
    outcomes, expected = set(), state(folder)
    for at in range(1000):
        monkeypatch.setattr(_writer, "DISK", QuickDisk())
        each = folder.parent.parent / str(at) / folder.name
        begin(each, action)
        before = generation(each)
        disk = FailingDisk(at, on=on)
        monkeypatch.setattr(_writer, "DISK", disk)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raised = fails(action, each)
        monkeypatch.setattr(_writer, "DISK", QuickDisk())
        assert all("power failure" in str(warning.message) for warning in caught)
        undone = generation(each) == before
        outcomes.add((raised, bool(caught), undone))
        # Without an error it was done, and with one it was not, unless a first part was.
        assert raised or not undone
        assert not raised or undone or action is add_twice
        if undone:
            action(each)
        assert undone or raised or state(each) == expected
        with EmbeddingStore.open(each, "a", num_threads=1) as store:
            assert store.ids.tolist() == expected["ids"] or raised
        assert left(each) == set()
        if disk.left >= 0:
            break
    assert {(True, False, True), (False, False, False), (False, True, False)} <= outcomes


def test_after_an_error_of_the_disk_a_commit_can_be_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FailingDisk(1 << 30)
    monkeypatch.setattr(_writer, "DISK", disk)
    begin(folder, add)
    store = EmbeddingStore.open(folder, "a", num_threads=1)
    errors = 0
    for at in range(1000):
        before = state(folder)
        store.add_embeddings(**rows(range(100 + at, 101 + at)))
        disk.left = at
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            try:
                store.commit()
            except OSError:
                errors += 1
                assert state(folder) == before
        done, disk.left = disk.left >= 0, 1 << 30
        store.commit()
        assert state(folder)["ids"] == store.ids.tolist()
        if done:
            break
    store.verify()
    store.close()
    EmbeddingStore.open(folder, "a", num_threads=1).close()
    assert left(folder) == set()
    assert errors > 10


def test_after_an_interrupt_around_the_renaming_nothing_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(QuickDisk):
        when = ""

        def replace(self, folder: Directory, source: str, target: str) -> None:
            if self.when == "before":
                raise KeyboardInterrupt
            super().replace(folder, source, target)
            if self.when == "after":
                raise KeyboardInterrupt

    disk = Interrupted()
    monkeypatch.setattr(_writer, "DISK", disk)
    begin(folder, add)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        for id, disk.when in enumerate(["before", "after"] * 2, 100):
            store.add_embeddings(**rows(range(id, id + 1)))
            with pytest.raises(KeyboardInterrupt):
                store.commit()
            assert (id in state(folder)["ids"]) == (disk.when == "after")
            disk.when = ""
            store.add_embeddings(**rows(range(id + 10, id + 11)))
            store.commit()
            assert state(folder)["ids"] == store.ids.tolist()
            assert left(folder) == set()


@posix
def test_a_file_size_limit_leaves_what_was_committed(folder: Path, run_python: Callable[..., str]) -> None:
    begin(folder, add)
    before = state(folder)
    code = """
import resource, sys
import numpy as np
from votive import EmbeddingStore
store = EmbeddingStore.open(sys.argv[1], "a")
vectors = np.ones((10_000, 5), np.float32)
store.add_embeddings(vectors, texts=[""] * 10_000, metadata={"parity": np.zeros(10_000, np.int64)})
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    store.commit()
except OSError as error:
    print(error)
"""
    assert str(folder / "segment-3-0.npz") in run_python(code, str(folder))
    assert state(folder) == before
    assert left(folder) == set()


KILLED = '''
"""Forks writers, one after the other, and kills each at some moment; the next one looks at what is left."""
import os, random, select, signal, sys, time
import numpy as np
from votive import EmbeddingStore
from votive._store import writer as _writer
sys.path.insert(0, sys.argv[2])
from power import QuickDisk
_writer.DISK = QuickDisk()

def rows(first):
    """What a commit adds."""
    return {"vectors": np.full((2, 3), [[first], [first + 1]], np.float32), "ids": np.array([first, first + 1]),
            "texts": [str(first), str(first + 1)]}

def check(store, done):
    """Commit number `n` adds two rows and deletes the one with id `n`."""
    ids = store.ids
    n = (int(ids[-1]) + 1) // 2 - 1
    assert n >= done, f"{done} commits were made, {n} are there"
    assert ids.tolist() == list(range(n + 1, 2 * n + 2)), (n, ids)
    assert (store.get(ids) == ids[:, None]).all() and store.texts == [str(id) for id in ids]
    return n

def write(folder, done, pipe):
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        n = check(store, done)
        if n % 10 == 0:
            store.verify()
        while True:
            os.write(pipe, f"{n}\\n".encode())
            n += 1
            store.add_embeddings(**rows(2 * n))
            store.delete(n)
            if n % 7 == 0:
                store.compact()
            store.commit()

folder, rng, done, least = sys.argv[1], random.Random(6), 0, 0
store = EmbeddingStore(num_threads=1)
store.add_embeddings(**rows(0))
store.delete(0)
store.save_to_disk(folder)
del store
for kill in range(int(sys.argv[3])):
    reader, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write(folder, done, pipe)
        except BaseException as error:
            os.write(pipe, f"failed {error!r}\\n".encode())
        os._exit(1)
    os.close(pipe)
    told = os.read(reader, 1 << 16)
    time.sleep(rng.random() * 0.012)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reader, 1 << 16):
        told += more
    os.close(reader)
    assert b"failed" not in told, told
    before, done = done, int(told.split()[-1])
    least += done > before
print(kill + 1, done, least)
'''


@posix
def test_a_killed_writer_loses_nothing_that_it_committed(folder: Path, run_python: Callable[..., str]) -> None:
    folder.parent.mkdir()
    kills, commits, busy = map(int, run_python(KILLED, str(folder), str(Path(__file__).parent), "200", **ALONE).split())
    assert kills == 200
    assert commits > busy > 50
    # The lock of the last one is gone with it.
    with EmbeddingStore.open(folder, "a") as store:
        store.verify()
    assert left(folder) == set()


@posix
def test_a_fork_does_not_inherit_the_right_to_write(folder: Path, run_python: Callable[..., str]) -> None:
    begin(folder, add)
    code = """
import os, sys
from votive import EmbeddingStore, StoreError
store = EmbeddingStore.open(sys.argv[1], "a", num_threads=1)
child = os.fork()
if child == 0:
    try:
        store.delete(0)
        store.commit()
    except StoreError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
store.delete(2)
store.commit()
"""
    printed = run_python(code, str(folder), **ALONE)
    assert str(folder) in printed
    assert "fork" in printed
    assert state(folder)["ids"] == [0, 3, 4, 5]


def test_a_writer_that_was_not_closed_leaves_with_its_store(folder: Path) -> None:
    begin(folder, add)
    store = EmbeddingStore.open(folder, "a")
    with pytest.raises(StoreError, match="another writer"):
        EmbeddingStore.open(folder, "a")
    del store
    EmbeddingStore.open(folder, "a").close()
