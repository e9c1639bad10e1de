"""Embeddings for Ragas, against the real package: in metrics of both interfaces, test sets and prompts."""

import asyncio
import os
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, Reranker

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")

MODEL = str(FIXTURES / "bert_modules")
TEXTS = ["rye bread needs a sourdough", "a large port", "knead the dough"]


@pytest.fixture(scope="module")
def kind():
    # Not `importorskip`: where Ragas is installed and one of its packages is too new for it, a skip would hide it.
    if find_spec("ragas") is None:
        pytest.skip("ragas is not installed")
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from votive.integrations.ragas import VotiveEmbeddings

    return VotiveEmbeddings


@pytest.fixture(scope="module")
def embedder():
    return Embedder(MODEL)


def test_texts(kind, embedder):
    from ragas.embeddings import BaseRagasEmbedding

    ours = kind(MODEL)
    assert isinstance(ours, BaseRagasEmbedding)
    assert type(ours.embedder) is Embedder
    expected = embedder.encode(TEXTS, normalize_embeddings=True)
    found = ours.embed_texts(TEXTS)
    assert type(found[0][0]) is float
    np.testing.assert_array_equal(np.float32(found), expected)
    np.testing.assert_array_equal(np.float32(ours.embed_text(TEXTS[0])), expected[0])
    np.testing.assert_array_equal(np.float32(ours.embed_query(TEXTS[0])), expected[0])
    np.testing.assert_array_equal(np.float32(ours.embed_documents(TEXTS)), expected)
    assert ours.embed_texts([]) == []


def test_asyncio(kind, embedder):
    ours = kind(embedder)

    async def gathered():
        return await asyncio.gather(
            ours.aembed_text(TEXTS[0]),
            ours.aembed_texts(TEXTS),
            ours.aembed_query(TEXTS[0]),
            ours.aembed_documents(TEXTS),
        )

    text, texts, query, documents = asyncio.run(gathered())
    assert text == query == ours.embed_text(TEXTS[0])
    assert texts == documents == ours.embed_texts(TEXTS)


def test_options(kind, embedder):
    ours = kind(MODEL, normalize_embeddings=False, truncate_dim=8)
    np.testing.assert_array_equal(np.float32(ours.embed_texts(TEXTS)), embedder.encode(TEXTS, truncate_dim=8))
    expected = embedder.encode(TEXTS[0], "query", truncate_dim=8)
    np.testing.assert_array_equal(np.float32(ours.embed_text(TEXTS[0], prompt_name="query")), expected)
    assert kind(embedder).embedder is embedder


def test_a_metric(kind, embedder):
    from ragas.metrics.collections import SemanticSimilarity

    metric = SemanticSimilarity(embeddings=kind(embedder))
    found = asyncio.run(metric.ascore(reference=TEXTS[0], response=TEXTS[1]))
    assert found.value == pytest.approx(embedder.similarity(*embedder.encode(TEXTS[:2]))[0, 0], abs=1e-6)
    assert metric.embeddings.embedder is embedder


@pytest.mark.filterwarnings("ignore")
def test_a_metric_of_the_older_interface(kind, embedder):
    from ragas import SingleTurnSample
    from ragas.metrics import SemanticSimilarity

    metric = SemanticSimilarity(embeddings=kind(embedder))
    sample = SingleTurnSample(reference=TEXTS[0], response=TEXTS[1])
    expected = embedder.similarity(*embedder.encode(TEXTS[:2]))[0, 0]
    assert asyncio.run(metric.single_turn_ascore(sample)) == pytest.approx(expected, abs=1e-6)
    assert metric.embeddings.embedder is embedder


@pytest.mark.filterwarnings("ignore")
def test_an_evaluation(kind, embedder):
    from ragas import EvaluationDataset, SingleTurnSample, evaluate
    from ragas.metrics import SemanticSimilarity

    samples = [SingleTurnSample(reference=TEXTS[0], response=text) for text in TEXTS]
    found = evaluate(
        EvaluationDataset(samples), metrics=[SemanticSimilarity()], embeddings=kind(embedder), show_progress=False
    )
    expected = embedder.similarity(embedder.encode(TEXTS[0]), embedder.encode(TEXTS))[0]
    np.testing.assert_allclose([row["semantic_similarity"] for row in found.scores], expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_older_answer_relevancy_compares_questions(kind, embedder):
    from ragas.metrics import ResponseRelevancy

    metric = ResponseRelevancy(embeddings=kind(embedder))
    found = metric.calculate_similarity(TEXTS[0], TEXTS)
    np.testing.assert_allclose(
        found, embedder.similarity(embedder.encode(TEXTS[0]), embedder.encode(TEXTS))[0], atol=1e-6
    )
    assert found[0] == pytest.approx(1, abs=1e-6)  # a question is like itself: both sides get the same prompt


def test_a_test_sets_embeddings_are_awaited(kind, embedder):
    from ragas.testset.graph import Node
    from ragas.testset.transforms import EmbeddingExtractor

    extractor = EmbeddingExtractor(embedding_model=kind(embedder))
    node = Node(properties={"page_content": TEXTS[0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Ragas warns where it has to start a thread
        name, found = asyncio.run(extractor.extract(node))
    assert name == "embedding"
    np.testing.assert_array_equal(np.float32(found), embedder.encode(TEXTS[0], normalize_embeddings=True))


def test_prompts_with_the_nearest_examples(kind, embedder):
    from ragas.prompt.dynamic_few_shot import SimpleInMemoryExampleStore

    store = SimpleInMemoryExampleStore(kind(embedder))
    for text in TEXTS:
        store.add_example({"question": text}, {"answer": text})
    assert store.get_examples({"question": TEXTS[1]}, top_k=1) == [({"question": TEXTS[1]}, {"answer": TEXTS[1]})]


def test_what_is_refused(kind, embedder):
    with pytest.raises(TypeError, match="model: expected a model's name, a folder or Embedder, found Reranker"):
        kind(Reranker(FIXTURES / "bert_rerank"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'cache'; accepted: "):
        kind(MODEL, cache=None)
    with pytest.raises(TypeError, match="model: the Embedder is loaded, so that dtype would do nothing"):
        kind(embedder, dtype="int8")
