"""Files with several arrays: small commits, changes in place, how they are merged, and files that nobody wrote."""

import json
import math
import os
import random
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import QuickDisk
from stored import MANIFEST, files, forge, make_archived, refused, setting, use, writing
from votive import CorruptStoreError, EmbeddingStore, StoreError, _core
from votive._store.files import writer as _writer

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")

Document = dict[str, Any]

COMMITS = 400


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is not waited for."""
    monkeypatch.setattr(_writer, "DISK", QuickDisk())


def fill(folder: Path, kind: str) -> None:
    """A store with a segment of files, one in a file of its own, and a set of changes, of fixed and variable width."""
    make_archived(folder, kind)
    with EmbeddingStore.open(folder, "a") as store:
        ids = store.ids
        store.update(ids[[3, 8, 30, 50]], texts=["ü", None, "", "four"], metadata={"number": [-1, None, 7, 9]})


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes, with ids of int64."""
    folder = tmp_path_factory.mktemp("packed") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_writer, "DISK", QuickDisk())
        fill(folder, "int64")
    return folder


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(packed, tmp_path / "store"))


def document_of(folder: Path) -> Document:
    document: Document = json.loads((folder / MANIFEST).read_text())
    return document


def archives(folder: Path) -> list[str]:
    return [name for name in files(folder) if name.endswith(".npz")]


def array_of(folder: Path, location: str) -> np.ndarray:
    """An array as plain NumPy reads it."""
    name, _, member = location.partition("/")
    found = np.load(folder / name)
    return found[member] if member else found


def test_numpy_reads_packed_files(folder: Path) -> None:
    document, store = document_of(folder), EmbeddingStore.open(folder)
    assert document["format_version"] == 3
    assert archives(folder) == ["changes-3-0.npz", "segment-2-0.npz"]
    for name in archives(folder):
        with np.load(folder / name) as archive:
            assert sorted(archive.files) == sorted(document["files"][name]["arrays"])
            for member, entry in document["files"][name]["arrays"].items():
                assert (archive[member].dtype.str, list(archive[member].shape)) == (entry["dtype"], entry["shape"])
                content = (folder / name).read_bytes()
                assert content[entry["offset"] :].startswith(b"\x93NUMPY\x01\x00")
    with np.load(folder / "segment-2-0.npz") as archive:
        np.testing.assert_array_equal(archive["vectors"], store.get(store.ids[-30:]))
        np.testing.assert_array_equal(archive["ids"], store.ids[-30:])
    segment = document["segments"][1]
    assert segment["vectors"] == "segment-2-0.npz/vectors"
    number = array_of(folder, segment["columns"]["number"]["values"])
    assert number.tolist() == list(range(40, 70))  # of which one was changed since
    offsets, utf8 = (array_of(folder, segment["columns"]["text"][part]) for part in ("offsets", "bytes"))
    texts = [utf8[a:b].tobytes().decode() for a, b in pairwise(offsets)]
    assert texts == [f"text ü {number}" for number in range(40, 70)]
    (change,) = document["changes"]
    assert change["rows"] == 8
    rows = array_of(folder, change["columns"]["number"]["rows"])
    values = array_of(folder, change["columns"]["number"]["values"])
    valid = array_of(folder, change["columns"]["number"]["valid"])
    # Rows are counted with the four that are deleted.
    assert rows.tolist() == [3, 12, 34, 54]
    assert [value if there else None for value, there in zip(values.tolist(), valid, strict=True)] == [-1, None, 7, 9]


