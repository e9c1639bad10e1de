"""Models with tasks: a Router, whose routes have networks of their own.

The fixture `router` compares with the reference, in the tests of fidelity.
"""

import asyncio
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from json_files import change
from votive import Embedder, EmbeddingStore, ModelError, Reranker, chunk
from votive.sentence_transformers import SentenceTransformer

ROUTER = str(FIXTURES / "router")
TEXTS = ["hello world", "a longer text of some more words, and some more", "x"]

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


@pytest.fixture(scope="module")
def model() -> Embedder:
    return Embedder(ROUTER)


def changed(folder: Path, **parameters: Any) -> Path:
    """A copy of the fixture with other parameters of the Router."""
    shutil.copytree(ROUTER, folder)
    change(folder / "router_config.json", parameters=parameters)
    return folder


def test_methods_take_their_routes(model: Embedder) -> None:
    query, document = model.encode(TEXTS, task="query"), model.encode(TEXTS, task="document")
    assert not np.allclose(query, document, atol=0.01)
    assert same(model.encode(TEXTS), document)
    assert same(model.encode_document(TEXTS), document)
    assert same(model.encode_query(TEXTS, prompt=""), query)
    assert same(model.encode_query(TEXTS, prompt="", task="document"), document)
    assert same(model.encode(TEXTS[0], task="query"), query[0])
    assert same(asyncio.run(model.aencode(TEXTS, task="query")), query)
    assert same(model.encode(iter(TEXTS), task="query"), query)
    parts = model.encode(TEXTS, task="query", output_value="token_embeddings")
    assert [part.shape[1] for part in parts] == [24] * 3
    assert model.stats().texts >= 20


def test_a_task_without_a_route_is_an_error(model: Embedder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^task: \"passage\" is not one of \"query\", \"document\""):
        model.encode(TEXTS, task="passage")
    with pytest.raises(TypeError, match=r"^task: expected a str, found int"):
        model.encode(TEXTS, task=3)  # type: ignore[call-overload]
    strict = Embedder(changed(tmp_path / "strict", default_route=None, allow_empty_key=False))
    with pytest.raises(ValueError, match=r"^task: is needed: one of \"query\", \"document\""):
        strict.encode(TEXTS)
    assert same(strict.encode_document(TEXTS), model.encode_document(TEXTS))


def test_mappings_name_routes_by_other_tasks(model: Embedder, tmp_path: Path) -> None:
    mappings = {"('search', 'text')": "query", "(None, 'image')": "query"}
    mapped = Embedder(changed(tmp_path / "mapped", default_route="document", route_mappings=mappings))
    assert same(mapped.encode(TEXTS, task="search"), model.encode(TEXTS, task="query"))
    assert same(mapped.encode(TEXTS), model.encode(TEXTS))


def test_a_task_of_a_model_without_any_is_warned_of() -> None:
    plain = Embedder(FIXTURES / "bert_plain")
    with pytest.warns(UserWarning, match="^task: 'query' changes nothing") as caught:
        found = plain.encode(TEXTS, task="query")
    assert [warning.filename for warning in caught] == [__file__]
    assert same(found, plain.encode(TEXTS))
    # As in sentence-transformers, where libraries give one to every model.
    assert same(SentenceTransformer(str(FIXTURES / "bert_plain")).encode(TEXTS, task="query"), found)


def test_each_route_cuts_texts_to_its_own_length(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROUTER, tmp_path / "router"))
    change(folder / "query_0_Transformer" / "sentence_bert_config.json", max_seq_length=5)
    model = Embedder(folder)
    assert model.max_seq_length == 64
    for task, tokens in (("query", 5), ("document", 64)):
        parts = model.encode("word " * 90, task=task, output_value="token_embeddings")
        assert len(parts) == tokens
    model.max_seq_length = 7
    assert [
        len(model.encode("word " * 90, task=task, output_value="token_embeddings")) for task in ("query", "document")
    ] == [7, 7]
    model.max_seq_length = None
    assert len(model.encode("word " * 90, task="query", output_value="token_embeddings")) == 5


def test_copies_stores_chunks_and_programs(model: Embedder) -> None:
    expected = model.encode_query(TEXTS)
    assert same(pickle.loads(pickle.dumps(model)).encode_query(TEXTS), expected)
    store = EmbeddingStore(dimension=model.get_embedding_dimension())
    store.add_texts(TEXTS, model)
    found, _ = store.search_text(TEXTS[1], model, k=3)
    np.testing.assert_allclose(found, np.sort(model.encode_document(TEXTS) @ expected[1])[::-1], atol=1e-6)
    dropin = SentenceTransformer(ROUTER)
    assert same(dropin.encode_query(TEXTS), expected)
    assert same(dropin.encode(TEXTS, task="query"), model.encode(TEXTS, task="query"))
    assert dropin.config.hidden_size == 36
    whole = chunk(TEXTS, model)
    assert same(model.encode_chunks(TEXTS, whole), model.encode_document(TEXTS))


def test_both_networks_are_counted_and_both_files_tell_models_apart(model: Embedder, tmp_path: Path) -> None:
    sizes = [(path.stat().st_size) for path in Path(ROUTER).glob("*_Transformer/model.safetensors")]
    assert sum(sizes) * 0.9 < model.stats().memory.weights < sum(sizes) * 1.1
    folder = Path(shutil.copytree(ROUTER, tmp_path / "router"))
    weights = folder / "query_2_Dense" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert Embedder(folder).info.fingerprint != model.info.fingerprint


def test_what_is_not_supported_is_refused_by_name(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROUTER, tmp_path / "reranker"))
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({"model_type": "CrossEncoder"}), encoding="utf-8")
    with pytest.raises(ModelError, match="has a Router, which only an embedding model has here"):
        Reranker(folder)
    folder = Path(shutil.copytree(ROUTER, tmp_path / "other"))
    path = folder / "router_config.json"
    content = path.read_text(encoding="utf-8").replace("base.modules.transformer.Transformer", "x.LSTM", 1)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"router_config\.json: types.*LSTM.* comes first"):
        Embedder(folder)
    folder = Path(shutil.copytree(ROUTER, tmp_path / "widths"))
    path = folder / "router_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["structure"]["query"].pop()
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="routes give vectors of 24 and of 20 numbers"):
        Embedder(folder)
