"""Clients of text-embeddings-inference that others wrote, against this server."""

from collections.abc import Iterator

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, Reranker
from votive.serving import Server, serve

TEXTS = ["a candle", "the quick brown fox", "a"]
QUERY, DOCUMENTS = "what is a candle?", ["wax with a wick", "a list of numbers", "light"]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(str(FIXTURES / "bert_modules"))


@pytest.fixture(scope="module")
def server(embedder: Embedder, ranker: Reranker) -> Iterator[Server]:
    with serve({"vectors": embedder, "ranks": ranker}, api_keys=["secret"]) as server:
        yield server


def test_huggingface_hub(server: Server, embedder: Embedder) -> None:
    hub = pytest.importorskip("huggingface_hub")
    client = hub.InferenceClient(server.url, token="secret")
    wanted = embedder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(client.feature_extraction(TEXTS), wanted, atol=1e-6)
    one = client.feature_extraction(TEXTS[0], normalize=True, truncate=True, truncation_direction="right")
    np.testing.assert_allclose(one, wanted[:1], atol=1e-6)
    query = client.feature_extraction(TEXTS[0], normalize=False, prompt_name="query", dimensions=5)
    np.testing.assert_allclose(query[0], embedder.encode(TEXTS[0], prompt_name="query", truncate_dim=5), atol=1e-6)
    wanted = embedder.similarity(embedder.encode([QUERY]), embedder.encode(DOCUMENTS))[0]
    np.testing.assert_allclose(client.sentence_similarity(QUERY, DOCUMENTS), wanted, atol=1e-6)
    with pytest.raises(hub.errors.HfHubHTTPError, match="cannot be empty") as error:
        client.feature_extraction("")
    assert error.value.response.status_code == 400


def test_huggingface_hub_classifies() -> None:
    hub = pytest.importorskip("huggingface_hub")
    with serve(str(FIXTURES / "bert_labels")) as server:
        client = hub.InferenceClient(server.url)
        found = client.text_classification("a")
        assert [element.label for element in found] == ["contradiction", "neutral", "entailment"]
        np.testing.assert_allclose(sum(element.score for element in found), 1, atol=1e-5)
        assert len(client.text_classification("a", top_k=2, function_to_apply="sigmoid")) == 2


def test_llama_index_embeds(server: Server, embedder: Embedder) -> None:
    package = pytest.importorskip("llama_index.embeddings.text_embeddings_inference")
    client = package.TextEmbeddingsInference("vectors", base_url=server.url, auth_token="secret")
    wanted = embedder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(client.get_text_embedding_batch(TEXTS), wanted, atol=1e-6)
    np.testing.assert_allclose(client.get_query_embedding(TEXTS[0]), wanted[0], atol=1e-6)


def test_llama_index_reranks(server: Server, ranker: Reranker) -> None:
    package = pytest.importorskip("llama_index.postprocessor.tei_rerank")
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    client = package.TextEmbeddingInference(base_url=server.url, auth_token="Bearer secret", top_n=2)
    nodes = [NodeWithScore(node=TextNode(text=document), score=0.0) for document in DOCUMENTS]
    found = client.postprocess_nodes(nodes, QueryBundle(QUERY))
    scores = ranker.predict([(QUERY, document) for document in DOCUMENTS])
    order = np.argsort(-scores)[:2]
    assert [node.text for node in found] == [DOCUMENTS[i] for i in order]
    np.testing.assert_allclose([node.score for node in found], scores[order], atol=1e-6)
