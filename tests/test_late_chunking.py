"""`Embedder.encode_chunks` against means of the reference's token embeddings, and against `encode`."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive
from bodies import same
from cases import FIXTURES, cases
from test_fidelity import CASES, EmbedderCase, named
from votive import Chunk, Embedder, ModelError, TruncationWarning

TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-5
TOKENS = [case for case in cases(EmbedderCase) if case.name == "tokens" and case.fixture.startswith("bert")]
TEXT = "the dog and the cat. A candle is wax with a wick.\n\nThe quick brown fox jumps over the dog."


def whole(texts: list[str]) -> list[Chunk]:
    return [Chunk(text, document, 0, len(text), 0) for document, text in enumerate(texts) if text]


def pools_by_mean(folder: Path) -> bool:
    """By the folder's files."""
    if not (folder / "config.json").exists() and (folder / "model.gguf").exists():
        return bool(Embedder(folder).info.pooling == "mean")
    if not (folder / "modules.json").exists():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type", "model2vec") == "model2vec":  # which drops tokens
            return False
        is_decoder = config["architectures"][0].endswith("ForCausalLM")
        return not (is_decoder and config.get("is_causal", True))
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    if any(module["type"].endswith("WordWeights") for module in modules):
        return False
    if modules[0]["type"].endswith("StaticEmbedding"):
        return True
    path = next(module["path"] for module in modules if module["type"].endswith("Pooling"))
    pooling = json.loads((folder / path / "config.json").read_text(encoding="utf-8"))
    if "pooling_mode" in pooling:
        return bool(pooling["pooling_mode"] == "mean")
    modes = [mode for mode, is_on in pooling.items() if mode.startswith("pooling_mode_") and is_on is True]
    return not modes or modes == ["pooling_mode_mean_tokens"]


@pytest.mark.parametrize("case", named([case for case in TOKENS if not case.fixture.startswith("static")]))
def test_means_of_the_references_tokens(case: EmbedderCase, tmp_path: Path) -> None:
    model = case.load(tmp_path)
    expected = case.expected()
    offsets = expected["token_offsets"]
    texts = case.texts
    compared = 0
    for row, text in enumerate(texts):
        states = expected["token_embeddings"][offsets[row] : offsets[row + 1]]
        chunks = votive.chunk(text, model, 4)
        # Word pieces of words are the same in a chunk as in the text.
        if not chunks or sum(chunk.tokens for chunk in chunks) + 2 != len(states):
            continue
        ends = np.cumsum([1, *(chunk.tokens for chunk in chunks)])
        bounds = [0, *ends[1:-1], len(states)]
        means = [states[start:end].mean(axis=0) for start, end in pairwise(bounds)]
        np.testing.assert_allclose(model.encode_chunks(text, chunks, prompt=""), means, atol=TOLERANCE)
        compared += len(chunks) > 1
    assert compared >= 3


# A chunk is what `encode_document` makes of it, which is not what other tasks make of it.
WITH_TASKS = ("router", "jina_v3_published")


@pytest.mark.filterwarnings("ignore:.* was saved from a SparseEncoder:UserWarning")
@pytest.mark.parametrize(
    "case", named([case for case in CASES if "precision" not in case.arguments and case.fixture not in WITH_TASKS])
)
def test_a_chunk_that_is_the_text_is_the_text(case: EmbedderCase, tmp_path: Path) -> None:
    model = case.load(tmp_path)
    room = model.max_seq_length or 10**6
    texts = [text for text in TEXTS if text.strip()]
    if not pools_by_mean(Path(model._model.folder)):
        with pytest.raises(ModelError, match=r"late chunking takes means of tokens, and this model "):
            model.encode_chunks(texts, whole(texts))
        return
    for prompt in ("", "query: ", "of words "):
        fitting = [text for text in texts if len(model.tokenize(prompt + text)["input_ids"]) < min(room, 40)]
        for options in ({}, {"normalize_embeddings": True, "truncate_dim": 5}):
            expected = model.encode(fitting, prompt=prompt, **options)
            found = model.encode_chunks(fitting, whole(fitting), prompt=prompt, **options)
            np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)


def test_models_with_the_mean_are_not_refused() -> None:
    for name in (
        "bert_modules",
        "roberta",
        "mpnet",
        "modernbert",
        "xlm_roberta",
        "distilbert",
        "electra",
        "deberta_v3",
    ):
        model = Embedder(FIXTURES / name)
        rows = model.encode_chunks(TEXT, votive.chunk(TEXT, model, 12))
        assert np.isfinite(rows).all()
        assert np.abs(rows[0] - rows[1]).max() > 0


@pytest.mark.parametrize("name", ["bert_types", "qwen3_embedding"])
def test_other_poolings_are_refused(name: str) -> None:
    model = Embedder(FIXTURES / name)
    with pytest.raises(ModelError, match=r"late chunking takes means of tokens, .* encode the chunks' texts instead"):
        model.encode_chunks(TEXT, whole([TEXT]))


