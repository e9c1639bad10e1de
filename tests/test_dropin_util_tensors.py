"""`votive.sentence_transformers.util` with PyTorch: tensors of every type go in, and come out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fixtures.dropin_util import EACH_WITH_EACH, ROW_BY_ROW, SEARCHES, arguments  # noqa: E402
from test_dropin_util import ARRAYS, LISTS, assert_same_hits, assert_same_pairs  # noqa: E402
from votive.sentence_transformers import _tensors, util  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # warnings of other people's packages are theirs

# The type of the result, the form whose results are expected, and how near they are.
DTYPES = {
    torch.float32: (torch.float32, "float32", 1e-5),
    torch.float64: (torch.float64, "float64", 1e-10),
    torch.float16: (torch.float32, "float16", 1e-5),
    torch.bfloat16: (torch.float32, "float64", 0.1),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*EACH_WITH_EACH, *ROW_BY_ROW, "pairwise_angle_sim"])
def test_similarity_of_tensors(name: str, dtype: torch.dtype) -> None:
    result, form, tolerance = DTYPES[dtype]
    others = "right" if name in EACH_WITH_EACH else "paired"
    left, right = (torch.from_numpy(ARRAYS[key]).to(dtype) for key in ("left", others))
    for a, b in ((left, right), (list(left), tuple(right)), (left.clone().requires_grad_(), right)):
        found = getattr(util, name)(a, b)
        assert isinstance(found, torch.Tensor)
        assert found.dtype == result
        np.testing.assert_allclose(found.numpy(), ARRAYS[f"{name}.{form}"], rtol=tolerance, atol=tolerance)


def test_results_are_used_as_tensors() -> None:
    left, right = torch.from_numpy(ARRAYS["left"]), torch.from_numpy(ARRAYS["right"])
    scores = util.cos_sim(left[0], right)
    assert type(scores[0][1].item()) is float
    values, places = torch.topk(scores, k=3, dim=1)
    assert values.shape == places.shape == (1, 3)
    assert scores.cpu().squeeze().numpy().shape == (5,)
    assert util.pairwise_cos_sim(left[0], left[1]).item() == pytest.approx(util.cos_sim(left[0], left[1]).item())
    scores += 1  # memory of its own, that may be written to


def test_arrays_give_tensors_where_torch_is_imported() -> None:
    left, right = ARRAYS["left"].astype(np.float32), ARRAYS["right"].astype(np.float32)
    left.flags.writeable = False
    assert isinstance(util.cos_sim(left, right), torch.Tensor)
    assert isinstance(util.dot_score(left.tolist(), right), torch.Tensor)
    _tensors.set_rule("never")
    try:
        assert isinstance(util.cos_sim(torch.from_numpy(right), right), np.ndarray)
    finally:
        _tensors.set_rule("auto")
    with pytest.raises(ValueError, match="tensors: expected one of auto, always, never"):
        _tensors.set_rule("sometimes")


def test_sparse_tensors_are_dense_ones() -> None:
    left = torch.from_numpy(ARRAYS["left"]).to_sparse()
    np.testing.assert_allclose(util.cos_sim(left, ARRAYS["right"]).numpy(), ARRAYS["cos_sim.float64"], atol=1e-10)


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_pairs_and_communities(name: str) -> None:
    function, given = SEARCHES[name]
    values = arguments(given, ARRAYS, util)
    for name_of, value in values.items():
        values[name_of] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    found = getattr(util, function)(**values)
    if function == "semantic_search":
        assert_same_hits(found, LISTS[name])
    elif function == "paraphrase_mining_embeddings":
        assert_same_pairs(found, LISTS[name])
    else:
        assert found == LISTS[name]


def test_a_function_of_the_caller_gets_tensors() -> None:
    def score(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert isinstance(a, torch.Tensor)
        assert isinstance(b, torch.Tensor)
        return torch.mm(a, b.T)

    queries, corpus = ARRAYS["queries"], ARRAYS["corpus"]
    for values in ((queries, corpus), (torch.from_numpy(queries), torch.from_numpy(corpus))):
        assert_same_hits(util.semantic_search(*values, score_function=score), LISTS["search_dot"])
    found = util.paraphrase_mining_embeddings(torch.from_numpy(corpus), score_function=score, max_pairs=50)
    assert_same_pairs(found, LISTS["pairs_dot"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_quantization_of_tensors(dtype: torch.dtype) -> None:
    wide = torch.from_numpy(ARRAYS["wide"])
    bits = util.quantize_embeddings(wide.to(dtype), "ubinary")
    np.testing.assert_array_equal(bits, ARRAYS["quantize_embeddings.ubinary"])
    codes = util.quantize_embeddings(list(wide.to(dtype)), "int8", ranges=torch.from_numpy(ARRAYS["ranges"]))
    assert np.abs(codes.astype(int) - ARRAYS["quantize_embeddings.int8_ranges"].astype(int)).max() <= 2
    matrices = util.quantize_embeddings([wide[:3], wide[3:]], "int8")
    np.testing.assert_array_equal(matrices[1], ARRAYS["quantize_embeddings.int8.matrix1"])


def test_helpers() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    assert util.normalize_embeddings(rows).tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert util.truncate_embeddings(rows, 1).tolist() == [[3.0], [0.0]]
    assert util.select_max_active_dims(rows, 1).tolist() == [[0.0, 4.0], [0.0, 0.0]]
    batch = {"input_ids": rows, "text": "a"}
    moved = util.batch_to_device(batch, torch.device("meta"))
    assert moved is batch
    assert batch["input_ids"].device.type == "meta"
    assert batch["text"] == "a"
    with pytest.raises(util.tensor.Unsupported, match="normalize_embeddings of a sparse tensor"):
        util.normalize_embeddings(rows.to_sparse())
    assert util._convert_to_tensor([1.0, 2.0]).dtype == torch.float32
    assert util._convert_to_batch_tensor(np.ones(3)).shape == (1, 3)
    assert util._move_tensors_to_cpu({"a": [rows]})["a"][0] is rows


def test_nothing_imports_torch() -> None:
    program = (
        "import sys, numpy as np; from votive.sentence_transformers import util; a = np.eye(3, dtype=np.float32);"
        "assert type(util.cos_sim(a, a)) is np.ndarray; util.semantic_search(a, a); util.community_detection(a);"
        "util.quantize_embeddings(a, 'binary'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
