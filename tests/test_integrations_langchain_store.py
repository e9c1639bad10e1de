"""The vector store of votive.integrations.langchain with the real LangChain, and by LangChain's own tests."""

import asyncio
import datetime
import importlib.util
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, EmbeddingStore

pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from votive.integrations.langchain import VotiveEmbeddings, VotiveVectorStore

# Warnings of LangChain are its own.
pytestmark = pytest.mark.filterwarnings("default", "error:::votive")

TEXTS = ["Rye bread needs a sourdough", "Hamburg has a\nlarge port", "Knead the dough well", ""]


@pytest.fixture(scope="module")
def embeddings(model):
    return VotiveEmbeddings(model=model)


@pytest.fixture
def store(embeddings):
    documents = [
        Document("Rye bread needs a sourdough", metadata={"year": 2019, "tags": ["food"]}, id="rye"),
        Document("Hamburg has a large port", metadata={"year": 2024}, id="port"),
        Document("Knead the dough well", metadata={"year": 2020, "tags": ["food", "new"]}, id="dough"),
    ]
    return VotiveVectorStore.from_documents(documents, embeddings)


def ids(documents):
    return [document.id for document in documents]


def test_retriever_has_our_objects(store, embeddings, model):
    assert isinstance(store, VectorStore)
    assert store.embeddings is embeddings
    assert type(store.store) is EmbeddingStore
    assert store.store.embedder_info == model.info
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"year": {"$lt": 2020}}})
    assert retriever.vectorstore is store
    assert retriever.tags == ["VotiveVectorStore", "VotiveEmbeddings"]
    assert ids(retriever.invoke("a")) == ["rye"]
    assert ids(asyncio.run(retriever.ainvoke("a"))) == ["rye"]


def test_search_is_that_of_the_store(store, model):
    query = "bread"
    hits = store.store.query(query, model, k=2)
    expected = [(hit.id, hit.score) for hit in hits]
    scored = store.similarity_search_with_score(query, k=2)
    assert [(document.id, score) for document, score in scored] == expected
    assert [document.page_content for document, _ in scored] == hits.texts
    assert scored[0][0].metadata == {name: value for name, value in hits[0].metadata.items() if value is not None}
    assert store.similarity_search(query, k=2) == [document for document, _ in scored]
    vector = store.embeddings.embed_query(query)
    assert store.similarity_search_by_vector(vector, k=2) == [document for document, _ in scored]
    by_vector = store.similarity_search_with_score_by_vector(vector, k=2)
    assert [document for document, _ in by_vector] == [document for document, _ in scored]
    assert asyncio.run(store.asimilarity_search(query, k=2)) == [document for document, _ in scored]
    assert asyncio.run(store.asimilarity_search_with_score(query, k=2)) == scored
    assert asyncio.run(store.asimilarity_search_by_vector(vector, k=2)) == [document for document, _ in scored]
    assert len(store.similarity_search(query)) == 3


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({"year": 2024}, {"port"}),
        ({"year": {"$gte": 2020}, "tags": {"$contains": "new"}}, {"dough"}),
        ({"$or": [{"year": {"$in": [2019]}}, {"tags": {"$exists": False}}]}, {"rye", "port"}),
        ({"text": {"$contains": "dough"}}, {"rye", "dough"}),
        (["rye", "gone"], {"rye"}),
        (lambda columns: columns["year"] > 2019, {"port", "dough"}),
    ],
)
def test_filters_are_those_of_the_store(store, kept, expected):
    assert set(ids(store.similarity_search("bread", filter=kept))) == expected
    assert set(ids(asyncio.run(store.asimilarity_search("bread", filter=kept)))) == expected
    assert set(ids(store.max_marginal_relevance_search("bread", filter=kept))) == expected
    store.delete(filter=kept)
    assert not expected & set(store.store.ids)


def test_filter_on_what_is_not_there(store, embeddings):
    with pytest.raises(KeyError, match="yeer"):
        store.similarity_search("bread", filter={"yeer": 2024})
    empty = VotiveVectorStore(embeddings)
    assert empty.similarity_search("bread", filter={"year": 2024}) == []
    assert empty.max_marginal_relevance_search("bread", filter={"year": 2024}) == []
    assert empty.get_by_ids(["a"]) == []
    assert empty.delete(["a"]) is True
    assert empty.add_texts([]) == []


