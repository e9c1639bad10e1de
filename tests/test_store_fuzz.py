"""Stores with bytes that nobody wrote, most of them under checksums that vouch for them.

`fuzz/stores.py` tries opening, searching, verifying and committing; here is what else reads the rows, each on its own:
it is answered, or refused by an error that names the folder.
"""

import copy
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import QuickDisk
from stored import files, forge, make, make_archived, setting, spans, use
from votive import CorruptStoreError, EmbeddingStore, _core
from votive._store.files import folder as _folder
from votive._store.files import writer as _writer

CASES, SEED = 60, 14


def show(store: EmbeddingStore) -> None:
    """All columns as Python has them."""
    for values in (store.metadata, store.get_metadata(store.ids)):
        for column in values.values():
            column.tolist()


def change(store: EmbeddingStore) -> None:
    store.delete(store.ids[::3])
    store.add_embeddings(
        # Vectors that are mapped may hold what no caller may add.
        np.clip(np.nan_to_num(store.get(store.ids[:2])), -9, 9),
        store.ids[:2],
        store.get_texts(store.ids[:2]),
        store.get_metadata(store.ids[:2]),
    )
    use(store)


def save(store: EmbeddingStore) -> None:
    """What is written can be read."""
    folder = store._state.binding.folder.with_name("saved")
    shutil.rmtree(folder, ignore_errors=True)
    store.save_to_disk(folder)
    use(EmbeddingStore.open(folder, mmap=False, num_threads=1))


USES: list[Callable[[EmbeddingStore], Any]] = [
    show,
    change,
    save,
    lambda store: store.to_arrow().to_pylist(),
    lambda store: use(copy.deepcopy(store)),
    lambda store: use(pickle.loads(pickle.dumps(copy.copy(store)))),
    lambda store: use(pickle.loads(pickle.dumps(store))),
]


def mutate(folder: Path, rng: random.Random) -> str:
    """Changes a file, and says how."""
    path = folder / rng.choice(files(folder))
    data = bytearray(path.read_bytes())
    start, end = rng.choice(spans(folder, path.name))
    if start == end or rng.random() < 0.1:
        start, end = 0, len(data)
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        place = rng.randrange(start, end)
        data[place] = rng.choice((data[place] ^ 1 << rng.randrange(8), 0, 255, rng.randrange(256)))
    path.write_bytes(data)
    vouched = rng.random() < 0.8
    if vouched:
        forge(folder, setting("files", path.name, "crc32c", f"{_core.crc32c(bytes(data)):08x}"))
    return f"{path.name}{' with' if vouched else ', without'} its checksum"


def test_what_nobody_wrote_is_used_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "DISK", QuickDisk())
    rng = random.Random(SEED)
    kinds = [f"{how}-{kind}" for how in ("files", "packed") for kind in ("int64", "str", "int8")]
    for name in kinds:
        how, kind = name.split("-")
        (make if how == "files" else make_archived)(tmp_path / name, kind)
        if how == "packed":
            with EmbeddingStore.open(tmp_path / name, "a") as store:
                metadata = {"number": [None, 7] * 4, "tags": [[1, {"a": "ö"}], None] * 4}
                store.update(store.ids[30:38], texts=["ü", None] * 4, metadata=metadata)
    folder = tmp_path / "case"
    refused = 0
    for case in range(CASES):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / rng.choice(kinds), folder)
        changes = [mutate(folder, rng) for _ in range(rng.choice((1, 1, 2)))]
        monkeypatch.setattr(_folder, "MIN_MAPPED_BYTES", rng.choice((0, 1 << 16)))
        for mmap in (True, False):
            for action in USES:
                try:
                    action(EmbeddingStore.load_from_disk(folder, mmap=mmap))
                except CorruptStoreError as error:
                    refused += 1
                    if str(tmp_path) not in str(error):
                        raise
                except BaseException as error:
                    raise AssertionError(f"case {case}, mmap={mmap}, {changes}") from error
    assert refused > CASES