def test_the_same_arrays_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fill(tmp_path / name, "str")
    for name in files(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def vector(id: int) -> np.ndarray:
    return np.random.default_rng(id).standard_normal(6, np.float32)


def values_of(id: int) -> dict[str, Any]:
    return {
        "text": f"text ü {id}" if id % 6 else None,
        "number": id * 3 if id % 5 else None,
        "name": "ö" * (id % 4),
        "tags": [id, {"a": str(id)}] if id % 7 == 0 else None,
    }


def check(store: EmbeddingStore, model: dict[int, dict[str, Any]]) -> None:
    """The store holds what the model does."""
    assert store.ids.tolist() == list(model)
    np.testing.assert_array_equal(store.get(store.ids), [vector(id) for id in model])
    found = {"text": list(store.texts), **{name: values.tolist() for name, values in store.metadata.items()}}
    assert found == {name: [row[name] for row in model.values()] for name in ("text", "number", "name", "tags")}


def test_many_small_commits_stay_few_files(tmp_path: Path) -> None:
    folder, rng = tmp_path / "store", random.Random(8)
    EmbeddingStore().save_to_disk(folder)
    model: dict[int, dict[str, Any]] = {}
    counts, sizes, changed = [], [], 0
    reader, seen = None, {}
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        for id in range(1, COMMITS + 1):
            row = model[id] = values_of(id)
            columns = {name: [value] for name, value in row.items() if name != "text"}
            store.add_embeddings(vector(id)[None], [id], [row["text"]], columns)
            if id % 10 == 0:
                for other in rng.sample(sorted(model), 2):
                    new = {"text": f"new {id}", "number": None if id % 20 else id, "name": f"ä{id}"}
                    model[other] |= new
                    columns = {name: value for name, value in new.items() if name != "text"}
                    store.update(other, texts=new["text"], metadata=columns)
                changed += 6
            if id % 15 == 0:
                other = rng.choice(sorted(model))
                del model[other]
                assert store.delete(other) == 1
            store.commit()
            counts.append(len(os.listdir(folder)))
            sizes.append((folder / MANIFEST).stat().st_size)
            document = document_of(folder)
            assert len(document["segments"]) <= 3 * math.log(id, 4) + 1
            if changed:
                assert len(document["changes"]) <= 3 * math.log(changed, 4) + 1
            if id == 150:
                reader = EmbeddingStore.open(folder)
                seen = {id: dict(row) for id, row in model.items()}
        check(store, model)
    assert max(counts) <= 60
    assert max(sizes) <= 60_000
    # Twice as many times four makes no more than two tiers of three segments, and of sets of changes, more.
    assert max(counts[200:]) <= max(counts[50:100]) + 12
    assert max(sizes[200:]) <= 2.5 * max(sizes[50:100])
    for mmap in (True, False):
        found = EmbeddingStore.open(folder, mmap=mmap)
        check(found, model)
        found.verify()
    assert reader is not None
    check(reader, seen)


def test_sets_of_changes_merge(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = EmbeddingStore()
    store.add_embeddings(np.eye(64), range(64), metadata={"year": [0] * 64})
    store.save_to_disk(folder)
    years, most = [0] * 64, 0
    for commit in range(1, 150):
        # Opened anew now and then: what was read from files merges, too.
        with EmbeddingStore.open(folder, "a") as writer:
            for row in {commit % 64, commit * 7 % 64}:
                years[row] = commit
                writer.update(row, metadata={"year": commit})
                writer.commit()
        document = document_of(folder)
        assert len(document["changes"]) <= 3 * math.log(2 * commit, 4) + 1
        assert sum(change["rows"] for change in document["changes"]) <= 64 * len(document["changes"])
        most = max(most, len(document["changes"]))
        assert EmbeddingStore.open(folder, mmap=commit % 2 == 0).metadata["year"].tolist() == years
    assert most > 3
    EmbeddingStore.open(folder).verify()


def tried(folder: Path) -> None:
    """A folder is used, and written to, or refused by a message that names it."""
    for mmap in (True, False):
        try:
            store = EmbeddingStore.open(folder, mmap=mmap)
            use(store)
            store.verify()
            with EmbeddingStore.open(folder, "a", mmap=mmap) as writer:
                writer.update(writer.ids[:3], metadata={"number": [1, 2, 3]})
                writer.delete(writer.ids[0])
            use(EmbeddingStore.open(folder, mmap=mmap))
        except CorruptStoreError as error:
            if str(folder) not in str(error):
                raise


def test_a_bit_that_is_turned_over_is_found_out(folder: Path) -> None:
    rng = random.Random(3)
    for name in archives(folder):
        path, data = folder / name, (folder / name).read_bytes()
        for place in [*range(60), *rng.sample(range(len(data)), 60), *range(len(data) - 60, len(data))]:
            changed = bytearray(data)
            changed[place] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            with pytest.raises(CorruptStoreError, match=re.escape(f"{path}: its checksum is")):
                EmbeddingStore.open(folder, mmap=place % 2 == 0)
        path.write_bytes(data)
    EmbeddingStore.open(folder).verify()


def test_a_file_that_is_cut_or_grew_or_is_missing(folder: Path) -> None:
    for name in archives(folder):
        path, data = folder / name, (folder / name).read_bytes()
        for length in (0, 1, 30, 127, 128, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:length])
            refused(folder, name, f"expected {len(data)} bytes, found {length}")
        path.write_bytes(data + b"\0")
        refused(folder, name, f"expected {len(data)} bytes, found {len(data) + 1}")
        path.unlink()
        refused(folder, name, "not there, but MANIFEST.json names it")
        path.write_bytes(data)


def test_a_file_that_is_cut_as_its_manifest_says(folder: Path) -> None:
    for name in archives(folder):
        path, data, manifest = folder / name, (folder / name).read_bytes(), (folder / MANIFEST).read_bytes()
        path.write_bytes(data[:200])
        forge(folder, setting("files", name, "bytes", 200))
        refused(folder, name, "offset")
        path.write_bytes(data)
        (folder / MANIFEST).write_bytes(manifest)


@posix
def test_links_and_pipes(folder: Path, tmp_path: Path) -> None:
    for name in archives(folder):
        path, away = folder / name, tmp_path / "away"
        path.rename(away)
        path.symlink_to(away)
        refused(folder, name, "a symbolic link", kind=StoreError)
        path.unlink()
        os.mkfifo(path)
        refused(folder, name, "not a regular file", kind=StoreError)
        path.unlink()
        path.mkdir()
        refused(folder, name, "not a regular file", kind=StoreError)
        path.rmdir()
        away.rename(path)


@pytest.mark.parametrize("what", ["ids", "vectors"])
@pytest.mark.parametrize("offset", [-1, -(2**63), 0, 1, 100, 2**31, 2**63, 2**70, 1.5, None, "0", True, [0]])
def test_an_array_that_is_elsewhere(folder: Path, what: str, offset: Any) -> None:
    forge(folder, setting("files", "segment-2-0.npz", "arrays", what, "offset", offset))
    refused(folder, "segment-2-0.npz")


def test_arrays_in_each_others_places(folder: Path) -> None:
    entries = document_of(folder)["files"]["segment-2-0.npz"]["arrays"]
    for member, entry in entries.items():
        for other, there in entries.items():
            forge(folder, setting("files", "segment-2-0.npz", "arrays", member, "offset", there["offset"]))
            if (entry["dtype"], entry["shape"]) != (there["dtype"], there["shape"]):
                refused(folder, "segment-2-0.npz", member)
            elif other != member:
                copy = shutil.copytree(folder, folder.with_name(f"{member} {other}"))
                tried(Path(copy))
        forge(folder, setting("files", "segment-2-0.npz", "arrays", member, "offset", entry["offset"]))


@pytest.mark.parametrize(
    "member",
    ["../ids", "../../x", "ids/..", "/ids", "ids/", "", ".", "ids.npy", "IDS", "ïds", "ids\n", "ids-", "i" * 99],
)
def test_members_that_are_no_names(folder: Path, member: str) -> None:
    def change(document: Document) -> None:
        arrays = document["files"]["segment-2-0.npz"]["arrays"]
        arrays[member] = arrays.pop("ids")
        document["segments"][1]["ids"] = f"segment-2-0.npz/{member}"

    forge(folder, change)
    refused(folder, MANIFEST)


@pytest.mark.parametrize(
    "name", ["../segment-2-0.npz", "segment.npz", "segment-0-0.npz", "segment-2-0.npy", "x-2-0.npz"]
)
def test_files_that_are_no_names(folder: Path, name: str) -> None:
    def change(document: Document) -> None:
        document["files"][name] = document["files"].pop("segment-2-0.npz")

    forge(folder, change)
    refused(folder, MANIFEST)


@pytest.mark.parametrize(
    ("where", "location"),
    [
        ("ids", "segment-2-0.npz/vectors"),
        ("ids", "segment-2-0.npz"),
        ("ids", "segment-2-0.npz/"),
        ("ids", "segment-2-0.npz/other"),
        ("ids", "segment-2-0.npz/ids/ids"),
        ("ids", "ids-1-0.npy"),
        ("ids", "ids-1-0.npy/"),
        ("ids", "changes-3-0.npz/rows-0"),
        ("ids", "/segment-2-0.npz/ids"),
        ("ids", None),
        ("ids", 5),
        ("vectors", "segment-2-0.npz/ids"),
        ("vectors", "nowhere.npz/vectors"),
    ],
)
def test_a_member_that_is_named_by_others(folder: Path, where: str, location: Any) -> None:
    forge(folder, setting("segments", 1, where, location))
    refused(folder, MANIFEST)


def test_a_member_that_nobody_names(folder: Path) -> None:
    def change(document: Document) -> None:
        arrays = document["files"]["segment-2-0.npz"]["arrays"]
        arrays["other"] = arrays["ids"]

    forge(folder, change)
    refused(folder, MANIFEST, "'segment-2-0.npz/other'")


@pytest.mark.parametrize("value", [None, 5, [], "ids", {}, {"ids": None}, {"ids": {}}])
def test_members_that_are_none(folder: Path, value: Any) -> None:
    for name in archives(folder):
        forge(folder, setting("files", name, "arrays", value))
        refused(folder, MANIFEST)


@pytest.mark.parametrize(
    ("member", "key", "value"),
    [
        *(("ids", "dtype", dtype) for dtype in ("<f8", "<u8", "<i4", ">i8", "|O", "|V8", "<i8\n", "", None, 8)),
        *(
            ("ids", "shape", shape)
            for shape in ([29], [31], [30, 1], [], [-30], [2**62], [2**62, 2**62], 30, None, [3e1])
        ),
        ("vectors", "shape", [10, 30]),
        ("vectors", "shape", [0, 2**62]),
        ("vectors", "dtype", "<i4"),
        ("vectors", "dtype", "<f2"),
    ],
)
def test_another_type_or_shape(folder: Path, member: str, key: str, value: Any) -> None:
    forge(folder, setting("files", "segment-2-0.npz", "arrays", member, key, value))
    refused(folder, MANIFEST)


def rewrite(folder: Path, location: str, change: Callable[[np.ndarray], Any]) -> Path:
    """Changes an array in a packed file, and makes its checksum fit."""
    name, member = location.split("/")
    entry = document_of(folder)["files"][name]["arrays"][member]
    path = folder / name
    data, array = bytearray(path.read_bytes()), array_of(folder, location)
    change(array)
    end = data.index(b"\n", entry["offset"]) + 1
    data[end : end + array.nbytes] = array.tobytes()
    path.write_bytes(data)
    forge(folder, setting("files", name, "crc32c", f"{_core.crc32c(bytes(data)):08x}"))
    return path


def _byte(value: int) -> Callable[[np.ndarray], None]:
    return lambda array: array.view(np.uint8).__setitem__(0, value)


def location_of(folder: Path, what: str) -> str:
    """Of an array such as "ids", "text.offsets" or "changes.text.rows"."""
    document = document_of(folder)
    *column, part = what.split(".")
    place = document["changes"][0] if column[:1] == ["changes"] else document["segments"][1]
    if column:
        place = place["columns"][column[-1]]
    return str(place[part])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("changes.number.rows", writing(0, -1)),
        ("changes.number.rows", writing(0, -(2**63))),
        ("changes.number.rows", writing(-1, 70)),
        ("changes.number.rows", writing(-1, 2**63 - 1)),
        ("changes.number.rows", writing(1, 3)),
        ("changes.number.rows", lambda rows: rows.sort() or np.copyto(rows, rows[::-1].copy())),
        ("changes.text.rows", writing(slice(None), 5)),
        ("changes.number.valid", _byte(2)),
        ("changes.number.valid", _byte(255)),
        ("changes.text.valid", _byte(128)),
        ("changes.text.offsets", writing(0, 1)),
        ("changes.text.offsets", writing(1, 2**62)),
        ("changes.text.offsets", writing(1, -(2**63))),
        ("changes.text.offsets", writing(-1, 0)),
        ("changes.text.bytes", writing(0, 0xFF)),
        ("changes.text.bytes", writing(1, 0x41)),
        ("text.offsets", writing(0, -1)),
        ("text.offsets", writing(5, 2**62)),
        ("text.bytes", writing(9, 0xFF)),
        ("name.bytes", writing(-1, 0xFF)),
        ("name.offsets", writing(-1, 2**40)),
        ("ids", writing(3, 0)),
        ("ids", writing(3, -5)),
        ("ids", writing(slice(2), 150)),
        ("bounds", writing((3, 0), np.nan)),
        ("bounds", writing((3, 1), -1.0)),
    ],
)
def test_values_that_nobody_wrote(folder: Path, what: str, change: Callable[[np.ndarray], None]) -> None:
    refused(folder, str(rewrite(folder, location_of(folder, what), change)))


