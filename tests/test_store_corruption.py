"""Damaged and hostile folders of stores: found out or harmless; never a crash, nor memory for what is only claimed."""

import contextlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import MANIFEST, forge, located, make, refused, setting, use, writing
from votive import CorruptStoreError, EmbeddingStore, StoreError, _core
from votive._store.files import folder as _folder
from votive._store.files import segments as _segments

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")


@pytest.fixture
def folder(intact: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


@pytest.fixture
def all_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short files too, which are read otherwise, and their checksums looked at."""
    monkeypatch.setattr(_folder, "MIN_MAPPED_BYTES", 0)


def arrays(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".npy"))


def flips(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The data with one bit turned over, here and there."""
    rng = random.Random(seed)
    for place in sorted(rng.sample(range(len(data)), min(count, len(data)))):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        yield bytes(changed)


@pytest.mark.usefixtures("all_mapped")
def test_a_file_that_is_cut_or_grew_is_found_out(folder: Path) -> None:
    rng = random.Random(3)
    for name in arrays(folder):
        path, data = folder / name, (folder / name).read_bytes()
        size = len(data)
        for length in {0, 1, 10, 63, 64, 65, 127, 128, size // 2, size - 1, *(rng.randrange(size) for _ in range(3))}:
            path.write_bytes(data[:length])
            refused(folder, name, f"expected {size} bytes, found {length}")
        path.write_bytes(data + b"\0")
        refused(folder, name, f"expected {size} bytes, found {size + 1}")
        path.unlink()
        refused(folder, name, "not there, but MANIFEST.json names it")
        path.write_bytes(data)
    EmbeddingStore.open(folder).verify()


def test_a_manifest_that_is_cut_is_found_out(folder: Path) -> None:
    path, data = folder / MANIFEST, (folder / MANIFEST).read_bytes()
    for length in range(0, len(data) - 1, 7):
        path.write_bytes(data[:length])
        refused(folder, MANIFEST, "no JSON")


@pytest.mark.parametrize("mmap", [True, False])
def test_a_bit_of_a_file_that_is_turned_over_is_found_out(folder: Path, intact: Path, mmap: bool) -> None:
    for seed, name in enumerate(arrays(folder)):
        path, data = folder / name, (folder / name).read_bytes()
        for changed in flips(data, 25, seed):
            path.write_bytes(changed)
            with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
                EmbeddingStore.open(folder, mmap=mmap)
        path.write_bytes(data)
    assert use(EmbeddingStore.open(folder, mmap=mmap)) == use(EmbeddingStore.open(intact))


@pytest.mark.usefixtures("all_mapped")
def test_a_bit_of_a_mapped_file_that_is_turned_over_does_no_harm_and_verify_finds_it(folder: Path) -> None:
    opened = 0
    for seed, name in enumerate(arrays(folder)):
        path, data = folder / name, (folder / name).read_bytes()
        for changed in flips(data, 25, seed):
            path.write_bytes(changed)
            try:
                store = EmbeddingStore.open(folder)
            except CorruptStoreError:
                continue
            opened += 1
            # Of these, some may be cut so that they are no UTF-8, and some no characters.
            with contextlib.suppress(*[CorruptStoreError] * name.startswith(("texts", "column"))):
                use(store)
            with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
                store.verify()
        path.write_bytes(data)
    assert opened > 100
    EmbeddingStore.open(folder).verify()


def test_a_bit_of_the_manifest_that_is_turned_over_is_found_out(folder: Path, intact: Path) -> None:
    path, data = folder / MANIFEST, (folder / MANIFEST).read_bytes()
    right = use(EmbeddingStore.open(intact))
    found = 0
    for changed in flips(data, 400, 4):
        path.write_bytes(changed)
        try:
            store = EmbeddingStore.open(folder)
        except StoreError:
            found += 1
        else:
            # Space between other things.
            assert use(store) == right
    assert found > 200


def rewrite(folder: Path, what: str, change: Callable[[np.ndarray], Any], segment: int = 1) -> Path:
    """Changes an array, and makes its checksum fit."""
    document = json.loads((folder / MANIFEST).read_text())
    place, key = located(document, what, segment)
    name = place[key]
    path = folder / name
    array = np.load(path)
    change(array)
    data = path.read_bytes()
    data = data[: len(data) - array.nbytes] + array.tobytes()
    path.write_bytes(data)
    forge(folder, setting("files", name, "crc32c", f"{_core.crc32c(data):08x}"))
    return path


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("deleted", writing(0, 1)),
        ("deleted", writing(0, 0)),
        ("deleted", writing(slice(None), [0, 0, 0, 0, 0, 0, 0, 0, 0xF0])),
        ("bounds", writing((3, 0), np.nan)),
        ("bounds", writing((3, 1), np.inf)),
        ("bounds", writing((3, 1), -1.0)),
        ("text.offsets", writing(0, 1)),
        ("text.offsets", writing(5, 1 << 62)),
        ("text.offsets", writing(5, -1)),
        ("text.offsets", writing(-1, 0)),
    ],
)
def test_arrays_that_nobody_wrote(folder: Path, what: str, change: Callable[[np.ndarray], None]) -> None:
    refused(folder, str(rewrite(folder, what, change)))


