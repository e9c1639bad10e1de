"""The embedding function of Chroma's collections, against the real package: also when a collection is opened again."""

import json
import os
import warnings

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, SimilarityFunction

pytest.importorskip("chromadb")
os.environ["ANONYMIZED_TELEMETRY"] = "False"

import chromadb
from chromadb.utils.embedding_functions import known_embedding_functions
from votive.integrations.chroma import VotiveEmbeddingFunction

pytestmark = pytest.mark.filterwarnings("default")  # warnings of other people's packages are theirs

MODEL = str(FIXTURES / "bert_modules")
TEXTS = ["rye bread needs a sourdough", "a large port", "knead the dough"]
IDS = ["rye", "port", "dough"]


@pytest.fixture(scope="module")
def embedder():
    return Embedder(MODEL)


@pytest.fixture
def client(tmp_path):
    return chromadb.PersistentClient(str(tmp_path / "chroma"))


def test_documents_and_queries_get_their_prompts(embedder):
    function = VotiveEmbeddingFunction(MODEL)
    found = function(TEXTS)
    assert [row.dtype for row in found] == [np.float32] * 3
    np.testing.assert_array_equal(np.stack(found), embedder.encode_document(TEXTS))
    np.testing.assert_array_equal(np.stack(function.embed_query(TEXTS)), embedder.encode_query(TEXTS))
    assert type(function.embedder) is Embedder


def test_options_are_those_of_the_embedder(embedder):
    function = VotiveEmbeddingFunction(MODEL, normalize_embeddings=True, truncate_dim=8)
    expected = embedder.encode_document(TEXTS, truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_array_equal(np.stack(function(TEXTS)), expected)


def test_a_collection(client, embedder):
    collection = client.create_collection("places", embedding_function=VotiveEmbeddingFunction(embedder))
    collection.add(ids=IDS, documents=TEXTS)
    kept = collection.get(include=["embeddings"])
    np.testing.assert_allclose(kept["embeddings"], embedder.encode_document(TEXTS), rtol=1e-6)

    found = collection.query(query_texts=["bread"], n_results=3)
    scores = embedder.similarity(embedder.encode_query("bread"), embedder.encode_document(TEXTS))[0]
    assert found["ids"][0] == [IDS[row] for row in np.argsort(-scores)]
    np.testing.assert_allclose(found["distances"][0], 1 - np.sort(scores)[::-1], atol=1e-6)
    assert collection._embedding_function.embedder is embedder


OPENED = """
import sys
import chromadb
import votive.integrations.chroma
client = chromadb.PersistentClient(sys.argv[1])
collection = client.get_collection("places")
function = collection.configuration["embedding_function"]
assert type(function) is votive.integrations.chroma.VotiveEmbeddingFunction, function
print(function.embedder.truncate_dim, function.normalize_embeddings)
collection.add(ids=["new"], documents=["flour and water"])
print(collection.query(query_texts=["bread"], n_results=4)["ids"][0])
# A function is built anew for each of these, and its model is not.
assert collection.configuration["embedding_function"].embedder is function.embedder
assert "torch" not in sys.modules
"""


def test_a_collection_that_is_opened_again_has_its_function(client, run_python, tmp_path):
    function = VotiveEmbeddingFunction(MODEL, normalize_embeddings=True, truncate_dim=8)
    client.create_collection("places", embedding_function=function).add(ids=IDS, documents=TEXTS)
    code = f"import warnings; warnings.simplefilter('ignore')\n{OPENED}"
    settings, ids = run_python(code, str(tmp_path / "chroma")).splitlines()
    assert settings == "8 True"

    texts = [*TEXTS, "flour and water"]
    embedder = Embedder(MODEL, truncate_dim=8)
    scores = embedder.similarity(embedder.encode_query("bread"), embedder.encode_document(texts))[0]
    assert ids == str([[*IDS, "new"][row] for row in np.argsort(-scores)])


FORGOTTEN = """
import sys, warnings
warnings.simplefilter("ignore")
import chromadb
collection = chromadb.PersistentClient(sys.argv[1]).get_collection("places")
try:
    collection.query(query_texts=["bread"])
except ValueError as error:
    print(error)
"""


def test_without_the_import_chroma_does_not_take_another_model(client, run_python, tmp_path):
    client.create_collection("places", embedding_function=VotiveEmbeddingFunction(MODEL)).add(ids=IDS, documents=TEXTS)
    assert "votive not found" in run_python(FORGOTTEN, str(tmp_path / "chroma"))


def test_it_is_registered():
    assert known_embedding_functions["votive"] is VotiveEmbeddingFunction
    assert VotiveEmbeddingFunction.name() == "votive"
    assert not VotiveEmbeddingFunction(MODEL).is_legacy()


@pytest.mark.parametrize(("similarity", "space"), [("cosine", "cosine"), ("dot", "ip"), ("euclidean", "l2")])
def test_the_space_is_that_of_the_model(client, similarity, space):
    function = VotiveEmbeddingFunction(MODEL, similarity_fn_name=similarity)
    collection = client.create_collection("places", embedding_function=function)
    assert collection.configuration["hnsw"]["space"] == space


def test_a_space_that_is_asked_for_is_taken(client):
    function = VotiveEmbeddingFunction(MODEL)
    collection = client.create_collection(
        "places", embedding_function=function, configuration={"hnsw": {"space": "l2"}}
    )
    assert collection.configuration["hnsw"]["space"] == "l2"


def test_a_similarity_without_a_space_warns(client):
    function = VotiveEmbeddingFunction(MODEL, similarity_fn_name="manhattan")
    with pytest.warns(UserWarning, match="'manhattan' is no space of Chroma's; the collection has 'l2'"):
        collection = client.create_collection("places", embedding_function=function)
    assert collection.configuration["hnsw"]["space"] == "l2"
    assert isinstance(collection.configuration["embedding_function"], VotiveEmbeddingFunction)


def test_a_config_makes_the_same_function():
    function = VotiveEmbeddingFunction(FIXTURES / "bert_modules", normalize_embeddings=True, truncate_dim=8)
    config = function.get_config()
    assert config == {"model_name": MODEL, "normalize_embeddings": True, "options": {"truncate_dim": 8}}
    again = VotiveEmbeddingFunction.build_from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    assert again.embedder is function.embedder
    np.testing.assert_array_equal(again(TEXTS), function(TEXTS))


def test_a_loaded_model_is_kept_as_its_arguments():
    embedder = Embedder(MODEL, truncate_dim=8, token="secret")
    embedder.prompts["query"] = "find "
    embedder.similarity_fn_name = SimilarityFunction.DOT
    function = VotiveEmbeddingFunction(embedder)
    assert function.embedder is embedder
    config = function.get_config()
    assert "secret" not in json.dumps(config)
    again = VotiveEmbeddingFunction.build_from_config(config)
    assert again.embedder is not embedder
    assert again.default_space() == "ip"
    np.testing.assert_array_equal(again.embed_query(TEXTS), embedder.encode_query(TEXTS))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: VotiveEmbeddingFunction("no/such/model"), FileNotFoundError, "no/such/model"),
        (lambda: VotiveEmbeddingFunction(MODEL, dimension=8), TypeError, "unexpected keyword argument 'dimension'"),
        (lambda: VotiveEmbeddingFunction(7), TypeError, "model_name: expected a model's name, a folder or Embedder"),
        (
            lambda: VotiveEmbeddingFunction(Embedder(MODEL), dtype="int8"),
            TypeError,
            "model_name: the Embedder is loaded",
        ),
        (lambda: VotiveEmbeddingFunction(MODEL, token="secret"), ValueError, "token: it would be written into"),
        (
            lambda: VotiveEmbeddingFunction(MODEL, similarity_fn_name=SimilarityFunction.DOT),
            TypeError,
            "options: a collection keeps what JSON can say: .*SimilarityFunction",
        ),
    ],
)
def test_what_is_refused(make, error, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message):
        make()


def test_nothing_is_warned_of(client):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collection = client.create_collection("places", embedding_function=VotiveEmbeddingFunction(MODEL))
        collection.add(ids=IDS, documents=TEXTS)
        assert len(collection.query(query_texts=["bread"])["ids"][0]) == 3
