"""Damage to files that are mapped: it is not written anew with a checksum that vouches for it, and errors name it."""

import copy
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import forge, make, seen, setting, use
from votive import CorruptStoreError, EmbeddingStore, _core
from votive._store.files import folder as _folder


@pytest.fixture
def folder(intact: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


@pytest.fixture(autouse=True)
def all_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short files too, which are read otherwise, and their checksums looked at."""
    monkeypatch.setattr(_folder, "MIN_MAPPED_BYTES", 0)


def arrays(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def damage(path: Path, place: int | None = None) -> None:
    """Turns a bit over; in place, as a disk does."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(random.Random(path.name).randrange(128, size) if place is None else place)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))


def compact(store: EmbeddingStore, folder: Path) -> None:
    store.compact()


def save(store: EmbeddingStore, folder: Path) -> None:
    store.save_to_disk(folder.with_name("other"))


def save_over_itself(store: EmbeddingStore, folder: Path) -> None:
    store.save_to_disk(folder)


def pickled(store: EmbeddingStore, folder: Path) -> None:
    pickle.dumps(copy.copy(store))


# Files that are read, and checked, when a store is opened.
CHECKED = ("ids", "deleted")

REWRITES = [compact, save, save_over_itself, pickled]


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)
@pytest.mark.parametrize("reopened", [False, True])
def test_what_is_damaged_is_not_written_anew(
    folder: Path, intact: Path, reopened: bool, rewrite: Callable[[EmbeddingStore, Path], None]
) -> None:
    found = 0
    for path in arrays(folder):
        shutil.copy(intact / path.name, path)
        store = EmbeddingStore.open(folder, num_threads=1)
        damage(path)
        if reopened and not path.name.startswith(CHECKED):
            store = EmbeddingStore.open(folder, num_threads=1)
        before = {each.name: each.read_bytes() for each in folder.iterdir()}
        # But for what is in memory by now.
        if not path.name.startswith(("ids", "deleted")):
            rows = repr(store)
            with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
                rewrite(store, folder)
            assert repr(store) == rows
            assert before == {each.name: each.read_bytes() for each in folder.iterdir()}
            assert not folder.with_name("other").exists()
            found += 1
        del store
        shutil.copy(intact / path.name, path)
    assert found >= 10
    rewrite(EmbeddingStore.open(folder), folder)


def test_a_commit_of_what_was_compacted_checks_what_is_still_mapped(folder: Path) -> None:
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.compact()
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.add_embeddings(
            store.get(store.ids[:1]),
            ["ä900"] if isinstance(store.ids[0], str) else [900],
            ["text"],
            {"name": ["x"], "number": [1]},
        )
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        # Without deleted rows it copies neither texts nor columns.
        store.compact()
        path = next(folder.glob("texts_bytes-3-*.npy"))
        damage(path)
        with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
            store.commit()
        damage(path)
        store.commit()
        store.verify()


def test_ids_and_what_is_deleted_are_checked_when_they_are_opened(folder: Path) -> None:
    names = [path for path in arrays(folder) if path.name.startswith(CHECKED)]
    assert len(names) >= 3
    for path in names:
        for place in (128, 130, path.stat().st_size - 1):
            damage(path, place)
            with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
                EmbeddingStore.open(folder)
            damage(path, place)
    EmbeddingStore.open(folder).verify()


def test_where_texts_begin_is_checked_when_they_are_first_used(folder: Path) -> None:
    for path in sorted(folder.glob("texts_offsets-*.npy")):
        for place in (128, 130, path.stat().st_size - 1):
            damage(path, place)
            store = EmbeddingStore.open(folder)
            for use_texts in (lambda store: store.texts, lambda store: store.get_texts(store.ids[0])):
                with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
                    use_texts(store)
            assert len(store.search(np.ones(store.dimension), 3)[1]) == 3
            damage(path, place)
    EmbeddingStore.open(folder).verify()


def forged(path: Path, data: bytes) -> None:
    """Writes a file and has the manifest vouch for it."""
    path.write_bytes(data)
    forge(path.parent, setting("files", path.name, "crc32c", f"{_core.crc32c(data):08x}"))


