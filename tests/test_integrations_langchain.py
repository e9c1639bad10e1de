"""votive.integrations.langchain with the real LangChain: which object it ends up with, and what it gives."""

import asyncio
import pickle
import subprocess
import sys

import pytest
from conftest import FIXTURES
from votive import Embedder, Reranker, chunk

pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableLambda
from votive.integrations.langchain import VotiveCrossEncoder, VotiveEmbeddings, VotiveReranker, VotiveVectorStore

# Warnings of LangChain are its own.
pytestmark = pytest.mark.filterwarnings("default", "error:::votive")

TEXTS = ["Rye bread needs a sourdough", "Hamburg has a\nlarge port", "Knead the dough well", ""]
RERANKER = str(FIXTURES / "bert_rerank")
TWO_LABELS = str(FIXTURES / "bert_labels")


@pytest.fixture(scope="module")
def embeddings(model):
    return VotiveEmbeddings(model=model)


@pytest.fixture
def store(embeddings):
    return VotiveVectorStore.from_texts(TEXTS[:3], embeddings, ids=["rye", "port", "dough"])


def ids(documents):
    return [document.id for document in documents]


# --- Embeddings


def test_embeddings_are_those_of_documents_and_queries(embeddings, model):
    assert isinstance(embeddings, Embeddings)
    assert embeddings.model is model
    assert embeddings.embed_documents(TEXTS) == model.encode_document(TEXTS).tolist()
    assert embeddings.embed_query(TEXTS[1]) == model.encode_query(TEXTS[1]).tolist()
    assert embeddings.embed_query(TEXTS[0]) != embeddings.embed_documents(TEXTS[:1])[0]
    assert type(embeddings.embed_query("a")[0]) is float
    assert embeddings.embed_documents([]) == []


@pytest.mark.parametrize("given", [{}, {"prompt_name": "plain"}, {"prompt": "p: "}, {"show_progress_bar": False}])
def test_embeddings_for_asyncio_are_the_same(model, given):
    embeddings = VotiveEmbeddings(model=model, encode_kwargs=given | {"normalize_embeddings": True})

    async def both():
        return await asyncio.gather(embeddings.aembed_documents(TEXTS), embeddings.aembed_query(TEXTS[1]))

    documents, query = asyncio.run(both())
    assert documents == embeddings.embed_documents(TEXTS)
    assert query == embeddings.embed_query(TEXTS[1])
    assert documents == model.encode_document(TEXTS, normalize_embeddings=True, **given).tolist()


def test_query_has_arguments_of_its_own(model):
    embeddings = VotiveEmbeddings(
        model=model, encode_kwargs={"prompt": "a "}, query_encode_kwargs={"prompt_name": "plain"}
    )
    assert embeddings.embed_documents(["b"]) == model.encode(["a b"], prompt="").tolist()
    assert embeddings.embed_query("b") == model.encode("b", prompt="").tolist()


def test_options_are_those_of_the_embedder(folder, model):
    embeddings = VotiveEmbeddings(model_name=folder, truncate_dim=7)
    assert type(embeddings.model) is Embedder
    assert len(embeddings.embed_query("a")) == 7
    assert len(VotiveEmbeddings(model=folder).embed_query("a")) == 48
    assert VotiveEmbeddings(folder).embed_query("a") == model.encode_query("a").tolist()


def test_mistakes_of_the_constructor(folder, model):
    with pytest.raises(TypeError, match="model_name, model: expected one of them, found none"):
        VotiveEmbeddings()
    with pytest.raises(TypeError, match="found both"):
        VotiveEmbeddings(folder, model=model)
    with pytest.raises(TypeError, match="model: the Embedder is loaded, so that truncate_dim would do nothing"):
        VotiveEmbeddings(model=model, truncate_dim=3)
    with pytest.raises(TypeError, match="model: expected a model's name, a folder or Reranker, found Embedder"):
        VotiveCrossEncoder(model=model)
    with pytest.raises(TypeError, match="multi_process"):
        VotiveEmbeddings(folder, multi_process=True)
    with pytest.raises(ValueError, match="convert_to_tensor"):
        VotiveEmbeddings(model=model, encode_kwargs={"convert_to_tensor": True}).embed_query("a")


def test_embeddings_are_pickled(embeddings):
    again = pickle.loads(pickle.dumps(embeddings))
    assert again.embed_query("a") == embeddings.embed_query("a")
    assert "VotiveEmbeddings(model=Embedder(" in repr(again)


# --- Reranking


def test_cross_encoder_gives_the_scores_of_the_reranker():
    model = Reranker(RERANKER)
    encoder = VotiveCrossEncoder(model=model)
    pairs = [("bread", text) for text in TEXTS]
    assert encoder.model is model
    assert encoder.score(pairs) == model.predict(pairs).tolist()
    assert VotiveCrossEncoder(model_name=RERANKER).score([]) == []


