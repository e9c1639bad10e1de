"""What a model keeps in memory, read from /proc in processes of their own."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TINY = Path(__file__).parent / "fixtures" / "bert_40"
HIDDEN, WIDE, LAYERS, ROWS = 384, 1536, 6, 8_000
MEGABYTE = 1 << 20

RESIDENT = """
import sys
from votive import Embedder

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS:"))

tiny, folder = sys.argv[1:3]
texts = [f"{i} {text}" for i in range(10) for text in ("a b " * 20, "c", "d " * 100)]
Embedder(tiny, num_threads=2).encode(texts)  # what the process keeps once
"""

LOADED = """
before = resident()
model = Embedder(folder, num_threads=2)
print(resident() - before)
"""

AGAIN = """
model = Embedder(folder, num_threads=2)

def encode():
    model.encode(texts)
    model.encode(texts[0])

for _ in range(int(sys.argv[3])):
    encode()
before = resident()
for _ in range(10):
    encode()
print(resident() - before)
"""


def tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a BERT as large as all-MiniLM-L6-v2, with fewer words."""

    def norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (HIDDEN,)
        yield f"{name}.bias", (HIDDEN,)

    def linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (outputs, inputs)
        yield f"{name}.bias", (outputs,)

    for name, rows in {"word": ROWS, "position": 512, "token_type": 2}.items():
        yield f"embeddings.{name}_embeddings.weight", (rows, HIDDEN)
    yield from norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{i}" for i in range(LAYERS)):
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from linear(f"{layer}.attention.{name}", HIDDEN, HIDDEN)
        yield from norm(f"{layer}.attention.output.LayerNorm")
        yield from linear(f"{layer}.intermediate.dense", WIDE, HIDDEN)
        yield from linear(f"{layer}.output.dense", HIDDEN, WIDE)
        yield from norm(f"{layer}.output.LayerNorm")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, large enough that what else is in a process does not count."""
    folder = shutil.copytree(TINY, tmp_path_factory.mktemp("large") / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": HIDDEN, "num_attention_heads": 12, "num_hidden_layers": LAYERS}
    config |= {"intermediate_size": WIDE, "vocab_size": ROWS, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(config))
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    pooling["word_embedding_dimension"] = HIDDEN
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

    header, end = {}, 0
    for name, shape in tensors():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    described = json.dumps(header).encode()
    random = np.random.default_rng(7)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        file.write((random.random(end // 4, np.float32) - np.float32(0.5)) / 10)
    return folder


def test_loaded_weights_are_in_memory_once(large: Path, run_python: Callable[..., str]) -> None:
    size = (large / "model.safetensors").stat().st_size
    assert size > 50 * MEGABYTE
    assert int(run_python(RESIDENT + LOADED, str(TINY), str(large))) < 1.3 * size


def test_a_second_call_of_the_same_size_grows_nothing(large: Path, run_python: Callable[..., str]) -> None:
    # A thread's memory grows until it has had the largest pass, and on a busy machine one thread may take most of them.
    warm = 40
    # Single pages come and go with what Python does.
    assert int(run_python(RESIDENT + AGAIN, str(TINY), str(large), str(warm))) < MEGABYTE