def test_no_argument_is_ignored(store):
    with pytest.raises(TypeError, match="where"):
        store.similarity_search("bread", where={"year": 2024})
    with pytest.raises(TypeError, match="ids, filter: expected one"):
        store.delete(["rye"], filter={"year": 2024})


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "hamming"])
def test_relevance_is_from_zero_to_one(model, metric):
    embeddings = VotiveEmbeddings(model=model, encode_kwargs={"normalize_embeddings": True})
    store = VotiveVectorStore.from_texts(TEXTS, embeddings, store=EmbeddingStore(metric=metric))
    found = store.similarity_search_with_relevance_scores("bread", k=4)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 1
    again = asyncio.run(store.asimilarity_search_with_relevance_scores("bread", k=4))
    assert again == found
    at_least = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": float(scores[1])}
    )
    assert ids(at_least.invoke("bread")) == [document.id for document, score in found if score >= scores[1]]


def test_relevance_of_opposites_is_zero():
    class Opposite(Embeddings):
        def embed_documents(self, texts):
            return [[1.0, 0.0] for _ in texts]

        def embed_query(self, text):
            return [-1.0, 0.0]

    store = VotiveVectorStore.from_texts(["a"], Opposite())
    assert store.similarity_search_with_score("a")[0][1] == -1
    assert store.similarity_search_with_relevance_scores("a")[0][1] == 0


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_marginal_relevance_is_that_of_langchain(weight):
    from langchain_core.vectorstores.utils import maximal_marginal_relevance

    rng = np.random.default_rng(0)
    vectors, query = rng.standard_normal((40, 8)).astype(np.float32), rng.standard_normal(8).astype(np.float32)

    class Known(Embeddings):
        def embed_documents(self, texts):
            return [vectors[int(text)].tolist() for text in texts]

        def embed_query(self, text):
            return query.tolist()

    store = VotiveVectorStore.from_texts([str(place) for place in range(40)], Known())
    nearest = [int(document.page_content) for document in store.similarity_search("", k=20)]
    chosen = maximal_marginal_relevance(query, vectors[nearest].tolist(), weight, 6)
    expected = [nearest[place] for place in chosen]

    def places(documents):
        return [int(document.page_content) for document in documents]

    assert places(store.max_marginal_relevance_search("", k=6, lambda_mult=weight)) == expected
    by_vector = store.max_marginal_relevance_search_by_vector(query.tolist(), k=6, lambda_mult=weight)
    assert places(by_vector) == expected
    assert places(asyncio.run(store.amax_marginal_relevance_search("", k=6, lambda_mult=weight))) == expected
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 6, "lambda_mult": weight, "fetch_k": 20})
    assert places(retriever.invoke("")) == expected
    assert len(store.max_marginal_relevance_search("", k=99, fetch_k=3)) == 40


def test_marginal_relevance_refuses_what_it_cannot_do(store, embeddings):
    with pytest.raises(ValueError, match="lambda_mult: expected a number from 0 to 1, found 2"):
        store.max_marginal_relevance_search("a", lambda_mult=2)
    bits = VotiveVectorStore.from_texts(TEXTS, embeddings, store=EmbeddingStore(metric="hamming"))
    assert len(bits.similarity_search("a")) == 4
    with pytest.raises(ValueError, match="this store has bits"):
        bits.max_marginal_relevance_search("a")


def test_metadata_comes_back(embeddings):
    moment = datetime.datetime(2024, 5, 1, 12, 30)
    metadata = {"id": 7, "text": "t", "n": 1.5, "at": moment, "nested": {"a": [1, None]}, "flag": True}
    store = VotiveVectorStore(embeddings)
    store.add_documents([Document("a", metadata=metadata, id="x"), Document("b", metadata={"none": None}, id="y")])
    assert store.get_by_ids(["y", "gone", "x"]) == [
        Document("b", metadata={}, id="y"),
        Document("a", metadata=metadata, id="x"),
    ]
    assert store.similarity_search("a", filter={"metadata.id": 7})[0].metadata == metadata
    assert asyncio.run(store.aget_by_ids(["x"]))[0].metadata == metadata
    with pytest.raises(TypeError, match="'n'"):
        store.add_texts(["c"], [{"n": "one and a half"}])
    assert len(store.store) == 2


def test_ids_are_made_kept_and_replaced(embeddings):
    store = VotiveVectorStore(embeddings)
    made = store.add_documents([Document("a"), Document("b", id="mine")])
    assert made[1] == "mine"
    assert len({*made, *store.add_texts(["c"])}) == 3
    assert store.add_texts(["d"], ids=["mine"]) == ["mine"]
    assert store.get_by_ids(["mine"])[0].page_content == "d"
    assert len(store.store) == 3
    assert store.delete() is True
    assert len(store.store) == 0
    with pytest.raises(ValueError, match="metadatas: expected one for each of the 1 texts, found 2"):
        store.add_texts(["a"], [{}, {}])
    with pytest.raises(ValueError, match="ids: expected one for each of the 1 texts, found 0"):
        store.add_texts(["a"], ids=[])


