"""votive.integrations.llama_index with the real LlamaIndex: which object it ends up with, and what it gives."""

import asyncio
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, EmbeddingStore, Reranker

pytest.importorskip("llama_index.core")

from llama_index.core import Document, QueryBundle, Settings, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from votive.integrations.llama_index import VotiveEmbedding, VotiveRerank, VotiveVectorStore

# Warnings of LlamaIndex are its own.
pytestmark = pytest.mark.filterwarnings("default", "error:::votive", "ignore::votive.TruncationWarning")

TEXTS = ["Rye bread needs a sourdough", "Hamburg has a\nlarge port", "Knead the dough well", "Salt the water"]
RERANKER = str(FIXTURES / "bert_rerank")


@pytest.fixture(scope="module")
def embedding(model):
    return VotiveEmbedding(model=model)


@pytest.fixture
def documents():
    metadata = [
        {"year": 2019, "id": 1, "tags": ["food"], "topic": "bread"},
        {"year": 2024, "id": 2, "tags": [], "topic": ""},
        {"year": 2020, "id": 3, "tags": ["food", "new"], "topic": "Bread and dough"},
        {"id": 4},
    ]
    return [
        Document(text=text, metadata=of_text, doc_id=f"document-{place}")
        for place, (text, of_text) in enumerate(zip(TEXTS, metadata, strict=True))
    ]


def index_of(documents, store, embedding):
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=embedding)


@pytest.fixture
def index(documents, embedding):
    return index_of(documents, VotiveVectorStore(), embedding)


def node(node_id, vector, text="a", parent=None, **metadata):
    relationships = {} if parent is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=parent)}
    return TextNode(id_=node_id, text=text, embedding=vector, metadata=metadata, relationships=relationships)


# --- Embedding


