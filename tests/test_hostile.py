"""Damaged and hostile model files: each is refused by an error that names the file, or gives finite numbers.

Never a panic, and never memory for what a file merely claims to hold.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="limits and pipes of POSIX")

FIXTURES = Path(__file__).parent / "fixtures"
PLAIN = FIXTURES / "bert_plain"
SHARDED = FIXTURES / "bert_sharded"
WEIGHTS = "model.safetensors"
INDEX = "0_Transformer/model.safetensors.index.json"
TEXTS = ["hello world", "", "a[MASK] b " + "a" * 40 + "!", "Ärger mit \uff46\uff55\uff4c\uff4c width 日本", "x" * 300]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A copy of a small model without modules."""
    return Path(shutil.copytree(PLAIN, tmp_path / "plain"))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A copy of a model in several files."""
    return Path(shutil.copytree(SHARDED, tmp_path / "sharded"))


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A model with every kind of module and all of the files that votive reads."""
    folder = Path(shutil.copytree(FIXTURES / "bert_modules", tmp_path / "full"))
    modules = {
        "": "Transformer",
        "1_WordWeights": "WordWeights",
        "1_Pooling": "Pooling",
        "2_LayerNorm": "LayerNorm",
        "2_Dense": "Dense",
        "3_Normalize": "Normalize",
    }
    entries = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules.items()]
    write(folder, "modules.json", entries)
    return folder


READ = [
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_WordWeights/config.json",
    "1_Pooling/config.json",
    "2_LayerNorm/config.json",
    "2_Dense/config.json",
]
READ_WEIGHTS = [WEIGHTS, "2_LayerNorm/model.safetensors", "2_Dense/model.safetensors"]


def write(folder: Path, name: str, content: Any) -> None:
    """JSON, or what is a str or bytes already."""
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def refusal(folder: Path, finite: bool = True) -> str | None:
    """The message of the error that the model gives; None if it works. Any other error is raised."""
    try:
        model = Embedder(folder, num_threads=1)
        vectors = model.encode(TEXTS)
    except (ModelError, FileNotFoundError) as error:
        return str(error)
    assert vectors.shape == (len(TEXTS), model.get_embedding_dimension())
    assert not finite or np.isfinite(vectors).all()
    return None


def assert_refused(folder: Path, name: str, *words: str) -> None:
    """Refused with a message that begins with the file and has all the words."""
    message = refusal(folder)
    assert message is not None
    assert name in message.splitlines()[0]
    for word in words:
        assert word in message


def test_the_models_themselves_are_fine(plain: Path, sharded: Path, full: Path) -> None:
    assert [refusal(folder) for folder in (plain, sharded, full)] == [None, None, None]


# Damage anywhere


@pytest.mark.parametrize("name", READ + READ_WEIGHTS)
def test_a_truncated_file_is_refused_by_its_name(full: Path, name: str) -> None:
    content = (full / name).read_bytes()
    end = len(content.rstrip())
    lengths = {0, 1, 2, 7, 8, 9, end // 2, end - 1} | set(random.Random(name).choices(range(end), k=12))
    for length in lengths:
        write(full, name, content[:length])
        assert_refused(full, name)


@pytest.mark.parametrize("name", READ)
def test_flipped_bits_in_json_are_refused_or_do_no_harm(full: Path, name: str) -> None:
    content = (full / name).read_bytes()
    choice = random.Random(name)
    for _ in range(30):
        damaged = bytearray(content)
        for _ in range(choice.choice([1, 1, 1, 5])):
            damaged[choice.randrange(len(damaged))] ^= 1 << choice.randrange(8)
        write(full, name, bytes(damaged))
        message = refusal(full)
        # What one file says may no longer fit another one.
        assert message is None or any(file in message for file in READ + READ_WEIGHTS)


@pytest.mark.parametrize("name", READ_WEIGHTS)
def test_flipped_bits_in_weights_are_refused_or_do_no_harm(full: Path, name: str) -> None:
    content = (full / name).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    choice = random.Random(name)
    for end, finite in [(8, True), (header, True), (len(content), False)]:
        for _ in range(20):
            damaged = bytearray(content)
            damaged[choice.randrange(end)] ^= 1 << choice.randrange(8)
            write(full, name, bytes(damaged))
            # A weight of 1e38 is a number, and what follows from it may be none.
            message = refusal(full, finite)
            assert message is None or name in message


@pytest.mark.parametrize("name", [*READ, *READ_WEIGHTS])
def test_a_missing_file_is_named_or_not_needed(full: Path, name: str) -> None:
    (full / name).unlink()
    if name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        assert refusal(full) is None
    elif name == "tokenizer_config.json":
        # Says which special tokens there are to add: their absence changes texts, not numbers.
        assert refusal(full) is None
    else:
        assert_refused(full, name)


@posix
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS])
def test_what_is_no_regular_file_is_not_opened(plain: Path, name: str) -> None:
    (plain / name).unlink()
    os.mkfifo(plain / name)
    assert_refused(plain, name)
    (plain / name).unlink()
    (plain / name).mkdir()
    assert_refused(plain, name)