@pytest.mark.parametrize("what", ["ids_offsets", "ids_bytes"])
def test_ids_of_texts_that_nobody_wrote(tmp_path: Path, what: str) -> None:
    for number, value in enumerate((0xFF, 0x80) if what == "ids_bytes" else (1, -1, 2**62)):
        folder = tmp_path / str(number)
        fill(folder, "str")
        refused(folder, str(rewrite(folder, location_of(folder, what), writing(0, value))))


def test_rows_that_overlap_those_of_other_changes_are_harmless(folder: Path) -> None:
    rewrite(folder, location_of(folder, "changes.number.rows"), writing(slice(None), [0, 1, 2, 5]))
    store = EmbeddingStore.open(folder)
    assert store.metadata["number"].tolist()[:4] == [-1, None, 7, 3]  # row 5 is deleted
    tried(folder)


@pytest.mark.parametrize(
    "change",
    [
        setting("changes", 0, "rows", 7),
        setting("changes", 0, "rows", 0),
        setting("changes", 0, "rows", -8),
        setting("changes", 0, "rows", None),
        setting("changes", 0, "columns", {}),
        setting("changes", 0, "columns", None),
        setting("changes", 0, "columns", "number", {}),
        setting("changes", 0, "columns", "other", {}),
        setting("changes", None),
        setting("changes", {}),
        setting("changes", []),
        setting("changes", [None]),
        setting("columns", "number", "str"),
        setting("columns", "number", "int8"),
        setting("columns", "text", "int64"),
        setting("columns", "number", "none such"),
        lambda document: document["changes"].append(document["changes"][0]),
        lambda document: document["columns"].pop("number"),
        lambda document: document["changes"][0]["columns"]["number"].pop("rows"),
        lambda document: document["changes"][0]["columns"]["number"].pop("values"),
        lambda document: document["changes"][0]["columns"]["text"].pop("offsets"),
    ],
)
def test_changes_that_nobody_wrote(folder: Path, change: Callable[[Document], Any]) -> None:
    forge(folder, change)
    refused(folder, MANIFEST)


