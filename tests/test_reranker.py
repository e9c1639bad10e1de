"""The Reranker: what predict and rank give, their arguments, and the Reranker as an object."""

import json
import pickle
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bodies import INT8, same
from copies import COPIES
from votive import Embedder, Reranker, TruncationWarning, VotiveError, _core
from votive._model import active_profile

FIXTURES = Path(__file__).parent / "fixtures"
ONE_LABEL, THREE_LABELS = str(FIXTURES / "bert_rerank"), str(FIXTURES / "bert_labels")
CAUSAL = str(FIXTURES / "qwen3_rerank")

QUERY = "what is a candle?"
DOCUMENTS = ["wax with a wick", "how to sort a list", "", "wax with a wick", "light, when it burns"]
PAIRS = [[QUERY, document] for document in DOCUMENTS]
LONG = "one two three " * 40


@pytest.fixture(scope="module")
def ranker() -> Reranker:
    """A cross-encoder of one label that takes 64 tokens. Tests that change it load their own."""
    return Reranker(ONE_LABEL, num_threads=2)


@pytest.fixture(scope="module")
def classifier() -> Reranker:
    """A cross-encoder of three labels."""
    return Reranker(THREE_LABELS, num_threads=2)


@pytest.fixture(scope="module")
def scores(ranker: Reranker) -> np.ndarray:
    """Of `PAIRS`, each pair alone."""
    return np.array([ranker.predict(pair) for pair in PAIRS])


@pytest.fixture(scope="module")
def logits(ranker: Reranker) -> np.ndarray:
    """Of `PAIRS`."""
    return ranker.predict(PAIRS, activation_fn="identity")


INPUTS: dict[str, Callable[[list[list[str]]], Any]] = {
    "list of lists": list,
    "list of tuples": lambda pairs: [tuple(pair) for pair in pairs],
    "tuple of tuples": lambda pairs: tuple(tuple(pair) for pair in pairs),
    "deque": deque,
    "values of a dict": lambda pairs: dict(enumerate(pairs)).values(),
    "NumPy str": lambda pairs: np.array(pairs, dtype=str).reshape(-1, 2),
    "NumPy object": lambda pairs: np.array(pairs, dtype=object).reshape(-1, 2),
    "rows of NumPy": lambda pairs: [np.array(pair) for pair in pairs],
    "generator": lambda pairs: (pair for pair in pairs),
    "zip": lambda pairs: zip((pair[0] for pair in pairs), (pair[1] for pair in pairs), strict=True),
}


class TestShapes:
    def test_one_pair_gives_a_scalar(self, ranker: Reranker, scores: np.ndarray) -> None:
        score = ranker.predict((QUERY, DOCUMENTS[0]))
        assert isinstance(score, np.float32)
        assert same(score, scores[0])

    def test_many_pairs_give_one_dimension(self, ranker: Reranker, scores: np.ndarray) -> None:
        found = ranker.predict(PAIRS)
        assert (found.dtype, found.shape) == (np.float32, (5,))
        assert same(found, scores)
        assert ranker.predict(PAIRS[:1]).shape == (1,)
        assert ranker.predict([]).shape == ranker.predict(iter([])).shape == (0,)

    def test_many_labels_give_another(self, classifier: Reranker) -> None:
        found = classifier.predict(PAIRS)
        assert (found.dtype, found.shape) == (np.float32, (5, 3))
        assert same(classifier.predict(PAIRS[1]), found[1])
        assert classifier.predict([]).shape == (0, 3)

    @pytest.mark.parametrize("given", INPUTS.values(), ids=INPUTS)
    def test_pairs_come_in_many_ways(self, given: Any, ranker: Reranker, scores: np.ndarray) -> None:
        assert same(ranker.predict(given(PAIRS)), scores)
        assert ranker.last_report is not None
        assert ranker.last_report.texts == 5
        assert ranker.tokenize(given(PAIRS)) == [ranker.tokenize(pair) for pair in PAIRS]
        assert ranker.predict(given([])).shape == (0,)

    def test_a_row_of_two_texts_is_one_pair(self, ranker: Reranker, scores: np.ndarray) -> None:
        assert same(ranker.predict(np.array(PAIRS[1])), scores[1])

    def test_a_long_stream(self, ranker: Reranker) -> None:
        # More than one piece of it.
        found = ranker.predict([QUERY, f"text {row % 7}"] for row in range(9_000))
        rows = ranker.predict([[QUERY, f"text {row}"] for row in range(7)])
        assert same(found, rows[np.arange(9_000) % 7])

    @pytest.mark.parametrize("batch_size", [1, 2, np.int64(3), 10**9])
    @pytest.mark.parametrize("folder", [ONE_LABEL, CAUSAL])
    def test_batch_size_changes_no_bit(self, folder: str, batch_size: int) -> None:
        model = Reranker(folder)
        assert same(model.predict(PAIRS, batch_size=batch_size), model.predict(PAIRS))
        assert same(model.predict(iter(PAIRS), batch_size=batch_size), model.predict(PAIRS))

    def test_positions_are_those_of_sentence_transformers(self, classifier: Reranker) -> None:
        found = classifier.predict(PAIRS, None, "x ", 2, False, "tanh", True, True, False, "cpu")
        named = classifier.predict(PAIRS, prompt="x ", batch_size=2, activation_fn="tanh", apply_softmax=True)
        assert same(found, named)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """In float64."""
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """In float64, over each row."""
    weights = np.exp(logits.astype(np.float64))
    return weights / weights.sum(axis=1, keepdims=True)


