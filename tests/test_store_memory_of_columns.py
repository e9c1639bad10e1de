"""What texts, ids and metadata take: their bytes, in memory, in folders and against the limit."""

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import EmbeddingStore, StoreError

ROWS, LONG = 20_000, 20_000


def one_long(kind: str) -> list:
    """Values of one byte, and one of 20 kB."""
    short, long = {"str": ("a", "b" * LONG), "bytes": (b"a", b"b" * LONG), "list": (["a"], ["b" * LONG])}[kind]
    return [short] * (ROWS // 2) + [long] + [short] * (ROWS // 2 - 1)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["str", "bytes", "list"])
def test_one_long_value_takes_its_own_bytes(kind: str, tmp_path: Path) -> None:
    values = one_long(kind)
    store = EmbeddingStore()
    tracemalloc.start()
    try:
        store.add_embeddings(np.ones((ROWS, 1), np.float32), metadata={"value": values})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # An offset of 8 bytes for each row, and the bytes; an array as wide as the longest has 400 MB.
    assert store.memory_usage()["metadata"] < ROWS * (8 + 5) + LONG + 100
    assert peak < 30 * (ROWS * 8 + LONG)
    store.save_to_disk(tmp_path / "store")
    with_none = EmbeddingStore()
    with_none.add_embeddings(np.ones((ROWS, 1), np.float32))
    with_none.save_to_disk(tmp_path / "none")
    assert size_of(tmp_path / "store") - size_of(tmp_path / "none") < ROWS * (8 + 5) + LONG + 5000
    for mmap in (True, False):
        opened = EmbeddingStore.open(tmp_path / "store", mmap=mmap)
        assert opened.get(ROWS // 2, columns=["value"])["value"] == values[ROWS // 2]
        usage = opened.memory_usage()
        assert mmap == (usage["mapped"] > 0)
        assert usage["metadata"] <= store.memory_usage()["metadata"]


@pytest.mark.parametrize("after", [False, True])
def test_one_long_value_of_an_update_takes_its_own_bytes(after: bool) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((ROWS, 1), np.float32), metadata={"value": ["a"] * ROWS})
    before = store.memory_usage()["metadata"]
    store.update(7, metadata={"value": "b" * LONG})
    if after:
        store.delete(0)
        store.compact()
    assert store.memory_usage()["metadata"] - before < LONG + 100


# What is given, and how many bytes it has.
REFUSED: dict[str, Callable[[], tuple[dict[str, Any], int]]] = {
    "ids": lambda: ({"ids": [f"{row:0500}" for row in range(ROWS)]}, 500 * ROWS),
    "texts": lambda: ({"texts": ["x" * 500] * ROWS}, 500 * ROWS),
    "metadata": lambda: ({"metadata": {"value": ["x" * 500] * ROWS}}, 500 * ROWS),
    "bytes": lambda: ({"metadata": {"value": [b"x" * 500] * ROWS}}, 500 * ROWS),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_strings_beyond_the_limit_are_refused_before_they_are_copied(kind: str) -> None:
    given, size = REFUSED[kind]()
    store = EmbeddingStore(max_memory_gb=0.005)
    vectors = np.ones((ROWS, 1), np.float32)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match=r"max_memory_gb: 20000 rows .* more than the limit of 0\.005 GB"):
            store.add_embeddings(vectors, **given)
        with pytest.raises(StoreError, match="max_memory_gb"):
            store.upsert(vectors, **{"ids": range(ROWS), **given})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 4
    assert (len(store), store.memory_usage()["total"]) == (0, 0)


@pytest.mark.parametrize("rows", [100, 10_000])
def test_the_limit_counts_all_that_rows_have(rows: int) -> None:
    given: dict[str, Any] = {
        "ids": np.array([f"{row:060}" for row in range(rows)]),
        "texts": ["text" * 15] * rows,
        "metadata": {"a": [1] * rows, "b": [["x"]] * rows, "c": [None, "x" * 60] * (rows // 2)},
    }
    vectors = np.ones((rows, 4), np.float32)
    free = EmbeddingStore(max_memory_gb=None)
    free.add_embeddings(vectors, **given)
    used = free.memory_usage()
    assert used["texts"] == rows * (60 + 8) + 8
    assert used["metadata"] >= rows * (8 + 8 + 5 + 8 + 1)
    assert used["ids"] > rows * 68
    for part in ("texts", "metadata", "ids"):
        tight = EmbeddingStore(max_memory_gb=(used["total"] - used[part]) / 1e9)
        with pytest.raises(StoreError, match="max_memory_gb"):
            tight.add_embeddings(vectors, **given)
        assert (len(tight), tight.memory_usage()["total"]) == (0, 0)


def test_texts_and_metadata_spill_with_their_vectors(tmp_path: Path) -> None:
    texts = [f"text {row} " * 50 for row in range(1000)]
    store = EmbeddingStore(max_memory_gb=0.0001, spill_to=tmp_path)
    store.add_embeddings(np.ones((1000, 8), np.float32), texts=texts, metadata={"a": texts, "b": range(1000)})
    size = sum(map(len, texts))
    for _ in range(2):
        usage = store.memory_usage()
        assert (usage["texts"], usage["metadata"], usage["vectors"]) == (0, 0, 0)
        assert usage["mapped"] > 2 * size + 1000 * 8 * 5
        assert usage["total"] == usage["ids"] + usage["reserved"] + usage["codes"]
        assert store.texts == texts
        assert store.metadata["a"].tolist() == texts
        store.delete(store.ids[-1:])
        store.add_embeddings(np.ones((1, 8), np.float32), [999], texts=texts[-1:], metadata={"a": texts[-1:]})
        store.compact()
    assert list(tmp_path.iterdir()) == []


MEASURE = """
import json, sys
import numpy as np
from votive import EmbeddingStore

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

ROWS = 20_000
texts = [f"{row} " * 500 for row in range(ROWS)]
vectors = np.ones((ROWS, 1), np.float32)
limit = {"kept": 1.0, "refused": 0.01}[sys.argv[1]]
warm = EmbeddingStore()
warm.add_embeddings(vectors[:10], texts=texts[:10])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts here
before = status("VmRSS")
store = EmbeddingStore(max_memory_gb=limit)
try:
    store.add_embeddings(vectors, texts=texts)
except Exception as error:
    assert "max_memory_gb" in str(error)
print(json.dumps([status("VmHWM") - before, status("VmRSS") - before, sum(map(len, texts))]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_texts(run_python: Callable[..., str]) -> None:
    peak, held, size = json.loads(run_python(MEASURE, "kept"))
    assert held < 1.2 * size + (4 << 20)
    assert peak < 3.5 * size
    peak, held, size = json.loads(run_python(MEASURE, "refused"))
    assert peak < 0.1 * size
