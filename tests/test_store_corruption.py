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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from votive import CorruptStoreError, EmbeddingStore, StoreError, _core, _folder

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")

DIMENSION = 10
MANIFEST = "MANIFEST.json"


def make(folder: Path, kind: str) -> None:
    """A store of two segments, with deleted rows, texts and metadata."""
    rng = np.random.default_rng(1)

    def add(store: EmbeddingStore, first: int, rows: int) -> None:
        numbers = np.arange(first, first + rows)
        store.add_embeddings(
            rng.standard_normal((rows, DIMENSION), np.float32),
            ids=[f"ä{number}" for number in numbers] if kind == "str" else numbers * 3,
            texts=[f"text ü {number}" for number in numbers],
            metadata={"name": np.array([f"ö{number}" for number in numbers]), "number": numbers},
        )

    store = EmbeddingStore(dtype="int8" if kind == "int8" else "float32")
    add(store, 0, 40)
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as store:
        store.delete(store.ids[5:9])
        add(store, 40, 30)


@pytest.fixture(scope="module", params=["int64", "str", "int8"])
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, not to be touched."""
    folder = tmp_path_factory.mktemp("intact") / "store"
    make(folder, request.param)
    return folder


@pytest.fixture
def folder(intact: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


@pytest.fixture
def all_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short files too, which are read otherwise, and their checksums looked at."""
    monkeypatch.setattr(_folder, "_SHORT", 0)


def arrays(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".npy"))


def use(store: EmbeddingStore) -> dict[str, Any]:
    """What a store gives, whatever it gives."""
    queries = np.random.default_rng(2).standard_normal((3, store.dimension), np.float32)
    return {
        "ids": store.ids.tolist(),
        "texts": store.texts,
        "name": store.metadata["name"].tolist(),
        "number": store.metadata["number"].tolist(),
        "vectors": store.get(store.ids).tolist(),
        "exact": [values.tolist() for values in store.search(queries, 7)],
        "fast": [values.tolist() for values in store.search(queries, 7, exact=False)],
        "filtered": [values.tolist() for values in store.search(queries, 7, filter=store.ids[::2])],
    }