@pytest.mark.parametrize("kind", ["int64", "str"])
def test_ids_that_nobody_wrote(tmp_path: Path, kind: str) -> None:
    changes: list[tuple[str, Callable[[np.ndarray], None]]]
    if kind == "int64":
        changes = [("ids", writing(3, 0)), ("ids", writing(3, -5)), ("ids", writing(slice(2), 150))]
    else:
        changes = [
            ("ids_offsets", writing(3, 1 << 62)),
            ("ids_offsets", writing(3, -1)),
            ("ids_offsets", writing(-1, 0)),
            ("ids_bytes", writing(0, 0xFF)),
            ("ids_bytes", writing(slice(4, 8), np.frombuffer("ä40".encode(), np.uint8))),
        ]
    for number, (what, change) in enumerate(changes):
        folder = tmp_path / str(number)
        make(folder, kind)
        rewrite(folder, what, change)
        refused(folder, "ids")


def test_verify_finds_ids_that_come_twice_in_a_large_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "store", "str")
    rewrite(tmp_path / "store", "ids_bytes", writing(slice(4, 8), np.frombuffer("ä40".encode(), np.uint8)))
    monkeypatch.setattr(_segments, "MAX_EAGER_ROWS", 10)
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.get_texts("ä0") == "text ü 0"
    with pytest.raises(CorruptStoreError, match='two rows have the id "ä40"'):
        store.verify()


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("codes", writing((3, 3), 99)),
        ("bounds", writing((3, 1), 0.0)),
        ("coarse", writing((3, 20), 0x77)),
        ("vectors", writing((3, 3), 7.0)),
        ("vectors", writing((3, 3), np.nan)),
        ("text.bytes", writing(9, 0xFF)),
        ("text.offsets", lambda offsets: np.add(offsets[1:-1], -4, out=offsets[1:-1])),
    ],
)
def test_verify_looks_at_more_than_checksums(tmp_path: Path, what: str, change: Callable[[np.ndarray], None]) -> None:
    folder = tmp_path / "store"
    make(folder, "int64")
    path = rewrite(folder, what, change)
    with pytest.raises(CorruptStoreError, match=re.escape(str(folder))) as caught:
        EmbeddingStore.open(folder).verify()
    assert path.name in str(caught.value) or what == "vectors" or what.startswith("text")


def test_verify_decodes_columns_of_str(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    make(folder, "int64")
    path = rewrite(folder, "name.bytes", writing(-1, 0xFF))
    with pytest.raises(CorruptStoreError, match=rf"{path.name}: text 29 is no UTF-8"):
        EmbeddingStore.open(folder).verify()


@posix
def test_links_and_what_else_is_no_file(folder: Path, tmp_path: Path) -> None:
    for name in (*arrays(folder), MANIFEST):
        path, away = folder / name, tmp_path / "away"
        path.rename(away)
        path.symlink_to(away)
        refused(folder, name, "a symbolic link, which a store never has", kind=StoreError)
        path.unlink()
        os.mkfifo(path)
        begin = time.monotonic()
        refused(folder, name, "not a regular file", kind=StoreError)
        assert time.monotonic() - begin < 10
        path.unlink()
        path.mkdir()
        refused(folder, name, "not a regular file", kind=StoreError)
        path.rmdir()
        path.symlink_to(tmp_path / "nowhere")
        refused(folder, name, "a symbolic link", kind=StoreError)
        path.unlink()
        away.rename(path)
    # The folder itself may be one.
    (tmp_path / "link").symlink_to(folder)
    EmbeddingStore.open(tmp_path / "link", "a").close()


@posix
def test_a_link_that_was_planted_is_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (folder / "LOCK").unlink()
    (folder / "LOCK").symlink_to(target)
    with pytest.raises(OSError, match=re.escape(str(folder / "LOCK"))):
        EmbeddingStore.open(folder, "a")
    (folder / "LOCK").unlink()
    for name in ("ids-3-0.npy", "vectors-3-0.npy", "deleted-3-0.npy"):
        (folder / name).symlink_to(target)
    with EmbeddingStore.open(folder, "a") as store:
        store.compact()
    assert target.read_text() == "precious"
    EmbeddingStore.open(folder).verify()


def test_a_damaged_store_is_not_written_over(folder: Path) -> None:
    (folder / MANIFEST).write_text("{}")
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with pytest.raises(CorruptStoreError, match="remove it and save the store anew"):
        EmbeddingStore().save_to_disk(folder)
    assert before == {name: (folder / name).read_bytes() for name in os.listdir(folder)}