class Sigmoid:
    """What PyTorch's module of this name looks like."""


Sigmoid.__module__ = "torch.nn.modules.activation"


class TestActivations:
    @pytest.mark.parametrize(
        ("activation_fn", "function"),
        [
            ("sigmoid", sigmoid),
            ("identity", np.asarray),
            ("tanh", np.tanh),
            ("torch.nn.modules.activation.Sigmoid", sigmoid),
            ("torch.nn.Sigmoid", sigmoid),
            ("torch.nn.modules.linear.Identity", np.asarray),
            ("torch.nn.modules.activation.Tanh", np.tanh),
            ("torch.sigmoid", sigmoid),
            (Sigmoid, sigmoid),
            (Sigmoid(), sigmoid),
            (np.exp, np.exp),
            (lambda logits: logits.astype(np.float64) * 2, lambda logits: logits * 2),
            (lambda logits: [[row[0] + 1] for row in logits], lambda logits: logits + 1),
        ],
    )
    def test_they_are_named_or_called(
        self, activation_fn: Any, function: Any, ranker: Reranker, logits: np.ndarray
    ) -> None:
        own = Reranker(ONE_LABEL, activation_fn=activation_fn)
        for found in (ranker.predict(PAIRS, activation_fn=activation_fn), own.predict(PAIRS)):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, function(logits), atol=1e-6)
        assert own.predict(PAIRS[0]) == own.predict(PAIRS)[0]

    def test_the_models_own(self, ranker: Reranker, classifier: Reranker, logits: np.ndarray) -> None:
        assert (ranker.activation_fn.__name__, classifier.activation_fn.__name__) == ("sigmoid", "identity")
        np.testing.assert_allclose(ranker.predict(PAIRS), sigmoid(logits), atol=1e-6)

    def test_softmax(self, classifier: Reranker) -> None:
        logits = classifier.predict(PAIRS)
        shares = softmax(logits)
        np.testing.assert_allclose(classifier.predict(PAIRS, activation_fn="softmax"), shares, atol=1e-6)
        np.testing.assert_allclose(classifier.predict(PAIRS, apply_softmax=True), shares, atol=1e-6)
        np.testing.assert_allclose(classifier.predict(PAIRS[0], apply_softmax=True), shares[0], atol=1e-6)
        both = classifier.predict(PAIRS, activation_fn="tanh", apply_softmax=True)
        np.testing.assert_allclose(both, softmax(np.tanh(logits)), atol=1e-6)
        assert classifier.predict([], apply_softmax=True).shape == (0, 3)

    def test_large_logits_overflow_nothing(self, classifier: Reranker) -> None:
        def large(logits: np.ndarray) -> np.ndarray:
            return logits * 1e30

        shares = classifier.predict(PAIRS, activation_fn=large, apply_softmax=True)
        np.testing.assert_array_equal(shares.sum(axis=1), 1)
        for activation in (sigmoid, "sigmoid"):
            assert Reranker(ONE_LABEL, activation_fn=activation).predict(PAIRS).max() <= 1

    def test_softmax_over_one_label_is_refused(self, ranker: Reranker, scores: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"^activation_fn: softmax over one label is 1 for every pair"):
            ranker.predict(PAIRS, activation_fn="softmax")
        # As in the reference, whose own argument does nothing there.
        assert same(ranker.predict(PAIRS, apply_softmax=True), scores)

    @pytest.mark.parametrize("name", ["", "relu", "Sigmoid", "torch.nn.modules.activation.Mish", "votive.sigmoid"])
    def test_an_unknown_name_lists_the_known_ones(self, name: str, ranker: Reranker) -> None:
        message = r"^activation_fn: .* supported: identity, sigmoid, softmax, tanh, "
        with pytest.raises(ValueError, match=message):
            ranker.predict(PAIRS, activation_fn=name)
        with pytest.raises(ValueError, match=message):
            Reranker(ONE_LABEL, activation_fn=name)

    @pytest.mark.parametrize("bad", [3, ["sigmoid"], True])
    def test_what_is_no_function(self, bad: Any, ranker: Reranker) -> None:
        message = rf"^activation_fn: expected a str or a callable, found {type(bad).__name__}$"
        with pytest.raises(TypeError, match=message):
            ranker.predict(PAIRS, activation_fn=bad)
        with pytest.raises(TypeError, match=message):
            Reranker(ONE_LABEL, activation_fn=bad)

    @pytest.mark.parametrize("function", [np.ravel, np.sum, np.transpose, lambda logits: logits[:-1]])
    def test_another_shape_is_refused(self, function: Any, ranker: Reranker) -> None:
        with pytest.raises(ValueError, match=r"^activation_fn: gave shape .* for logits of shape \(5, 1\)$"):
            ranker.predict(PAIRS, activation_fn=function)

    def test_what_it_raises_goes_through(self, ranker: Reranker, scores: np.ndarray) -> None:
        def broken(_: np.ndarray) -> np.ndarray:
            raise EOFError

        with pytest.raises(EOFError):
            ranker.predict(PAIRS, activation_fn=broken)
        assert same(ranker.predict(PAIRS), scores)