def test_cross_encoder_of_more_labels():
    model = Reranker(TWO_LABELS)
    pairs = [("bread", text) for text in TEXTS]
    scores = model.predict(pairs)
    if scores.shape[1] == 2:
        assert VotiveCrossEncoder(model=model).score(pairs) == scores[:, 1].tolist()
    else:
        with pytest.raises(ValueError, match=f"expected one label or two, found {scores.shape[1]}"):
            VotiveCrossEncoder(model=model).score(pairs)


@pytest.mark.parametrize("top_n", [1, 3, None])
def test_reranker_leaves_the_best(top_n):
    model = Reranker(RERANKER)
    compressor = VotiveReranker(model=model, top_n=top_n)
    documents = [Document(text, metadata={"place": place}, id=str(place)) for place, text in enumerate(TEXTS)]
    found = compressor.compress_documents(documents, "bread")
    expected = model.rank("bread", TEXTS, top_k=top_n)
    assert compressor.model is model
    assert [document.metadata["place"] for document in found] == [entry["corpus_id"] for entry in expected]
    assert [document.metadata["relevance_score"] for document in found] == [entry["score"] for entry in expected]
    assert type(found[0].metadata["relevance_score"]) is float
    assert ids(found) == [str(entry["corpus_id"]) for entry in expected]
    assert all("relevance_score" not in document.metadata for document in documents)
    assert asyncio.run(compressor.acompress_documents(documents, "bread")) == found
    assert list(compressor.compress_documents([], "bread")) == []


def test_reranker_refuses_no_documents_to_leave():
    assert VotiveReranker(RERANKER).top_n == 3
    with pytest.raises(ValueError, match="top_n"):
        VotiveReranker(RERANKER, top_n=0)


def test_reranker_and_cross_encoder_in_a_chain_of_langchain(store):
    reranker = VotiveReranker(RERANKER, top_n=1)
    retriever = store.as_retriever()
    chain = RunnableLambda(lambda query: list(reranker.compress_documents(retriever.invoke(query), query)))
    texts = store.store.texts
    best = Reranker(RERANKER).rank("bread", texts, top_k=1)[0]
    assert chain.invoke("bread")[0].page_content == texts[best["corpus_id"]]


def test_compression_retriever_has_our_objects(store):
    retrievers = pytest.importorskip("langchain_classic.retrievers")
    compressors = pytest.importorskip("langchain_classic.retrievers.document_compressors")
    encoder = VotiveCrossEncoder(RERANKER)
    by_encoder = compressors.CrossEncoderReranker(model=encoder, top_n=2)
    assert by_encoder.model is encoder
    reranker = VotiveReranker(model=encoder.model, top_n=2)
    retriever = retrievers.ContextualCompressionRetriever(base_compressor=reranker, base_retriever=store.as_retriever())
    assert retriever.base_compressor is reranker
    assert retriever.base_retriever.vectorstore is store
    found = retriever.invoke("bread")
    assert ids(found) == ids(by_encoder.compress_documents(store.similarity_search("bread"), "bread"))
    assert ids(asyncio.run(retriever.ainvoke("bread"))) == ids(found)


# --- Cutting texts


def test_splitter_gives_the_chunks_of_votive(model):
    pytest.importorskip("langchain_text_splitters")
    from votive.integrations.langchain import VotiveTextSplitter

    text = "Rye bread needs a Sourdough. Salt the water.\n\n" * 20
    splitter = VotiveTextSplitter(model=model, tokens_per_chunk=24, chunk_overlap=8, add_start_index=True)
    expected = chunk(text, model, 24, 8)
    assert splitter.model is model
    assert splitter.split_text(text) == [piece.text for piece in expected]
    metadata = {"source": ["a"]}
    documents = splitter.split_documents([Document(text, metadata=metadata), Document("Knead it")])
    assert [document.page_content for document in documents] == [piece.text for piece in expected] + ["Knead it"]
    for document in documents[:-1]:
        start = document.metadata["start_index"]
        assert text[start : start + len(document.page_content)] == document.page_content
        assert document.metadata["source"] == ["a"]
        assert document.metadata["source"] is not metadata["source"]
    assert documents[-1].metadata == {"start_index": 0}
    assert [document.metadata["start_index"] for document in documents[:-1]] == [piece.start for piece in expected]


def test_splitter_cuts_to_what_the_model_reads(model, folder):
    pytest.importorskip("langchain_text_splitters")
    from votive.integrations.langchain import VotiveTextSplitter

    text = "Rye bread needs a sourdough. " * 40
    assert VotiveTextSplitter(folder).split_text(text) == [piece.text for piece in chunk(text, model)]
    with pytest.raises(ValueError, match="metadatas: expected one for each of the 2 texts, found 1"):
        VotiveTextSplitter(model=model).create_documents(["a", "b"], metadatas=[{}])
    with pytest.raises(ValueError, match="overlap"):
        VotiveTextSplitter(model=model, tokens_per_chunk=8, chunk_overlap=9)


def test_only_the_splitter_needs_its_package():
    code = (
        "import sys; sys.modules['langchain_text_splitters'] = None\n"
        "import votive.integrations.langchain as langchain\n"
        "assert not {'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)\n"
        "try:\n    langchain.VotiveTextSplitter\nexcept ImportError:\n    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr
