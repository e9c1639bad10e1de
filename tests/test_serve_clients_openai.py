"""OpenAI's own client, and libraries that are built on it, against a server."""

import gc
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import until
from votive import Embedder, serve
from votive.serving import Server

openai = pytest.importorskip("openai")

# Clients leave connections to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

BERT = str(Path(__file__).parent / "fixtures" / "bert_40")
TEXTS = ["hello world", "ünïcode \U0001f600", "a\nb", ""]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(BERT)


@pytest.fixture(scope="module")
def server(embedder: Embedder) -> Iterator[Server]:
    with serve({"bert": embedder}, api_keys=["key"]) as server:
        yield server


@pytest.fixture(scope="module")
def expected(embedder: Embedder) -> Any:
    return embedder.encode(TEXTS, normalize_embeddings=True)


def client(server: Server, **options: Any) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", **options)


def test_vectors_have_the_bits_of_encode(server: Server, expected: Any) -> None:
    # It asks for base64 by itself, and gives numbers.
    found = client(server).embeddings.create(model="bert", input=TEXTS)
    np.testing.assert_array_equal(np.float32([item.embedding for item in found.data]), expected)
    assert found.usage.total_tokens > 0
    as_text = client(server).embeddings.create(model="bert", input=TEXTS, encoding_format="float", dimensions=40)
    np.testing.assert_allclose([item.embedding for item in as_text.data], expected, atol=1e-6)


def test_models_are_listed(server: Server) -> None:
    assert [model.id for model in client(server).models.list()] == ["bert"]
    assert client(server).models.retrieve("bert").owned_by == "votive"


def test_errors_are_its_own(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="this server has bert") as caught:
        client(server).embeddings.create(model="x", input="a")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.request_id
    with pytest.raises(openai.BadRequestError, match="one text at least"):
        client(server).embeddings.create(model="bert", input=[])
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong").embeddings.create(model="bert", input="a")


def test_it_tries_again_when_told_to() -> None:
    model = Embedder(BERT, num_threads=1, max_batch_size=1, max_queue=100, when_full="raise")
    with serve({"bert": model}, api_keys=["key"]) as server:
        texts = [f"text {i} " + "word " * 30 for i in range(1000)]
        thread = threading.Thread(target=client(server).embeddings.create, kwargs={"model": "bert", "input": texts})
        thread.start()
        until(lambda: server.requests_in_flight > 0 and model.stats().texts > 0)
        found = client(server, max_retries=20).embeddings.create(model="bert", input=["a", "b"])
        assert len(found.data) == 2
        thread.join()


def test_langchain(server: Server, expected: Any) -> None:
    langchain = pytest.importorskip("langchain_openai")
    embeddings = langchain.OpenAIEmbeddings(
        model="bert", base_url=f"{server.url}/v1", api_key="key", check_embedding_ctx_length=False
    )
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), expected[0], atol=1e-6)


def test_llama_index(server: Server, expected: Any) -> None:
    llama_index = pytest.importorskip("llama_index.embeddings.openai")
    model = llama_index.OpenAIEmbedding(model_name="bert", api_base=f"{server.url}/v1", api_key="key")
    np.testing.assert_allclose(model.get_text_embedding_batch(TEXTS[:2]), expected[:2], atol=1e-6)


def test_node(server: Server, expected: Any) -> None:
    """Needs `npm install openai` in a folder named by NODE_PATH."""
    script = (
        "const OpenAI = require('openai').default;"
        f"const client = new OpenAI({{baseURL: '{server.url}/v1', apiKey: 'key'}});"
        "client.embeddings.create({model: 'bert', input: ['hello world']})"
        ".then(found => console.log(JSON.stringify(found.data[0].embedding)));"
    )
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", "require('openai')"], capture_output=True, check=False).returncode:
        pytest.skip("Node's openai is not installed")
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True, timeout=60)
    # It decodes whatever comes as base64.
    np.testing.assert_array_equal(np.float32(json.loads(done.stdout)), expected[0])