class TestRank:
    def test_best_first_and_ties_in_their_order(self, ranker: Reranker, scores: np.ndarray) -> None:
        hits = ranker.rank(QUERY, DOCUMENTS)
        order = sorted(range(5), key=lambda i: (-scores[i], i))
        assert [hit["corpus_id"] for hit in hits] == order
        assert same([hit["score"] for hit in hits], scores[order])
        assert order.index(0) + 1 == order.index(3)
        assert all(type(hit["score"]) is float and type(hit["corpus_id"]) is int for hit in hits)

    def test_many_ties(self, ranker: Reranker) -> None:
        hits = ranker.rank(QUERY, ["a", "b", "c"] * 30, activation_fn=np.zeros_like)
        assert [hit["corpus_id"] for hit in hits] == list(range(90))

    @pytest.mark.parametrize("top_k", [1, 2, 5, np.int64(3), 100])
    def test_top_k(self, top_k: int, ranker: Reranker) -> None:
        assert ranker.rank(QUERY, DOCUMENTS, top_k=top_k) == ranker.rank(QUERY, DOCUMENTS)[:top_k]

    def test_documents(self, ranker: Reranker) -> None:
        hits = ranker.rank(QUERY, DOCUMENTS, 2, True)
        assert [list(hit) for hit in hits] == [["corpus_id", "score", "text"]] * 2
        assert all(hit["text"] == DOCUMENTS[hit["corpus_id"]] for hit in hits)

    @pytest.mark.parametrize(
        "given",
        [tuple, iter, deque, lambda texts: np.array(texts, dtype=object), pd.Series, pa.array],
        ids=["tuple", "iterator", "deque", "NumPy", "pandas", "pyarrow"],
    )
    def test_documents_come_in_many_ways(self, given: Any, ranker: Reranker) -> None:
        expected = ranker.rank(QUERY, DOCUMENTS, return_documents=True)
        assert ranker.rank(QUERY, given(DOCUMENTS), return_documents=True) == expected
        assert ranker.rank(QUERY, given([])) == []

    def test_no_documents(self, ranker: Reranker) -> None:
        assert ranker.rank(QUERY, []) == []
        assert ranker.rank(QUERY, [], top_k=3, return_documents=True) == []

    def test_its_arguments_are_those_of_predict(self, ranker: Reranker) -> None:
        options: dict[str, Any] = {"prompt": "x ", "batch_size": 2, "activation_fn": "tanh"}
        expected = ranker.predict(PAIRS, **options)
        for hit in ranker.rank(QUERY, DOCUMENTS, show_progress_bar=False, device="cpu", **options):
            assert hit["score"] == expected[hit["corpus_id"]]
        assert ranker.last_report is not None
        assert ranker.last_report.texts == 5

    def test_three_labels_have_no_order(self, classifier: Reranker) -> None:
        for documents in (DOCUMENTS, []):
            with pytest.raises(ValueError, match=r"^rank: needs a model with one label, and this one has 3; use pred"):
                classifier.rank(QUERY, documents)


