"""What a call says of itself, and the limit on tokens."""

import time
import warnings
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
from votive import Embedder, TruncationWarning

SHORT = "a short text"
LONG = "one two three " * 40


@pytest.fixture
def own(folder: str) -> Embedder:
    """A model that the test may change."""
    return Embedder(folder)


def texts_of(model: Embedder, texts: Any, **options: Any) -> list[int]:
    """The truncated rows that a call reports."""
    with pytest.warns(TruncationWarning):
        model.encode(texts, **options)
    assert model.last_report is not None
    return model.last_report.truncated


class TestLastReport:
    def test_there_is_none_before_the_first_call(self, own: Embedder) -> None:
        assert own.last_report is None
        own.tokenize([SHORT])
        assert own.last_report is None

    def test_it_counts(self, own: Embedder) -> None:
        texts = [SHORT, "", "another"]
        began = time.monotonic()
        own.encode(texts)
        seconds = time.monotonic() - began
        report = own.last_report
        assert report is not None
        assert report.texts == 3
        assert report.tokens == sum(len(row["input_ids"]) for row in own.tokenize(texts))
        assert report.truncated == []
        assert 0 < report.seconds <= seconds
        assert report.texts_per_second == pytest.approx(3 / report.seconds)
        assert report.tokens_per_second == pytest.approx(report.tokens / report.seconds)
        assert repr(report).startswith(f"Report(texts=3, tokens={report.tokens}, truncated=0 rows, seconds=")

    def test_the_prompt_counts(self, own: Embedder) -> None:
        own.encode([SHORT], prompt_name="query")
        report = own.last_report
        assert report is not None
        assert report.tokens == len(own.tokenize(f"query: {SHORT}")["input_ids"])

    def test_no_texts(self, own: Embedder) -> None:
        own.encode([])
        report = own.last_report
        assert report is not None
        assert (report.texts, report.tokens, report.truncated) == (0, 0, [])
        assert report.texts_per_second == 0

    def test_it_names_the_rows_that_were_cut(self, own: Embedder) -> None:
        texts = [LONG, SHORT, LONG, SHORT, SHORT, LONG]
        assert texts_of(own, texts) == [0, 2, 5]
        assert texts_of(own, texts, batch_size=1) == [0, 2, 5]
        assert texts_of(own, texts, output_value="token_embeddings") == [0, 2, 5]
        assert texts_of(own, texts, out=np.empty((6, 48), np.float32)) == [0, 2, 5]
        assert texts_of(own, LONG) == [0]

    def test_it_names_the_rows_of_a_stream(self, own: Embedder) -> None:
        rows = [0, 4095, 4096, 9001]

        def texts() -> Iterator[str]:
            for row in range(9_500):
                yield LONG if row in rows else SHORT

        assert texts_of(own, texts()) == rows
        report = own.last_report
        assert report is not None
        assert report.texts == 9_500
        assert report.tokens == 48 * len(rows) + (9_500 - len(rows)) * len(own.tokenize(SHORT)["input_ids"])

    def test_it_is_that_of_the_last_call_that_succeeded(self, own: Embedder) -> None:
        own.encode([SHORT])
        report = own.last_report
        with pytest.raises(TypeError):
            own.encode([SHORT, None])
        assert own.last_report is report


class TestTruncationWarning:
    @pytest.mark.parametrize(
        "texts",
        [LONG, [LONG] * 3, [LONG] * 5_000, iter([LONG] * 3), chain(repeat(LONG, 5_000), [SHORT])],
        ids=["one", "list", "long list", "stream", "long stream"],
    )
    def test_there_is_one_and_it_points_here(self, texts: Any, model: Embedder) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.encode(texts)
        assert [(warning.category, warning.filename) for warning in caught] == [(TruncationWarning, __file__)]

    def test_it_points_here_from_everywhere(self, model: Embedder) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.encode_query(LONG)
            model.encode_document([LONG])
            model.encode([LONG], output_value=None)
        assert [warning.filename for warning in caught] == [__file__] * 3

    def test_it_says_how_many_and_how_to_silence_it(self, model: Embedder) -> None:
        with pytest.warns(TruncationWarning) as caught:
            model.encode([SHORT, LONG, LONG])
        message = str(caught[0].message)
        assert message.startswith("2 of 3 texts were longer than 48 tokens and were cut")
        assert "warnings.simplefilter('ignore', votive.TruncationWarning)" in message
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            model.encode([LONG])

    def test_there_is_none_where_nothing_was_cut(self, model: Embedder) -> None:
        text = "one"
        while len(model.tokenize(text)["input_ids"]) < 48:
            text += " a"
        # As many tokens as fit; pytest makes warnings errors.
        model.encode([text, SHORT])
        with pytest.warns(TruncationWarning, match="1 of 2 texts"):
            model.encode([f"{text} a", SHORT])


class TestMaxSeqLength:
    def test_it_cuts(self, own: Embedder) -> None:
        assert own.max_seq_length == own.get_max_seq_length() == 48
        for length in (3, 20, 64, np.int64(9)):
            own.max_seq_length = length
            assert own.max_seq_length == length
            assert len(own.tokenize(LONG)["input_ids"]) == length
            with pytest.warns(TruncationWarning, match=f"longer than {length} tokens"):
                rows = own.encode([LONG], output_value="token_embeddings")
            assert rows[0].shape == (length, 48)

    def test_it_changes_vectors_as_the_constructors_does(self, folder: str, own: Embedder) -> None:
        own.max_seq_length = 9
        with pytest.warns(TruncationWarning):
            vector = own.encode(LONG)
        with pytest.warns(TruncationWarning):
            assert np.array_equal(vector, Embedder(folder, max_seq_length=9).encode(LONG))
        own.max_seq_length = 48
        with pytest.warns(TruncationWarning):
            assert not np.array_equal(vector, own.encode(LONG))

    @pytest.mark.parametrize(
        ("length", "message"),
        [
            (-1, "expected 1 or more"),
            (0, "expected 1 or more"),
            (2, "2 leaves no room for text beside the 2 special tokens"),
            (65, "65 is more than the 64 positions that the model has"),
            (2**70, "expected 1 or more"),
        ],
    )
    def test_out_of_range(self, length: int, message: str, folder: str, own: Embedder) -> None:
        with pytest.raises(ValueError, match=f"^max_seq_length: {message}"):
            own.max_seq_length = length
        assert own.max_seq_length == 48
        with pytest.raises(ValueError, match=f"^max_seq_length: {message}"):
            Embedder(folder, max_seq_length=length)

    @pytest.mark.parametrize("length", ["9", 9.0])
    def test_no_number(self, length: Any, own: Embedder) -> None:
        with pytest.raises(TypeError):
            own.max_seq_length = length
        assert own.max_seq_length == 48


class TestTokenize:
    def test_one_and_many(self, model: Embedder) -> None:
        one = model.tokenize(SHORT)
        assert list(one) == ["input_ids", "tokens"]
        assert (one["tokens"][0], one["tokens"][-1]) == ("[CLS]", "[SEP]")
        assert len(one["tokens"]) == len(one["input_ids"])
        assert model.tokenize([SHORT, SHORT]) == [one, one]

    def test_it_is_cut_without_a_warning(self, model: Embedder) -> None:
        assert len(model.tokenize(LONG)["input_ids"]) == 48

    def test_no_prompt_is_put_before_it(self, folder: str, model: Embedder) -> None:
        assert Embedder(folder, default_prompt_name="query").tokenize(SHORT) == model.tokenize(SHORT)