def test_asyncio_adds_and_deletes_the_same(store, embeddings, model):
    async def make():
        documents = [Document(text, id=str(place)) for place, text in enumerate(TEXTS)]
        new = await VotiveVectorStore.afrom_documents(documents, embeddings)
        await new.adelete(["3"])
        return new

    new = asyncio.run(make())
    assert new.store.ids.tolist() == ["0", "1", "2"]
    assert new.store.embedder_info == model.info
    assert (new.store.get("0") == model.encode_document(TEXTS[0])).all()


def test_store_in_a_folder_is_there_again(tmp_path, embeddings, model):
    folder = tmp_path / "notes"
    store = VotiveVectorStore.from_texts(TEXTS, embeddings, ids=list("abcd"), folder=folder)
    store.delete(["d"])
    reading = VotiveVectorStore(embeddings, store=EmbeddingStore.open(folder))
    assert ids(reading.similarity_search("bread")) == ids(store.similarity_search("bread"))
    store.store.close()
    again = VotiveVectorStore(embeddings, folder=folder)
    assert again.store.ids.tolist() == ["a", "b", "c"]
    again.add_texts(["e"], ids=["e"])
    again.store.close()
    assert len(EmbeddingStore.open(folder)) == 4
    other = VotiveVectorStore(Embedder(str(FIXTURES / "bert_40")), store=EmbeddingStore.open(folder))
    with pytest.raises(Exception, match="vectors of two models cannot be compared"):
        other.similarity_search("bread")


def test_store_of_other_rows(embeddings, model, vectors):
    numbered = EmbeddingStore()
    numbered.add_texts(TEXTS, model)
    store = VotiveVectorStore(model, store=numbered)
    assert type(store.embeddings) is VotiveEmbeddings
    assert store.embeddings.model is model
    assert ids(store.get_by_ids(["2", "0", "x"])) == ["2", "0"]
    store.delete(["2"])
    assert numbered.ids.tolist() == [0, 1, 3]
    without_texts = EmbeddingStore()
    without_texts.add_embeddings(vectors)
    with pytest.raises(ValueError, match="store: its rows have no texts"):
        VotiveVectorStore(embeddings, store=without_texts)
    with pytest.raises(TypeError, match="folder, store: expected one of them or none"):
        VotiveVectorStore(embeddings, folder="a", store=numbered)
    with pytest.raises(TypeError, match="embedding: expected VotiveEmbeddings"):
        VotiveVectorStore("a")


def test_the_index_of_langchain_keeps_it_up_to_date(store):
    from langchain_core.indexing import InMemoryRecordManager, index

    store.delete()
    records = InMemoryRecordManager("notes")
    records.create_schema()
    documents = [Document(text, metadata={"source": str(place)}) for place, text in enumerate(TEXTS[:3])]
    options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    assert index(documents, records, store, **options)["num_added"] == 3
    assert index(documents[:2], records, store, **options)["num_deleted"] == 1
    assert sorted(store.store.texts) == sorted(TEXTS[:2])


# --- LangChain's own tests of such classes

# In a process of its own, and without pytest: their package asks for plugins, which have warnings and marks.
OWN_TESTS = """
import asyncio, inspect, pathlib, sys
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, VectorStoreIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from votive.integrations.langchain import VotiveEmbeddings, VotiveVectorStore

def run(kind, make, **attributes):
    suite = type("Suite", (kind,), attributes)()
    for name in dir(kind):
        if name.startswith("test_") and name not in ("test_no_overrides_DO_NOT_OVERRIDE", "test_init_from_env"):
            test = getattr(suite, name)
            done = test(make()) if inspect.signature(test).parameters else test()
            if inspect.iscoroutine(done):
                asyncio.run(done)
            print(kind.__name__)

model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
given = {"embeddings_class": VotiveEmbeddings, "embedding_model_params": {"model_name": model}}
run(EmbeddingsUnitTests, None, **given)
run(EmbeddingsIntegrationTests, lambda: VotiveEmbeddings(model), **given)
places = (folder / str(number) for number in range(99))
embeddings = VectorStoreIntegrationTests.get_embeddings()
run(VectorStoreIntegrationTests, lambda: VotiveVectorStore(embeddings))
run(VectorStoreIntegrationTests, lambda: VotiveVectorStore(embeddings, folder=next(places)))
"""


def test_langchains_own_tests_pass(folder, tmp_path):
    if importlib.util.find_spec("langchain_tests") is None:
        pytest.skip("langchain-tests is not installed")
    command = [sys.executable, "-c", OWN_TESTS, folder, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    passed = Counter(done.stdout.split())
    assert passed["EmbeddingsUnitTests"] >= 1
    assert passed["EmbeddingsIntegrationTests"] >= 4
    assert passed["VectorStoreIntegrationTests"] >= 40
