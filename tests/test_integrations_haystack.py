"""Components in Haystack's pipelines, against the real package: what they give, and which model gives it."""

import asyncio
import os

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, Reranker

pytest.importorskip("haystack")
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice, Secret
from votive.integrations.haystack import VotiveDocumentEmbedder, VotiveRanker, VotiveTextEmbedder

# Warnings of other people's packages are theirs; the models here are meant to cut.
pytestmark = pytest.mark.filterwarnings("default", "ignore::votive.TruncationWarning")

MODEL = str(FIXTURES / "bert_modules")
RERANKER = str(FIXTURES / "bert_rerank")
TEXTS = ["rye bread needs a sourdough", "a large port", "knead the dough"]
MODULE = "votive.integrations.haystack"


@pytest.fixture(scope="module")
def embedder():
    return Embedder(MODEL)


@pytest.fixture(scope="module")
def reranker():
    return Reranker(RERANKER)


def documents(**fields):
    return [Document(content=text, **fields) for text in TEXTS]


def embeddings(result):
    return np.array([document.embedding for document in result["documents"]], np.float32)


def test_a_text_gets_the_embedding_of_a_query(embedder):
    component = VotiveTextEmbedder(MODEL)
    found = component.run("bread")["embedding"]
    assert type(found) is list
    assert type(found[0]) is float
    np.testing.assert_array_equal(np.array(found, np.float32), embedder.encode_query("bread"))
    assert type(component._loaded) is Embedder


def test_documents_get_the_embeddings_of_documents(embedder):
    found = VotiveDocumentEmbedder(MODEL).run(documents())
    np.testing.assert_array_equal(embeddings(found), embedder.encode_document(TEXTS))


def test_documents_are_copies(embedder):
    given = documents(meta={"year": 2020}, score=0.5)
    found = VotiveDocumentEmbedder(embedder).run(given)["documents"]
    assert [document.embedding for document in given] == [None] * 3
    assert [document.id for document in found] == [document.id for document in given]
    assert found[0].meta == {"year": 2020}
    assert found[0].score == 0.5


def test_a_prefix_stands_in_place_of_the_models_prompt(embedder):
    found = VotiveTextEmbedder(embedder, prefix="about ", suffix="!").run("bread")["embedding"]
    np.testing.assert_array_equal(np.array(found, np.float32), embedder.encode("about bread!", prompt=""))
    found = VotiveDocumentEmbedder(embedder, prefix="", suffix="!").run(documents())
    np.testing.assert_array_equal(embeddings(found), embedder.encode([f"{text}!" for text in TEXTS], prompt=""))


def test_fields_of_metadata_are_embedded_before_the_content(embedder):
    component = VotiveDocumentEmbedder(
        embedder, meta_fields_to_embed=["title", "year", "missing"], embedding_separator=" | "
    )
    given = [Document(content="dough", meta={"title": "Bread", "year": 2020, "missing": None}), Document(content=None)]
    expected = embedder.encode_document(["Bread | 2020 | dough", ""])
    np.testing.assert_array_equal(embeddings(component.run(given)), expected)


