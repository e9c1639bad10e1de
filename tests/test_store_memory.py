"""What a store takes of the memory of its process, read from /proc in processes of their own."""

import json
import sys
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MEGABYTE = 1 << 20

MEASURE = """
import json, sys
import numpy as np
from votive import EmbeddingStore

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

ROWS, DIMENSION = 40_000, 256  # 41 MB in float32
vectors = np.random.default_rng(1).random((ROWS, DIMENSION), np.float32)
warm = EmbeddingStore()
warm.add_embeddings(vectors[:100])
warm.search(vectors[:10])
"""

ADDING = """
given = {
    "float32": lambda: vectors,
    "float64": lambda: wide,
    "strided": lambda: wide[::-1],
    "stream": lambda: (vectors[start : start + 3000] for start in range(0, ROWS, 3000)),
    "rows": lambda: iter(vectors),
}[sys.argv[1]]
wide = vectors.astype(np.float64) if sys.argv[1] in ("float64", "strided") else None
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts here
before = status("VmRSS")
store = EmbeddingStore()
store.add_embeddings(given())
assert len(store) == ROWS
print(json.dumps([status("VmHWM") - before, store.memory_usage()["total"] - store.memory_usage()["reserved"]]))
"""

CHANGING = """
store = EmbeddingStore()
store.add_embeddings(vectors)

def change():
    store.add_embeddings(vectors, np.arange(ROWS))
    store.search(vectors[:5])
    store.delete(range(0, ROWS, 2))
    store.compact()
    store.add_embeddings(vectors[::2], range(0, ROWS, 2))
    store.compact()

for _ in range(2):
    change()
before = status("VmRSS")
for _ in range(6):
    change()
print(json.dumps([status("VmRSS") - before, store.memory_usage()["total"]]))
"""


@pytest.mark.parametrize("kind", ["float32", "float64", "strided", "stream", "rows"])
def test_adding_holds_nothing_twice(kind: str, run_python: Callable[..., str]) -> None:
    peak, size = json.loads(run_python(MEASURE + ADDING, kind))
    assert size > 45 * MEGABYTE
    # RowExtras the rows, two blocks that are being converted.
    assert peak < size + 34 * MEGABYTE


def test_changes_leave_nothing_behind(run_python: Callable[..., str]) -> None:
    growth, size = json.loads(run_python(MEASURE + CHANGING))
    assert size > 45 * MEGABYTE
    assert growth < 10 * MEGABYTE
