"""A call's results are those of the call alone: whatever it holds, and whoever it is computed together with."""

import asyncio
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from votive import Embedder, Reranker

TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
PAIRS: list[list[str]] = json.loads((FIXTURES / "pairs.json").read_text(encoding="utf-8"))
EMPTY = ["", " ", "\x00", "\u200b"]  # with a tokenizer that adds nothing, some of them are no tokens at all
CALLS = 24

# How a text without tokens is refused where the reference has nothing to say but padding.
NO_TOKENS = r"(sentences: the text|inputs: the pair) at position \d+ has no tokens, and this model needs one"

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


def is_reranker(folder: Path) -> bool:
    return (folder / "scores.json").exists()


def without_special_tokens(folder: Path, copy: Path) -> Path:
    """The model with a tokenizer that adds nothing to a text."""
    shutil.copytree(folder, copy)
    places = list(copy.rglob("tokenizer.json"))
    for place in places:
        tokenizer = json.loads(place.read_text(encoding="utf-8"))
        place.write_text(json.dumps(tokenizer | {"post_processor": None}), encoding="utf-8")
        settings = place.with_name("tokenizer_config.json")
        given = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
        settings.write_text(json.dumps(given | {"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")
    assert places
    return copy


FOLDERS = sorted(path.parent for name in ("expected.json", "scores.json") for path in FIXTURES.glob(f"*/{name}"))


@pytest.fixture(params=["as it is", "without special tokens"])
def folder(request: pytest.FixtureRequest, family: Path, tmp_path: Path) -> Path:
    return family if request.param == "as it is" else without_special_tokens(family, tmp_path / "model")


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def family(request: pytest.FixtureRequest) -> Path:
    return request.param


def random_call(choice: random.Random, reranker: bool) -> list[Any]:
    """Some texts or pairs, some of them empty."""

    def text() -> str:
        return choice.choice(EMPTY) if choice.random() < 0.3 else choice.choice(TEXTS)

    def pair() -> list[str]:
        return [text(), text()] if choice.random() < 0.5 else choice.choice(PAIRS)

    return [pair() if reranker else text() for _ in range(choice.randint(1, 4))]


def outcome(compute: Any, inputs: list[Any]) -> Any:
    """What the call gives, or says."""
    try:
        return compute(inputs)
    except ValueError as error:
        return str(error)


def test_a_call_in_company_is_the_call_alone(folder: Path, family: Path) -> None:
    choice = random.Random(family.name)
    reranker = is_reranker(folder)
    kind, method = (Reranker, "predict") if reranker else (Embedder, "encode")
    calls = [random_call(choice, reranker) for _ in range(CALLS)]
    compute = getattr(kind(str(folder), num_threads=2), method)
    alone = [outcome(compute, call) for call in calls]
    # Neither does it matter what else is in a call.
    for call, expected in zip(calls, alone, strict=True):
        if not isinstance(expected, str):
            for given, row in zip(call, expected, strict=True):
                assert same(compute([given])[0], row), given
    # Calls that wait for each other share passes.
    shared = getattr(kind(str(folder), num_threads=2, max_wait_ms=20), method)
    with ThreadPoolExecutor(CALLS) as threads:
        for _ in range(3):
            found = list(threads.map(lambda call: outcome(shared, call), calls))
            for call, result, expected in zip(calls, found, alone, strict=True):
                assert same(result, expected), call


def test_tasks_of_a_loop_hear_of_their_own_inputs_alone(tmp_path: Path) -> None:
    """Nobody shares the error of a call whose text has no tokens where the model needs one."""
    folder = without_special_tokens(FIXTURES / "bert_rerank", tmp_path / "model")
    model = Reranker(str(folder), num_threads=2, max_wait_ms=20)
    expected = model.predict(PAIRS[:1])

    async def main() -> list[Any]:
        calls = [model.apredict([["", ""]] if i % 3 == 0 else PAIRS[:1]) for i in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    for i, found in enumerate(asyncio.run(main())):
        if i % 3 == 0:
            assert isinstance(found, ValueError)
            assert str(found) == "inputs: the pair at position 0 has no tokens, and this model needs one"
        else:
            assert same(found, expected)


def test_a_pair_without_tokens_is_padding_to_a_classifier() -> None:
    """The value is sentence-transformers' where the pair stands in a batch; alone it fails there."""
    expected = np.load(FIXTURES / "qwen3_labels" / "scores.npz")["labels.scores"]
    model = Reranker(str(FIXTURES / "qwen3_labels"))
    empty, other = PAIRS.index(["", ""]), 0
    for pairs, places in [([PAIRS[other], ["", ""]], [other, empty]), ([["", ""]], [empty])]:
        np.testing.assert_allclose(model.predict(pairs), expected[places], atol=1e-4)


@pytest.mark.parametrize("mode", ["mean", "lasttoken", "mean_sqrt_len_tokens", "weightedmean", "cls", "max"])
def test_a_text_without_tokens_has_no_vector(tmp_path: Path, mode: str) -> None:
    """Zeros, as sentence-transformers gives in a batch; where it gives -inf or the state of padding, an error."""
    folder = without_special_tokens(FIXTURES / "bert_40", tmp_path / "model")
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 40, "pooling_mode": mode, "include_prompt": True})
    )
    model = Embedder(str(folder))
    if mode in ("cls", "max"):
        with pytest.raises(ValueError, match=NO_TOKENS.replace(r"\d+", "1")):
            model.encode(["a text", ""])
        assert np.isfinite(model.encode(["a text"])).all()
    else:
        found = model.encode(["a text", ""])
        assert same(found[0], model.encode("a text"))
        assert not found[1].any()


def test_the_position_of_a_text_without_tokens_is_the_callers(tmp_path: Path) -> None:
    folder = without_special_tokens(FIXTURES / "bert_rerank", tmp_path / "model")
    model = Reranker(str(folder))
    with pytest.raises(ValueError, match="inputs: the pair at position 5001 has no tokens"):
        model.predict([*(["a", f"{i}"] for i in range(5001)), ["", ""], ["", ""]])