class TestPrompts:
    def test_a_prompt_is_put_before_the_first_text(self, ranker: Reranker, scores: np.ndarray) -> None:
        prompted = ranker.predict([[f"query: {first}", second] for first, second in PAIRS])
        assert not np.array_equal(prompted, scores)
        assert same(ranker.predict(PAIRS, prompt="query: "), prompted)
        named = Reranker(ONE_LABEL, prompts={"q": "query: ", "none": ""}, default_prompt_name="q")
        assert named.prompts == {"q": "query: ", "none": ""}
        assert same(named.predict(PAIRS), prompted)
        assert same(named.predict(PAIRS, "none"), scores)
        assert same(named.predict(PAIRS, prompt=""), scores)
        assert named.tokenize(PAIRS) == ranker.tokenize(PAIRS, prompt="query: ")

    def test_an_unknown_name_lists_the_known_ones(self, ranker: Reranker) -> None:
        with pytest.raises(ValueError, match=r"^prompt_name: 'q' is not one of \[\]$"):
            ranker.predict(PAIRS, "q")
        with pytest.raises(ValueError, match=r"^default_prompt_name: 'q' is not one of \['p'\]$"):
            Reranker(ONE_LABEL, prompts={"p": "x"}, default_prompt_name="q")

    def test_a_causal_models_instruction(self) -> None:
        model = Reranker(CAUSAL)
        assert not np.array_equal(model.predict(PAIRS, prompt="Find what burns."), model.predict(PAIRS))


def operations(model: Embedder | Reranker, inputs: Any) -> int:
    """Additions and multiplications that a call takes."""
    profile = _core.Profile()
    token = active_profile.set(profile)
    try:
        model.encode(inputs) if isinstance(model, Embedder) else model.predict(inputs)
    finally:
        active_profile.reset(token)
    return sum(stage[2] for stage in profile.stages(_core.Peaks(1, trial=1e-4)))


class TestEqualInputs:
    @pytest.mark.parametrize("folder", [ONE_LABEL, THREE_LABELS, CAUSAL])
    def test_pairs_are_computed_once(self, folder: str) -> None:
        model = Reranker(folder)
        pairs = [[QUERY, "a"], ["b", QUERY], [QUERY, "a"], ["a", QUERY], ["b", QUERY], [QUERY, "a"]]
        alone = np.stack([model.predict(pair) for pair in pairs])
        assert same(model.predict(pairs), alone)
        assert same(model.predict(pairs, batch_size=1), alone)
        assert operations(model, pairs) == operations(model, [pairs[0], pairs[1], pairs[3]])
        assert model.predict(pairs).shape == alone.shape

    def test_what_a_query_begins_with_is_computed_once_where_results_allow_it(self) -> None:
        pairs = [[QUERY, f"{i} wax"] for i in range(8)]
        for folder, least, most in ((CAUSAL, 0, 0.5), (ONE_LABEL, 1, 1)):
            model = Reranker(folder)
            alone = sum(operations(model, [pair]) for pair in pairs)
            assert least <= operations(model, pairs) / alone <= most
            assert same(model.predict(pairs), [model.predict(pair) for pair in pairs])

    def test_each_of_them_is_reported(self, ranker: Reranker) -> None:
        pairs = [[QUERY, LONG], [QUERY, "a"], [QUERY, LONG], [QUERY, "a"]]
        with pytest.warns(TruncationWarning, match="2 of 4 pairs"):
            ranker.predict(pairs)
        report = ranker.last_report
        assert report is not None
        assert (report.texts, report.truncated) == (4, [0, 2])
        assert report.tokens == sum(len(row["input_ids"]) for row in ranker.tokenize(pairs))

    def test_texts_are_computed_once(self, model: Embedder) -> None:
        texts = ["a", "another text", "a", "", "another text", ""]
        assert same(model.encode(texts), np.stack([model.encode(text) for text in texts]))
        assert operations(model, texts) == operations(model, ["a", "another text", ""])


