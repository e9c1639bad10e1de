"""Files of a model's folder that change what it computes: honoured, or refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / name, folder))


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


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
