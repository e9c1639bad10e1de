"""What a call gives that does not fit is a MemoryError that says what it asked for, and all goes on as before."""

import sys
from collections.abc import Callable

import pytest
from conftest import FIXTURES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, and reads /proc")

# In a process of its own: how much it may take beyond what it has.
LIMITED = """
import contextlib, resource, sys
import numpy as np
from votive import Embedder, EmbeddingStore, Reranker

def limit(megabytes):
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (megabytes << 20), resource.RLIM_INFINITY))

@contextlib.contextmanager
def refused(name):
    try:
        yield
    except MemoryError as error:
        print(name, "|", error)
    else:
        raise AssertionError("it fitted")
"""

ENCODE = """
model = Embedder(sys.argv[1], num_threads=2)
expected = model.encode(["a", "b"])
texts = ["a", "b"] * 1_000_000
limit(256)  # threads ask for memory of their own, too
with refused("rows"):
    model.encode(texts)  # 2,000,000 rows of 40 numbers
with refused("tokens"):
    model.encode(["a b c d " * 10] * 60_000, output_value="token_embeddings")  # 2,500,000 tokens
assert np.array_equal(model.encode(["a", "b"]), expected)
"""

PREDICT = """
model = Reranker(sys.argv[1], num_threads=2)
expected = model.predict([("a", "b")])
pairs = [("a", "b")] * 2_000_000
limit(30)
with refused("inputs"):
    model.predict(pairs)
assert np.array_equal(model.predict([("a", "b")]), expected)
"""

SEARCH = """
vectors = np.random.default_rng(1).random((1_000_000, 2), np.float32)
store = EmbeddingStore()
store.add_embeddings(vectors)
scores, ids = store.search(vectors[:3], k=10)
limit(100)
with refused("hits of many queries"):
    store.search(vectors, k=1000)
with refused("hits of one"):
    store.search(vectors[0], k=1_000_000)
again = store.search(vectors[:3], k=10)
assert np.array_equal(again[0], scores) and np.array_equal(again[1], ids)
"""


@pytest.mark.parametrize(
    ("program", "model", "expected"),
    [
        (ENCODE, "bert_40", ["rows | ", "tokens | "]),
        (PREDICT, "bert_rerank", ["inputs | "]),
        (SEARCH, "", ["hits of many queries | no memory for scores: 4000000000 bytes", "hits of one | no memory for "]),
    ],
    ids=["encode", "predict", "search"],
)
def test_what_does_not_fit_is_a_memory_error(
    run_python: Callable[..., str], program: str, model: str, expected: list[str]
) -> None:
    printed = run_python(LIMITED + program, str(FIXTURES / model))
    lines = printed.splitlines()
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning), printed
