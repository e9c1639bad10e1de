"""KeyBERT's keywords are those of votive's vectors, and of no other model's."""

import sys
from types import ModuleType

import numpy as np
import pytest
from votive import Embedder, Reranker

keybert = pytest.importorskip("keybert")

from keybert import KeyBERT  # noqa: E402
from votive.integrations.keybert import VotiveBackend  # noqa: E402

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default", "ignore::votive.TruncationWarning")

DOCUMENTS = [
    "A ship sails at night, and its crew looks for the lighthouse on the rocks.",
    "Bread rises in the oven while the baker prepares the dough of tomorrow.",
]


@pytest.fixture
def no_sentence_transformers(monkeypatch):
    """As if sentence-transformers were not installed: `import sentence_transformers` fails."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.delitem(sys.modules, "keybert.backend._sentencetransformers", raising=False)


def by_cosine(embedder, document, words, count):
    """The words that are the most like the document, best first, with their cosines."""
    scores = embedder.similarity(embedder.encode([document]), embedder.encode(words))[0]
    return [(words[row], float(scores[row])) for row in np.argsort(-scores, kind="stable")[:count]]


def test_keywords_are_those_of_the_embedder(model, no_sentence_transformers):
    backend = VotiveBackend(model)
    keywords = KeyBERT(model=backend)
    assert keywords.model is backend
    assert backend.embedding_model is model
    words = ["ship", "night", "crew", "lighthouse", "rocks", "sails", "looks"]
    found = keywords.extract_keywords(DOCUMENTS[0], candidates=words, top_n=3)
    expected = by_cosine(model, DOCUMENTS[0], words, 3)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"use_mmr": True, "diversity": 0.7},
        {"use_maxsum": True, "nr_candidates": 6, "top_n": 3},
        {"seed_keywords": ["sea", "boat"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_all_ways_of_choosing(model, options):
    keywords = KeyBERT(model=VotiveBackend(model)).extract_keywords(DOCUMENTS, keyphrase_ngram_range=(1, 2), **options)
    assert [len(found) for found in keywords] == [options.get("top_n", 5)] * 2
    for document, found in zip(DOCUMENTS, keywords, strict=True):
        words = document.lower().replace(",", "").replace(".", "").split()
        assert all(set(phrase.split()) <= set(words) for phrase, _ in found)


def test_embeddings_are_those_of_the_embedder(model):
    documents, words = KeyBERT(model=VotiveBackend(model)).extract_embeddings(DOCUMENTS)
    np.testing.assert_array_equal(documents, model.encode(DOCUMENTS))
    assert words.shape[1] == 48


def test_arguments_of_encode(model, capsys):
    backend = VotiveBackend(model, prompt_name="query", normalize_embeddings=True)
    expected = model.encode(DOCUMENTS, prompt_name="query", normalize_embeddings=True)
    np.testing.assert_array_equal(KeyBERT(model=backend).model.embed(DOCUMENTS), expected)
    assert capsys.readouterr().err == ""
    backend.embed(DOCUMENTS, verbose=True)
    assert "2/2" in capsys.readouterr().err


def test_name_is_loaded(folder):
    backend = VotiveBackend(folder)
    assert type(backend.embedding_model) is Embedder
    assert backend.embedding_model.info.name == folder


def test_other_objects_are_refused(model):
    with pytest.raises(
        TypeError, match="embedding_model: expected a model's name, a folder or Embedder, found KeyBERT"
    ):
        VotiveBackend(KeyBERT(model=VotiveBackend(model)))
    with pytest.raises(TypeError, match="found type"):
        VotiveBackend(Reranker)


def test_bare_embedder_fails_without_sentence_transformers(model, no_sentence_transformers):
    with pytest.raises(ModuleNotFoundError, match="sentence_transformers"):
        KeyBERT(model=model)


def test_bare_embedder_is_replaced_where_sentence_transformers_is(model, no_sentence_transformers, monkeypatch):
    class Other:
        def __init__(self, name):
            self.name = name

    package = ModuleType("sentence_transformers")
    package.SentenceTransformer = Other
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    assert KeyBERT(model=model).model.embedding_model.name == "paraphrase-multilingual-MiniLM-L12-v2"
    assert KeyBERT(model=VotiveBackend(model)).model.embedding_model is model