def test_settings_have_our_object(embedding, model, monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embedding
    assert Settings.embed_model is embedding
    assert isinstance(embedding, BaseEmbedding)
    assert embedding.model is model
    assert embedding.class_name() == "VotiveEmbedding"


def test_embeddings_are_those_of_texts_and_queries(embedding, model):
    texts = model.encode_document(TEXTS, normalize_embeddings=True)
    query = model.encode_query(TEXTS[1], normalize_embeddings=True)
    assert embedding.get_text_embedding_batch(TEXTS) == texts.tolist()
    assert embedding.get_text_embedding(TEXTS[0]) == texts[0].tolist()
    assert embedding.get_query_embedding(TEXTS[1]) == query.tolist()
    assert embedding.get_agg_embedding_from_queries([TEXTS[1]]) == query.tolist()
    assert type(embedding.get_query_embedding("a")[0]) is float
    assert np.linalg.norm(embedding.get_query_embedding("a")) == pytest.approx(1)


@pytest.mark.parametrize("given", [{}, {"normalize": False}, {"query_instruction": "q: ", "text_instruction": "t: "}])
def test_embeddings_for_asyncio_are_the_same(model, given):
    embedding = VotiveEmbedding(model=model, embed_batch_size=2, **given)

    async def all_of_them():
        return await asyncio.gather(
            embedding.aget_text_embedding_batch(TEXTS),
            embedding.aget_text_embedding(TEXTS[0]),
            embedding.aget_query_embedding(TEXTS[1]),
        )

    texts, text, query = asyncio.run(all_of_them())
    assert texts == embedding.get_text_embedding_batch(TEXTS)
    assert text == embedding.get_text_embedding(TEXTS[0])
    assert query == embedding.get_query_embedding(TEXTS[1])


def test_instructions_are_put_before_texts(model):
    embedding = VotiveEmbedding(model=model, normalize=False, query_instruction="q: ", text_instruction="t: ")
    assert embedding.get_query_embedding("a") == model.encode("q: a", prompt="").tolist()
    assert embedding.get_text_embedding("a") == model.encode("t: a", prompt="").tolist()


def test_options_are_those_of_the_embedder(folder, model):
    embedding = VotiveEmbedding(model_name=folder, truncate_dim=7)
    assert type(embedding.model) is Embedder
    assert embedding.model_name == folder
    assert len(embedding.get_query_embedding("a")) == 7
    assert len(VotiveEmbedding(folder).get_query_embedding("a")) == 48
    with pytest.raises(TypeError, match="model_name, model: expected one of them, found none"):
        VotiveEmbedding()
    with pytest.raises(TypeError, match="model: the Embedder is loaded, so that truncate_dim would do nothing"):
        VotiveEmbedding(model=model, truncate_dim=7)
    with pytest.raises(ValueError, match="embed_batch_size"):
        VotiveEmbedding(folder, embed_batch_size=4096)


def test_embedding_is_written_down_and_made_again(folder):
    embedding = VotiveEmbedding(folder, normalize=False, query_instruction="q: ")
    again = VotiveEmbedding.from_dict(embedding.to_dict())
    assert again.get_query_embedding("a") == embedding.get_query_embedding("a")
    unpickled = pickle.loads(pickle.dumps(embedding))
    assert unpickled.get_query_embedding("a") == embedding.get_query_embedding("a")


def test_pipeline_embeds_and_stores_nodes(documents, embedding):
    store = VotiveVectorStore()
    pipeline = IngestionPipeline(transformations=[embedding], vector_store=store)
    assert pipeline.transformations[0] is embedding
    nodes = pipeline.run(documents=documents)
    vectors = store.client.get([node.node_id for node in nodes])
    assert np.array_equal(vectors, np.array([node.embedding for node in nodes], np.float32))


# --- Reranking


@pytest.mark.parametrize("top_n", [1, 3, None])
def test_rerank_leaves_the_best(top_n):
    model = Reranker(RERANKER)
    rerank = VotiveRerank(model=model, top_n=top_n)
    nodes = [NodeWithScore(node=TextNode(text=text, metadata={"a": 1}), score=0.5) for text in TEXTS]
    expected = model.rank("bread", [f"a: 1\n\n{text}" for text in TEXTS], top_k=top_n)
    found = rerank.postprocess_nodes(nodes, query_str="bread")
    assert isinstance(rerank, BaseNodePostprocessor)
    assert rerank.model is model
    assert [node.score for node in found] == [entry["score"] for entry in expected]
    assert [node.node for node in found] == [nodes[entry["corpus_id"]].node for entry in expected]
    assert type(found[0].score) is float
    assert {node.score for node in nodes} == {0.5}
    assert asyncio.run(rerank.apostprocess_nodes(nodes, QueryBundle("bread"))) == found
    assert rerank.postprocess_nodes([], query_str="bread") == []


def test_rerank_tells_listeners_and_refuses_no_query():
    handler = LlamaDebugHandler(print_trace_on_end=False)
    rerank = VotiveRerank(RERANKER, callback_manager=CallbackManager([handler]))
    assert rerank.model_name == RERANKER
    assert rerank.top_n == 2
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    rerank.postprocess_nodes(nodes, query_str="bread")
    assert len(handler.get_events()) == 2
    with pytest.raises(ValueError, match="query_bundle: expected a query, found None"):
        rerank.postprocess_nodes(nodes)
    with pytest.raises(ValueError, match="top_n"):
        VotiveRerank(RERANKER, top_n=0)


# --- The vector store


def test_index_and_retriever_have_our_objects(index, embedding, documents):
    store = index.vector_store
    assert type(store) is VotiveVectorStore
    assert type(store.client) is EmbeddingStore
    retriever = index.as_retriever(similarity_top_k=2)
    assert retriever._vector_store is store
    assert retriever._embed_model is embedding
    found = retriever.retrieve("bread")
    hits = store.client.query(np.array(embedding.get_query_embedding("bread"), np.float32), k=2)
    assert [(node.node.text, node.score) for node in found] == [(hit.text, hit.score) for hit in hits]
    assert found[0].node.metadata == documents[TEXTS.index(found[0].node.text)].metadata
    assert found[0].node.ref_doc_id == f"document-{TEXTS.index(found[0].node.text)}"
    again = asyncio.run(retriever.aretrieve("bread"))
    assert [(node.node, node.score) for node in again] == [(node.node, node.score) for node in found]


def test_query_engine_reranks_with_our_object(index):
    rerank = VotiveRerank(RERANKER, top_n=1)
    engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[rerank], similarity_top_k=4)
    assert engine._node_postprocessors[0] is rerank
    source = engine.query("bread").source_nodes
    assert [node.score for node in source] == [
        node.score
        for node in rerank.postprocess_nodes(
            index.as_retriever(similarity_top_k=4).retrieve("bread"), query_str="bread"
        )
    ]


