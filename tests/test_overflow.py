"""Models whose numbers overflow: scores and vectors are no numbers then, and never ones that look right."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensor_files
from bodies import PORTABLE
from conftest import FIXTURES
from votive import Embedder, Reranker

# Normalizations by the mean: what they make of infinite numbers is none. By the root mean square it would be 0.
RERANKERS = ["bert_rerank", "distilbert_rerank", "electra_rerank", "gte_rerank", "deberta_v3_rerank"]
# Integers are the kernels' alone.
DTYPES = ["float32", "bfloat16", *([] if PORTABLE else ["int8"])]


def overflowing(fixture: str, folder: Path, weight: float = 3e38) -> Path:
    """A copy whose weights are all so large that the first sums are infinite."""
    shutil.copytree(FIXTURES / fixture, folder)
    for file in folder.rglob("*.safetensors"):
        tensors = tensor_files.read(file)
        tensor_files.write(file, {name: np.full_like(tensor, weight) for name, tensor in tensors.items()}, "F32")
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fixture", RERANKERS)
def test_a_reranker_that_overflows_has_no_score(fixture: str, dtype: str, tmp_path: Path) -> None:
    model = Reranker(overflowing(fixture, tmp_path / "model"), device="cpu", dtype=dtype)
    scores = model.predict([("a", "b"), ("c d", "e")])
    assert np.isnan(scores).all(), scores


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fixture", ["bert_40", "nomic_bert", "xlm_roberta"])
def test_an_embedder_that_overflows_has_no_vector(fixture: str, dtype: str, tmp_path: Path) -> None:
    vectors = Embedder(overflowing(fixture, tmp_path / "model"), device="cpu", dtype=dtype).encode(["a", "b c"])
    assert np.isnan(vectors).any(axis=1).all(), vectors