DEEP = 5 << 20
NESTED = {
    "lists": "[" * DEEP + "]" * DEEP,
    "open lists": "[" * 2 * DEEP,
    "objects": '{"a":' * (DEEP // 3),
    "value": '{"prompts":' + "[" * DEEP + "]" * DEEP + "}",
    "entry": '[{"path":' + "[" * DEEP + "]" * DEEP + "}]",
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_ten_megabytes_of_nested_json_are_refused(full: Path, text: str) -> None:
    for name in READ:
        content = (full / name).read_bytes()
        write(full, name, text)
        assert_refused(full, name)
        write(full, name, content)


# Claims

CLAIMS = [
    *[("config.json", "hidden_size", value) for value in (0, -48, 1.5, "48", 49, 1 << 16, 2**31, 2**60, 2**64)],
    *[("config.json", "num_hidden_layers", value) for value in (0, 1000, 2**40)],
    *[("config.json", "num_attention_heads", value) for value in (0, 7, 49, 2**40)],
    *[("config.json", "intermediate_size", value) for value in (0, 1 << 20, 2**60)],
    *[("config.json", "vocab_size", value) for value in (0, 3, 1 << 24, 2**40)],
    *[("config.json", "max_position_embeddings", value) for value in (0, 1, 1 << 24, 2**60)],
    *[("config.json", "type_vocab_size", value) for value in (0, 1, 1 << 16, 2**60)],
    *[("config.json", "layer_norm_eps", value) for value in (-1, 2, 2**60)],
    *[("config.json", "hidden_act", value) for value in ("", "eval", 3)],
    *[("config.json", "model_type", value) for value in ("", "nonsense", 3, None)],
    *[("sentence_bert_config.json", "max_seq_length", value) for value in (0, 1, 2, -1, "x")],
    *[("tokenizer_config.json", "model_max_length", value) for value in (-1, "x", [])],
    *[("1_Pooling/config.json", "word_embedding_dimension", value) for value in (0, 47, 1 << 20, 2**60)],
    *[("2_LayerNorm/config.json", "dimension", value) for value in (0, 47, 1 << 20, 2**60)],
    *[("2_Dense/config.json", "in_features", value) for value in (0, 47, 1 << 20, 2**60)],
    *[("2_Dense/config.json", "out_features", value) for value in (0, 47, 1 << 20, 2**60)],
    *[("1_WordWeights/config.json", "unknown_word_weight", value) for value in ("x", [])],
    *[("config_sentence_transformers.json", "truncate_dim", value) for value in (0, -1, 2**60, "x")],
]
HARMLESS = [
    ("sentence_bert_config.json", "max_seq_length", 2**60),
    ("tokenizer_config.json", "model_max_length", 10**30),
    ("config_sentence_transformers.json", "truncate_dim", 1 << 20),
    ("config_sentence_transformers.json", "default_prompt_name", "query"),
    ("config.json", "layer_norm_eps", 0),
]


@posix
@pytest.mark.parametrize(("name", "key", "value"), CLAIMS)
def test_impossible_sizes_are_refused(full: Path, name: str, key: str, value: Any) -> None:
    write(full, name, {**read(full, name), key: value})
    message = refusal(full)
    assert message is not None
    assert name in message or any(file in message for file in (*READ_WEIGHTS, "tokenizer.json", "modules.json"))


@pytest.mark.parametrize(("name", "key", "value"), HARMLESS)
def test_odd_sizes_that_bind_nobody_are_fine(full: Path, name: str, key: str, value: Any) -> None:
    write(full, name, {**read(full, name), key: value})
    assert refusal(full) is None


@posix
def test_no_memory_is_taken_for_what_a_file_claims(full: Path) -> None:
    # In a process of its own, since memory that is refused to Rust ends it.
    program = """
import json, pathlib, resource, sys
from votive import Embedder, ModelError

folder = pathlib.Path(sys.argv[1])
Embedder(folder, num_threads=1).encode("warm")
status = pathlib.Path("/proc/self/status")
taken = int(status.read_text().split("VmSize:")[1].split()[0]) << 10 if status.exists() else 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (taken + (64 << 20), resource.RLIM_INFINITY))
for name, key, value in json.loads(sys.argv[2]):
    content = (folder / name).read_text()
    (folder / name).write_text(json.dumps({**json.loads(content), key: value}))
    try:
        Embedder(folder, num_threads=1).encode("hello")
    except ModelError:
        pass
    else:
        sys.exit(f"{name}: {key}: {value} is no error")
    (folder / name).write_text(content)
"""
    claims = [claim for claim in CLAIMS if isinstance(claim[2], int) and claim[2] > 1000]
    command = [sys.executable, "-c", program, str(full), json.dumps(claims)]
    ended = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


# Weights


def tensors(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and what follows it."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def pack(header: Any, data: bytes) -> bytes:
    """A safetensors file."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**40, 100_000_000, 2_000_000])
def test_a_header_beyond_the_file_is_refused(plain: Path, length: int) -> None:
    content = (plain / WEIGHTS).read_bytes()
    write(plain, WEIGHTS, length.to_bytes(8, "little") + content[8:])
    assert_refused(plain, WEIGHTS, "header")


def overlapping(header: dict[str, Any]) -> None:
    start, end = header[WORDS]["data_offsets"]
    header[WORDS]["data_offsets"] = [start - 4, end - 4]


def short(header: dict[str, Any]) -> None:
    start, end = header[WORDS]["data_offsets"]
    header[WORDS]["data_offsets"] = [start, end - 4]


def backwards(header: dict[str, Any]) -> None:
    header[WORDS]["data_offsets"].reverse()


def beyond(header: dict[str, Any]) -> None:
    header[WORDS]["data_offsets"] = [2**63, 2**63 + 4]


def turned(header: dict[str, Any]) -> None:
    header[WORDS]["shape"].reverse()


def flat(header: dict[str, Any]) -> None:
    rows, columns = header[WORDS]["shape"]
    header[WORDS]["shape"] = [rows * columns]


def huge(header: dict[str, Any]) -> None:
    header[WORDS]["shape"] = [2**40, 2**40]


def integers(header: dict[str, Any]) -> None:
    header[WORDS]["dtype"] = "I32"


def unknown(header: dict[str, Any]) -> None:
    header[WORDS]["dtype"] = "F33"


def halves(header: dict[str, Any]) -> None:
    header[WORDS]["dtype"] = "F16"


def renamed(header: dict[str, Any]) -> None:
    header["words"] = header.pop(WORDS)


DAMAGES: list[Callable[[dict[str, Any]], None]] = [
    overlapping,
    short,
    backwards,
    beyond,
    turned,
    flat,
    huge,
    integers,
    unknown,
    halves,
    renamed,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_tensors_that_cannot_be_are_refused(plain: Path, damage: Callable[[dict[str, Any]], None]) -> None:
    header, data = tensors(plain / WEIGHTS)
    damage(header)
    write(plain, WEIGHTS, pack(header, data))
    assert_refused(plain, WEIGHTS)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(plain: Path, number: float) -> None:
    header, data = tensors(plain / WEIGHTS)
    for name in (WORDS, "bert.encoder.layer.1.output.dense.bias", "bert.embeddings.LayerNorm.weight"):
        end = header[name]["data_offsets"][1]
        damaged = data[: end - 4] + np.float32(number).tobytes() + data[end:]
        write(plain, WEIGHTS, pack(header, damaged))
        assert_refused(plain, WEIGHTS, name)


def test_two_tensors_of_one_name_are_refused(plain: Path) -> None:
    header, data = tensors(plain / WEIGHTS)
    text = json.dumps(header)
    write(plain, WEIGHTS, pack(text[:-1] + f', "{WORDS}": {json.dumps(header[WORDS])}}}', data))
    assert_refused(plain, WEIGHTS, WORDS)


# Names that lead elsewhere


@pytest.mark.parametrize("path", ["..", "../other", "1_Pooling/../../other", "/etc", "C:\\x", "..\\other", "a\0b"])
def test_modules_outside_the_folder_are_refused(full: Path, path: str) -> None:
    shutil.copytree(full / "1_Pooling", full.parent / "other")
    modules = read(full, "modules.json")
    for entry in modules:
        before, entry["path"] = entry["path"], path
        write(full, "modules.json", modules)
        assert_refused(full, "modules.json", "path")
        entry["path"] = before


@pytest.mark.parametrize("shard", ["../../other.safetensors", "/etc/passwd", "nowhere.safetensors", "..", "", "a\0b"])
def test_an_index_of_files_that_are_not_the_models_is_refused(sharded: Path, shard: str) -> None:
    index = read(sharded, INDEX)
    first = next(iter(index["weight_map"]))
    shutil.copy(sharded / "0_Transformer" / index["weight_map"][first], sharded.parent / "other.safetensors")
    index["weight_map"][first] = shard
    write(sharded, INDEX, index)
    assert_refused(sharded, INDEX)


@pytest.mark.parametrize("content", [[], {}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 1}}, "{"])
def test_an_index_that_is_none_is_refused(sharded: Path, content: Any) -> None:
    write(sharded, INDEX, content)
    message = refusal(sharded)
    assert message is not None
    assert "model.safetensors" in message