def test_options_are_those_of_the_embedder(embedder):
    options = {"truncate_dim": 8, "normalize_embeddings": True, "device": ComponentDevice.from_str("cpu")}
    found = embeddings(VotiveDocumentEmbedder(MODEL, batch_size=1, progress_bar=False, **options).run(documents()))
    expected = embedder.encode_document(TEXTS, truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_array_equal(found, expected)
    found = VotiveTextEmbedder(MODEL, **options).run("bread")["embedding"]
    np.testing.assert_allclose(found, embedder.encode_query("bread", truncate_dim=8, normalize_embeddings=True))


def test_no_documents_give_none(embedder, reranker):
    assert VotiveDocumentEmbedder(embedder).run([]) == {"documents": []}
    assert VotiveRanker(reranker).run("bread", []) == {"documents": []}


def test_components_share_a_model_that_is_loaded(embedder):
    components = [VotiveTextEmbedder(embedder), VotiveDocumentEmbedder(embedder)]
    for component in components:
        component.warm_up()
        assert component._loaded is embedder


def test_the_model_is_loaded_once(monkeypatch):
    component = VotiveTextEmbedder(MODEL)
    assert component._loaded is None
    component.warm_up()
    loaded = component._loaded
    component.warm_up()
    component.run("bread")
    assert component._loaded is loaded


def test_the_ranker_sorts_by_the_scores_of_the_reranker(reranker):
    found = VotiveRanker(RERANKER).run("bread", documents(meta={"title": "x"}))["documents"]
    expected = reranker.rank("bread", TEXTS, activation_fn="sigmoid")
    assert [document.content for document in found] == [TEXTS[hit["corpus_id"]] for hit in expected]
    assert [document.score for document in found] == [hit["score"] for hit in expected]
    assert type(found[0].score) is float
    assert found[0].meta == {"title": "x"}


def test_the_ranker_takes_what_haystacks_own_takes(reranker):
    ranker = VotiveRanker(
        reranker,
        query_prefix="q ",
        query_suffix=" ?",
        document_prefix="d ",
        document_suffix=" .",
        meta_fields_to_embed=["title"],
        embedding_separator=": ",
        scale_score=False,
        batch_size=2,
    )
    found = ranker.run("bread", documents(meta={"title": "T"}))["documents"]
    logits = reranker.predict([("q bread ?", f"d T: {text} .") for text in TEXTS], activation_fn="identity")
    assert [document.score for document in found] == sorted(logits.tolist(), reverse=True)

    least = found[1].score
    assert len(ranker.run("bread", documents(meta={"title": "T"}), score_threshold=least)["documents"]) == 2
    assert len(ranker.run("bread", documents(meta={"title": "T"}), top_k=1)["documents"]) == 1
    scaled = ranker.run("bread", documents(meta={"title": "T"}), scale_score=True)["documents"]
    np.testing.assert_allclose([document.score for document in scaled], sorted(1 / (1 + np.exp(-logits)))[::-1], 1e-6)


def test_of_equal_documents_the_best_is_ranked(reranker):
    given = [Document(id="a", content=TEXTS[0], score=0.1), Document(id="a", content=TEXTS[1], score=0.2)]
    found = VotiveRanker(reranker).run("bread", given)["documents"]
    assert [document.content for document in found] == [TEXTS[1]]
    assert given[1].score == 0.2


def test_run_async_gives_the_same(embedder, reranker):
    async def gathered():
        return await asyncio.gather(
            VotiveTextEmbedder(embedder).run_async("bread"),
            VotiveDocumentEmbedder(embedder).run_async(documents()),
            VotiveRanker(reranker).run_async("bread", documents(), top_k=2),
        )

    text, embedded, ranked = asyncio.run(gathered())
    assert text == VotiveTextEmbedder(embedder).run("bread")
    assert embedded == VotiveDocumentEmbedder(embedder).run(documents())
    assert ranked == VotiveRanker(reranker).run("bread", documents(), top_k=2)


def pipelines(store, **options):
    """One that writes documents, and one that finds and ranks them."""
    indexing = Pipeline()
    indexing.add_component("embedder", VotiveDocumentEmbedder(MODEL, **options))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder.documents", "writer.documents")
    search = Pipeline()
    search.add_component("embedder", VotiveTextEmbedder(MODEL, **options))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=2))
    search.add_component("ranker", VotiveRanker(RERANKER, scale_score=False))
    search.connect("embedder.embedding", "retriever.query_embedding")
    search.connect("retriever.documents", "ranker.documents")
    return indexing, search


QUESTION = {"embedder": {"text": "bread"}, "ranker": {"query": "bread"}}


def test_pipelines(embedder, reranker):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing, search = pipelines(store)
    assert indexing.run({"embedder": {"documents": documents()}}) == {"writer": {"documents_written": 3}}
    found = search.run(QUESTION)["ranker"]["documents"]

    scores = embedder.similarity(embedder.encode_query("bread"), embedder.encode_document(TEXTS))[0]
    nearest = [TEXTS[row] for row in np.argsort(-scores)[:2]]
    expected = [nearest[hit["corpus_id"]] for hit in reranker.rank("bread", nearest)]
    assert [document.content for document in found] == expected
    assert type(search.get_component("embedder")._loaded) is Embedder
    assert type(search.get_component("ranker")._loaded) is Reranker