JSON = ["[1, 22]", '{"a":2}', '[{"b":3}]', "[0]"]


@pytest.mark.parametrize("value", [b"[1,'a']", b'"abcdef', b"{]     ", b"NaN [1]", b"[[[[[[[", b"\x41\0\0\0\0\0\0"])
def test_json_that_is_none(tmp_path: Path, value: bytes) -> None:
    folder = tmp_path / "store"
    store = EmbeddingStore()
    store.add_embeddings(np.eye(4), range(4))
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as store:
        store.add_embeddings(np.eye(4), range(4, 8), metadata={"tags": [json.loads(text) for text in JSON]})
    (location,) = (part["bytes"] for part in document_of(folder)["segments"][-1]["columns"].values())
    rewrite(folder, location, writing(slice(7), np.frombuffer(value, np.uint8)))
    store = EmbeddingStore.open(folder)
    with pytest.raises(CorruptStoreError, match=re.escape(str(folder))):
        store.verify()
    reads: list[Callable[[], Any]] = [
        lambda: store.metadata,
        lambda: store.get(filter={"id": 4}, columns=["tags"]),
        lambda: store.get_metadata(4),
        lambda: store.count({"tags": {"$eq": {"a": 2}}}),
        lambda: store.count({"tags.a": 2}),
    ]
    for read in reads:
        with pytest.raises(CorruptStoreError, match="cannot be decoded"):
            read()


