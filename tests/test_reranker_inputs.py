"""What may be scored and ranked, and what is refused: by the name of the argument, with its position."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bodies import same
from votive import Reranker, TruncationWarning

FIXTURES = Path(__file__).parent / "fixtures"
ONE_LABEL = str(FIXTURES / "bert_rerank")
PAIRS = [["what is a candle?", "wax with a wick"], ["a", "b"]]
LONG = "one two three " * 40
SURROGATE = "before \ud800 after"


@pytest.fixture(scope="module")
def ranker() -> Reranker:
    """Of one label, takes 64 tokens."""
    return Reranker(ONE_LABEL, num_threads=2)


# Pairs

NO_PAIRS: dict[str, tuple[Any, type[Exception], str]] = {
    "one text": (["a"], ValueError, r"inputs\[2\]: expected a pair of str, found 1 of them"),
    "three texts": (("a", "b", "c"), ValueError, r"inputs\[2\]: expected a pair of str, found 3 of them"),
    "no text": ([], ValueError, r"inputs\[2\]: expected a pair of str, found 0 of them"),
    "None": (None, TypeError, r"inputs\[2\]: expected a pair of str, found NoneType"),
    "str": ("ab", TypeError, r"inputs\[2\]: expected a pair of str, found str"),
    "bytes": (b"ab", TypeError, r"inputs\[2\]: expected a pair of str, found bytes"),
    "dict": ({"a": "b", "c": "d"}, TypeError, r"inputs\[2\]: expected a pair of str, found dict"),
    "set": ({"a", "b"}, TypeError, r"inputs\[2\]: expected a pair of str, found set"),
    "first is None": ([None, "b"], TypeError, r"inputs\[2\]\[0\]: expected a str, found NoneType"),
    "second is None": (["a", None], TypeError, r"inputs\[2\]\[1\]: expected a str, found NoneType"),
    "second is bytes": (["a", b"b"], TypeError, r"inputs\[2\]\[1\]: expected a str, found bytes"),
    "second is NaN": (["a", float("nan")], TypeError, r"inputs\[2\]\[1\]: expected a str, found float"),
    "second is pandas' NA": (["a", pd.NA], TypeError, r"inputs\[2\]\[1\]: expected a str, found NAType"),
    "second is a list": (["a", ["b"]], TypeError, r"inputs\[2\]\[1\]: expected a str, found list"),
    "first has a surrogate": ([SURROGATE, "b"], ValueError, r"inputs\[2\]\[0\]: holds a lone surrogate"),
    "second has a surrogate": (["a", SURROGATE], ValueError, r"inputs\[2\]\[1\]: holds a lone surrogate"),
}


@pytest.mark.parametrize(("bad", "error", "message"), NO_PAIRS.values(), ids=NO_PAIRS)
def test_what_is_no_pair_is_named_with_its_position(
    bad: Any, error: type[Exception], message: str, ranker: Reranker
) -> None:
    expected = ranker.predict(PAIRS)
    report = ranker.last_report
    pairs = [*PAIRS, bad, ["a", "b"]]
    for inputs in (pairs, tuple(pairs), iter(pairs)):
        with pytest.raises(error, match=f"^{message}"):
            ranker.predict(inputs)
    with pytest.raises(error, match=f"^{message}"):
        ranker.tokenize(pairs)
    assert ranker.last_report is report
    assert same(ranker.predict(PAIRS), expected)


@pytest.mark.parametrize("bad", [["a"], [None, "b"], ["a", SURROGATE]])
def test_positions_in_a_stream_are_those_in_the_whole(bad: Any, ranker: Reranker) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^inputs\[5000\]"):
        ranker.predict(itertools.chain(itertools.repeat(["a", "b"], 5_000), [bad]))


NO_INPUTS: dict[str, tuple[Any, str]] = {
    "None": (None, "TypeError: inputs: expected a pair of str or an iterable of pairs, found NoneType"),
    "int": (3, "TypeError: inputs: expected a pair of str or an iterable of pairs, found int"),
    "str": ("ab", "TypeError: inputs: expected a pair of str or an iterable of pairs, found str"),
    "bytes": (b"ab", "TypeError: inputs: expected a pair of str or an iterable of pairs, found bytes"),
    "dict": ({"a": "b"}, "TypeError: inputs: expected a pair of str or an iterable of pairs, found dict"),
    "set": ({("a", "b")}, "TypeError: inputs: expected a pair of str or an iterable of pairs, found set"),
    "object": (SimpleNamespace(), "TypeError: inputs: expected a pair of str or an iterable of pairs, found Simple"),
    "one text": (["a"], "ValueError: inputs[0]: expected a pair of str, found 1 of them"),
    "three texts": (["a", "b", "c"], "ValueError: inputs[0]: expected a pair of str, found 3 of them"),
    "numbers": ([1, 2], "TypeError: inputs[0][0]: expected a str, found int"),
    "stream of texts": (iter(["a", "b"]), "TypeError: inputs[0]: expected a pair of str, found str"),
    "array of three columns": (np.array([["a", "b", "c"]]), "ValueError: inputs[0]: expected a pair of str, found 3"),
    "array of numbers": (np.zeros((3, 2)), "TypeError: inputs[0][0]: expected a str, found float"),
    "array of bytes": (np.array([[b"a", b"b"]]), "TypeError: inputs[0][0]: expected a str, found bytes"),
    "array in an array": (np.array([[["a", "b"]]]), "ValueError: inputs[0]: expected a pair of str, found 1 of them"),
    "table of pandas": (pd.DataFrame({"q": ["a"], "d": ["b"]}), "TypeError: inputs"),
}


@pytest.mark.parametrize(("bad", "message"), NO_INPUTS.values(), ids=NO_INPUTS)
def test_what_is_no_collection_of_pairs_is_refused(bad: Any, message: str, ranker: Reranker) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        ranker.predict(bad)
    assert f"{caught.type.__name__}: {caught.value}".startswith(message)


def test_empty_strings_are_texts(ranker: Reranker) -> None:
    pairs = [["", ""], ["a", ""], ["", "a"], [" ", "\n"], ["\0", "\0"]]
    found = ranker.predict(pairs)
    assert np.isfinite(found).all()
    assert same(found, [ranker.predict(pair) for pair in pairs])
    assert same(found[[0, 0]], found[[3, 4]])
    assert ranker.tokenize(["", ""])["tokens"] == ["[CLS]", "[SEP]", "[SEP]"]
    assert len(ranker.rank("", ["", "a"])) == 2


@pytest.mark.parametrize("folder", [ONE_LABEL, str(FIXTURES / "qwen3_rerank")])
def test_text_never_becomes_a_special_token(folder: str) -> None:
    model = Reranker(folder)
    plain = model.tokenize(["x", "y"])["tokens"]
    loud = model.tokenize(["x<|im_end|> <|endoftext|>", "y<|im_end|><|im_start|>"])["tokens"]
    for token in ("<|im_end|>", "<|im_start|>", "<|endoftext|>"):
        assert loud.count(token) == plain.count(token)


class TestTruncation:
    def test_each_row_that_was_cut_is_reported(self, ranker: Reranker) -> None:
        pairs = [["a", LONG], ["a", "b"], [LONG, "b"], [LONG, LONG], ["", ""]]
        for inputs in (pairs, iter(pairs), tuple(pairs)):
            with pytest.warns(TruncationWarning, match="^3 of 5 pairs were longer than 64 tokens and were cut"):
                ranker.predict(inputs)
            report = ranker.last_report
            assert report is not None
            assert (report.texts, report.truncated) == (5, [0, 2, 3])
            assert report.tokens == sum(len(row["input_ids"]) for row in ranker.tokenize(pairs))
        with pytest.warns(TruncationWarning, match="1 of 2 pairs"):
            ranker.rank("a", ["b", LONG])

    def test_the_warning_points_here(self, ranker: Reranker) -> None:
        for call in (lambda: ranker.predict(["a", LONG]), lambda: ranker.rank("a", [LONG])):
            with pytest.warns(TruncationWarning) as caught:
                call()
            assert [warning.filename for warning in caught] == [__file__]

    def test_it_names_the_rows_of_a_stream(self, ranker: Reranker) -> None:
        rows = [0, 4095, 4096, 4500]
        with pytest.warns(TruncationWarning):
            ranker.predict(["a", LONG if row in rows else "b"] for row in range(4_600))
        assert ranker.last_report is not None
        assert ranker.last_report.truncated == rows

    def test_nothing_is_cut_of_what_fits(self, ranker: Reranker) -> None:
        text = "one"
        while len(ranker.tokenize([text, "a b c"])["input_ids"]) < 64:
            text += " a"
        ranker.predict([[text, "a b c"]])
        assert ranker.last_report is not None
        assert (ranker.last_report.tokens, ranker.last_report.truncated) == (64, [])

    def test_a_document_of_megabytes(self, ranker: Reranker) -> None:
        document = "one two three " * 360_000
        with pytest.warns(TruncationWarning, match="1 of 2 pairs"):
            scores = ranker.predict([["a", document], ["a", "b"]])
        with pytest.warns(TruncationWarning):
            assert scores[0] == ranker.predict(["a", document[:2_000]])
        assert scores[1] == ranker.predict(["a", "b"])

    def test_the_longer_text_is_cut_first(self) -> None:
        model = Reranker(ONE_LABEL, max_length=12)
        short = model.tokenize(["a b", "c"])["tokens"]
        assert short == ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"]
        assert model.tokenize(["a b", "c " * 40])["tokens"] == [*short[:4], *["c"] * 7, "[SEP]"]
        assert model.tokenize(["c " * 40, "a b"])["tokens"] == ["[CLS]", *["c"] * 7, "[SEP]", "a", "b", "[SEP]"]
        both = model.tokenize(["a " * 40, "b " * 40])["tokens"]
        assert (both.count("a") + both.count("b"), abs(both.count("a") - both.count("b"))) == (9, 1)

    def test_the_greatest_length_may_be_set(self) -> None:
        model = Reranker(ONE_LABEL)
        model.max_length = 9
        assert model.max_length == model.max_seq_length == 9
        with pytest.warns(TruncationWarning, match="longer than 9 tokens"):
            score = model.predict(["a", LONG])
        with pytest.warns(TruncationWarning):
            assert score == Reranker(ONE_LABEL, max_length=9).predict(["a", LONG])

    @pytest.mark.parametrize(
        ("length", "message"),
        [
            (0, "expected 1 or more, or None, found 0"),
            (3, "3 leaves no room for text beside the 3 special tokens"),
            (65, "65 is more than the 64 positions that the model has"),
        ],
    )
    def test_out_of_range(self, length: int, message: str, ranker: Reranker) -> None:
        with pytest.raises(ValueError, match=f"^max_length: {message}"):
            Reranker(ONE_LABEL, max_length=length)
        with pytest.raises(ValueError, match=f"^max_seq_length: {message}"):
            ranker.max_length = length
        assert ranker.max_length == 64


# Arguments

REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size: expected 1 or more, or None, found 0"),
    "batch_size str": ({"batch_size": "32"}, TypeError, "batch_size: expected an int or None, found str"),
    "prompt": ({"prompt": 3}, TypeError, "prompt: expected a str, found int"),
    "prompt with a surrogate": ({"prompt": SURROGATE}, ValueError, "prompt: holds a lone surrogate"),
    "device": ({"device": "cuda"}, ValueError, "device: .*'cpu'; load another Reranker for 'cuda'"),
    "pool": ({"pool": {}}, ValueError, "pool: not supported; "),
    "chunk_size": ({"chunk_size": 3}, ValueError, "chunk_size: not supported; .*batch_size"),
    "misspelled": ({"batchsize": 3}, TypeError, ".*unexpected keyword argument 'batchsize'"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_that_make_no_sense(
    arguments: dict[str, Any], error: type[Exception], message: str, ranker: Reranker
) -> None:
    calls: list[Callable[..., Any]] = [
        lambda **options: ranker.predict(PAIRS, **options),
        lambda **options: ranker.rank("a", ["b"], **options),
    ]
    for call in calls:
        with pytest.raises(error, match=f"^{message}"):
            call(**arguments)


@pytest.mark.parametrize("arguments", [{"convert_to_tensor": True}, {"convert_to_numpy": False}])
def test_only_arrays_are_given(arguments: dict[str, Any], ranker: Reranker) -> None:
    with pytest.raises(ValueError, match=r"torch\.from_numpy\(model\.predict"):
        ranker.predict(PAIRS, **arguments)


NOT_RANKED: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "no query": (None, ["a"], {}, TypeError, "query: expected a str, found NoneType"),
    "several queries": (["a"], ["a"], {}, TypeError, "query: expected a str, found list"),
    "one document": (
        "a",
        "document",
        {},
        TypeError,
        "documents: expected a list or another iterable of str, found one",
    ),
    "no documents": ("a", None, {}, TypeError, "documents: expected .*, found NoneType"),
    "set": ("a", {"b"}, {}, TypeError, "documents: expected .*, found set"),
    "dict": ("a", {"b": "c"}, {}, TypeError, "documents: expected .*, found dict"),
    "None among them": ("a", ["b", None], {}, TypeError, r"documents\[1\]: expected a str, found NoneType"),
    "NaN among them": ("a", pd.Series(["b", None]), {}, TypeError, r"documents\[1\]: expected a str, found"),
    "query with a surrogate": (SURROGATE, ["a"], {}, ValueError, "query: holds a lone surrogate"),
    "one with a surrogate": ("a", ["b", SURROGATE], {}, ValueError, r"documents\[1\]: holds a lone surrogate"),
    "pairs": ("a", [["b", "c"]], {}, TypeError, r"documents\[0\]: expected a str, found list"),
    "table": ("a", np.array([["b", "c"]]), {}, TypeError, "documents: expected one column of str"),
    "top_k": ("a", ["b"], {"top_k": 0}, ValueError, "top_k: expected 1 or more, or None, found 0"),
    "half a document": ("a", ["b"], {"top_k": 0.5}, TypeError, "top_k: expected an int or None, found float"),
    "top_k of none": ("a", [], {"top_k": 0}, ValueError, "top_k: expected 1 or more, or None, found 0"),
}


@pytest.mark.parametrize(("query", "documents", "options", "error", "message"), NOT_RANKED.values(), ids=NOT_RANKED)
def test_what_cannot_be_ranked(
    query: Any, documents: Any, options: dict[str, Any], error: type[Exception], message: str, ranker: Reranker
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        ranker.rank(query, documents, **options)
