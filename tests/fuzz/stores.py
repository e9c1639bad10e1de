"""Damaged stores, half of them with checksums that fit the damage: each is refused, or gives right answers."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import stored
from votive import EmbeddingStore, StoreError, _core

from fuzz.harness import Fault, Fuzzer, link, main, replace
from fuzz.mutations import damaged_bytes, damaged_json, damaged_numbers


class Stores(Fuzzer):
    """Tries damaged stores."""

    name = "stores"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.answers: dict[str, Any] = {}
        for kind in ("int64", "str", "int8"):
            folder = base / "sources" / kind
            if not folder.exists():
                folder.parent.mkdir(exist_ok=True)
                stored.make(folder, kind)
                (folder / "LOCK").unlink()
            self.answers[kind] = stored.use(EmbeddingStore.open(folder, mmap=False))

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
            start = 10 + struct.unpack("<H", content[8:10])[0]
            changed = damaged_numbers(rng, content, start) if rng.random() < 0.7 else damaged_bytes(rng, content)
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
        answers = stored.use(store)
        # Bytes of a map are trusted until somebody asks.
        if not how["forged"] and not how["mmap"] and answers != self.answers[how["kind"]]:
            raise Fault("other answers than before the damage")
        if how["mmap"]:
            store.verify()
        if not how["writes"]:
            return
        with EmbeddingStore.open(folder / "store", "a", mmap=how["mmap"]) as writer:
            rows = np.random.default_rng(3).standard_normal((3, writer.dimension or 10), np.float32)
            ids = ["new 1", "new 2", "new 3"] if how["kind"] == "str" else [10**6, 10**6 + 1, 10**6 + 2]
            metadata = {"name": ["a", "b", "c"], "number": [1, 2, 3]}
            writer.add_embeddings(rows, ids=ids, texts=["x", "y", "z"], metadata=metadata)
            writer.delete(writer.ids[:2])
            writer.commit()
            writer.compact()
            before = stored.use(writer)
        after = stored.use(EmbeddingStore.open(folder / "store", mmap=False))
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
