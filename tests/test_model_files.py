"""Files of a model's folder that change what it computes: honoured, or refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, ModelError, Reranker


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / name, folder))


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


# Adapters

LORA = {"peft_type": "LORA", "base_model_name_or_path": "ada/base", "r": 2, "target_modules": ["query", "value"]}


@pytest.mark.parametrize(
    ("kind", "name", "subfolder"),
    [(Embedder, "bert_40", ""), (Embedder, "bert_sharded", "0_Transformer"), (Reranker, "bert_rerank", "")],
)
def test_an_adapter_beside_the_weights_is_refused(kind: Any, name: str, subfolder: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path / "model")
    kind(folder)
    write(folder / subfolder / "adapter_config.json", LORA)
    with pytest.raises(ModelError, match=r"(?s)adapter_config\.json: the model is a PEFT.*merge_and_unload") as caught:
        kind(folder)
    assert str(folder / subfolder) in str(caught.value)


@pytest.mark.parametrize("kind", [Embedder, Reranker])
def test_an_adapter_alone_is_refused(kind: Any, tmp_path: Path) -> None:
    write(tmp_path / "adapter_config.json", LORA)
    with pytest.raises(ModelError, match=r"^adapter_config\.json: the model is a PEFT adapter"):
        kind(tmp_path)


# Models of other classes


@pytest.mark.parametrize("kind", ["SparseEncoder", "MultiVectorEncoder", "ColBERT"])
def test_a_model_of_another_class_is_converted_and_says_so(kind: str, tmp_path: Path) -> None:
    folder = copy_of("bert_plain", tmp_path / "model")
    expected = Embedder(folder).encode("a text")
    write(folder / "config_sentence_transformers.json", {"model_type": kind, "prompts": {"query": "q: "}})
    with pytest.warns(UserWarning, match=f"saved from a {kind}.*mean pooling") as caught:
        found = Embedder(folder).encode("a text")
    assert [warning.filename for warning in caught] == [__file__]
    assert np.array_equal(found, expected)
