"""A writer whose folder was moved, removed or replaced: it writes into no other, and two never write into one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stored import MANIFEST
from votive import EmbeddingStore, StoreError
from votive._store.files import folder as _folder
from votive._store.files import writer as _writer
from votive._store.files.directory import Directory
from votive._store.files.disk import Disk
from votive._store.files.lock import LOCK, Lock
from votive._store.files.manifest import is_store_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody move or remove what is open")

# Rows of the store that is opened, and of the one that takes its place.
OLD, NEW = 99, 5000


def save(folder: Path, rows: int) -> None:
    """A store whose vectors say how many rows it has."""
    store = EmbeddingStore(num_threads=1)
    store.add_embeddings(np.full((rows, 3), rows, np.float32), texts=[str(rows)] * rows)
    store.save_to_disk(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """All files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def replace(folder: Path) -> None:
    """Renames it away, and puts another in its place."""
    folder.rename(folder.with_name("old"))
    save(folder, NEW)


def save_anew(folder: Path) -> None:
    shutil.rmtree(folder)
    save(folder, NEW)


def copy_over(folder: Path) -> None:
    """As a backup is brought back, file by file."""
    other = folder.with_name("other")
    save(other, NEW)
    shutil.copytree(other, folder, dirs_exist_ok=True)


def copy_instead(folder: Path) -> None:
    """Of the same rows, so that the manifest is the same to the byte."""
    folder.rename(folder.with_name("old"))
    shutil.copytree(folder.with_name("old"), folder)


def relink(folder: Path) -> None:
    """Leads the path of the folder elsewhere."""
    folder.rename(folder.with_name("old"))
    save(folder.with_name("new"), NEW)
    folder.symlink_to("new")


def commit_by_hand(folder: Path) -> None:
    """As a program that heeds no lock, of the folder alone."""
    (folder / LOCK).rename(folder / "hidden")
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    with EmbeddingStore.open(other, "a", num_threads=1) as store:
        store.add_embeddings(np.ones((1, 3)), texts=["by hand"])
    shutil.copytree(other, folder, dirs_exist_ok=True)
    (folder / "hidden").rename(folder / LOCK)


def remove_lock(folder: Path) -> None:
    (folder / LOCK).unlink()


def renew_lock(folder: Path) -> None:
    (folder / LOCK).unlink()
    (folder / LOCK).touch()


def move(folder: Path) -> None:
    folder.rename(folder.with_name("old"))


CHANGES: dict[Callable[[Path], None], str] = {
    replace: "the folder is another one",
    save_anew: "the folder is another one",
    copy_over: f"{MANIFEST} is not the one",
    copy_instead: "the folder is another one",
    relink: "the folder is another one",
    commit_by_hand: f"{MANIFEST} is not the one",
    remove_lock: f"{LOCK} is not the file",
    renew_lock: f"{LOCK} is not the file",
    move: "the folder is not there",
    shutil.rmtree: "the folder is not there",
}


def add(store: EmbeddingStore) -> None:
    store.add_embeddings(np.zeros((2, 3)), texts=["added"] * 2)


def compact(store: EmbeddingStore) -> None:
    store.delete(0)
    store.compact()


def clear(store: EmbeddingStore) -> None:
    store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    save(path, OLD)
    return path


def commit(store: EmbeddingStore, folder: Path) -> None:
    store.commit()


def save_over_itself(store: EmbeddingStore, folder: Path) -> None:
    store.save_to_disk(folder)


def leave(store: EmbeddingStore, folder: Path) -> None:
    """At the end of a with block, which commits, and closes whatever comes."""
    with store:
        pass


@pytest.mark.filterwarnings("ignore:.*not committed:ResourceWarning")
@pytest.mark.parametrize("end", [commit, save_over_itself, leave], ids=lambda end: end.__name__)
@pytest.mark.parametrize("work", [add, compact, clear], ids=lambda work: work.__name__)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_writer_writes_into_no_other_folder(
    folder: Path,
    change: Callable[[Path], None],
    work: Callable[[EmbeddingStore], None],
    end: Callable[[EmbeddingStore, Path], None],
) -> None:
    store = EmbeddingStore.open(folder, "a", num_threads=1)
    change(folder)
    there = {path: contents(path) for path in folder.parent.iterdir()}
    work(store)
    rows = len(store)
    for _ in range(1 if end is leave else 2):
        with pytest.raises(StoreError, match=f"{folder}: {CHANGES[change]}.*nothing was written.*save_to_disk"):
            end(store, folder)
    store.close()
    assert there == {path: contents(path) for path in folder.parent.iterdir()}
    # As the message says.
    store.save_to_disk(folder.parent / "another")
    assert len(EmbeddingStore.open(folder.parent / "another", mmap=False)) == rows


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_folder_that_is_replaced_during_a_commit_stays_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    class Meanwhile(Disk):
        there: dict[Path, dict[str, bytes]] | None = None

        def create(self, opened: Directory, name: str) -> int:
            if name.endswith(".tmp") and self.there is None:
                self.there = {}  # what `change` saves is no concern of this
                change(folder)
                self.there = {path: contents(path) for path in folder.parent.iterdir()}
            return super().create(opened, name)

    monkeypatch.setattr(_writer, "DISK", disk := Meanwhile())
    store = EmbeddingStore.open(folder, "a", num_threads=1)
    compact(store)
    with pytest.raises(StoreError, match=CHANGES[change]):
        store.commit()
    store.close()
    assert disk.there is not None
    for path, files in disk.there.items():
        found = contents(path)
        assert files.items() <= found.items()
        # What this writer left where it was, no manifest names: the next writer removes it.
        assert all(is_store_file(name) for name in found.keys() - files.keys())
    for path in disk.there:
        with EmbeddingStore.open(path, "a") as store:
            assert len(store) in (OLD, OLD + 1, NEW)
            store.verify()


