"""Weights in every format and type that is read, and what happens where memory for them ends."""

import json
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bodies import INT8, kernels_only
from tensor_files import read, write
from votive import Embedder, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")

FIXTURES = Path(__file__).parent / "fixtures"
PICKLED = FIXTURES / "pickled"
WEIGHTS = "model.safetensors"
TEXTS = ["hello world", "", "a longer text of some more words", "x" * 300]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy of a small model."""
    return Path(shutil.copytree(FIXTURES / "bert_stored", tmp_path / "stored"))


# Formats


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", pytest.param("int8", marks=INT8)])
@pytest.mark.parametrize("format_", ["archive", "legacy", "sharded"])
def test_pickled_weights_give_the_same_bits_as_safetensors(stored: Path, format_: str, dtype: str) -> None:
    expected = Embedder(stored, device="cpu", dtype=dtype).encode(TEXTS)
    (stored / WEIGHTS).unlink()
    if format_ == "sharded":
        for path in PICKLED.glob("pytorch_model*"):
            shutil.copy(path, stored)
    else:
        shutil.copy(PICKLED / f"{format_}.bin", stored / "pytorch_model.bin")
    assert np.array_equal(Embedder(stored, device="cpu", dtype=dtype).encode(TEXTS), expected)


def test_pickled_weights_of_a_dense_module_alone(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "bert_modules", tmp_path / "dense"))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    entries = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(entries))
    expected = Embedder(folder).encode(TEXTS)
    (folder / "2_Dense" / WEIGHTS).unlink()
    shutil.copy(PICKLED / "dense.bin", folder / "2_Dense" / "pytorch_model.bin")
    assert np.array_equal(Embedder(folder).encode(TEXTS), expected)


def test_safetensors_win_where_both_are_there(stored: Path) -> None:
    expected = Embedder(stored).encode(TEXTS)
    (stored / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert np.array_equal(Embedder(stored).encode(TEXTS), expected)


def test_a_pickle_that_would_run_code_is_refused_and_does_not(stored: Path) -> None:
    (stored / WEIGHTS).unlink()
    mark = stored / "run"
    call = f"(dp0\nVa\ncposix\nsystem\n(Vtouch {mark}\ntRs.".encode()
    for content in (call, zip_of({"archive/data.pkl": call}), (PICKLED / "module.bin").read_bytes()):
        (stored / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(ModelError, match=r"^pytorch_model.bin: [\s\S]*safetensors.torch.save_file"):
            Embedder(stored)
        assert not mark.exists()


def test_doubles_and_eight_bits_have_their_values(stored: Path) -> None:
    tensors = read(stored / WEIGHTS)
    expected = Embedder(stored).encode(TEXTS)
    write(stored / WEIGHTS, {name: tensor.astype(np.float64) for name, tensor in tensors.items()}, "F64")
    assert np.array_equal(Embedder(stored).encode(TEXTS), expected)

    # The first byte of a float16 is a float8 of five bits of exponent.
    halves = {name: tensor.astype(np.float16).view(np.uint16) & 0xFF00 for name, tensor in tensors.items()}
    write(stored / WEIGHTS, {name: half.view(np.float16).astype(np.float32) for name, half in halves.items()}, "F32")
    expected = Embedder(stored).encode(TEXTS)
    write(stored / WEIGHTS, {name: (half >> 8).astype(np.uint8) for name, half in halves.items()}, "F8_E5M2")
    assert np.array_equal(Embedder(stored).encode(TEXTS), expected)


@pytest.mark.parametrize("prefix", ["model.", "module.", "auto_model.", "0.auto_model.", "module.0.auto_model.bert."])
def test_what_training_puts_before_all_names_is_left_out(stored: Path, prefix: str) -> None:
    expected = Embedder(stored).encode(TEXTS)
    tensors = read(stored / WEIGHTS)
    write(stored / WEIGHTS, {prefix + name: tensor for name, tensor in tensors.items()}, "F32")
    assert np.array_equal(Embedder(stored).encode(TEXTS), expected)


@pytest.mark.parametrize("change", ["unknown", "not all"])
def test_other_prefixes_are_refused_by_name(stored: Path, change: str) -> None:
    prefix = "my_net." if change == "unknown" else "model."
    tensors = {prefix + name: tensor for name, tensor in read(stored / WEIGHTS).items()}
    if change == "not all":
        tensors["other.weight"] = np.zeros(3, np.float32)
    write(stored / WEIGHTS, tensors, "F32")
    with pytest.raises(ModelError, match=r"has no tensor \"embeddings.\S+\" among its \d+ such as"):
        Embedder(stored)


def test_an_error_carries_file_tensor_and_key(stored: Path) -> None:
    tensors = read(stored / WEIGHTS)
    name = sorted(tensors)[0]
    write(stored / WEIGHTS, tensors | {name: np.full_like(tensors[name], np.nan)}, "F32")
    with pytest.raises(ModelError) as refused:
        Embedder(stored)
    error = refused.value
    assert (error.file, error.tensor, error.key) == (WEIGHTS, name, None)
    assert str(error).startswith(f'{WEIGHTS}: tensor "{name}" holds ')
    (stored / "config.json").write_text("{}")
    with pytest.raises(ModelError) as refused:
        Embedder(stored)
    error = pickle.loads(pickle.dumps(refused.value))
    assert (error.file, error.tensor, error.key) == ("config.json", None, "model_type")
    assert (ModelError.file, ModelError.tensor, ModelError.key) == (None, None, None)


# Memory

LIMITED = """
import resource, sys
from votive import Embedder

tiny, folder, dtype, megabytes = sys.argv[1:]
Embedder(tiny, num_threads=1, device="cpu", dtype=dtype).encode("a")  # what the process keeps once
with open("/proc/self/status") as file:
    used = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmSize:"))
