"""Folders that earlier versions of the format wrote, and that this votive reads and goes on with."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import forge, refused, setting
from votive import CorruptStoreError, EmbeddingStore, _core
from votive._store.files.manifest import FORMAT_VERSION

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = {
    root.name: json.loads((root / "contents.json").read_text(encoding="utf-8")) for root in FIXTURES.glob("stores_*")
}
FOLDERS = [f"{version}/{kind}" for version in sorted(EXPECTED) for kind in EXPECTED[version]]

Values = list[Any]


def expected_of(name: str) -> dict[str, Any]:
    """What is in a folder, in `FIXTURES`."""
    version, kind = name.split("/")
    return EXPECTED[version][kind]


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    """Of a folder."""
    return request.param


@pytest.fixture
def expected(name: str) -> dict[str, Any]:
    """What is in it."""
    return expected_of(name)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(FIXTURES / name, tmp_path / "store"))


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))


def values_of(column: np.ndarray, name: str) -> Values:
    """Values as they are in `contents.json`: of version 1 as `str` has them."""
    if column.dtype.kind == "M":
        return [None if np.isnat(value) else str(value) for value in column]
    if name.startswith("stores_1/"):
        return [None if value is None or value is np.ma.masked else str(value) for value in column]
    return [value.hex() if isinstance(value, bytes) else value for value in column.tolist()]


def rows_of(store: EmbeddingStore, name: str) -> dict[str, Any]:
    """The rows of a store, as `contents.json` has them."""
    return {
        "ids": store.ids.tolist(),
        "texts": store.texts,
        "vectors": store.get(store.ids).tolist(),
        "metadata": {column: values_of(values, name) for column, values in store.metadata.items()},
    }


def assert_rows(store: EmbeddingStore, expected: dict[str, Any], name: str) -> None:
    """A store holds what is expected, in that order; NaN is what NaN is."""
    found = rows_of(store, name)
    assert found["metadata"].keys() == expected["metadata"].keys()
    for part, values in found.items():
        if part == "metadata":
            for column in values:
                assert json.dumps(values[column]) == json.dumps(expected[part][column]), column
        else:
            assert values == expected[part], part


def assert_answers(store: EmbeddingStore, expected: dict[str, Any]) -> None:
    """A search gives what it gave."""
    queries = np.array(expected["queries"], np.float32)
    for exact in (True, False):
        scores, ids = store.search(queries, 5, exact=exact)
        assert ids.tolist() == expected["found"]
        np.testing.assert_allclose(scores, expected["scores"], rtol=1e-6, atol=1e-6)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_versions() -> None:
    assert [manifest(FIXTURES / name)["format_version"] for name in FOLDERS] == [
        int(name[7 : name.index("/")]) for name in FOLDERS
    ]
    assert f"stores_{FORMAT_VERSION}" in EXPECTED, "run tests/fixtures/stores.py"


@pytest.mark.parametrize("mmap", [True, False])
def test_reading(name: str, folder: Path, expected: dict[str, Any], mmap: bool) -> None:
    before = contents_of(folder)
    for open_store in (EmbeddingStore.open, EmbeddingStore.load_from_disk):
        store = open_store(folder, mmap=mmap)
        assert (store.dtype, store.metric) == (expected["dtype"], expected["metric"])
        for column, dtype in expected.get("dtypes", {}).items():
            assert store.metadata[column].dtype == dtype, column
        assert_rows(store, expected, name)
        assert_answers(store, expected)
        store.delete(store.ids[:1])
    EmbeddingStore.open(folder, mmap=mmap).verify()
    again = pickle.loads(pickle.dumps(EmbeddingStore.open(folder, mmap=mmap)))
    assert_rows(again, expected, name)
    assert contents_of(folder) == before


def change(store: EmbeddingStore, expected: dict[str, Any]) -> dict[str, Any]:
    """Updates, adds and deletes rows; gives what is expected then.

    Rows get values that others have, so that each column is changed whatever its type.
    """
    ids, texts, columns = expected["ids"], expected["texts"], expected["metadata"]
    count = len(ids)
    texts = [None] * count if texts is None else list(texts)
    columns = {column: list(values) for column, values in columns.items()}
    targets = list(range(2, count // 2, 3))
    sources = [count - 1 - place for place in range(len(targets))]
    new_texts = [f"über {row}" for row in targets]
    given = store.get([ids[row] for row in sources], columns=list(columns)) if columns else {}
    assert store.update([ids[row] for row in targets], texts=new_texts, metadata=given) == len(targets)
    for values in columns.values():
        old = list(values)
        for target, source in zip(targets, sources, strict=True):
            values[target] = old[source]
    for target, text in zip(targets, new_texts, strict=True):
        texts[target] = text
    assert store.update(ids[1], metadata=dict.fromkeys(columns)) == 1
    for values in columns.values():
        values[1] = None

    new_ids: Values = ["neu 1", "neu 2", ids[4]] if isinstance(ids[0], str) else [10_001, 10_002, ids[4]]
    vectors = store.get(ids[:3])  # of bits as bits, which are taken as such
    new_columns = {"added": ["a", None, "c" * 300], "added list": [None, [1, None, "x"], {"ü": {"y": 1.5}}]}
    store.add_embeddings(vectors, new_ids, ["ä", None, ""], new_columns)
    deleted = [*range(10, 14), 4]
    assert store.delete([ids[row] for row in deleted[:-1]]) == len(deleted) - 1
    kept = [row for row in range(count) if row not in deleted]
    columns |= {column: [None] * count for column in new_columns}
    return expected | {
        "ids": [*(ids[row] for row in kept), *new_ids],
        "texts": [*(texts[row] for row in kept), "ä", None, ""],
        "vectors": [*(expected["vectors"][row] for row in kept), *vectors.tolist()],
        "metadata": {
            column: [*(values[row] for row in kept), *new_columns.get(column, [None] * 3)]
            for column, values in columns.items()
        },
    }


# Those with rows.
@pytest.mark.parametrize("name", [name for name in FOLDERS if expected_of(name)["ids"]], indirect=True)
@pytest.mark.parametrize("mmap", [True, False])
def test_writing(name: str, folder: Path, expected: dict[str, Any], mmap: bool) -> None:
    store = EmbeddingStore.open(folder, "a", mmap)
    changed = change(store, expected)
    if name.startswith("stores_1/"):
        added = changed["metadata"]["added list"]
        changed["metadata"]["added list"] = [None if value is None else str(value) for value in added]
    assert_rows(store, changed, name)
    store.commit()
    assert manifest(folder)["format_version"] == FORMAT_VERSION
    queries = np.array(expected["queries"], np.float32)
    answers = [values.tolist() for values in store.search(queries, 20)]

    def assert_same(found: EmbeddingStore) -> None:
        assert_rows(found, changed, name)
        assert [values.tolist() for values in found.search(queries, 20)] == answers

    for again in (True, False):
        assert_same(EmbeddingStore.open(folder, mmap=again))
    store.verify()
    assert_same(pickle.loads(pickle.dumps(EmbeddingStore.open(folder))))
    store.compact()
    assert_same(store)
    store.commit()
    store.verify()
    store.close()
    # What earlier versions did not save is there when rows are written anew.
    has_coarse = expected["dtype"] in {"float32", "float16"}
    for again in (True, False):
        opened = EmbeddingStore.open(folder, mmap=again)
        assert_same(opened)
        assert all((coarse is not None) == has_coarse for *_, coarse in opened._state.contents.core.segments())
    with EmbeddingStore.open(folder, "a", mmap) as store:
        assert_same(pickle.loads(pickle.dumps(store)))
        store.update(store.ids[:2], texts=["x", None])
    assert EmbeddingStore.open(folder).texts == ["x", None, *changed["texts"][2:]]


@pytest.mark.parametrize("name", [name for name in FOLDERS if not expected_of(name)["ids"]], indirect=True)
@pytest.mark.parametrize("mmap", [True, False])
def test_writing_to_what_has_no_rows(name: str, folder: Path, expected: dict[str, Any], mmap: bool) -> None:
    columns = list(expected["metadata"])
    vectors = np.eye(3, len(expected["queries"][0]), dtype=np.float32)
    largest = manifest(folder)["largest_id"]
    first = 0 if largest is None else largest + 1
    with EmbeddingStore.open(folder, "a", mmap) as store:
        # No id that was there is given again.
        ids = store.add_embeddings(vectors, texts=["ä", None, ""], metadata={"added": [b"a", None, b""]}).tolist()
        assert ids == [first, first + 1, first + 2]
    rows = {
        "ids": ids,
        "texts": ["ä", None, ""],
        "vectors": vectors.tolist(),
        "metadata": {column: [None] * 3 for column in columns} | {"added": ["61", None, ""]},
    }
    for again in (True, False):
        store = EmbeddingStore.open(folder, mmap=again)
        assert_rows(store, rows, name)
        store.verify()
    with EmbeddingStore.open(folder, "a", mmap) as store:
        store.compact()
    assert_rows(EmbeddingStore.open(folder), rows, name)


@pytest.mark.parametrize("number", [0xD800, 0x110000, 0xFFFFFFFF])
def test_numbers_that_are_no_characters(tmp_path: Path, number: int) -> None:
    """In the arrays of str of version 1, where a checksum vouches for them."""
    folder = Path(shutil.copytree(FIXTURES / "stores_1/float32", tmp_path / "store"))
    name = manifest(folder)["segments"][1]["columns"]["name"]
    values = np.load(folder / name)
    values.view("<u4")[2] = number
    np.save(folder / name, values)
    forge(folder, setting("files", name, "crc32c", f"{_core.crc32c((folder / name).read_bytes()):08x}"))
    refused(folder, name, "holds numbers that are no characters")


@pytest.mark.parametrize("segment", [0, 1])
@pytest.mark.parametrize("mmap", [True, False])
def test_json_that_is_none(tmp_path: Path, segment: int, mmap: bool) -> None:
    """Where a checksum vouches for it: in a file of its own, and in one with others."""
    folder = Path(shutil.copytree(FIXTURES / "stores_2/float32", tmp_path / "store"))
    name = manifest(folder)["segments"][segment]["columns"]["dict"]["bytes"].split("/")[0]
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content.replace(b'"year"', b'!year"'))
    forge(folder, setting("files", name, "crc32c", f"{_core.crc32c((folder / name).read_bytes()):08x}"))
    store = EmbeddingStore.open(folder, mmap=mmap)
    for use in (lambda: store.metadata, lambda: store.count({"dict.year": 1999}), store.to_arrow, store.verify):
        with pytest.raises(CorruptStoreError, match="Expecting property name"):
            use()