def test_a_pipeline_that_was_saved_gives_the_same():
    store = InMemoryDocumentStore()
    indexing, search = pipelines(store, truncate_dim=8)
    indexing.run({"embedder": {"documents": documents()}})
    again = Pipeline.loads(search.dumps(), allowed_modules=[MODULE])
    component = again.get_component("embedder")
    assert type(component) is VotiveTextEmbedder
    assert type(again.get_component("ranker")) is VotiveRanker
    assert again.run(QUESTION) == search.run(QUESTION)
    assert component._loaded.truncate_dim == 8


def test_a_pipeline_runs_asynchronously():
    store = InMemoryDocumentStore()
    indexing, search = pipelines(store)
    indexing.run({"embedder": {"documents": documents()}})
    found = asyncio.run(search.run_async(QUESTION))
    assert found == search.run(QUESTION)


@pytest.mark.parametrize("kind", [VotiveTextEmbedder, VotiveDocumentEmbedder])
def test_a_dict_makes_the_same_embedder(kind):
    options = {"prefix": "a", "suffix": "b", "normalize_embeddings": True, "truncate_dim": 8}
    if kind is VotiveDocumentEmbedder:
        options |= {"batch_size": 3, "progress_bar": False, "meta_fields_to_embed": ["x"], "embedding_separator": "-"}
    token = Secret.from_env_var("TOKEN", strict=False)
    saved = kind(MODEL, device=ComponentDevice.from_str("cpu"), token=token, **options).to_dict()
    assert saved["type"] == f"{MODULE}.{kind.__name__}"
    assert saved["init_parameters"].items() >= options.items()
    again = kind.from_dict(saved)
    assert again.to_dict() == saved
    assert again.token == token
    assert again.device == ComponentDevice.from_str("cpu")


def test_a_loaded_model_is_saved_as_its_arguments():
    embedder = Embedder(MODEL, truncate_dim=8, token="secret")
    embedder.prompts["query"] = "find "
    saved = VotiveTextEmbedder(embedder).to_dict()
    assert "secret" not in str(saved)
    again = VotiveTextEmbedder.from_dict(saved)
    assert again.run("bread") == VotiveTextEmbedder(embedder).run("bread")
    assert again._loaded is not embedder

    reranker = Reranker(RERANKER, max_length=20, activation_fn="tanh")
    again = VotiveRanker.from_dict(VotiveRanker(reranker).to_dict())
    assert again.run("bread", documents()) == VotiveRanker(reranker).run("bread", documents())
    assert again._loaded.max_length == 20


def test_what_cannot_be_saved_says_so():
    embedder = Embedder(MODEL, default_prompt_name="query")
    embedder.default_prompt_name = None
    with pytest.raises(ValueError, match="default_prompt_name: was set to None, which cannot be saved"):
        VotiveTextEmbedder(embedder).to_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VotiveTextEmbedder(None), "model: expected a model's name, a folder or Embedder, found NoneType"),
        (lambda: VotiveTextEmbedder(Reranker(RERANKER)), "model: .* found Reranker"),
        (lambda: VotiveTextEmbedder(MODEL, dimension=8), "unexpected keyword argument 'dimension'; accepted: "),
        (lambda: VotiveTextEmbedder(Embedder(MODEL), dtype="int8"), "model: the Embedder is loaded, so that dtype"),
        (
            lambda: VotiveTextEmbedder(MODEL, token="secret"),
            "token: expected a haystack.utils.Secret or None, found str",
        ),
        (lambda: VotiveRanker(RERANKER, activation_fn="tanh"), "activation_fn: scale_score says"),
        (lambda: VotiveTextEmbedder(MODEL).run(documents()), "text: .* found list; VotiveDocumentEmbedder takes"),
        (lambda: VotiveDocumentEmbedder(MODEL).run("bread"), "documents: .* found str; VotiveTextEmbedder takes"),
        (lambda: VotiveDocumentEmbedder(MODEL).run(["bread"]), r"documents\[0\]: expected a Document, found str"),
        (lambda: VotiveRanker(RERANKER).run("bread", "bread"), "documents: expected a list of Documents, found str"),
        (lambda: VotiveRanker(RERANKER).run(None, []), "query: expected a str, found NoneType"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_counts_are_checked():
    with pytest.raises(ValueError, match="top_k: expected 1 or more, found 0"):
        VotiveRanker(RERANKER, top_k=0)
    with pytest.raises(ValueError, match="top_k: expected 1 or more, found 0"):
        VotiveRanker(RERANKER).run("bread", documents(), top_k=0)
