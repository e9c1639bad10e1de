"""Tiny cross-encoders through the public interface, against what sentence-transformers computed with the same files.

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
from votive import Reranker

pytestmark = [
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
    pytest.mark.filterwarnings("ignore:.*the model's activation function is other:UserWarning"),
]

PAIRS: list[list[str]] = json.loads((FIXTURES / "pairs.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-4  # greatest difference of a score


class RerankerCase(Case):
    """One case of a Reranker's fixture."""

    kind = Reranker
    file = "scores"

    @property
    def pairs(self) -> list[list[str]]:
        return self.chosen("pairs", PAIRS)

    def predict(self, model: Reranker, pairs: Any, **more: Any) -> Any:
        """The scores of `pairs` with the arguments of the case."""
        return model.predict(pairs, **self.arguments, **more)


CASES = [pytest.param(case, id=f"{case.fixture}-{case.name}") for case in cases(RerankerCase)]


def test_fixtures_are_found() -> None:
    assert {"bert_rerank", "bert_labels"} <= {case.values[0].fixture for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_the_references(case: RerankerCase, tmp_path: Path) -> None:
    expected = case.expected()
    named = {key: value for key, value in case.fields.get("arguments", {}).items() if key.startswith("prompt")}
    found = case.load(tmp_path).tokenize(case.pairs, **named)
    ids = [row.tolist() for row in np.split(expected["ids"], expected["id_offsets"][1:-1])]
    assert [row["input_ids"] for row in found] == ids


@pytest.mark.parametrize("case", CASES)
def test_scores_are_the_references(case: RerankerCase, tmp_path: Path) -> None:
    expected = case.expected()["scores"]
    scores = case.predict(case.load(tmp_path), case.pairs)
    assert (scores.dtype, scores.shape) == (np.float32, expected.shape)
    assert np.abs(scores - expected).max() <= TOLERANCE


@BITS
@pytest.mark.parametrize("case", CASES)
def test_company_threads_and_order_change_no_bit(case: RerankerCase, tmp_path: Path) -> None:
    one, two = (case.load(tmp_path, num_threads=threads) for threads in (1, 2))
    pairs = case.pairs
    together = case.predict(one, pairs)
    order = np.random.default_rng(0).permutation(len(pairs))
    shuffled = [pairs[index] for index in order]
    for model in (one, two):
        alone = np.stack([case.predict(model, pair) for pair in pairs])
        assert np.array_equal(alone, together)
        assert np.array_equal(case.predict(model, shuffled), together[order])
        assert np.array_equal(case.predict(model, pairs, batch_size=3), together)
    assert np.array_equal(case.predict(two, pairs), together)
