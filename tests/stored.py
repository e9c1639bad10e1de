"""Stores in folders, for tests that look at both."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import CorruptStoreError, EmbeddingStore, _core
from votive._store.files import segment_arrays as _segment_arrays

MANIFEST = "MANIFEST.json"

# Of the vectors of `make`.
DIMENSION = 10


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


def located(document: dict[str, Any], what: str, segment: int = 1) -> tuple[dict[str, Any], str]:
    """The object of a manifest that names an array such as "ids", "deleted" or "text.offsets", and its key there."""
    if what in ("deleted", "rows"):
        return document, what
    place = document["segments"][segment]
    if "." not in what:
        return place, what
    column, part = what.split(".")
    return place["columns"][column], part


def make(folder: Path, kind: str) -> None:
    """A store of two segments, with deleted rows, texts and metadata, each array in a file of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_segment_arrays, "MAX_ARCHIVE_BYTES", 0)
        make_archived(folder, kind)


def make_archived(folder: Path, kind: str) -> None:
    """As `make`, with the arrays of the second segment in one file."""
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


def spans(folder: Path, name: str) -> list[tuple[int, int]]:
    """Where the elements of each array of a file that is intact begin and end."""
    entry, content = json.loads((folder / MANIFEST).read_text())["files"][name], (folder / name).read_bytes()
    found = []
    for array in entry.get("arrays", {"": {"offset": 0, **entry}}).values():
        start = array["offset"] + 10 + int.from_bytes(content[array["offset"] + 8 : array["offset"] + 10], "little")
        found.append((start, start + math.prod(array["shape"]) * np.dtype(array["dtype"]).itemsize))
    return found


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


def writing(place: Any, value: Any) -> Callable[[np.ndarray], None]:
    """A change of an array: the value at a place."""

    def change(array: np.ndarray) -> None:
        array[place] = value

    return change


def setting(*where: Any) -> Callable[[dict[str, Any]], None]:
    *path, key, value = where

    def change(document: dict[str, Any]) -> None:
        for step in path:
            document = document[step]
        document[key] = value

    return change
