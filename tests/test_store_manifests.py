"""Manifests that nobody wrote: found out, whatever they claim."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import MANIFEST, forge, located, make, refused, setting, use
from votive import CorruptStoreError, EmbeddingStore, StoreError


@pytest.fixture
def folder(intact: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


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


def _without(*places: str) -> Callable[[dict[str, Any]], None]:
    """The second segment without some of its files."""

    def change(document: dict[str, Any]) -> None:
        for what in places:
            place, key = located(document, what)
            if key in place:
                del document["files"][place.pop(key)]

    return change


def _retyped(document: dict[str, Any]) -> None:
    place, key = located(document, "number.values")
    document["files"][place[key]]["dtype"] = "<f8"


def _huge(document: dict[str, Any]) -> None:
    """A claim that holds together, but for the files."""
    (first, second), files = document["segments"], document["files"]
    more = (1 << 40) - first["rows"]
    named = {place for column in first["columns"].values() for place in column.values()} | {*_strings(first)}
    for name in named:
        file = files[name]
        if "_bytes-" not in name:
            shape = [file["shape"][0] + more, *file["shape"][1:]]
            width = int(np.prod(shape[1:])) * np.dtype(file["dtype"]).itemsize
            file.update(shape=shape, bytes=file["bytes"] + more * width)
    first["rows"] += more
    second["first_row"] += more
    document["rows"] += more
    deleted = files[document["deleted"]]
    size = -(-document["rows"] // 8)
    deleted.update(bytes=deleted["bytes"] + size - deleted["shape"][0], shape=[size])


def _strings(segment: dict[str, Any]) -> list[str]:
    return [value for value in segment.values() if isinstance(value, str)]


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
    "a long name": (_rename("x" * 100_000), "expected names such as"),
    "no rows": (setting("rows", 0), "rows: expected 70"),
    "negative rows": (setting("rows", -1), "rows: expected an integer from 0"),
    "a float": (setting("rows", 70.0), "rows: expected an integer"),
    "true": (setting("generation", True), "generation: expected an integer"),
    "many": (setting("rows", 1 << 70), "rows: expected an integer"),
    "digits": (setting("rows", "70"), "rows: expected an integer"),
    "no version": (setting("format_version", None), "format_version: expected an integer"),
    "version 0": (setting("format_version", 0), "format_version: expected an integer from 1"),
    "another dimension": (setting("dimension", 111), "segments[0]."),
    "no dimension": (setting("dimension", None), "segments[0]."),
    "dimension 0": (setting("dimension", 0), "dimension: expected an integer from 1"),
    "a wide dimension": (setting("dimension", 1 << 40), "dimension: expected an integer"),
    "another metric": (
        setting("metric", "manhattan"),
        "metric: expected cosine or dot or l2 or hamming, found 'manhattan'",
    ),
    "a list for a metric": (setting("metric", ["cosine"]), "metric: expected a text, found a list"),
    "another type": (setting("dtype", "float16"), "segments[0]"),
    "other ids": (setting("id_kind", "uuid"), "id_kind: expected int64 or str"),
    "no ids": (setting("id_kind", None), "expected"),
    "no segments": (setting("segments", None), "segments: expected a list, found none"),
    "an object of segments": (setting("segments", {}), "segments: expected a list, found an object"),
    "a segment that is none": (setting("segments", 1, 7), "segments[1]: expected an object"),
    "fewer segments": (lambda document: document["segments"].pop(), "files: expected each array"),
    "another first row": (setting("segments", 1, "first_row", 39), "segments[1].first_row: expected 40, found 39"),
    "more rows": (setting("segments", 1, "rows", 31), "segments[1]"),
    "segments in another order": (lambda document: document["segments"].reverse(), "segments[0].first_row"),
    "files in other places": (_swap, "segments[0].codes: expected"),
    "a file twice": (_twice, "files: expected each array that a segment names once"),
    "no file": (setting("segments", 0, "codes", None), "segments[0].codes: expected a text"),
    "half of the codes": (setting("segments", 0, "bounds", "bounds-9-9.npy"), "files: expected"),
    "no columns": (setting("segments", 0, "columns", []), "segments[0].columns: expected an object"),
    "an id for a column": (setting("segments", 0, "columns", "name", "offsets", "ids-1-0.npy"), "files: expected"),
    "half of the texts": (
        _without("text.offsets"),
        "segments[1].columns['text']: expected offsets, bytes, found bytes",
    ),
    "values of a str": (_without("name.bytes"), "segments[1].columns['name']: expected offsets, bytes, found offsets"),
    "a column without a type": (lambda document: document["columns"].pop("name"), "expected one of the columns"),
    "a type that is none": (setting("columns", "name", "varchar"), "columns.name: expected a type of columns"),
    "a number for a type": (setting("columns", "name", 3), "columns.name: expected a text"),
    "another type of a column": (setting("columns", "number", "str"), "segments[0].columns['number']: expected"),
    "nulls alone": (setting("columns", "number", "null"), "segments[0].columns['number']: expected null, found <i8"),
    "no changes": (setting("changes", None), "changes: expected a list, found none"),
    "changes of nothing": (setting("changes", [{"rows": 1, "columns": {}}]), "changes[0].rows: expected 0"),
    "changes without rows": (
        setting("changes", [{"rows": 1, "columns": {"number": {"values": "column-7-0.npy"}}}]),
        "files: expected",
    ),
    "another number of deleted rows": (setting("deleted_rows", 5), "expected 5 of 70 bits"),
    "bits of numbers": (setting("metric", "hamming"), "metric: expected hamming and ubinary together"),
    "a column of two types": (_retyped, "segments[1].columns['number']: expected int64, found <f8"),
    "a segment without vectors": (
        _without("vectors", "codes", "bounds", "coarse"),
        "rows without vectors that are not among",
    ),
    "no deleted": (setting("deleted", None), "files: expected"),
    "another's deleted": (setting("deleted", "deleted-9-9.npy"), "files: expected"),
    "files as a list": (setting("files", []), "files: expected an object"),
    "a negative id": (setting("largest_id", -1), "largest_id: expected"),
    "an id beyond all": (setting("largest_id", 1 << 63), "largest_id: expected"),
}


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_a_forged_manifest(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    forge(folder, change)
    refused(folder, message)


def test_coarse_codes_come_with_codes(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    make(folder, "int64")
    forge(folder, _without("codes", "bounds"))
    refused(folder, "segments[1]: expected vectors, ids, found vectors, coarse, ids")


def test_sizes_are_looked_at_before_memory_is_taken(folder: Path) -> None:
    forge(folder, _huge)
    for mmap in (True, False):
        with pytest.raises(CorruptStoreError, match=r"expected \d{12,} bytes, found \d+"):
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


def test_a_newer_format_says_in_short_who_wrote_it(tmp_path: Path) -> None:
    make(tmp_path / "store", "int64")
    forge(tmp_path / "store", lambda document: document.update(format_version=99, created_by="x" * 10_000))
    with pytest.raises(StoreError, match=r"format_version 99, written by 'x+; votive ") as caught:
        EmbeddingStore.open(tmp_path / "store")
    assert len(str(caught.value)) < 1000
