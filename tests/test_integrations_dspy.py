"""The embedder for DSPy, against the real package."""

import asyncio

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, Reranker

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")

MODEL = str(FIXTURES / "bert_modules")
TEXTS = ["rye bread needs a sourdough", "a large port", "knead the dough"]


@pytest.fixture(scope="module")
def dspy(tmp_path_factory):
    """The package; it makes a folder for its cache when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPY_CACHEDIR", str(tmp_path_factory.mktemp("dspy")))
        yield pytest.importorskip("dspy")


@pytest.fixture(scope="module")
def kind(dspy):
    from votive.integrations.dspy import VotiveEmbedder

    return VotiveEmbedder


@pytest.fixture(scope="module")
def embedder():
    return Embedder(MODEL)


def test_one_text_and_many(dspy, kind, embedder):
    ours = kind(MODEL)
    assert isinstance(ours, dspy.Embedder)
    assert type(ours.embedder) is Embedder
    assert ours(TEXTS).dtype == np.float32
    np.testing.assert_array_equal(ours(TEXTS), embedder.encode(TEXTS))
    np.testing.assert_array_equal(ours(TEXTS[0]), embedder.encode(TEXTS[0]))
    np.testing.assert_array_equal(ours(TEXTS, batch_size=1), embedder.encode(TEXTS))
    assert kind(embedder).embedder is embedder


def test_arguments_of_encode(kind, embedder):
    ours = kind(embedder, prompt_name="query", truncate_dim=8)
    np.testing.assert_array_equal(ours(TEXTS), embedder.encode(TEXTS, "query", truncate_dim=8))
    np.testing.assert_array_equal(ours(TEXTS, prompt_name=None), embedder.encode(TEXTS, truncate_dim=8))


def test_asyncio(kind, embedder):
    ours = kind(embedder)
    calls = [ours.acall(TEXTS), ours.acall(TEXTS[0], prompt_name="query")]

    async def gathered():
        return await asyncio.gather(*calls)

    many, one = asyncio.run(gathered())
    np.testing.assert_array_equal(many, embedder.encode(TEXTS))
    np.testing.assert_array_equal(one, embedder.encode(TEXTS[0], "query"))


def test_two_models_are_told_apart(dspy, kind, embedder):
    other = Embedder(FIXTURES / "bert_312")
    assert kind(embedder)(TEXTS).shape == (3, 48)
    assert kind(other)(TEXTS).shape == (3, 312)
    # The plain function is right where its cache is off.
    assert dspy.Embedder(embedder.encode, caching=False)(TEXTS).shape == (3, 48)
    assert dspy.Embedder(other.encode, caching=False)(TEXTS).shape == (3, 312)


def test_dspys_cache_takes_one_model_for_another(dspy, embedder):
    """Why there is a class, and why it has no cache: when this fails, DSPy has mended it, and both may go."""
    first, second = dspy.Embedder(embedder.encode), dspy.Embedder(Embedder(FIXTURES / "bert_312").encode)
    assert first(["told apart?"]).shape == second(["told apart?"]).shape == (1, 48)


def test_the_retriever(dspy, kind, embedder):
    retriever = dspy.retrievers.Embeddings(corpus=TEXTS, embedder=kind(embedder), k=2)
    scores = embedder.similarity(embedder.encode("bread"), embedder.encode(TEXTS))[0]
    found = retriever("bread")
    assert found.passages == [TEXTS[row] for row in np.argsort(-scores)[:2]]
    assert retriever.embedder.embedder is embedder


def test_the_nearest_examples(dspy, kind, embedder):
    examples = [dspy.Example(question=text, answer="?").with_inputs("question") for text in TEXTS]
    nearest = dspy.KNN(k=1, trainset=examples, vectorizer=kind(embedder))
    assert nearest(question=TEXTS[1]) == [examples[1]]


def test_what_is_refused(kind, embedder):
    with pytest.raises(TypeError, match="model: expected a model's name, a folder or Embedder, found Reranker"):
        kind(Reranker(FIXTURES / "bert_rerank"))
    with pytest.raises(ValueError, match="caching: DSPy's cache does not tell models apart"):
        kind(embedder)(TEXTS, caching=True)
    with pytest.raises(ValueError, match="caching: DSPy's cache does not tell models apart"):
        asyncio.run(kind(embedder).acall(TEXTS, caching=True))
    with pytest.raises(TypeError, match="unexpected keyword argument 'normalize'"):
        kind(embedder, normalize=True)(TEXTS)