class TestAsAnObject:
    def test_what_it_says(self) -> None:
        model = Reranker(ONE_LABEL, num_threads=3, max_length=20)
        assert (model.device, model.dtype, model.num_threads, model.num_labels) == ("cpu", "float32", 3, 1)
        assert model.max_length == model.max_seq_length == 20
        text = repr(model)
        assert text.startswith(f"Reranker({ONE_LABEL!r}, from folder, folder={ONE_LABEL!r}, device='cpu', dtype=")
        assert text.endswith("num_threads=3, num_labels=1, activation_fn=sigmoid, max_seq_length=20)")

    @pytest.mark.parametrize("kind", COPIES)
    def test_copies_give_the_same(self, kind: str) -> None:
        options: dict[str, Any] = {"activation_fn": np.tanh, "prompts": {"q": "Q "}, "default_prompt_name": "q"}
        model = Reranker(ONE_LABEL, num_labels=1, num_threads=2, **options)
        model.max_length = 9
        twin = COPIES[kind](model)
        # Copies share the weights; what was pickled loads its own on first use.
        assert repr(twin) == (f"Reranker({ONE_LABEL!r}, not loaded)" if kind.startswith("pickle") else repr(model))
        assert twin.last_report is None
        assert same(twin.predict(PAIRS[2:3]), model.predict(PAIRS[2:3]))
        assert repr(twin) == repr(model)
        assert twin.max_length == 9

    @pytest.mark.parametrize("attribute", ["num_labels", "max_length", "activation_fn", "prompts", "dtype"])
    def test_whatever_is_asked_first_loads_them(self, attribute: str, ranker: Reranker) -> None:
        assert getattr(pickle.loads(pickle.dumps(ranker)), attribute) == getattr(ranker, attribute)

    def test_a_pickle_holds_arguments_and_no_weights(self, ranker: Reranker) -> None:
        assert len(pickle.dumps(ranker)) < 2_000

    def test_it_can_be_closed(self, scores: np.ndarray) -> None:
        with Reranker(ONE_LABEL) as model:
            assert same(model.predict(PAIRS), scores)
        assert repr(model) == f"Reranker({ONE_LABEL!r}, closed)"
        for call in (model.predict, lambda pairs: model.rank("query", ["document"]), model.tokenize):
            with pytest.raises(VotiveError, match="was closed; load another one"):
                call(PAIRS)

    @pytest.mark.parametrize(("folder", "labels"), [(ONE_LABEL, 3), (THREE_LABELS, 1), (CAUSAL, 2)])
    def test_another_number_of_labels_is_refused(self, folder: str, labels: int) -> None:
        given = 3 if folder == THREE_LABELS else 1
        with pytest.raises(ValueError, match=rf"^num_labels: {labels} were asked for, and the model gives {given}$"):
            Reranker(folder, num_labels=labels)
        assert Reranker(folder, num_labels=given).num_labels == given

    @pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
    @pytest.mark.parametrize("dtype", [pytest.param("int8", marks=INT8), "bfloat16", "float16"])
    def test_dtypes_rank_alike(self, dtype: str) -> None:
        pairs = json.loads((FIXTURES / "pairs.json").read_text(encoding="utf-8"))
        model = Reranker(ONE_LABEL, dtype=dtype, activation_fn="identity")
        assert model.dtype == dtype
        found, expected = model.predict(pairs), Reranker(ONE_LABEL, activation_fn="identity").predict(pairs)
        assert np.corrcoef(found, expected)[0, 1] > 0.99
