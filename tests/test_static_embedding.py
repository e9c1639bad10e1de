"""Static embeddings: rows of a table, what files may hold, and all that an Embedder does beside encoding.

That they are the reference's numbers is what test_fidelity.py asserts.
"""

import asyncio
import json
import pickle
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import BITS, kernels_only
from numpy.typing import NDArray
from votive import Embedder, ModelError, Reranker, TruncationWarning

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
QUANTIZED = "model.safetensors"

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file."""
    types = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "I64": np.int64}
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, info in header.items():
        start, end = (8 + length + offset for offset in info["data_offsets"])
        found[name] = np.frombuffer(data[start:end], types[info["dtype"]]).reshape(info["shape"])
    return found


def write_tensors(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """A safetensors file of arrays."""
    types = {"float32": "F32", "float16": "F16", "int8": "I8", "int64": "I64", "int32": "I32", "uint8": "U8"}
    header, data = {}, b""
    for name, array in arrays.items():
        end = len(data) + array.nbytes
        header[name] = {"dtype": types[array.dtype.name], "shape": array.shape, "data_offsets": [len(data), end]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def copy(fixture: str, folder: Path, *, own: bool = True) -> Path:
    """A copy of a fixture, as model2vec's own folder or with its modules.json."""
    found = Path(shutil.copytree(FIXTURES / fixture, folder / fixture))
    if own:
        (found / "modules.json").unlink()
    return found


@pytest.fixture
def words(tmp_path: Path) -> Embedder:
    """A table of float16 by model2vec's rules."""
    return Embedder(str(copy("static_model2vec", tmp_path)), device="cpu")


@BITS
def test_an_embedding_is_the_mean_of_rows_in_their_order(tmp_path: Path) -> None:
    folder = copy("static_model2vec", tmp_path, own=False)
    (folder / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}])
    )
    table = tensors(folder / "model.safetensors")["embeddings"].astype(np.float32)
    model = Embedder(str(folder), device="cpu")
    generator = np.random.default_rng(0)
    pool = [
        *"aZq0 .,\t\n\r\0\x01\x0b\x7f\u0301\u0323éÀİßΣﬁ\u00a0\u3000\u200b東가Ж[]-_'\u2019\u2028",
        "the",
        "[MASK]",
        "word",
    ]
    texts = TEXTS + ["".join(generator.choice(pool, 1 + i % 40)) for i in range(2000)]
    ids = [row["input_ids"] for row in model.tokenize(texts)]
    expected = [
        np.cumsum(table[each], axis=0, dtype=np.float32)[-1] / np.float32(len(each)) if each else np.zeros(33)
        for each in ids
    ]
    assert np.array_equal(model.encode(texts), np.array(expected, np.float32))


def test_all_of_an_embedder_is_there(words: Embedder) -> None:
    expected = words.encode(TEXTS)
    assert expected.shape == (len(TEXTS), words.get_embedding_dimension()) == (len(TEXTS), 33)
    assert asyncio.run(words.aencode(TEXTS)).tolist() == expected.tolist()
    assert pickle.loads(pickle.dumps(words)).encode(TEXTS).tolist() == expected.tolist()
    assert np.array_equal(words.encode(TEXTS, batch_size=2), expected)
    assert np.array_equal(words.encode(TEXTS[8]), expected[8])
    out = np.zeros((len(TEXTS), 33), np.float32)
    assert words.encode(TEXTS, out=out) is out
    assert np.array_equal(out, expected)
    assert np.allclose(words.encode(TEXTS[8:10], normalize_embeddings=True, truncate_dim=5)[0] ** 2 @ np.ones(5), 1)
    assert words.similarity(expected[:3], expected).shape == (3, len(TEXTS))
    assert words.encode([]).shape == (0, 33)
    assert words.encode(TEXTS, precision="ubinary").shape == (len(TEXTS), 5)
    assert not words.encode("")[:].any()
    assert words.max_seq_length == 512
    assert words.device == "cpu"
    with pytest.raises(ValueError, match="max_seq_length"):
        words.max_seq_length = 0


def test_calls_share_it(words: Embedder) -> None:
    texts = [f"{text} {i}" for i in range(40) for text in TEXTS]
    expected = words.encode(texts)
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: words.encode(texts)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], expected) for i in range(4))


def test_what_is_cut_is_counted(tmp_path: Path) -> None:
    folder = copy("static_model2vec", tmp_path)
    (folder / "config.json").write_text('{"model_type": "model2vec", "max_length": 2}')
    model = Embedder(str(folder), device="cpu")
    assert model.max_seq_length == 2
    # The median of the vocabulary has two characters, so that four are read, which may be fewer tokens.
    with pytest.warns(TruncationWarning):
        model.encode(["a b c", "a b", "the a", "", "...."])
    assert model.last_report is not None
    assert (model.last_report.truncated, model.last_report.tokens) == ([0, 2, 4], 7)
    assert model.stats().texts == 5
    model.max_seq_length = 1
    assert model.tokenize("a b c")["tokens"] == ["a"]
    listed = Embedder(str(copy("static_model2vec", tmp_path / "listed", own=False)), device="cpu", max_seq_length=2)
    listed.encode(["a b c", "a b"])
    assert listed.last_report is not None
    assert listed.last_report.truncated == [0]


def test_a_profile_names_its_stages(words: Embedder) -> None:
    profile = str(words.profile(TEXTS))
    assert "tokenize" in profile
    assert "embed" in profile