Op = FilterOperator
CASES = [
    [("year", 2024, Op.EQ)],
    [("year", 2024, Op.NE)],
    [("year", 2019, Op.GT)],
    [("year", 2020, Op.GTE)],
    [("year", 2024, Op.LT)],
    [("year", 2020, Op.LTE)],
    [("year", [2019, 2024], Op.IN)],
    [("year", [2019, 2024], Op.NIN)],
    [("tags", "new", Op.CONTAINS)],
    [("tags", ["new", "food"], Op.ANY)],
    [("tags", ["new", "food"], Op.ALL)],
    [("topic", "dough", Op.TEXT_MATCH)],
    [("topic", None, Op.IS_EMPTY)],
    [("tags", None, Op.IS_EMPTY)],
    [("year", None, Op.IS_EMPTY)],
    [("id", 3, Op.EQ)],
    [("year", 2019, Op.GT), ("tags", "food", Op.CONTAINS)],
    [("year", 2019, Op.EQ), ("topic", None, Op.IS_EMPTY)],
    [],
]


@pytest.mark.parametrize("condition", FilterCondition)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_filters_are_those_of_the_simple_store(index, documents, embedding, case, condition):
    parts = [MetadataFilter(key=key, value=value, operator=operator) for key, value, operator in case]
    filters = MetadataFilters(filters=parts, condition=condition)
    simple = index_of(documents, SimpleVectorStore(), embedding)
    expected = {node.node.text for node in simple.as_retriever(similarity_top_k=9, filters=filters).retrieve("bread")}
    found = {node.node.text for node in index.as_retriever(similarity_top_k=9, filters=filters).retrieve("bread")}
    assert found == expected
    assert {node.text for node in index.vector_store.get_nodes(filters=filters)} == expected
    # The simple store has none of these.
    nested = MetadataFilters(filters=[filters], condition=FilterCondition.NOT)
    rest = {node.text for node in index.vector_store.get_nodes(filters=nested)}
    assert rest == (set(TEXTS) - expected if case else set(TEXTS))
    either = MetadataFilters(filters=[nested, filters], condition=FilterCondition.OR)
    assert {node.text for node in index.vector_store.get_nodes(filters=either)} == set(TEXTS)
    neither = MetadataFilters(filters=[either], condition=FilterCondition.NOT)
    assert index.vector_store.get_nodes(filters=neither) == [] or not case


def test_filter_that_is_not_known_is_refused(index):
    part = MetadataFilter(key="topic", value="BREAD", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)
    filters = MetadataFilters(filters=[part])
    with pytest.raises(ValueError, match=r"filters: 'topic': expected one of .* found 'text_match_insensitive'"):
        index.as_retriever(filters=filters).retrieve("a")
    with pytest.raises(KeyError, match="yeer"):
        index.as_retriever(filters=MetadataFilters(filters=[MetadataFilter(key="yeer", value=1)])).retrieve("a")


