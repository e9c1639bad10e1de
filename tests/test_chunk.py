"""`votive.chunk`: budget, borders, overlap, places, and that nothing is lost."""

import dataclasses
import json
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive
from hypothesis import given, settings
from hypothesis import strategies as st
from votive import Chunk, Embedder, Reranker, TruncationWarning

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))

# Word pieces, byte pairs, and sentence pieces, whose first piece has a sign that others lack.
TOKENIZERS = ("bert_modules", "roberta", "modernbert", "xlm_roberta", "mpnet", "deberta_v3", "qwen3_embedding")

# More than the tokens of any one character with these.
ENOUGH = 30

PAGE = """A heading

The first sentence of a paragraph. The second one is a little longer than that.
A line of its own: one, two, three.

日本語の文です。これも文です。 Mixed 👩‍👩‍👧 with é and e\u0301, ﬁne.
"""


@pytest.fixture(scope="module", params=TOKENIZERS)
def any_model(request: pytest.FixtureRequest) -> Embedder:
    return Embedder(FIXTURES / request.param)


def token_count(model: Embedder, text: str) -> int:
    """Tokens of a text, without the special ones that every text gets."""
    return len(model.tokenize(text)["input_ids"]) - len(model.tokenize("")["input_ids"])


def assert_holds(chunks: list[Chunk], texts: list[str], model: Any, max_tokens: int, overlap: int = 0) -> None:
    """All that is promised of chunks."""
    covered = [0] * len(texts)
    for before, chunk in zip([None, *chunks], chunks, strict=False):
        text = texts[chunk.document]
        assert text[chunk.start : chunk.end] == chunk.text == chunk.text.strip("\t\n\v\f\r \x85\xa0\u2028\u2029\u3000")
        assert chunk.text
        assert chunk.tokens == token_count(model, chunk.text) <= max_tokens
        gap = text[covered[chunk.document] : chunk.start]
        assert gap.isspace() or not gap, "text between chunks"
        if before is not None and before.document == chunk.document:
            assert before.start < chunk.start
            assert before.end < chunk.end
            again = text[chunk.start : before.end]
            assert not again or token_count(model, again) <= overlap
        else:
            assert before is None or before.document < chunk.document
        covered[chunk.document] = chunk.end
    for text, end in zip(texts, covered, strict=True):
        assert text[end:].isspace() or not text[end:], "text after the last chunk"


class TestPromises:
    @pytest.mark.parametrize("overlap", [0, 7])
    @pytest.mark.parametrize("max_tokens", [ENOUGH, 40])
    def test_of_all_texts(self, any_model: Embedder, max_tokens: int, overlap: int) -> None:
        texts = [*TEXTS, PAGE, PAGE * 20, "x" * 500, "日本" * 200, "👩‍👩‍👧" * 40, "é " * 300]
        chunks = votive.chunk(texts, any_model, max_tokens, overlap)
        assert_holds(chunks, texts, any_model, max_tokens, overlap)
        assert votive.chunk(texts, any_model, max_tokens, overlap) == chunks

    @settings(deadline=None, max_examples=60)
    @given(
        parts=st.lists(
            st.one_of(
                st.sampled_from(
                    ["word ", "One. ", "\n\n", "\n", "漢字", "。", "👩‍👩‍👧", "🇩🇪", "e\u0301", "don't ", "…", "\u200b"]
                ),
                st.text(max_size=12),
            ),
            max_size=80,
        ),
        overlap=st.integers(0, 20),
        name=st.sampled_from(TOKENIZERS),
    )
    def test_of_any_text(self, parts: list[str], overlap: int, name: str) -> None:
        model = MODELS.setdefault(name, Embedder(FIXTURES / name))
        text = "".join(parts)
        assert_holds(votive.chunk(text, model, ENOUGH, overlap), [text], model, ENOUGH, overlap)

    def test_encoding_a_chunk_cuts_nothing(self, any_model: Embedder) -> None:
        # With no `max_tokens`: pytest makes warnings errors.
        chunks = votive.chunk([PAGE * 9, *TEXTS], any_model)
        reads_all = any_model._arguments["model_name_or_path"].endswith("qwen3_embedding")
        assert (sum(chunk.document == 0 for chunk in chunks) == 1) == reads_all
        any_model.encode_document([chunk.text for chunk in chunks])

    def test_a_prompt_is_left_room_for(self, folder: str) -> None:
        model = Embedder(folder, prompts={"document": "a prompt of some tokens: ", "query": ""})
        chunks = votive.chunk(PAGE * 3, model)
        model.encode_document([chunk.text for chunk in chunks])
        del model.prompts["document"]
        assert max(chunk.tokens for chunk in chunks) < max(chunk.tokens for chunk in votive.chunk(PAGE * 3, model))
        model.prompts["document"] = "prompt " * 60
        with pytest.raises(ValueError, match=r"^prompt: the prompt and special tokens fill all 48 tokens"):
            votive.chunk(PAGE, model)