def test_token_embeddings_are_rows(words: Embedder, tmp_path: Path) -> None:
    rows = words.encode(TEXTS[:12], output_value="token_embeddings")
    ids = [row["input_ids"] for row in words.tokenize(TEXTS[:12])]
    table = tensors(FIXTURES / "static_model2vec" / "model.safetensors")["embeddings"].astype(np.float32)
    for row, each in zip(rows, ids, strict=True):
        assert np.array_equal(row, table[each].reshape(len(each), 33))


@kernels_only("candle holds tables in the type that it computes in")
def test_types_of_the_table(tmp_path: Path) -> None:
    folder = str(copy("static_quantized", tmp_path))
    exact = Embedder(folder, device="cpu").encode(TEXTS)
    for dtype in ("float32", "int8", "float16", "bfloat16"):  # halves hold integers of seven bits
        assert np.array_equal(Embedder(folder, device="cpu", dtype=dtype).encode(TEXTS), exact), dtype
    halves = str(copy("static_model2vec", tmp_path))
    exact = Embedder(halves, device="cpu").encode(TEXTS)
    assert np.array_equal(Embedder(halves, device="cpu", dtype="float16").encode(TEXTS), exact)
    assert np.abs(Embedder(halves, device="cpu", dtype="bfloat16").encode(TEXTS) - exact).max() < 5e-3
    with pytest.raises(ValueError, match="dtype: a static embedding multiplies nothing"):
        Embedder(halves, device="cpu", dtype="int8")


def test_what_stands_beside_the_table_is_kept(tmp_path: Path) -> None:
    folder = copy("static_quantized", tmp_path)
    arrays = tensors(folder / QUANTIZED)
    for mapping in (arrays["mapping"], arrays["mapping"].astype(np.int32)):
        write_tensors(folder / QUANTIZED, arrays | {"mapping": mapping})
        with_weights = Embedder(str(folder), device="cpu").encode(TEXTS)
    rows = arrays["embeddings"][arrays["mapping"]] * arrays["weights"][:, None]
    write_tensors(folder / QUANTIZED, {"embeddings": rows})
    assert np.allclose(Embedder(str(folder), device="cpu").encode(TEXTS), with_weights, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping": np.full(311, 61)}, 'tensor "mapping" holds 61, but the table has rows 0 to 60'),
        ({"mapping": np.full(311, -1)}, 'tensor "mapping" holds -1, but the table has rows 0 to 60'),
        ({"mapping": np.zeros((2, 2), np.int64)}, "expected one dimension"),
        ({"mapping": np.zeros(311, np.float32)}, "has dtype F32; accepted are I64"),
        ({"mapping": np.zeros(7, np.int64)}, "expected one weight for each of 7 tokens"),
        ({"mapping": np.zeros(7, np.int64), "weights": np.ones(7, np.float32)}, "has id .*, but the model's embedding"),
        ({"weights": np.ones(8, np.float32)}, "has shape \\[8\\]; expected one weight"),
        ({"weights": np.full(311, np.nan, np.float32)}, 'tensor "weights" holds NaN'),
        ({"embeddings": np.full((61, 20), np.inf, np.float32)}, 'tensor "embeddings" holds inf'),
        ({"embeddings": np.zeros((61, 0), np.float32)}, "no numbers"),
        ({"embeddings": np.zeros(61, np.int8)}, "expected a table"),
        ({"embeddings": np.zeros((61, 20), np.uint8)}, "has dtype U8"),
        ({"embeddings": None}, "missing"),
    ],
)
def test_hostile_tensors_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = copy("static_quantized", tmp_path)
    arrays = tensors(folder / QUANTIZED)
    ids = len(arrays["mapping"])
    fitted = {
        name: np.full(ids, array[0]) if array is not None and array.shape == (311,) else array
        for name, array in change.items()
    }
    arrays = {name: array for name, array in (arrays | fitted).items() if array is not None}
    write_tensors(folder / QUANTIZED, arrays)
    with pytest.raises(ModelError, match=message.replace('"', '\\"')):
        Embedder(str(folder), device="cpu")


def test_what_it_is_not(tmp_path: Path) -> None:
    listed = copy("static_modules", tmp_path, own=False)
    with pytest.raises(ModelError, match="use Embedder"):
        Reranker(str(listed), device="cpu")
    with pytest.raises(ModelError, match="model_type"):
        Reranker(str(copy("static_quantized", tmp_path)), device="cpu")
    modules = json.loads((listed / "modules.json").read_text())
    pooling = {"idx": 9, "name": "9", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    (listed / "1_Pooling").mkdir()
    (listed / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 24}')
    (listed / "modules.json").write_text(json.dumps([modules[0], pooling]))
    with pytest.raises(ModelError, match="Pooling"):
        Embedder(str(listed), device="cpu")
    (listed / "0_StaticEmbedding" / "tokenizer.json").unlink()
    (listed / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        Embedder(str(listed), device="cpu")


def test_in_the_place_of_sentence_transformers() -> None:
    from votive.sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(FIXTURES / "static_modules"), device="cpu")
    assert type(model[0]).__name__ == "StaticEmbedding"
    assert model[0].get_embedding_dimension() == 24
    assert model.get_embedding_dimension() == 40
    assert model.max_seq_length is None
    assert np.array_equal(model.encode(TEXTS), Embedder(str(FIXTURES / "static_modules"), device="cpu").encode(TEXTS))
