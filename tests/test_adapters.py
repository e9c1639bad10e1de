"""Adapters of PEFT, merged into the weights as they are read.

Fixtures `lora` and `lora_rerank` compare with the reference, in the tests of fidelity; here are other families, other
places of the base model, and what is said where something does not fit.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import INT8
from conftest import FIXTURES
from tensor_files import read, write
from votive import Embedder, ModelError, Reranker

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")

TEXTS = ["hello world", "a longer text of some more words, and some more", "x"]
WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"


def configure(folder: Path, **keys: Any) -> None:
    """Writes adapter_config.json."""
    content = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, **keys}
    (folder / "adapter_config.json").write_text(json.dumps(content), encoding="utf-8")


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / name, folder))


def adapt(folder: Path, prefix: str) -> dict[str, np.ndarray]:
    """Adds a random adapter for every matrix of a model, and returns the weights with it."""
    rng = np.random.default_rng(3)
    weights, adapter = read(folder / WEIGHTS), {}
    for name, weight in weights.items():
        module = name.removesuffix(".weight")
        if weight.ndim != 2 or module == name:
            continue
        a, b = (rng.normal(0, 0.2, size).astype(np.float32) for size in ((3, weight.shape[1]), (weight.shape[0], 3)))
        if "embeddings" in name:
            adapter[f"{prefix}{module}.lora_embedding_A"], adapter[f"{prefix}{module}.lora_embedding_B"] = b.T, a.T
        else:
            adapter[f"{prefix}{module}.lora_A.weight"], adapter[f"{prefix}{module}.lora_B.weight"] = a, b
        weights[name] = (weight + 2.0 * (b.astype(np.float64) @ a)).astype(np.float32)
    write(folder / ADAPTER, {name: np.ascontiguousarray(tensor) for name, tensor in adapter.items()}, "F32")
    configure(folder)
    return weights


@pytest.mark.parametrize("dtype", ["float32", pytest.param("int8", marks=INT8)])
@pytest.mark.parametrize(
    "name",
    [
        "bert_312",
        "xlm_roberta",
        "distilbert",
        "electra",
        "mpnet",
        "deberta_v3",
        "modernbert",
        "gte_published",
        "qwen3_bias",
    ],
)
def test_an_adapter_of_any_family_is_what_its_merged_weights_are(name: str, dtype: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path / "model")
    merged = adapt(folder, "base_model.model.")
    base = Embedder(FIXTURES / name, dtype=dtype).encode(TEXTS)
    found = Embedder(folder, dtype=dtype).encode(TEXTS)
    for file in ("adapter_config.json", ADAPTER):
        (folder / file).unlink()
    write(folder / WEIGHTS, merged, "F32")
    expected = Embedder(folder, dtype=dtype).encode(TEXTS)
    # int8: a weight at the border of two bytes may fall to the other one.
    np.testing.assert_allclose(found, expected, atol=2e-5 if dtype == "float32" else 0.03 * np.abs(expected).max())
    assert np.abs(found - base).max() > 0.05


def test_the_base_model_may_be_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Embedder(FIXTURES / "lora").encode(TEXTS)
    saved = json.loads((FIXTURES / "lora" / "adapter_config.json").read_text(encoding="utf-8"))
    folder = copy_of("lora", tmp_path / "model")
    base = Path(shutil.move(folder / "base", tmp_path / "elsewhere"))

    def encode(name: str) -> np.ndarray:
        configure(folder, **(saved | {"base_model_name_or_path": name}))
        return Embedder(folder).encode(TEXTS)

    assert np.array_equal(encode(str(base)), expected)
    assert np.array_equal(encode("../elsewhere"), expected)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(encode("elsewhere"), expected)
    # Beside the adapter, where the name does not count.
    for name in ("config.json", WEIGHTS):
        shutil.copy(base / name, folder / name)
    assert np.array_equal(encode("ada/no-such-base"), expected)


@pytest.mark.parametrize(("kind", "name"), [(Embedder, "lora"), (Reranker, "lora_rerank")])
def test_a_base_model_that_is_not_there_is_named_with_what_to_do(kind: Any, name: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path / "model")
    configure(folder, base_model_name_or_path="ada/no-such-base")
    with pytest.raises(FileNotFoundError, match=r"(?s)adapter_config\.json: .*ada/no-such-base.*beside the adapter"):
        kind(folder, local_files_only=True)
    configure(folder, base_model_name_or_path=None)
    with pytest.raises(ModelError, match=r"^adapter_config\.json: base_model_name_or_path: missing"):
        kind(folder)


@pytest.mark.parametrize(
    ("kind", "name", "subfolder"),
    [(Embedder, "bert_40", ""), (Embedder, "bert_sharded", "0_Transformer"), (Reranker, "bert_rerank", "")],
)
def test_an_adapter_of_another_kind_is_refused_with_how_to_merge_it(
    kind: Any, name: str, subfolder: str, tmp_path: Path
) -> None:
    folder = copy_of(name, tmp_path / "model")
    configure(folder / subfolder, peft_type="IA3")
    with pytest.raises(ModelError, match=r"(?s)adapter_config\.json: peft_type: \"IA3\".*merge_and_unload") as caught:
        kind(folder)
    assert str(folder / subfolder) in str(caught.value)


def test_a_tensor_that_fits_nothing_is_an_error(tmp_path: Path) -> None:
    folder = copy_of("bert_312", tmp_path / "model")
    adapt(folder, "base_model.model.")
    adapter = read(folder / ADAPTER)
    write(folder / ADAPTER, {name.replace("query", "queries"): tensor for name, tensor in adapter.items()}, "F32")
    with pytest.raises(ModelError, match=r"queries.*fits no weight of the base model"):
        Embedder(folder)