def marginal(query, vectors, k, threshold):
    """Places of vectors of length 1 by maximal marginal relevance, by its definition."""
    chosen = []
    while len(chosen) < k:
        scores = {
            place: threshold * (vector @ query)
            - (1 - threshold) * max((vector @ vectors[one] for one in chosen), default=0)
            for place, vector in enumerate(vectors)
            if place not in chosen
        }
        chosen.append(max(scores, key=scores.get) if chosen else int((vectors @ query).argmax()))
    return chosen


@pytest.mark.parametrize("threshold", [0.0, 0.3, None, 1.0])
def test_marginal_relevance_is_its_definition(threshold):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((13, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    asked, vectors = vectors[0], vectors[1:]
    nodes = [node(str(place), vector.tolist()) for place, vector in enumerate(vectors)]
    query = VectorStoreQuery(asked.tolist(), similarity_top_k=5, mode=VectorStoreQueryMode.MMR)
    given = {} if threshold is None else {"mmr_threshold": threshold}
    store = VotiveVectorStore()
    store.add(nodes)
    found = store.query(query, mmr_prefetch_k=12, **given)
    expected = marginal(asked, vectors, 5, 0.5 if threshold is None else threshold)
    assert found.ids == [str(place) for place in expected]
    assert found.similarities == pytest.approx([asked @ vectors[place] for place in expected], abs=1e-6)
    assert asyncio.run(store.aquery(query, mmr_prefetch_k=12, **given)).ids == found.ids
    nearest = store.query(VectorStoreQuery(asked.tolist(), similarity_top_k=10)).ids
    assert set(store.query(query, mmr_prefetch_factor=2, **given).ids) <= set(nearest)


def test_marginal_relevance_of_an_index(index):
    retriever = index.as_retriever(
        vector_store_query_mode="mmr", similarity_top_k=3, vector_store_kwargs={"mmr_threshold": 1.0}
    )
    nearest = index.as_retriever(similarity_top_k=3).retrieve("bread")
    assert [node.node_id for node in retriever.retrieve("bread")] == [node.node_id for node in nearest]


def test_what_a_query_cannot_be_is_refused(index):
    store = index.vector_store
    with pytest.raises(ValueError, match="mode: expected 'default' or 'mmr', found 'hybrid'"):
        index.as_retriever(vector_store_query_mode="hybrid").retrieve("bread")
    with pytest.raises(ValueError, match="query_embedding: expected an embedding, found None"):
        store.query(VectorStoreQuery(query_str="bread"))
    with pytest.raises(TypeError, match="expected no further arguments, found mmr_threshold"):
        store.query(VectorStoreQuery([0.0] * 48), mmr_threshold=0.5)
    with pytest.raises(ValueError, match="mmr_threshold: expected a number from 0 to 1, found 2"):
        store.query(VectorStoreQuery([0.0] * 48, mode=VectorStoreQueryMode.MMR), mmr_threshold=2)
    with pytest.raises(ValueError, match="clear"):
        store.delete_nodes()
    with pytest.raises(ValueError, match="embedding not set"):
        store.add([TextNode(text="a")])


def test_query_is_of_some_nodes_or_documents():
    store = VotiveVectorStore()
    store.add([node(name, [1.0, place], parent=f"of {name}") for place, name in enumerate("abc")])
    assert store.query(VectorStoreQuery([1.0, 0.0], 9)).ids == ["a", "b", "c"]
    assert store.query(VectorStoreQuery([1.0, 0.0], 9, node_ids=["c", "x"])).ids == ["c"]
    assert store.query(VectorStoreQuery([1.0, 0.0], 9, doc_ids=["of b"])).ids == ["b"]
    assert store.query(VectorStoreQuery([1.0, 0.0], 9, node_ids=["c"], doc_ids=["of b"])).ids == []


def test_nodes_come_back_as_they_were():
    store = VotiveVectorStore()
    given = node("a", [1.0, 0.0], text="A text", parent="p", id=7, text_="t", none=None, nested={"a": [1, None]})
    assert store.add([given, node("b", [0.0, 1.0])]) == ["a", "b"]
    found = store.get_nodes(["b", "gone", "a"])
    assert {node.node_id for node in found} == {"a", "b"}
    again = store.get_nodes(["a"])[0]
    assert again.text == "A text"
    assert again.metadata == given.metadata
    assert again.relationships == given.relationships
    assert store.query(VectorStoreQuery([1.0, 0.0])).nodes == [again]
    assert len(store.get_nodes()) == 2
    with pytest.raises(TypeError, match=r"metadata\.id"):
        store.add([node("c", [1.0, 1.0], id="seven")])


def test_nodes_are_deleted_and_replaced(index):
    store = index.vector_store
    index.delete_ref_doc("document-0")
    assert TEXTS[0] not in store.client.texts
    index.delete_ref_doc("document-0")
    store.delete_nodes([store.client.ids[0], "gone"])
    assert len(store.client) == 2
    store.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="id", value=4)]))
    assert store.client.texts == [TEXTS[2]]
    store.add([node(store.client.ids[0], [1.0] * 48, text="another")])
    assert store.client.texts == ["another"]
    store.clear()
    assert len(store.client) == 0
    assert store.get_nodes() == []
    store.delete("gone")
    store.delete_nodes(["gone"])
    assert store.add([]) == []
    assert store.query(VectorStoreQuery([1.0])).ids == []