def flips(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The data with one bit turned over, here and there."""
    rng = random.Random(seed)
    for place in sorted(rng.sample(range(len(data)), min(count, len(data)))):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        yield bytes(changed)


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the manifest, and makes its checksum fit."""
    document = json.loads((folder / MANIFEST).read_text())
    change(document)
    document.pop("crc32c", None)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["crc32c"] = f"{_core.crc32c(text.encode()):08x}"
    (folder / MANIFEST).write_text(json.dumps(document))


def refused(folder: Path, *messages: str, kind: type[Exception] = CorruptStoreError) -> None:
    """A folder is opened by nobody; the message names it, and says so much."""
    for options in ({}, {"mmap": False}, {"mode": "a"}):
        with pytest.raises(kind, match=re.escape(str(folder))) as caught:
            EmbeddingStore.open(folder, **options)
        for message in messages:
            assert message in str(caught.value)
        if kind is CorruptStoreError:
            assert "restore the folder from a copy" in str(caught.value)


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
        # Of these, some may be cut so that they are no UTF-8, and some no characters.
        strings = name.startswith(("texts", "column"))
        for changed in flips(data, 25, seed):
            path.write_bytes(changed)
            try:
                store = EmbeddingStore.open(folder)
            except CorruptStoreError:
                continue
            opened += 1
            with contextlib.suppress(*[ValueError] * strings):
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


LEAST = {
    "an empty file": b"",
    "nothing": b"null",
    "a list": b"[]",
    "a text": b'"votive"',
    "an empty object": b"{}",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"segments":' * 100_000 + b"1" + b"}" * 100_000,
    "many digits": b'{"format_version": ' + b"9" * 10_000 + b"}",
    "NaN": b'{"format_version": NaN}',
    "infinity": b'{"format_version": 1, "generation": -Infinity}',
    "a float beyond all": b'{"format_version": 1e999}',
    "UTF-16": '{"format_version": 1}'.encode("utf-16"),
    "no text": bytes(range(256)),
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("text", LEAST.values(), ids=LEAST)
def test_a_manifest_that_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(text)
    refused(tmp_path, MANIFEST)


def test_a_manifest_that_is_too_long(tmp_path: Path) -> None:
    with open(tmp_path / MANIFEST, "wb") as file:
        file.truncate(1 << 40)
    refused(tmp_path, "longer than")


def _set(*where: Any) -> Callable[[dict[str, Any]], None]:
    *path, key, value = where

    def change(document: dict[str, Any]) -> None:
        for step in path:
            document = document[step]
        document[key] = value

    return change


def _rename(new: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        old = document["segments"][0]["codes"]
        document["segments"][0]["codes"] = new
        document["files"][new] = document["files"].pop(old)

    return change


def _swap(document: dict[str, Any]) -> None:
    first, second = document["segments"]
    first["codes"], second["codes"] = second["codes"], first["codes"]


def _twice(document: dict[str, Any]) -> None:
    document["files"].pop(document["segments"][1]["codes"])
    document["segments"][1]["codes"] = document["segments"][0]["codes"]


def _without(*keys: str) -> Callable[[dict[str, Any]], None]:
    """The second segment without some of its files."""

    def change(document: dict[str, Any]) -> None:
        segment = document["segments"][1]
        for key in keys:
            if key not in segment and key not in segment["columns"]:
                continue
            place = segment["columns"] if key in segment["columns"] else segment
            del document["files"][place.pop(key)]

    return change


def _retyped(document: dict[str, Any]) -> None:
    name = document["segments"][1]["columns"]["number"]
    document["files"][name]["dtype"] = "<f8"


def _huge(document: dict[str, Any]) -> None:
    """A claim that holds together, but for the files."""
    (first, second), files = document["segments"], document["files"]
    more = (1 << 40) - first["rows"]
    for name in [name for name in files if name in (*first.values(), *first["columns"].values())]:
        file = files[name]
        if not name.startswith(("ids_bytes", "texts_bytes")):
            shape = [file["shape"][0] + more, *file["shape"][1:]]
            width = int(np.prod(shape[1:])) * np.dtype(file["dtype"]).itemsize
            file.update(shape=shape, bytes=file["bytes"] + more * width)
    first["rows"] += more
    second["first_row"] += more
    document["rows"] += more


FORGED = {
    "out of the folder": (_rename("../codes-1-0.npy"), "expected names such as"),
    "absolute": (_rename("/etc/passwd"), "expected names such as"),
    "a drive": (_rename("C:codes-1-0.npy"), "expected names such as"),
    "a folder": (_rename("a/codes-1-0.npy"), "expected names such as"),
    "a folder of Windows": (_rename("a\\codes-1-0.npy"), "expected names such as"),
    "a zero": (_rename("codes-1-0.npy\0"), "expected names such as"),
    "a line": (_rename("codes-1-0.npy\n"), "expected names such as"),
    "other digits": (_rename("codes-1-\u0663.npy"), "expected names such as"),
    "the manifest": (_rename(MANIFEST), "expected names such as"),
    "the lock": (_rename("LOCK"), "expected names such as"),
    "no name": (_rename(""), "expected names such as"),
    "another's name": (_rename("ids-7-7.npy"), "segments[0].codes: expected"),
    "a long name": (_rename("x" * 100_000), "expected names such as"),
    "no rows": (_set("rows", 0), "rows: expected 70"),
    "negative rows": (_set("rows", -1), "rows: expected an integer from 0"),
    "a float": (_set("rows", 70.0), "rows: expected an integer"),
    "true": (_set("generation", True), "generation: expected an integer"),
    "many": (_set("rows", 1 << 70), "rows: expected an integer"),
    "digits": (_set("rows", "70"), "rows: expected an integer"),
    "no version": (_set("format_version", None), "format_version: expected an integer"),
    "version 0": (_set("format_version", 0), "format_version: expected an integer from 1"),
    "another dimension": (_set("dimension", 111), "segments[0]."),
    "no dimension": (_set("dimension", None), "segments[0]."),
    "dimension 0": (_set("dimension", 0), "dimension: expected an integer from 1"),
    "a wide dimension": (_set("dimension", 1 << 40), "dimension: expected an integer"),
    "another metric": (_set("metric", "manhattan"), "metric: expected cosine or dot or l2, found 'manhattan'"),
    "a list for a metric": (_set("metric", ["cosine"]), "metric: expected a text, found a list"),
    "another type": (_set("dtype", "float16"), "segments[0]"),
    "other ids": (_set("id_kind", "uuid"), "id_kind: expected int64 or str"),
    "no ids": (_set("id_kind", None), "expected"),
    "no segments": (_set("segments", None), "segments: expected a list, found none"),
    "an object of segments": (_set("segments", {}), "segments: expected a list, found an object"),
    "a segment that is none": (_set("segments", 1, 7), "segments[1]: expected an object"),
    "fewer segments": (lambda document: document["segments"].pop(), "files: expected each file"),
    "another first row": (_set("segments", 1, "first_row", 39), "segments[1].first_row: expected 40, found 39"),
    "more rows": (_set("segments", 1, "rows", 31), "segments[1]"),
    "segments in another order": (lambda document: document["segments"].reverse(), "segments[0].first_row"),
    "files in other places": (_swap, "segments[0].codes: expected"),
    "a file twice": (_twice, "files: expected each file that a segment names once"),
    "no file": (_set("segments", 0, "codes", None), "segments[0].codes: expected a text"),
    "half of the codes": (_set("segments", 0, "bounds", "bounds-9-9.npy"), "files: expected"),
    "no columns": (_set("segments", 0, "columns", []), "segments[0].columns: expected an object"),
    "an id for a column": (_set("segments", 0, "columns", "name", "ids-1-0.npy"), "files: expected"),
    "texts of some": (_without("texts_offsets", "texts_bytes"), "segments[1]: expected texts and columns as of"),
    "half of the texts": (_without("texts_offsets"), "segments[1]: expected"),
    "a column of some": (_without("name"), "segments[1]: expected texts and columns as of"),
    "a column of two types": (_retyped, "segments[1].columns['number']: expected <i8, found <f8"),
    "a segment without vectors": (_without("vectors", "codes", "bounds"), "rows without vectors that are not among"),
    "no deleted": (_set("deleted", None), "files: expected"),
    "another's deleted": (_set("deleted", "deleted-9-9.npy"), "files: expected"),
    "files as a list": (_set("files", []), "files: expected an object"),
    "a negative id": (_set("largest_id", -1), "largest_id: expected"),
    "an id beyond all": (_set("largest_id", 1 << 63), "largest_id: expected"),
}


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_a_forged_manifest(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    forge(folder, change)
    refused(folder, message)


def test_sizes_are_looked_at_before_memory_is_taken(folder: Path) -> None:
    forge(folder, _huge)
    for mmap in (True, False):
        with pytest.raises(CorruptStoreError, match=r"expected \d{13,} bytes, found \d+"):
            EmbeddingStore.open(folder, mmap=mmap, max_memory_gb=None)


FILE = {
    "shape": [None, [], [40, -1], [40, 64.0], [[40], 64], [40, True], [1 << 61, 64], [64, 40], [40, 64, 1], "40", 40],
    "dtype": [None, "|O", "|V8", "<f4", ">i8", "i1", "int8", "|i1, (3,)", "<U9999999999", "|S0", "<M8[foo]", 3, ""],
    "bytes": [None, -1, 0, 1.0, True, 1 << 62, 1 << 80],
    "crc32c": [None, 0, "", "0", "00000000 ", "0000000g", "\uff10" * 8],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in FILE for value in FILE[key]], ids=repr)
def test_a_forged_file(folder: Path, key: str, value: Any) -> None:
    forge(folder, lambda document: document["files"][document["segments"][0]["codes"]].update({key: value}))
    refused(folder)
    forge(folder, lambda document: document["files"][document["segments"][0]["codes"]].pop(key))
    refused(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-3, 80) | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_change_of_a_manifest(intact: Path, tmp_path: Path, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    folder = Path(shutil.copytree(intact, tmp_path / "store"))
    right = [use(EmbeddingStore.open(intact))[key] for key in ("ids", "texts", "name", "number")]

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 3)) == 0:
                break
            place = place[key]
        kind = data.draw(st.sampled_from(["set", "remove", "copy"]))
        if kind == "remove":
            del place[key]
        else:
            others = [value for value in document["files"]] + [40, 70, 30, "", None]
            place[key] = data.draw(st.sampled_from(others) if kind == "copy" else JSON)

    forge(folder, change)
    for mmap in (True, False):
        try:
            store = EmbeddingStore.open(folder, mmap=mmap)
        except StoreError:
            continue
        # What may change is what nothing else tells: a metric, a largest id, a generation.
        found = use(store)
        assert [found[key] for key in ("ids", "texts", "name", "number")] == right


def rewrite(folder: Path, what: str, change: Callable[[np.ndarray], Any], segment: int = 1) -> Path:
    """Changes an array, and makes its checksum fit."""
    document = json.loads((folder / MANIFEST).read_text())
    name = document["deleted"] if what == "deleted" else document["segments"][segment][what]
    path = folder / name
    array = np.load(path)
    change(array)
    data = path.read_bytes()
    data = data[: len(data) - array.nbytes] + array.tobytes()
    path.write_bytes(data)
    forge(folder, _set("files", name, "crc32c", f"{_core.crc32c(data):08x}"))
    return path


def _at(place: Any, value: Any) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[place] = value

    return change


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("deleted", _at(0, -1)),
        ("deleted", _at(-1, 70)),
        ("deleted", _at(0, 8)),
        ("deleted", _at(1, 1 << 62)),
        ("bounds", _at((3, 0), np.nan)),
        ("bounds", _at((3, 1), np.inf)),
        ("bounds", _at((3, 1), -1.0)),
        ("texts_offsets", _at(0, 1)),
        ("texts_offsets", _at(5, 1 << 62)),
        ("texts_offsets", _at(5, -1)),
        ("texts_offsets", _at(-1, 0)),
    ],
)
def test_arrays_that_nobody_wrote(folder: Path, what: str, change: Callable[[np.ndarray], None]) -> None:
    refused(folder, str(rewrite(folder, what, change)))