MODELS: dict[str, Embedder] = {}


class TestBorders:
    def texts(self, text: str, model: Embedder, max_tokens: int, overlap: int = 0) -> list[str]:
        return [chunk.text for chunk in votive.chunk(text, model, max_tokens, overlap)]

    def test_paragraphs_then_lines_then_sentences_then_words(self, model: Embedder) -> None:
        one = "the dog and the cat"
        size = token_count(model, one)
        paragraphs = f"{one}. {one}.\n{one}\n\n{one}"
        assert self.texts(paragraphs, model, 4 * size) == [f"{one}. {one}.\n{one}", one]
        assert self.texts(paragraphs, model, 2 * size + 2) == [f"{one}. {one}.", f"{one}\n\n{one}"]
        assert self.texts(paragraphs, model, size + 1) == [f"{one}.", f"{one}.", one, one]
        words = self.texts(one, model, size - 1)
        assert " ".join(words) == one
        assert len(words) == 2

    def test_white_space_around_chunks_is_in_none(self, model: Embedder) -> None:
        (chunk,) = votive.chunk(" \n\u3000a dog \t\n", model)
        assert chunk == Chunk("a dog", 0, 3, 8, token_count(model, "a dog"))
        assert votive.chunk(["", " \n\t", "\u3000"], model) == []

    def test_overlap_begins_with_sentences(self, model: Embedder) -> None:
        sentence = "the dog and the cat."
        size = token_count(model, sentence)
        text = " ".join([sentence] * 5)
        chunks = self.texts(text, model, 3 * size, size)
        assert chunks == [" ".join([sentence] * 3)] * 2
        (first, second) = votive.chunk(text, model, 3 * size, size)
        assert text[second.start : first.end] == sentence

    def test_places_are_characters(self, model: Embedder) -> None:
        texts = ["👩‍👩‍👧 é 日本 " * 30, "plain ascii text of words " * 9]
        for chunk in votive.chunk(texts, model, ENOUGH, 5):
            assert texts[chunk.document][chunk.start : chunk.end] == chunk.text