def test_after_a_commit_nothing_is_removed_from_a_folder_that_was_just_put_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meanwhile(Disk):
        def replace(self, opened: Directory, source: str, target: str) -> None:
            super().replace(opened, source, target)
            monkeypatch.setattr(_writer, "DISK", Disk())
            replace(folder)

    monkeypatch.setattr(_writer, "DISK", Meanwhile())
    store = EmbeddingStore.open(folder, "a", num_threads=1)
    compact(store)
    store.commit()
    moved = folder.with_name("old")
    assert len(EmbeddingStore.open(moved, mmap=False)) == OLD - 1
    other = EmbeddingStore.open(folder, mmap=False)
    other.verify()
    assert len(other) == NEW
    with pytest.raises(StoreError, match="the folder is another one"):
        store.save_to_disk(folder)
    store.close()
    # What the commit had no more use for.
    assert (moved / "vectors-1-0.npy").exists()
    EmbeddingStore.open(moved, "a").close()
    assert not (moved / "vectors-1-0.npy").exists()


@pytest.mark.parametrize("change", [remove_lock, renew_lock], ids=lambda change: change.__name__)
def test_removing_the_lock_admits_no_second_writer(folder: Path, change: Callable[[Path], None]) -> None:
    first = EmbeddingStore.open(folder, "a", num_threads=1)
    change(folder)
    for action in (lambda: EmbeddingStore.open(folder, "a"), lambda: EmbeddingStore().save_to_disk(folder)):
        with pytest.raises(StoreError, match="another writer"):
            action()
    add(first)
    with pytest.raises(StoreError, match=f"{LOCK} is not the file"):
        first.commit()
    with pytest.warns(ResourceWarning, match="2 rows that were added"):
        first.close()
    with EmbeddingStore.open(folder, "a") as second:
        add(second)
    assert len(EmbeddingStore.open(folder)) == OLD + 2


def test_where_folders_cannot_be_locked_one_of_two_writers_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(lock: Lock, opened: Directory) -> None:
        number, opened.descriptor = opened.descriptor, None
        try:
            original(lock, opened)
        finally:
            opened.descriptor = number

    original = Lock.__init__
    monkeypatch.setattr(Lock, "__init__", without)
    first = EmbeddingStore.open(folder, "a", num_threads=1)
    with pytest.raises(StoreError, match="another writer"):
        EmbeddingStore.open(folder, "a")
    remove_lock(folder)
    second = EmbeddingStore.open(folder, "a", num_threads=1)
    add(first)
    add(second)
    with pytest.raises(StoreError, match=f"{LOCK} is not the file"):
        first.commit()
    second.commit()
    with pytest.warns(ResourceWarning, match="2 rows that were added"):
        first.close()
    add(second)
    second.commit()
    second.close()
    assert EmbeddingStore.open(folder, mmap=False).texts[OLD:] == ["added"] * 4


def test_a_lock_that_is_replaced_while_it_is_taken_is_taken_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Directory.open
    replaced = 0

    def replacing(self: Directory, name: str, flags: int) -> int:
        nonlocal replaced
        file = opened(self, name, flags)
        if name == LOCK and replaced < 3:
            replaced += 1
            renew_lock(folder)
        return file

    monkeypatch.setattr(Directory, "open", replacing)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        add(store)
    assert replaced == 3
    assert len(EmbeddingStore.open(folder)) == OLD + 2


def test_a_folder_that_was_moved_back_can_be_committed_to(folder: Path) -> None:
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        add(store)
        move(folder)
        with pytest.raises(StoreError, match="the folder is not there"):
            store.commit()
        folder.with_name("old").rename(folder)
        store.commit()
    assert len(EmbeddingStore.open(folder)) == OLD + 2


def test_saving_to_where_the_folder_was_moved_says_so(folder: Path) -> None:
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        move(folder)
        with pytest.raises(StoreError, match="the folder is not there"):
            store.save_to_disk(folder.with_name("old"))
        folder.with_name("old").rename(folder)


def test_a_reader_that_is_opened_while_folders_are_exchanged_reads_one_of_them(folder: Path) -> None:
    other = folder.with_name("other")
    store = EmbeddingStore(num_threads=1)
    store.add_embeddings(np.full((OLD, 3), 7.0, np.float32), texts=["7 "] * OLD)
    store.save_to_disk(other)
    read = _folder.read_manifest

    def exchanged(opened: Directory):
        manifest = read(opened)
        folder.rename(folder.with_name("away"))
        other.rename(folder)
        folder.with_name("away").rename(other)
        return manifest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_folder, "read_manifest", exchanged)
        found = EmbeddingStore.open(folder, num_threads=1)
    assert (found.vectors == OLD).all()
    assert set(found.texts) == {str(OLD)}
