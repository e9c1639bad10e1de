"""Quantized checkpoints: each gives what the same weights give in float32, in every dtype and body.

That these are the reference's numbers is what test_fidelity.py asserts; that codes have its bits, what
src/config/quantization.rs does.
"""

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from json_files import change
from votive import Embedder, ModelError, inspect_model

QUANTIZED = ["mlx_bert", "mlx_qwen3", "gptq_qwen3", "awq_qwen3", "compressed_qwen3"]
TEXTS = ["hello world", "a longer text of some more words, and some more", "x", ""]

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


def plain(name: str, folder: Path) -> Path:
    """The fixture with the decoded weights, which are not quantized."""
    shutil.copytree(FIXTURES / name, folder)
    (folder / "decoded.safetensors").replace(folder / "model.safetensors")
    return changed(folder, quantization=None, quantization_config=None)


def changed(folder: Path, **keys: Any) -> Path:
    """The same folder with other keys in config.json."""
    change(folder / "config.json", **keys)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", QUANTIZED)
def test_vectors_have_the_bits_of_the_decoded_weights(name: str, dtype: Any, tmp_path: Path) -> None:
    quantized = Embedder(FIXTURES / name, device="cpu", dtype=dtype)
    decoded = Embedder(plain(name, tmp_path / name), device="cpu", dtype=dtype)
    found, expected = quantized.encode(TEXTS), decoded.encode(TEXTS)
    if dtype == "bfloat16":
        # The table of words is in bfloat16 there, and in the file's codes here.
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    else:
        assert same(found, expected)


def test_the_usual_dtype_is_int8_on_the_cpu() -> None:
    usual = Embedder(FIXTURES / "mlx_bert", device="cpu")
    assert usual.dtype == "int8"
    assert same(usual.encode(TEXTS), Embedder(FIXTURES / "mlx_bert", device="cpu", dtype="int8").encode(TEXTS))


def test_tables_of_words_stay_codes(tmp_path: Path) -> None:
    quantized = Embedder(FIXTURES / "mlx_bert", device="cpu", dtype="int8")
    decoded = Embedder(plain("mlx_bert", tmp_path / "plain"), device="cpu", dtype="int8")
    vocabulary = 339
    # Four bits and two factors of two bytes in groups of 32, in the place of float32.
    saved = vocabulary * 64 * (4 - 0.5 - 4 / 32)
    difference = decoded.stats().memory.weights - quantized.stats().memory.weights
    assert saved <= difference <= 1.5 * saved


def test_what_config_and_tensors_say_must_agree(tmp_path: Path) -> None:
    def folder(name: str, **keys: Any) -> Path:
        place = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        return changed(Path(shutil.copytree(FIXTURES / name, place)), **keys)

    config = json.loads((FIXTURES / "mlx_bert" / "config.json").read_text(encoding="utf-8"))["quantization"]
    for keys, expected in (
        ({"quantization": config | {"bits": 8}}, r"codes of 8 bits in groups of 32, as config\.json says, do not have"),
        ({"quantization": config | {"bits": 7}}, r"config\.json: quantization\.bits: expected one of 2, 3, 4"),
        ({"quantization": {"group_size": 32, "bits": 4}}, r"embeddings\.\w+\.weight\" has shape .* codes of 4 bits"),
        ({"quantization": None}, r"\"embeddings\.\w+\.weight\" has dtype U32|has shape"),
    ):
        with pytest.raises(ModelError, match=expected):
            Embedder(folder("mlx_bert", **keys), device="cpu")
    for method in ("hqq", "fp8", "torchao"):
        with pytest.raises(ModelError, match=f"weights quantized by {method} are not read; those by MLX, gptq"):
            Embedder(folder("gptq_qwen3", quantization_config={"quant_method": method}), device="cpu")