@pytest.mark.parametrize("value", [b"1234567", b"null   ", b'"abcde"'])
def test_json_of_another_kind_is_shown_and_verify_finds_it(tmp_path: Path, value: bytes) -> None:
    folder = tmp_path / "store"
    store = EmbeddingStore()
    store.add_embeddings(np.eye(4), range(4), metadata={"tags": [[0]] * 4})
    store.save_to_disk(folder)
    with EmbeddingStore.open(folder, "a") as store:
        store.update(2, metadata={"tags": [1, 22]})
    location = document_of(folder)["changes"][0]["columns"]["tags"]["bytes"]
    rewrite(folder, location, writing(slice(7), np.frombuffer(value, np.uint8)))
    store = EmbeddingStore.open(folder)
    assert store.metadata["tags"].tolist() == [[0], [0], json.loads(value), [0]]
    with pytest.raises(CorruptStoreError, match=re.escape(str(folder)) + ".*no list or dict"):
        store.verify()


def test_changes_that_are_damaged_are_not_merged(folder: Path) -> None:
    with EmbeddingStore.open(folder, "a") as store:
        for row in range(3):
            store.update(store.ids[row], metadata={"number": -row})
            store.commit()
        path = folder / document_of(folder)["changes"][-2]["columns"]["number"]["rows"].split("/")[0]
        data, before = path.read_bytes(), (folder / MANIFEST).read_bytes()
        path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
        store.update(store.ids[3], metadata={"number": 99})
        expected = store.metadata["number"].tolist()
        with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
            store.commit()
        assert (folder / MANIFEST).read_bytes() == before
        assert store.metadata["number"].tolist() == expected
        path.write_bytes(data)
    assert len(document_of(folder)["changes"]) == 2
    assert EmbeddingStore.open(folder).metadata["number"].tolist() == expected