def test_a_chunk_knows_what_is_around_it(model: Embedder) -> None:
    chunks = votive.chunk([TEXT, TEXT.replace("candle", "fox")], model, 12)
    first = next(chunk for chunk in chunks if chunk.document == 0)
    second = next(chunk for chunk in chunks if chunk.document == 1)
    assert first.text == second.text
    rows = model.encode_chunks([TEXT, TEXT.replace("candle", "fox")], [first, second])
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_order_and_company_change_nothing(model: Embedder) -> None:
    texts = [TEXT, "a dog", "", f"  {TEXT} ", "the cat and the dog"]
    chunks = votive.chunk(texts, model, 12, 4)
    rows = model.encode_chunks(texts, chunks)
    assert rows.shape == (len(chunks), 48)
    order = np.random.default_rng(1).permutation(len(chunks))
    assert same(model.encode_chunks(iter(texts), (chunks[place] for place in order), batch_size=1), rows[order])
    for place, chunk in enumerate(chunks):
        assert same(model.encode_chunks(texts, [chunk]), rows[place : place + 1])
    assert same(model.encode_chunks(texts, [chunks[0], chunks[0]]), rows[[0, 0]])


def test_the_documents_prompt_is_put_before(model: Embedder) -> None:
    chunks = votive.chunk(TEXT, model, 12)
    rows = model.encode_chunks(TEXT, chunks)
    assert same(model.encode_chunks(TEXT, chunks, prompt=model.prompts["document"]), rows)
    assert same(model.encode_chunks(TEXT, chunks, prompt_name="document"), rows)
    assert not same(model.encode_chunks(TEXT, chunks, prompt=""), rows)


def test_white_space_and_special_tokens_go_to_the_chunks_at_the_edges(model: Embedder) -> None:
    text = f"\n {TEXT}\n\n"
    chunks = votive.chunk(text, model, 40)
    assert len(chunks) == 1
    np.testing.assert_allclose(model.encode_chunks(text, chunks)[0], model.encode_document(text), atol=1e-6)


def test_nothing_to_encode(model: Embedder) -> None:
    assert model.encode_chunks([], []).shape == (0, 48)
    assert model.encode_chunks(["a", "b"], [], truncate_dim=7).shape == (0, 7)


def test_the_report(folder: str) -> None:
    model = Embedder(folder)
    model.encode_chunks([TEXT, "a", "b"], votive.chunk([TEXT, "a"], model, 12))
    report = model.last_report
    assert report is not None
    assert (report.texts, report.truncated) == (2, [])


def test_text_beyond_what_the_model_reads(model: Embedder) -> None:
    text = " ".join([TEXT] * 4)
    chunks = votive.chunk(text, model, 10)
    with pytest.raises(
        ValueError, match=r"^chunks\[\d+\]: is beyond the 48 tokens that the model reads of texts\[0\]; .*votive.chunk"
    ):
        model.encode_chunks(text, chunks)
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        assert model.encode_chunks(text, chunks[:2]).shape == (2, 48)
    # What the message says to do.
    sections = [section.text for section in votive.chunk(text, model)]
    assert len(model.encode_chunks(sections, votive.chunk(sections, model, 10))) > 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"texts": [3]}, TypeError, r"texts\[0\]: expected a str, found int"),
        ({"texts": 3}, TypeError, "texts: expected a str, a list"),
        ({"texts": ["other"]}, ValueError, r"chunks\[0\]: its text is not at 0:5 of texts\[0\]"),
        ({"chunks": [Chunk("a dog", 1, 0, 5, 2)]}, ValueError, r"chunks\[0\]: is of text 1, and there are 1 texts"),
        ({"chunks": [Chunk("a dog", -1, 0, 5, 2)]}, ValueError, r"chunks\[0\]: is of text -1"),
        ({"chunks": [Chunk("", 0, 1, 1, 0)]}, ValueError, r"chunks\[0\]: its text is not at 1:1"),
        ({"chunks": ["a dog"]}, TypeError, r"chunks\[0\]: expected a votive.Chunk, found str"),
        ({"chunks": "a dog"}, TypeError, "chunks: expected an iterable of votive.Chunk, found str"),
        ({"chunks": 3}, TypeError, "chunks: expected an iterable of votive.Chunk, found int"),
        ({"normalize_embeddings": 3}, TypeError, "normalize_embeddings: expected a bool"),
        ({"truncate_dim": 49}, ValueError, "truncate_dim: expected 1 to 48"),
        ({"batch_size": 0}, ValueError, "batch_size: "),
        ({"priority": 0}, ValueError, "priority: "),
        ({"prompt_name": "none"}, ValueError, "prompt_name: 'none' is not one of"),
    ],
)
def test_mistakes(change: dict[str, Any], error: type[Exception], message: str, model: Embedder) -> None:
    arguments: dict[str, Any] = {"texts": ["a dog"], "chunks": [Chunk("a dog", 0, 0, 5, 2)]} | change
    with pytest.raises(error, match=f"^{message}"):
        model.encode_chunks(**arguments)