class TestInputs:
    @pytest.mark.parametrize(
        "column",
        [list, tuple, iter, np.array, lambda texts: (text for text in texts)],
        ids=["list", "tuple", "iterator", "array", "generator"],
    )
    def test_columns(self, column: Any, model: Embedder) -> None:
        texts = ["one two three", "", "four " * 60]
        chunks = votive.chunk(column(texts), model, 20)
        assert chunks == votive.chunk(texts, model, 20)
        assert {chunk.document for chunk in chunks} == {0, 2}

    def test_long_streams_count_on(self, model: Embedder) -> None:
        def stream() -> Iterator[str]:
            for number in range(5_000):
                yield f"text {number}"

        chunks = votive.chunk(stream(), model)
        assert [chunk.document for chunk in chunks] == list(range(5_000))
        assert chunks[4_999].text == "text 4999"

    def test_no_texts(self, model: Embedder) -> None:
        assert votive.chunk([], model) == votive.chunk(iter(()), model) == []

    def test_a_reranker_counts_too(self) -> None:
        ranker = Reranker(FIXTURES / "bert_rerank")
        chunks = votive.chunk(PAGE, ranker, 20, 5)
        assert "".join(chunk.text[:1] for chunk in chunks)
        assert all(0 < chunk.tokens <= 20 for chunk in chunks)
        with pytest.raises(ValueError, match=r"^max_tokens: expected an int, found None; a reranker reads the query"):
            votive.chunk(PAGE, ranker)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"texts": 3}, TypeError, "texts: expected a str, a list or another column"),
            ({"texts": ["a", 3]}, TypeError, r"texts\[1\]: expected a str, found int"),
            ({"texts": iter(["a", None])}, TypeError, r"texts\[1\]: expected a str, found NoneType"),
            ({"texts": ["a", "\ud800"]}, ValueError, r"texts\[1\]: holds a lone surrogate"),
            ({"model": "a name"}, TypeError, "model: expected an Embedder or a Reranker, found str"),
            ({"max_tokens": 0}, ValueError, "max_tokens: expected 1 or more, or None, found 0"),
            ({"max_tokens": 2.5}, TypeError, "max_tokens: expected an int or None, found float"),
            ({"overlap": -1}, ValueError, "overlap: expected 0 or more"),
            ({"overlap": None}, TypeError, "overlap: expected an int, found NoneType"),
            ({"overlap": "3"}, TypeError, "overlap: expected an int"),
            (
                {"max_tokens": 9, "overlap": 9},
                ValueError,
                "overlap: expected less than max_tokens, which is 9, found 9",
            ),
            ({"overlap": 400}, ValueError, "overlap: expected less than max_tokens, which is "),
            ({"texts": "ﷺ", "max_tokens": 1}, ValueError, "max_tokens: 1 is less than the tokens of the character"),
        ],
    )
    def test_mistakes(self, change: dict[str, Any], error: type[Exception], message: str) -> None:
        arguments: dict[str, Any] = {"texts": PAGE, "model": MISTAKEN, "max_tokens": None, "overlap": 0} | change
        with pytest.raises(error, match=f"^{message}"):
            votive.chunk(**arguments)


MISTAKEN = Embedder(FIXTURES / "xlm_roberta")


class TestChunk:
    CHUNK = Chunk("a text that is rather long, so that a repr would fill the screen", 3, 10, 74, 15)

    def test_it_is_short_to_look_at(self) -> None:
        shown = "Chunk('a text that is rather long, so that a r…', document=3, start=10, end=74, tokens=15)"
        assert repr(self.CHUNK) == shown
        assert repr(dataclasses.replace(self.CHUNK, text="short")).startswith("Chunk('short', document=3")

    def test_it_is_a_value(self) -> None:
        assert pickle.loads(pickle.dumps(self.CHUNK)) == self.CHUNK
        assert len({self.CHUNK, dataclasses.replace(self.CHUNK)}) == 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            self.CHUNK.start = 0  # type: ignore[misc]


class TimeIsUpError(Exception):
    """Raised by a signal handler."""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("texts", [["word " * 200_000], ["some words. " * 2_000] * 100], ids=["one", "many"])
def test_what_a_signal_handler_raises_ends_it(texts: list[str], model: Embedder) -> None:
    def ring(*_: Any) -> None:
        raise TimeIsUpError

    def chunk_for_ever() -> None:
        while True:
            votive.chunk(texts, model, 20)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(TimeIsUpError):
            chunk_for_ever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_long_run_of_anything_is_cut(model: Embedder) -> None:
    for piece in ("x", "\n", " ", "日本", "👩‍👩‍👧", "a. ", "\n\na"):
        text = piece * 3_000
        assert_holds(votive.chunk(text, model, 40, 5), [text], model, 40, 5)


def test_the_warning_of_truncation_names_it(model: Embedder) -> None:
    with pytest.warns(TruncationWarning, match=r"see votive\.chunk;"):
        model.encode("word " * 100)
