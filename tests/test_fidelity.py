"""Tiny models through the public interface, against what sentence-transformers computed with the same files.

`fixtures/README.md` says what a fixture holds. Each test function runs over all cases of all fixtures. With VOTIVE_ISA
or VOTIVE_PORTABLE set, it is another body that is tested.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import BITS
from cases import FIXTURES, Case, cases
from votive import Embedder

pytestmark = [
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
    pytest.mark.filterwarnings("ignore:.* was saved from a SparseEncoder:UserWarning"),
]

TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-5  # greatest difference of an element
COSINE = 0.999999  # least cosine of a row


class EmbedderCase(Case):
    """One case of an Embedder's fixture."""

    kind = Embedder
    file = "expected"

    @property
    def texts(self) -> list[str]:
        return self.chosen("texts", TEXTS)

    def call(self, model: Embedder, texts: list[str], **more: Any) -> Any:
        """What the case's method returns for `texts`."""
        return getattr(model, self.fields.get("method", "encode"))(texts, **self.arguments, **more)


def named(found: list[EmbedderCase]) -> list[Any]:
    """Parameters whose test ids are the names of fixture and case."""
    return [pytest.param(case, id=f"{case.fixture}-{case.name}") for case in found]


CASES = cases(EmbedderCase)
QUANTIZED = [case for case in CASES if "precision" in case.arguments]
TOKENS = [case for case in CASES if case.arguments.get("output_value") == "token_embeddings"]
EMBEDDINGS = [case for case in CASES if case not in QUANTIZED and case not in TOKENS]


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Both bounds of the contract, on arrays `[rows, columns]`."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    difference = np.abs(actual - expected).max(axis=1)
    assert difference.max() <= TOLERANCE, f"row {difference.argmax()} differs by {difference.max():.2e}"
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    assert ((a * b).sum(axis=1) >= COSINE * norms).all()


def test_fixtures_are_found() -> None:
    assert {case.fixture for case in EMBEDDINGS} >= {"bert_modules", "bert_312", "bert_40", "bert_types"}
    assert len(QUANTIZED) == 11
    assert len(TOKENS) == 6


@pytest.mark.parametrize("case", named(CASES))
def test_tokens_are_the_references(case: EmbedderCase, tmp_path: Path) -> None:
    model = case.load(tmp_path)
    expected = case.expected()
    tokenizer = next((FIXTURES / case.fixture).rglob("tokenizer.json"))
    contents = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary = contents["model"]["vocab"]
    if isinstance(vocabulary, list):  # pieces with their logarithms, by id
        vocabulary = {piece: token for token, (piece, _) in enumerate(vocabulary)}
    vocabulary |= {token["content"]: token["id"] for token in contents["added_tokens"]}
    found = model.tokenize(case.texts)
    assert [row["input_ids"] for row in found] == [
        ids.tolist() for ids in np.split(expected["ids"], expected["id_offsets"][1:-1])
    ]
    for row in found:
        assert [vocabulary[token] for token in row["tokens"]] == row["input_ids"]


@pytest.mark.parametrize("case", named(EMBEDDINGS))
def test_embeddings_are_the_references(case: EmbedderCase, tmp_path: Path) -> None:
    model = case.load(tmp_path)
    assert_close(case.call(model, case.texts), case.expected()["embeddings"])


@BITS
@pytest.mark.parametrize("case", named(EMBEDDINGS))
def test_company_threads_and_order_change_no_bit(case: EmbedderCase, tmp_path: Path) -> None:
    one, two = (case.load(tmp_path, num_threads=threads) for threads in (1, 2))
    texts = case.texts
    together = case.call(one, texts)
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = [texts[index] for index in order]
    for model in (one, two):
        alone = np.stack([case.call(model, text) for text in texts])
        assert np.array_equal(alone, together)
        assert np.array_equal(case.call(model, shuffled), together[order])
        assert np.array_equal(case.call(model, texts, batch_size=3), together)
    assert np.array_equal(case.call(two, texts), together)


@pytest.mark.parametrize("case", named(TOKENS))
def test_token_embeddings_are_the_references(case: EmbedderCase, tmp_path: Path) -> None:
    expected = case.expected()
    rows = case.call(case.load(tmp_path), case.texts)
    assert [len(row) for row in rows] == np.diff(expected["token_offsets"]).tolist()
    assert_close(np.concatenate(rows), expected["token_embeddings"])


@pytest.mark.parametrize("case", named(QUANTIZED))
def test_quantized_embeddings_are_the_references(case: EmbedderCase, tmp_path: Path) -> None:
    expected = case.expected()
    embeddings, codes = expected["embeddings"].astype(np.float64), expected["codes"]
    model = case.load(tmp_path)
    if case.name.endswith("_batch"):
        with pytest.warns(UserWarning, match="ranges"):
            actual = case.call(model, case.texts)
    else:
        arrays = {key: expected[key] for key in ("ranges", "calibration_embeddings") if key in expected}
        actual = case.call(model, case.texts, **arrays)
    assert (actual.dtype, actual.shape) == (codes.dtype, codes.shape)
    if case.arguments["precision"] in ("int8", "uint8"):
        given = expected.get("calibration_embeddings", embeddings)
        least, most = expected.get("ranges", np.stack([given.min(axis=0), given.max(axis=0)]))
        step = np.where(most > least, (most - least) / 255, 1.0)
        level = (embeddings - least) / step
        # An element is free to fall on either side of a border that it is as near to as the tolerance.
        free = np.abs(level - level.round()) * step <= 3 * TOLERANCE
        difference = np.abs(actual.astype(int) - codes.astype(int))
        assert (difference <= free).all()
    else:
        bits, reference = (np.unpackbits(array.view(np.uint8), axis=1) for array in (actual, codes))
        free = np.pad(np.abs(embeddings) <= TOLERANCE, ((0, 0), (0, bits.shape[1] - embeddings.shape[1])))
        assert ((bits == reference) | free).all()


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities_are_the_references(name: str, tmp_path: Path) -> None:
    files = {"config_sentence_transformers.json": {"similarity_fn_name": name}}
    model = EmbedderCase("bert_modules", name, {"files": files}).load(tmp_path)
    with np.load(FIXTURES / "bert_modules" / "similarity.npz") as arrays:
        left, right = arrays["left"], arrays["right"]
        assert model.similarity_fn_name == name
        # Products of long vectors are large: the bound is on what float32 can tell apart there.
        found = {name: model.similarity(left, right)}
        found[f"{name}.pairwise"] = model.similarity_pairwise(left[: len(right)], right)
        for key, actual in found.items():
            assert actual.dtype == np.float32
            np.testing.assert_allclose(actual, arrays[key], rtol=TOLERANCE, atol=TOLERANCE)
