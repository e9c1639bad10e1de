"""What other projects' clients get of a server. Those that are not installed are skipped."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from votive import Embedder, Reranker, quantize_embeddings
from votive.serving import serve

TEXTS = ["a candle is wax with a wick", "naïve café, 東京 🕯️", "wax"]
QUERY = "what is a candle?"

# Warnings of the clients' own.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def url(model: Embedder, ranker: Reranker) -> Iterator[str]:
    """A server that wants a key."""
    with serve({"vectors": model, "ranker": ranker}, api_keys=["key"]) as server:
        yield server.url


def near(found: Any, expected: Any) -> bool:
    return bool(np.abs(np.asarray(found, np.float32) - expected).max() <= 1e-6)


# Cohere


@pytest.fixture
def cohere_v1(url: str) -> Iterator[Any]:
    """A client of Cohere's, of its first interface."""
    with pytest.importorskip("cohere").Client(api_key="key", base_url=url) as client:
        yield client


@pytest.fixture
def cohere_v2(url: str) -> Iterator[Any]:
    """One of its second."""
    with pytest.importorskip("cohere").ClientV2(api_key="key", base_url=url) as client:
        yield client


def test_cohere_embeds(cohere_v2: Any, model: Embedder) -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = cohere_v2.embed(model="vectors", texts=TEXTS, input_type="search_query", embedding_types=types)
    expected = model.encode_query(TEXTS, normalize_embeddings=True)
    assert near(answer.embeddings.float_, expected)
    assert np.array_equal(answer.embeddings.ubinary, quantize_embeddings(expected, "ubinary"))
    assert np.array_equal(answer.embeddings.binary, quantize_embeddings(expected, "binary"))
    assert np.array_equal(np.array(answer.embeddings.int8) + 128, answer.embeddings.uint8)
    assert len(answer.embeddings.base64) == len(TEXTS)
    assert answer.texts == TEXTS
    assert answer.meta.billed_units.input_tokens > 0
    inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
    answer = cohere_v2.embed(model="vectors", inputs=inputs, input_type="search_document", output_dimension=16)
    assert near(answer.embeddings.float_, model.encode_document(TEXTS, normalize_embeddings=True, truncate_dim=16))


def test_cohere_embeds_many_at_once(cohere_v1: Any, model: Embedder) -> None:
    texts = [f"text {i}" for i in range(500)]
    answer = cohere_v1.embed(model="vectors", texts=texts, input_type="search_document")
    assert answer.response_type == "embeddings_floats"
    assert near(answer.embeddings, model.encode_document(texts, normalize_embeddings=True))
    assert answer.texts == texts
    answer = cohere_v1.embed(model="vectors", texts=texts, input_type="clustering", embedding_types=["float", "int8"])
    assert near(answer.embeddings.float_, model.encode(texts, normalize_embeddings=True))


def test_cohere_reranks(cohere_v1: Any, cohere_v2: Any, ranker: Reranker) -> None:
    expected = np.asarray(ranker.predict([(QUERY, text) for text in TEXTS])).reshape(-1)
    order = sorted(range(len(TEXTS)), key=lambda i: -expected[i])
    answer = cohere_v2.rerank(model="ranker", query=QUERY, documents=TEXTS)
    assert [result.index for result in answer.results] == order
    assert near([result.relevance_score for result in answer.results], expected[order])
    assert answer.meta.billed_units.search_units == 1
    documents = [TEXTS[0], *({"text": text, "page": "1"} for text in TEXTS[1:])]
    answer = cohere_v1.rerank(model="ranker", query=QUERY, documents=documents, top_n=2, return_documents=True)
    assert [result.index for result in answer.results] == order[:2]
    assert [result.document.text for result in answer.results] == [TEXTS[i] for i in order[:2]]


def test_cohere_raises(cohere_v2: Any, url: str) -> None:
    cohere = pytest.importorskip("cohere")
    with pytest.raises(cohere.NotFoundError, match=r'model \\?"other\\?" not found'):
        cohere_v2.embed(model="other", texts=TEXTS, input_type="search_query")
    with pytest.raises(cohere.BadRequestError, match="expected one text at least"):
        cohere_v2.embed(model="vectors", texts=[], input_type="search_query")
    with pytest.raises(cohere.BadRequestError, match="this server has no models of images"):
        cohere_v2.embed(model="vectors", images=["data:image/png;base64,"], input_type="image")
    with pytest.raises(cohere.BadRequestError, match="this one gives vectors"):
        cohere_v2.rerank(model="vectors", query=QUERY, documents=TEXTS)
    other = cohere.ClientV2(api_key="other", base_url=url)
    with other, pytest.raises(cohere.UnauthorizedError, match="does not know the key"):
        other.rerank(model="ranker", query=QUERY, documents=TEXTS)


# Ollama


@pytest.fixture
def ollama(url: str) -> Iterator[Any]:
    """A client of Ollama's."""
    client = pytest.importorskip("ollama").Client(host=url, headers={"Authorization": "Bearer key"})
    yield client
    client._client.close()


def test_ollama_embeds(ollama: Any, model: Embedder) -> None:
    answer = ollama.embed(model="vectors", input=TEXTS, keep_alive=-1, options={"num_ctx": 2048, "temperature": 0})
    assert near(answer.embeddings, model.encode(TEXTS, normalize_embeddings=True))
    assert answer.model == "vectors"
    assert answer.prompt_eval_count > 0
    assert answer.total_duration > 0
    answer = ollama.embed(model="vectors:latest", input="wax", truncate=False, dimensions=8)
    assert near(answer.embeddings, model.encode(["wax"], normalize_embeddings=True, truncate_dim=8))
    assert ollama.embed(model="vectors").embeddings == []
    assert near(ollama.embeddings(model="vectors", prompt="wax").embedding, model.encode("wax"))


def test_ollama_manages(ollama: Any) -> None:
    assert [entry.model for entry in ollama.list().models] == ["vectors:latest", "ranker:latest"]
    assert all(entry.size > 0 and entry.modified_at for entry in ollama.list().models)
    running = ollama.ps().models
    assert [entry.name for entry in running] == ["vectors:latest", "ranker:latest"]
    assert all(entry.expires_at and entry.size_vram == 0 for entry in running)
    shown = ollama.show("vectors")
    assert shown.capabilities == ["embedding"]
    assert shown.modelinfo["votive.embedding_length"] == 48
    assert shown.details.format == "safetensors"


def test_ollama_raises(ollama: Any) -> None:
    error = pytest.importorskip("ollama").ResponseError
    with pytest.raises(error, match='model "llama3" not found') as caught:
        ollama.embed(model="llama3", input="a")
    assert caught.value.status_code == 404
    with pytest.raises(error, match="the input length exceeds the context length"):
        ollama.embed(model="vectors", input="wax " * 500, truncate=False)
    with pytest.raises(error, match="no such path: POST /api/chat"):
        ollama.chat(model="vectors", messages=[{"role": "user", "content": "a"}])