def without(folder: Path, *names: str) -> Path:
    """The same folder without these files and folders."""
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model that pools and prompts in its own way, which a quantized one was made from."""
    folder = plain("mlx_bert", tmp_path / "base")
    pooling = {"word_embedding_dimension": 64, "pooling_mode": "cls"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    prompts = {"prompts": {"query": "find: "}, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts), encoding="utf-8")
    return folder


def test_what_a_converter_left_out_is_read_in_the_base_model(base: Path, tmp_path: Path) -> None:
    expected = Embedder(base, device="cpu", dtype="float32")
    whole = Path(shutil.copytree(FIXTURES / "mlx_bert", tmp_path / "bare"))
    bare = without(whole, "modules.json", "1_Pooling", "sentence_bert_config.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Embedder(bare, base=base, device="cpu", dtype="float32")
    assert same(model.encode_query(TEXTS), expected.encode_query(TEXTS))
    assert model.similarity_fn_name == "dot"
    assert model.info.pooling == "cls"
    assert same(pickle.loads(pickle.dumps(model)).encode(TEXTS), expected.encode(TEXTS))
    # modules.json is there, and what it names is not.
    shutil.copy(base / "modules.json", bare)
    assert same(Embedder(bare, base=base, device="cpu", dtype="float32").encode(TEXTS), expected.encode(TEXTS))
    with pytest.raises(ModelError, match=r'1_Pooling/config\.json: is not there, though .*base="owner/name" names'):
        Embedder(bare, device="cpu", dtype="float32")
    with pytest.raises(ValueError, match=r"^base: model .* was not found"):
        Embedder(bare, base="../nowhere", device="cpu", dtype="float32")


def test_a_readme_names_the_base_model(base: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(FIXTURES / "mlx_bert", tmp_path / "bare"))
    bare = without(whole, "modules.json", "1_Pooling")
    (bare / "README.md").write_text(f"---\ntags:\n- mlx\nbase_model: {base}\n---\n# A model\n", encoding="utf-8")
    with pytest.warns(
        UserWarning, match=r"is quantized and does not say .* are those of .*README\.md names; base="
    ) as caught:
        model = Embedder(bare, device="cpu", dtype="float32")
    assert [warning.filename for warning in caught] == [__file__]
    assert same(model.encode_query(TEXTS), Embedder(base, device="cpu", dtype="float32").encode_query(TEXTS))
    # Files of the folder's own win.
    shutil.copytree(FIXTURES / "mlx_bert", bare, dirs_exist_ok=True)
    assert same(
        Embedder(bare, device="cpu", dtype="float32").encode(TEXTS),
        Embedder(FIXTURES / "mlx_bert", device="cpu", dtype="float32").encode(TEXTS),
    )


def test_what_is_assumed_without_one_is_said(tmp_path: Path) -> None:
    for name, pooling in (("mlx_bert", "mean"), ("mlx_qwen3", "lasttoken")):
        bare = without(Path(shutil.copytree(FIXTURES / name, tmp_path / name)), "modules.json", "1_Pooling")
        with pytest.warns(
            UserWarning, match=rf"{pooling} pooling is taken, .* without normalization .*base='owner/name'"
        ) as caught:
            model = Embedder(bare, device="cpu", dtype="float32")
        # Each call says it again, to whoever looks.
        model.encode(TEXTS)
        assert model.last_report is not None
        assert model.last_report.assumptions == tuple(str(warning.message) for warning in caught)
        assert "assumptions=[" in repr(model.last_report)
    plainly = Embedder(FIXTURES / "bert_modules", device="cpu")
    plainly.encode(TEXTS)
    assert plainly.last_report is not None
    assert plainly.last_report.assumptions == ()
    assert "assumptions" not in repr(plainly.last_report)


def test_well_known_models_are_known_where_they_cannot_be_had(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`base` is a BERT with CLS pooling, normalized, as bge is."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    expected = Embedder(base, device="cpu", dtype="float32").encode(TEXTS)
    bare = without(Path(shutil.copytree(FIXTURES / "mlx_bert", tmp_path / "bare")), "modules.json", "1_Pooling")
    said = "does not say how vectors are made, and .BAAI/bge-small-en-v1.5., which {} names, cannot be had: cls pooling"
    with pytest.warns(UserWarning, match=said.format("base=")) as caught:
        model = Embedder(bare, base="BAAI/bge-small-en-v1.5", device="cpu", dtype="float32")
    assert [warning.filename for warning in caught] == [__file__]
    assert same(model.encode(TEXTS), expected)
    assert model.info.pooling == "cls"
    found = inspect_model(bare, base="BAAI/bge-small-en-v1.5")
    assert found.assumptions == tuple(str(warning.message) for warning in caught)
    assert found.networks[0].sources["pooling"] == "what is known of its base model"
    with pytest.raises(ValueError, match=r'^base: model "someone/unknown" was not found'):
        Embedder(bare, base="someone/unknown", device="cpu")

    (bare / "README.md").write_text("---\nbase_model: BAAI/bge-small-en-v1.5\n---\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=said.format("its README.md")) as caught:
        assert same(Embedder(bare, device="cpu", dtype="float32").encode(TEXTS), expected)
    assert len(caught) == 1
    # modules.json is there, and what it names is not.
    shutil.copy(base / "modules.json", bare)
    with pytest.warns(UserWarning, match=said.format("its README.md")):
        assert same(Embedder(bare, device="cpu", dtype="float32").encode(TEXTS), expected)