limit = used + (int(megabytes) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    Embedder(folder, num_threads=1, device="cpu", dtype=dtype)
except MemoryError as error:
    print(error)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and sparse files of Linux")
ROWS = 3 << 20
MEGABYTES = ROWS * 24 * 4 >> 20  # of the large tensor in float32


def zip_of(entries: dict[str, bytes | int]) -> bytes:
    """A zip archive of what is stored under names; of a number, as many zeros, which the caller puts in."""
    file, directory = b"", b""
    skipped = 0
    for name, content in entries.items():
        size = content if isinstance(content, int) else len(content)
        fixed = struct.pack("<IIIHH", 0, size, size, len(name), 0)
        directory += b"PK\x01\x02" + bytes(12) + fixed + bytes(10) + struct.pack("<I", len(file) + skipped)
        directory += name.encode()
        file += b"PK\x03\x04" + bytes(10) + fixed + name.encode()
        if isinstance(content, int):
            skipped += size
        else:
            file += content
    count = len(entries)
    end = struct.pack("<HHIIH", count, count, len(directory), len(file) + skipped, 0)
    return file + directory + b"PK\x05\x06" + bytes(4) + end


def large(folder: Path, key: str, length: int, dtype: str = "F32") -> None:
    """Makes what is `key` in the configuration so large, in a file that is a hole but for its header."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: length}))
    width = {"F32": 4, "F16": 2, "F64": 8}[dtype]
    header, start = {}, 0
    for name, old in read(folder / WEIGHTS).items():
        shape = [length if size == config[key] else size for size in old.shape]
        end = start + int(np.prod(shape)) * width
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(header).encode()
    with open(folder / WEIGHTS, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + start)


def large_pickle(folder: Path) -> None:
    """As `large`, of the word embeddings alone, as torch.save writes them."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": ROWS}))
    (folder / WEIGHTS).unlink()
    number = b"J" + struct.pack("<i", ROWS)
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuJ" + struct.pack("<i", ROWS * 24) + b"tQ"
    words = number + b"K\x18\x86K\x18K\x01\x86"
    norm = b"K\x18\x85K\x01\x85"
    views = {"word_embeddings.weight": words, "LayerNorm.weight": norm, "LayerNorm.bias": norm}
    pickle = b"\x80\x02}"
    for name, view in views.items():
        pickle += b"U" + bytes([11 + len(name)]) + b"embeddings." + name.encode()
        pickle += b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + view + b"\x89NtRs"
    pickle += b"."
    content = zip_of({"archive/data.pkl": pickle, "archive/data/0": ROWS * 24 * 4})
    hole = content.index(b"archive/data/0") + len(b"archive/data/0")
    with open(folder / "pytorch_model.bin", "wb") as file:
        file.write(content[:hole])
        file.seek(ROWS * 24 * 4, 1)
        file.write(content[hole:])


def refused(folder: Path, dtype: str, megabytes: int) -> str:
    """What MemoryError says in a process that may take so many megabytes to load the model."""
    command = [sys.executable, "-c", LIMITED, str(FIXTURES / "bert_stored"), str(folder), dtype, str(megabytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout.strip()


PACKED = kernels_only("candle's tensors are asked for by their shapes")
WORDS = "embeddings.word_embeddings.weight"
WIDE = "encoder.layer.0.intermediate.dense.weight"


@linux
@PACKED
@pytest.mark.parametrize(
    ("tensor", "dtype", "stored_as"),
    [
        (WORDS, "float32", "F32"),
        (WORDS, "float32", "F64"),
        (WORDS, "float32", "F16"),
        (WORDS, "bfloat16", "F32"),
        (WORDS, "int8", "F32"),
        (WIDE, "float32", "F32"),
        (WIDE, "float16", "F32"),
        (WIDE, "int8", "F32"),
        (WIDE, "int8", "F16"),
    ],
)
def test_a_tensor_that_does_not_fit_is_a_memory_error_that_names_it(
    stored: Path, tensor: str, dtype: str, stored_as: str
) -> None:
    key, length = ("vocab_size", ROWS) if tensor == WORDS else ("intermediate_size", 1 << 20)
    large(stored, key, length, stored_as)
    mapped = (stored / WEIGHTS).stat().st_size >> 20
    message = refused(stored, dtype, mapped + 20)
    assert message.startswith(f'no memory for tensor "{tensor}" of {WEIGHTS}: '), message
    assert int(message.split()[-2]) >= length * 24, message


@linux
@PACKED
def test_a_pickled_tensor_that_does_not_fit_is_a_memory_error_that_names_it(stored: Path) -> None:
    large_pickle(stored)
    message = refused(stored, "float32", MEGABYTES + MEGABYTES // 3)
    assert message == f'no memory for tensor "{WORDS}" of pytorch_model.bin: {ROWS * 24 * 4} bytes'


@linux
@pytest.mark.parametrize("make", [lambda folder: large(folder, "vocab_size", ROWS), large_pickle])
def test_a_file_that_cannot_be_mapped_is_a_memory_error_that_names_it(
    stored: Path, make: Callable[[Path], None]
) -> None:
    make(stored)
    message = refused(stored, "float32", MEGABYTES // 2)
    assert message.startswith(f"no memory for {stored}/"), message
    assert int(message.split()[-2]) >= ROWS * 24 * 4, message


@linux
def test_a_header_that_does_not_fit_is_a_memory_error_that_names_its_file(stored: Path) -> None:
    header = b"{}".ljust(90_000_000)
    (stored / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    assert refused(stored, "float32", 200).startswith(f"no memory for the header of {WEIGHTS}: ")
