"""Stores with bytes that nobody wrote, most of them under checksums that vouch for them: used, or refused by name."""

import copy
import os
import pickle
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import QuickDisk
from stored import forge, make, setting, use
from votive import CorruptStoreError, EmbeddingStore, _core
from votive._store import folder as _folder
from votive._store import writer as _writer

# For how long; by hand an hour, with another seed.
SECONDS = float(os.environ.get("VOTIVE_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("VOTIVE_FUZZ_SEED", "14"))


def show(store: EmbeddingStore) -> None:
    """All columns as Python has them."""
    for values in (store.metadata, store.get_metadata(store.ids)):
        for column in values.values():
            column.tolist()


def compact(store: EmbeddingStore) -> None:
    store.compact()
    use(store)


def change(store: EmbeddingStore) -> None:
    store.delete(store.ids[::3])
    store.add_embeddings(**{**_rows(store), "ids": store.ids[:2]})
    use(store)


def save(store: EmbeddingStore) -> None:
    """What is written can be read."""
    folder = store._state.binding.folder.with_name("saved")
    shutil.rmtree(folder, ignore_errors=True)
    store.save_to_disk(folder)
    use(EmbeddingStore.open(folder, mmap=False, num_threads=1))


def commit(store: EmbeddingStore) -> None:
    folder = store._state.binding.folder.with_name("committed")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store._state.binding.folder, folder)
    with EmbeddingStore.open(folder, "a", num_threads=1) as writer:
        writer.delete(writer.ids[:3])
        writer.compact()
    use(EmbeddingStore.open(folder, mmap=False, num_threads=1))


def _rows(store: EmbeddingStore) -> dict[str, Any]:
    return {
        # Vectors that are mapped may hold what no caller may add.
        "vectors": np.clip(np.nan_to_num(store.get(store.ids[:2])), -9, 9),
        "texts": store.get_texts(store.ids[:2]),
        "metadata": store.get_metadata(store.ids[:2]),
    }


USES: list[Callable[[EmbeddingStore], Any]] = [
    use,
    show,
    compact,
    change,
    save,
    commit,
    lambda store: store.to_arrow().to_pylist(),
    lambda store: use(copy.deepcopy(store)),
    lambda store: use(pickle.loads(pickle.dumps(copy.copy(store)))),
    lambda store: use(pickle.loads(pickle.dumps(store))),
    lambda store: store.verify(),
]


def mutate(folder: Path, rng: random.Random) -> str:
    """Changes a file, and says how."""
    path = rng.choice(sorted(folder.glob("*.npy")))
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        place = rng.randrange(0 if rng.random() < 0.1 else 128, len(data))
        data[place] = rng.choice((data[place] ^ 1 << rng.randrange(8), 0, 255, rng.randrange(256)))
    path.write_bytes(data)
    vouched = rng.random() < 0.8
    if vouched:
        forge(folder, setting("files", path.name, "crc32c", f"{_core.crc32c(bytes(data)):08x}"))
    return f"{path.name}{' with' if vouched else ', without'} its checksum"


def test_what_nobody_wrote_is_used_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "DISK", QuickDisk())
    rng = random.Random(SEED)
    kinds = ["int64", "str", "int8"]
    for kind in kinds:
        make(tmp_path / kind, kind)
    folder = tmp_path / "case"
    cases = refused = 0
    end = time.monotonic() + SECONDS
    while cases < 20 or time.monotonic() < end:
        cases += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / rng.choice(kinds), folder)
        changes = [mutate(folder, rng) for _ in range(rng.choice((1, 1, 2)))]
        monkeypatch.setattr(_folder, "MIN_MAPPED_BYTES", rng.choice((0, 1 << 16)))
        for mmap in (True, False):
            for action in USES:
                try:
                    action(EmbeddingStore.open(folder, mmap=mmap, num_threads=1))
                except CorruptStoreError as error:
                    refused += 1
                    if str(tmp_path) not in str(error):
                        raise
                except BaseException as error:
                    raise AssertionError(f"case {cases}, mmap={mmap}, {changes}") from error
    assert refused > cases