@pytest.mark.parametrize("kind", ["int64", "str"])
def test_ids_that_nobody_wrote(tmp_path: Path, kind: str) -> None:
    changes: list[tuple[str, Callable[[np.ndarray], None]]]
    if kind == "int64":
        changes = [("ids", _at(3, 0)), ("ids", _at(3, -5)), ("ids", _at(slice(2), 150))]
    else:
        changes = [
            ("ids_offsets", _at(3, 1 << 62)),
            ("ids_offsets", _at(3, -1)),
            ("ids_offsets", _at(-1, 0)),
            ("ids_bytes", _at(0, 0xFF)),
            ("ids_bytes", _at(slice(4, 8), np.frombuffer("ä40".encode(), np.uint8))),
        ]
    for number, (what, change) in enumerate(changes):
        folder = tmp_path / str(number)
        make(folder, kind)
        rewrite(folder, what, change)
        refused(folder, "ids")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("codes", _at((3, 3), 99)),
        ("bounds", _at((3, 1), 0.0)),
        ("vectors", _at((3, 3), 7.0)),
        ("vectors", _at((3, 3), np.nan)),
        ("texts_bytes", _at(9, 0xFF)),
        ("texts_offsets", lambda offsets: np.add(offsets[1:-1], -4, out=offsets[1:-1])),
    ],
)
def test_verify_looks_at_more_than_checksums(tmp_path: Path, what: str, change: Callable[[np.ndarray], None]) -> None:
    folder = tmp_path / "store"
    make(folder, "int64")
    path = rewrite(folder, what, change)
    store = EmbeddingStore.open(folder)
    with pytest.raises(CorruptStoreError, match=re.escape(str(folder))) as caught:
        store.verify()
    assert path.name in str(caught.value) or what == "vectors" or what.startswith("texts")


def test_verify_decodes_columns_of_str(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    make(folder, "int64")
    document = json.loads((folder / MANIFEST).read_text())
    document["segments"][1]["name"] = name = document["segments"][1]["columns"]["name"]
    path = folder / name
    data = bytearray(path.read_bytes())
    data[-4:] = (0xD800).to_bytes(4, "little")
    path.write_bytes(data)
    forge(folder, _set("files", name, "crc32c", f"{_core.crc32c(bytes(data)):08x}"))
    with pytest.raises(CorruptStoreError, match=f"{name}: holds numbers that are no characters"):
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