USES: dict[str, list[Callable[[EmbeddingStore], Any]]] = {
    "texts_bytes": [
        lambda store: store.texts,
        lambda store: store.get_texts(store.ids),
        lambda store: store.get_texts(store.ids[-1]),
        lambda store: store.search(np.ones(store.dimension), 3, filter=lambda rows: rows["text"] == "x"),
        lambda store: store.to_arrow(),
        lambda store: store.compact(),
        lambda store: pickle.dumps(copy.copy(store)),
    ],
    "column_bytes": [
        lambda store: store.metadata,
        lambda store: store.get_metadata(store.ids[:1]),
        lambda store: store.get_metadata(store.ids[-1]),
        lambda store: store.search(np.ones(store.dimension), 3, filter=lambda rows: rows["name"] == "x"),
        lambda store: store.to_arrow(),
        lambda store: store.compact(),
        lambda store: pickle.dumps(copy.copy(store)),
    ],
}


@pytest.mark.parametrize("vouched", [False, True], ids=["damaged", "forged"])
@pytest.mark.parametrize("what", USES)
def test_texts_and_columns_that_are_no_text_name_their_file(tmp_path: Path, what: str, vouched: bool) -> None:
    pytest.importorskip("pyarrow")
    for number, action in enumerate(USES[what]):
        folder = tmp_path / str(number)
        make(folder, "int64")
        # Of str, in the last row of the second segment.
        path = folder / f"{what}-2-0.npy"
        data = bytearray(path.read_bytes())
        data[-4:] = b"\xff" * 4
        forged(path, bytes(data)) if vouched else path.write_bytes(data)
        store = EmbeddingStore.open(folder, num_threads=1)
        for _ in range(2):
            with pytest.raises(CorruptStoreError, match=re.escape(str(path))) as caught:
                action(store)
            assert "restore the folder from a copy" in str(caught.value)
        # Other rows are there.
        if what == "texts_bytes":
            assert store.get_texts(store.ids[0]) == "text ü 0"
        for options in ({"mmap": False}, {}):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_folder, "MIN_MAPPED_BYTES", 1 << 16)
                with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
                    EmbeddingStore.open(folder, **options)
        with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
            store.verify()


def test_texts_that_go_to_arrow_are_checked(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)), texts=["a", "b"])
    store.save_to_disk(tmp_path / "store")
    path = tmp_path / "store" / "texts_bytes-1-0.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
        EmbeddingStore.open(tmp_path / "store").to_arrow()


def test_a_column_of_numbers_that_is_damaged_is_not_shown(folder: Path) -> None:
    path = folder / "column-1-0.npy"
    damage(path)
    store = EmbeddingStore.open(folder)
    with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
        _ = store.metadata
    with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
        store.get_metadata(store.ids[:1])
    # What does not look at it goes on.
    assert len(store.search(np.ones(store.dimension), 3)[1]) == 3
    assert store.get_texts(store.ids[:1]) == ["text ü 0"]


def test_a_column_is_checked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EmbeddingStore.open(folder)
    first = seen(store)
    monkeypatch.setattr("votive._store.mapped.crc32c", lambda *_: pytest.fail("read again"))
    assert seen(store).keys() == first.keys()


@pytest.mark.skipif(os.name != "posix", reason="Windows cuts no file that is mapped")
def test_what_is_loaded_into_memory_outlasts_a_file_that_is_cut(folder: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stored import use
from votive import EmbeddingStore
from votive._store.files import folder as _folder
_folder.MIN_MAPPED_BYTES = 0
store = EmbeddingStore.open(sys.argv[1], mmap=sys.argv[3] == "mapped")
right = use(store)
for path in Path(sys.argv[1]).glob("*.npy"):
    with open(path, "r+b") as file:
        file.truncate(0)
assert use(store) == right
"""
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    assert subprocess.run([*command, "in memory"]).returncode == 0


def test_a_mapped_store_goes_on_whatever_votive_does_to_its_folder(folder: Path, intact: Path) -> None:
    right = use(EmbeddingStore.open(intact))
    mapped = EmbeddingStore.open(folder)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.compact()
        store.commit()
        store.clear()
    store = EmbeddingStore()
    store.add_embeddings(np.ones((300, 10)))
    for _ in range(2):
        store.save_to_disk(folder)
        assert use(mapped) == right
    shutil.rmtree(folder)
    assert use(mapped) == right


def test_the_documentation_of_open_says_what_a_cut_file_does() -> None:
    assert "SIGBUS" in EmbeddingStore.open.__doc__
    assert "SIGBUS" in EmbeddingStore.from_numpy.__doc__


def test_mmap_is_a_bool(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((2, 3), np.float32))
    for action in (
        lambda: EmbeddingStore.open(folder, mmap=0),
        lambda: EmbeddingStore().load_from_disk(folder, mmap=None),
        lambda: EmbeddingStore.from_numpy(tmp_path / "vectors.npy", mmap="r"),
    ):
        with pytest.raises(TypeError, match="mmap: expected a bool, found"):
            action()
