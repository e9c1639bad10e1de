"""What may be scored and which models may score, and what is refused: by the name of the argument or of the file."""

import copy
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from votive import Embedder, ModelError, Reranker, TruncationWarning

FIXTURES = Path(__file__).parent / "fixtures"
ONE_LABEL, THREE_LABELS = str(FIXTURES / "bert_rerank"), str(FIXTURES / "bert_labels")
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
    assert np.array_equal(ranker.predict(PAIRS), expected)


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
    assert np.array_equal(found, [ranker.predict(pair) for pair in pairs])
    assert found[0] == found[3] == found[4]
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
        with pytest.warns(TruncationWarning) as caught:
            ranker.predict(["a", LONG])
            ranker.rank("a", [LONG])
        assert [warning.filename for warning in caught] == [__file__] * 2

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
    "prompt with a surrogate": ({"prompt": SURROGATE}, ValueError, ".*surrogates not allowed"),
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


# Models


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of a cross-encoder."""
    return Path(shutil.copytree(ONE_LABEL, tmp_path / "own"))


def configure(folder: Path, **changes: Any) -> None:
    """Writes over what config.json says; None removes a key."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    left = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(left), encoding="utf-8")


def test_an_embedding_model_is_no_reranker() -> None:
    with pytest.raises(ModelError, match=r"^config\.json: .*no classification head.*classifier\.weight.*use Embedder$"):
        Reranker(FIXTURES / "bert_plain")
    for fixture in ("bert_modules", "bert_40", "qwen3_embedding"):
        with pytest.raises(ModelError, match=r"^modules\.json: describes an embedding model.*; use Embedder$"):
            Reranker(FIXTURES / fixture)


def test_a_reranker_is_no_embedding_model(own: Path) -> None:
    with pytest.raises(
        ModelError, match=r"^config\.json: .*BertForSequenceClassification is a cross-.*; use Reranker$"
    ):
        Embedder(own)
    (own / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}])
    )
    (own / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder"}))
    with pytest.raises(ModelError, match=r"CrossEncoder.*use Reranker|use Reranker"):
        Embedder(own)


def test_an_architecture_that_is_not_supported_is_named_with_those_that_are(own: Path) -> None:
    configure(own, model_type="t5", architectures=["T5ForSequenceClassification"])
    with pytest.raises(
        ModelError, match=r'^config\.json: model_type: "t5" is not supported; supported: bert, '
    ) as caught:
        Reranker(own)
    for family in ("roberta", "xlm-roberta", "distilbert", "electra", "mpnet", "modernbert", "qwen2", "qwen3"):
        assert family in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "no", "1": "yes"}}, r'model\.safetensors: tensor "classifier\.weight" has shape \[1, 60\]'),
        ({"id2label": None, "num_labels": 3}, r'model\.safetensors: tensor "classifier\.weight" .*needs \[3, 60\]'),
        ({"id2label": {}}, r"config\.json: id2label: names no label"),
        ({"id2label": ["no"]}, r"config\.json: id2label: expected an object, found a list"),
        ({"id2label": None, "num_labels": 0}, r"config\.json: num_labels: expected"),
        ({"id2label": None, "num_labels": 2**40}, r"config\.json: num_labels: expected"),
        (
            {"sentence_transformers": {"activation_fn": 3}},
            r"config\.json: sentence_transformers\.activation_fn: expected",
        ),
        ({"hidden_size": 55}, r"model\.safetensors: tensor .* has shape"),
        ({"model_type": None}, r"config\.json: model_type: "),
    ],
)
def test_a_config_that_contradicts_the_weights(changes: dict[str, Any], message: str, own: Path) -> None:
    configure(own, **changes)
    with pytest.raises(ModelError, match=f"^{message}"):
        Reranker(own)


def test_an_activation_that_is_not_supported_may_be_replaced(own: Path) -> None:
    configure(own, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Mish"})
    with pytest.raises(
        ModelError, match=r"^.*own: activation_fn: 'torch.*Mish' is not .*; give one as activation_fn=$"
    ):
        Reranker(own)
    found = Reranker(own, activation_fn="tanh").predict(PAIRS)
    assert np.array_equal(found, Reranker(ONE_LABEL, activation_fn="tanh").predict(PAIRS))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_files_that_are_damaged_or_missing_are_named(name: str, own: Path) -> None:
    content = (own / name).read_bytes()
    for length in (0, 1, 9, len(content) // 2, len(content.rstrip()) - 1):
        (own / name).write_bytes(content[:length])
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            Reranker(own)
    (own / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        Reranker(own)


def test_what_fails_to_load_is_not_loaded(own: Path) -> None:
    model = Reranker(own)
    expected = model.predict(PAIRS)
    twin = copy.copy(model)
    weights = (own / "model.safetensors").read_bytes()
    (own / "model.safetensors").write_bytes(weights[:-4])
    for use in (lambda: twin.predict(PAIRS), lambda: twin.num_labels, lambda: twin.rank("a", ["b"])):
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            use()
        assert repr(twin) == f"Reranker({str(own)!r}, not loaded)"
    # On a copy: what is loaded may be mapped.
    (own / "model.safetensors").unlink()
    (own / "model.safetensors").write_bytes(weights)
    assert np.array_equal(twin.predict(PAIRS), expected)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "num_labels": ({"num_labels": 0}, ValueError, "num_labels: expected 1 or more, or None, found 0"),
    "num_labels True": ({"num_labels": True}, TypeError, "num_labels: expected an int or None, found bool"),
    "max_length": ({"max_length": "9"}, TypeError, "max_length: expected an int or None, found str"),
    "dtype": ({"dtype": "float8"}, ValueError, 'dtype: "float8" is not a type; accepted: auto'),
    "prompts": ({"prompts": ["a"]}, TypeError, "prompts: expected dict or None, found list"),
    "num_threads": ({"num_threads": 0}, ValueError, "num_threads: expected 1 or more, or None, found 0"),
    "missing folder": ({"model_name_or_path": "/no/such"}, FileNotFoundError, ".*/no/such.*does not exist"),
    "of the Embedder": ({"truncate_dim": 3}, TypeError, ".*unexpected keyword argument 'truncate_dim'"),
}


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_options_that_are_not_accepted(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        Reranker(**{"model_name_or_path": ONE_LABEL} | options)