def test_asyncio_adds_finds_and_deletes():
    async def go():
        store = VotiveVectorStore()
        await store.async_add([node(name, [1.0, place], parent=f"of {name}") for place, name in enumerate("abc")])
        found = (await store.aquery(VectorStoreQuery([1.0, 0.0], 2))).ids
        await store.adelete("of a")
        await store.adelete_nodes(["b"])
        left = [node.node_id for node in await store.aget_nodes()]
        await store.aclear()
        return found, left, len(store.client)

    assert asyncio.run(go()) == (["a", "b"], ["c"], 0)


def test_store_in_a_folder_is_there_again(tmp_path, documents, embedding):
    folder = tmp_path / "notes"
    index = index_of(documents, VotiveVectorStore(folder), embedding)
    index.delete_ref_doc("document-3")
    found = index.as_retriever().retrieve("bread")
    assert len(EmbeddingStore.open(folder)) == 3
    index.storage_context.persist(tmp_path / "context")
    index.vector_store.client.close()
    again = VectorStoreIndex.from_vector_store(VotiveVectorStore(folder), embed_model=embedding)
    assert again.vector_store.client.texts == TEXTS[:3]
    assert [node.node for node in again.as_retriever().retrieve("bread")] == [node.node for node in found]
    again.insert(Document(text="A new text"))
    again.vector_store.client.close()
    assert len(EmbeddingStore.open(folder)) == 4


def test_persist_of_a_store_in_memory_is_refused(index, tmp_path):
    with pytest.raises(Exception, match="not open for writing"):
        index.storage_context.persist(tmp_path)


def test_store_of_other_rows(model, embedding):
    rows = EmbeddingStore()
    rows.add_texts(TEXTS, model, metadata={"year": [1, 2, 3, None]})
    index = VectorStoreIndex.from_vector_store(VotiveVectorStore(store=rows), embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve("bread")[0].node
    hit = rows.query("bread", model, k=1)[0]
    assert (found.node_id, found.text) == (str(hit.id), hit.text)
    assert found.metadata == {name: value for name, value in hit.metadata.items() if value is not None}
    assert [node.text for node in index.vector_store.get_nodes(["2"])] == [TEXTS[2]]
    with pytest.raises(TypeError, match="folder, store: expected one of them or none"):
        VotiveVectorStore("a", store=rows)


def test_import_brings_neither_torch_nor_transformers():
    code = (
        "import sys, votive.integrations.llama_index\n"
        "assert not {'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
