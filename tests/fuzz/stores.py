"""Damaged stores, half of them with checksums that fit the damage: each is refused, or gives right answers.

Each array in a file of its own, with ids of both kinds and of int8; arrays packed in one file, with sets of changes in
files of one or several arrays; and bits.
"""

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import stored
from votive import EmbedderInfo, EmbeddingStore, StoreError, _core

from fuzz.harness import Fault, Fuzzer, link, main, replace
from fuzz.mutations import damaged_bytes, damaged_json, damaged_numbers


class Encoder:
    """An embedder that says what it is."""

    info = EmbedderInfo("a/model", "c0ffee", "ab12", "mean", "float32", "a prömpt: ")

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        """Vectors that mean nothing."""
        return np.random.default_rng(4).standard_normal((len(texts), stored.DIMENSION), np.float32)


def make_changed(folder: Path, kind: str) -> None:
    """A packed store of a model's, with two sets of changes, of all parts of columns, of JSON and of bools too."""
    stored.make_archived(folder, kind)
    with EmbeddingStore.open(folder, "a") as store:
        store.add_texts(["of a model"], Encoder(), ids=["model"] if kind == "str" else [10**5])
        ids = store.ids
        tags = [[1, {"a": "ö"}], None, {"b": [2.5]}, []]
        for rows in (slice(0, 16), slice(20, 24)):
            count = len(ids[rows])
            metadata = {"number": [None, 7] * (count // 2), "tags": tags * (count // 4), "flag": [True] * count}
            store.update(ids[rows], texts=["ü", None] * (count // 2), metadata=metadata)
            store.commit()


def make_binary(folder: Path) -> None:
    """A packed store of bits."""
    rng = np.random.default_rng(1)
    store = EmbeddingStore(metric="hamming", dtype="ubinary")
    for first, rows in ((0, 40), (40, 30)):
        numbers = range(first, first + rows)
        vectors = rng.integers(0, 256, (rows, 8), np.uint8)
        texts, names = [f"text ü {number}" for number in numbers], [f"ö{number}" for number in numbers]
        store.add_embeddings(vectors, list(numbers), texts, {"name": names, "number": list(numbers)})
        if not first:
            store.save_to_disk(folder)
            store = EmbeddingStore.open(folder, "a")
            store.delete(store.ids[5:9])
    store.close()


SOURCES: dict[str, Callable[[Path], None]] = {
    **{kind: partial(stored.make, kind=kind) for kind in ("int64", "str", "int8")},
    **{f"changed-{kind}": partial(make_changed, kind=kind) for kind in ("int64", "str", "int8")},
    "ubinary": make_binary,
}


def answers_of(store: EmbeddingStore) -> dict[str, Any]:
    """What a store gives, of columns that not all have, too."""
    if store.dtype == "ubinary":
        queries = np.random.default_rng(2).integers(0, 256, (3, (store.dimension or 64) // 8), np.uint8)
        found: dict[str, Any] = {
            "ids": store.ids.tolist(),
            "texts": list(store.texts),
            "vectors": store.get(store.ids).tolist(),
            "found": [values.tolist() for values in store.search(queries, 7)],
            "filtered": [values.tolist() for values in store.search(queries, 7, filter=store.ids[::2])],
        }
    else:
        found = stored.use(store)
    found["model"] = None if store.embedder_info is None else asdict(store.embedder_info)
    return {**found, "columns": {name: values.tolist() for name, values in store.metadata.items()}}


class Stores(Fuzzer):
    """Tries damaged stores."""

    name = "stores"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.answers: dict[str, Any] = {}
        for kind, make in SOURCES.items():
            folder = base / "sources" / kind
            if not folder.exists():
                folder.parent.mkdir(exist_ok=True)
                make(folder)
                (folder / "LOCK").unlink()
            self.answers[kind] = answers_of(EmbeddingStore.open(folder, mmap=False))

    def make(self, rng: random.Random, folder: Path) -> None:
        kind = rng.choice(sorted(self.answers))
        source = self.base / "sources" / kind
        store = folder / "store"
        store.mkdir()
        link(source, store)
        forged = rng.random() < 0.7
        how = {"kind": kind, "forged": forged, "mmap": rng.random() < 0.5, "writes": rng.random() < 0.5}
        (folder / "how.json").write_text(json.dumps(how))
        manifest = store / stored.MANIFEST
        document = json.loads(manifest.read_bytes())
        for _ in range(rng.choice([1, 1, 2])):
            if rng.random() < 0.4:
                document = damaged_json(rng, document)
                continue
            name = rng.choice(stored.files(source))
            content = (source / name).read_bytes()
            if rng.random() < 0.3:
                changed = damaged_bytes(rng, content)
            else:
                start, end = rng.choice(stored.spans(source, name))
                changed = damaged_numbers(rng, content[:end], start) + content[end:]
            replace(store / name, changed)
            if forged:
                forge_file(document, name, changed)
        text = json.dumps(document).encode()
        if forged and isinstance(document, dict):
            document.pop("crc32c", None)
            sorted_text = json.dumps(document, sort_keys=True, separators=(",", ":"))
            document["crc32c"] = f"{_core.crc32c(sorted_text.encode()):08x}"
            text = json.dumps(document).encode()
        if rng.random() < 0.05:
            text = damaged_bytes(rng, text)
        replace(manifest, text)

    def use(self, folder: Path) -> None:
        how = json.loads((folder / "how.json").read_text())
        store = EmbeddingStore.open(folder / "store", mmap=how["mmap"])
        answers = answers_of(store)
        # Bytes of a map are trusted until somebody asks.
        if not how["forged"] and not how["mmap"] and answers != self.answers[how["kind"]]:
            raise Fault("other answers than before the damage")
        if how["mmap"]:
            store.verify()
        if not how["writes"]:
            return
        with EmbeddingStore.open(folder / "store", "a", mmap=how["mmap"]) as writer:
            rng = np.random.default_rng(3)
            rows: Any = rng.standard_normal((3, writer.dimension or 10), np.float32)
            if writer.dtype == "ubinary":
                rows = rng.integers(0, 256, (3, (writer.dimension or 64) // 8), np.uint8)
            ids = ["new 1", "new 2", "new 3"] if how["kind"].endswith("str") else [10**6, 10**6 + 1, 10**6 + 2]
            metadata = {"name": ["a", "b", "c"], "number": [1, 2, 3]}
            writer.add_embeddings(rows, ids=ids, texts=["x", "y", "z"], metadata=metadata)
            writer.delete(writer.ids[:2])
            writer.update(writer.ids[:2], texts=["ä", None], metadata={"number": [None, 5]})
            writer.commit()
            committed = answers_of(EmbeddingStore.open(folder / "store", mmap=False))
            if json.dumps(committed, default=str) != json.dumps(answers_of(writer), default=str):
                raise Fault("other answers after a commit than before")
            writer.compact()
            before = answers_of(writer)
        after = answers_of(EmbeddingStore.open(folder / "store", mmap=False))
        # NaN is no number that is equal to itself.
        if json.dumps(after, default=str) != json.dumps(before, default=str):
            raise Fault("other answers after it was written than before")

    def judge(self, folder: Path) -> str:
        try:
            return super().judge(folder)
        except StoreError as error:
            raise Fault(f"{type(error).__name__}: {error}") from error


def forge_file(document: Any, name: str, content: bytes) -> None:
    """Makes what the manifest says of a file's bytes fit."""
    try:
        document["files"][name]["crc32c"] = f"{_core.crc32c(content):08x}"
    except (KeyError, TypeError, IndexError):
        # The damage before this took it away.
        return


if __name__ == "__main__":
    main(Stores)
