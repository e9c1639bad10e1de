"""What does not fit is a MemoryError that says what was asked for, and everything goes on as before."""

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


LOAD = """
import json, pathlib, shutil, struct, tempfile

ROWS = 2_000_000  # of 40 numbers
folder = pathlib.Path(tempfile.mkdtemp()) / "model"
shutil.copytree(sys.argv[1], folder)
config = json.loads((folder / "config.json").read_text())
(folder / "config.json").write_text(json.dumps(config | {"vocab_size": ROWS}))
weights = (folder / "model.safetensors").read_bytes()
(length,) = struct.unpack("<Q", weights[:8])
header, data = json.loads(weights[8 : 8 + length]), weights[8 + length :]
(name,) = (name for name in header if name.endswith("word_embeddings.weight"))
# Behind the others; a file with a hole takes no disk.
start, end = header[name]["data_offsets"]
for tensor in header.values():
    if "data_offsets" in tensor and tensor["data_offsets"][0] >= end:
        tensor["data_offsets"] = [offset - (end - start) for offset in tensor["data_offsets"]]
others = data[:start] + data[end:]
header[name] = {"dtype": "F32", "shape": [ROWS, 40], "data_offsets": [len(others), len(others) + ROWS * 160]}
text = json.dumps(header).encode()
text += b" " * (-(len(text) + len(others)) % 8)  # so that the table is aligned
with open(folder / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + others)
    file.truncate(8 + len(text) + len(others) + ROWS * 160)
Embedder(sys.argv[1], num_threads=2).encode("warm")
try:
    limit(100)
    with refused("mapped"):
        Embedder(folder, num_threads=2)
    limit(450)
    for dtype in ("float32", "bfloat16"):
        with refused(dtype):
            Embedder(folder, num_threads=2, dtype=dtype)
finally:
    shutil.rmtree(folder.parent)
"""


TABLE = 'no memory for tensor "bert.embeddings.word_embeddings.weight" of model.safetensors'


@pytest.mark.parametrize(
    ("program", "model", "expected"),
    [
        (ENCODE, "bert_40", ["rows | ", "tokens | "]),
        (PREDICT, "bert_rerank", ["inputs | "]),
        (SEARCH, "", ["hits of many queries | no memory for scores: 4000000000 bytes", "hits of one | no memory for "]),
        (
            LOAD,
            "bert_40",
            [
                "mapped | no memory for /",
                f"float32 | {TABLE}: 320000000 bytes",
                f"bfloat16 | {TABLE}: 160000000 bytes",
            ],
        ),
    ],
    ids=["encode", "predict", "search", "load"],
)
def test_what_does_not_fit_is_a_memory_error(
    run_python: Callable[..., str], program: str, model: str, expected: list[str]
) -> None:
    printed = run_python(LIMITED + program, str(FIXTURES / model))
    lines = printed.splitlines()
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning), printed
