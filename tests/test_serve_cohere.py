"""Cohere's embeddings of a server: values, types, prompts, limits, and faults in Cohere's words."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import BITS, same
from serving import JSON, ask, decoded
from votive import Embedder, Reranker, quantize_embeddings
from votive.serving import Server, serve

FIXTURES = Path(__file__).parent / "fixtures"
PATHS = ("/v1/embed", "/v2/embed")
# Every other is empty, of blanks, of other writing, or of several words.
TEXTS = ["a candle is wax with a wick", "", " \t\n ", "naïve café, 東京 🕯️", "\u0000 zero", "wax"]
LONG = "wax and a wick " * 60


@pytest.fixture(scope="module")
def server(model: Embedder, ranker: Reranker) -> Iterator[Server]:
    """A server of a model with prompts, one without, and a reranker."""
    plain = Embedder(str(FIXTURES / "bert_40"))
    with serve({"prompted": model, "plain": plain, "ranker": ranker}, max_inputs=200) as server:
        yield server


def rows(texts: list[str]) -> np.ndarray:
    """Of base64."""
    return np.stack([decoded(text) for text in texts])


@pytest.mark.parametrize("path", PATHS)
def test_vectors_have_the_bits_of_encode(path: str, server: Server, model: Embedder) -> None:
    body = {"model": "prompted", "texts": TEXTS, "embedding_types": ["base64", "float"]}
    answer = ask(server, path, body)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    found, expected = answer.json["embeddings"], model.encode(TEXTS, normalize_embeddings=True)
    assert list(found) == ["base64", "float"]
    assert same(rows(found["base64"]), expected)
    assert np.abs(np.array(found["float"]) - expected).max() <= 1e-6
    assert answer.json["texts"] == TEXTS
    assert answer.json["response_type"] == "embeddings_by_type"
    assert answer.json["meta"]["api_version"] == {"version": path[2]}
    assert answer.json["meta"]["billed_units"]["input_tokens"] > len(TEXTS)


def test_ids_differ(server: Server) -> None:
    ids = {ask(server, "/v2/embed", {"texts": ["a"]}).json["id"] for _ in range(8)}
    assert len(ids) == 8
    assert all(len(name) == 36 for name in ids)


def test_the_first_version_gives_plain_vectors(server: Server, model: Embedder) -> None:
    for types in ({}, {"embedding_types": None}, {"embedding_types": []}):
        answer = ask(server, "/v1/embed", {"texts": TEXTS} | types)
        assert answer.json["response_type"] == "embeddings_floats"
        expected = model.encode(TEXTS, normalize_embeddings=True)
        assert np.abs(np.array(answer.json["embeddings"]) - expected).max() <= 1e-6
        assert list(ask(server, "/v2/embed", {"texts": ["a"]} | types).json["embeddings"]) == ["float"]


@BITS
@pytest.mark.parametrize(
    ("input_type", "method"),
    [
        ("search_query", "encode_query"),
        ("search_document", "encode_document"),
        ("classification", "encode"),
        ("clustering", "encode"),
        (None, "encode"),
    ],
)
def test_input_types_are_prompts(input_type: str | None, method: str, server: Server, model: Embedder) -> None:
    body = {"texts": TEXTS, "input_type": input_type, "embedding_types": ["base64"]}
    found = rows(ask(server, "/v2/embed", body).json["embeddings"]["base64"])
    assert same(found, getattr(model, method)(TEXTS, normalize_embeddings=True))


def test_types_in_fewer_bits(server: Server, model: Embedder) -> None:
    types = ["ubinary", "binary", "uint8", "int8", "uint8"]
    found = ask(server, "/v2/embed", {"texts": TEXTS, "embedding_types": types}).json["embeddings"]
    assert list(found) == ["ubinary", "binary", "uint8", "int8"]
    vectors = model.encode(TEXTS, normalize_embeddings=True)
    for kind in ("binary", "ubinary"):
        assert same(np.array(found[kind]), quantize_embeddings(vectors, kind))
    int8 = np.array(found["int8"])
    assert np.array_equal(int8 + 128, found["uint8"])
    assert (np.abs(int8).max(axis=1) == 127).all()
    lengths = np.linalg.norm(int8, axis=1)
    assert ((int8 * vectors).sum(axis=1) / lengths).min() > 0.9998
    alone = ask(server, "/v2/embed", {"texts": TEXTS[:1], "embedding_types": ["int8"]}).json["embeddings"]["int8"]
    assert alone == found["int8"][:1]


def test_inputs_are_texts(server: Server, model: Embedder) -> None:
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    inputs = [{"content": content}, {"content": content[:1]}]
    answer = ask(server, "/v2/embed", {"inputs": inputs, "images": [], "embedding_types": ["base64"]}).json
    assert answer["texts"] == ["a\nb", "a"]
    assert same(rows(answer["embeddings"]["base64"]), model.encode(["a\nb", "a"], normalize_embeddings=True))


def test_vectors_are_cut(server: Server, model: Embedder) -> None:
    found = ask(server, "/v2/embed", {"texts": TEXTS, "output_dimension": 16, "embedding_types": ["base64"]}).json
    expected = model.encode(TEXTS, normalize_embeddings=True, truncate_dim=16)
    assert same(rows(found["embeddings"]["base64"]), expected)


def test_texts_are_cut(server: Server, model: Embedder) -> None:
    body = {"texts": [LONG, "wax"], "embedding_types": ["base64"]}
    whole = rows(ask(server, "/v2/embed", body).json["embeddings"]["base64"])
    assert same(rows(ask(server, "/v2/embed", body | {"truncate": "END"}).json["embeddings"]["base64"]), whole)
    answer = ask(server, "/v2/embed", body | {"max_tokens": 12})
    assert answer.headers["x-votive-truncated"] == "1"
    short = Embedder(str(FIXTURES / "bert_modules"), max_seq_length=12)
    with pytest.warns(UserWarning, match="longer"):
        expected = short.encode([LONG, "wax"], normalize_embeddings=True)
    assert same(rows(answer.json["embeddings"]["base64"]), expected)
    # The model takes fewer.
    answer = ask(server, "/v2/embed", body | {"max_tokens": 100_000})
    assert same(rows(answer.json["embeddings"]["base64"]), whole)


@BITS
def test_texts_lose_the_end_that_is_named(server: Server) -> None:
    def row(text: str, end: str) -> list[float]:
        body = {"texts": [text], "truncate": end, "max_tokens": 12, "embedding_types": ["base64"]}
        answer = ask(server, "/v2/embed", body)
        assert answer.headers["x-votive-truncated"] == "1"
        return rows(answer.json["embeddings"]["base64"])[0].tolist()

    assert row(LONG, "START") == row("a candle " + LONG, "START") != row(LONG + "a candle", "START")
    assert row(LONG, "END") == row(LONG + "a candle", "END") != row("a candle " + LONG, "END")


def test_texts_that_must_not_be_cut(server: Server) -> None:
    for path in PATHS:
        answer = ask(server, path, {"texts": ["wax", LONG], "truncate": "NONE"})
        assert answer.status == 400, answer.body
        assert list(answer.json) == ["message"]
        assert re.fullmatch(r"texts\[1\]: has \d+ tokens, the model takes 48", answer.json["message"])
        assert ask(server, path, {"texts": ["wax"], "truncate": "NONE"}).status == 200
        assert ask(server, path, {"texts": ["wax"], "truncate": "NONE", "max_tokens": 30}).status == 200


@pytest.mark.parametrize("priority", [0, 1, 999, -1, -(2**31), None])
def test_priorities_are_taken(priority: int | None, server: Server) -> None:
    assert ask(server, "/v2/embed", {"texts": ["a"], "priority": priority}).status == 200


@pytest.mark.parametrize("model_name", [None, "", "default", "prompted", "prompted:latest"])
def test_names_of_the_first_model(model_name: str | None, server: Server) -> None:
    assert ask(server, "/v2/embed", {"texts": ["a"], "model": model_name}).status == 200


FAULTS: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, "the body is no JSON"),
    "nothing": (b"", 400, "the body is empty"),
    "a list": ([], 400, "the body is no JSON object"),
    "no texts": ({}, 400, "texts: expected one text at least"),
    "null": ({"texts": None}, 400, "texts: expected one text at least"),
    "empty": ({"texts": []}, 400, "texts: expected one text at least"),
    "no inputs": ({"inputs": []}, 400, "inputs: expected one text at least"),
    "one text": ({"texts": "a"}, 400, "texts: invalid type: string"),
    "a number": ({"texts": ["a", 3]}, 400, r"texts\[1\]: invalid type: integer"),
    "half a character": (b'{"texts": ["a", "\\ud800"]}', 400, r"texts\[1\]: "),
    "no UTF-8": (b'{"texts": ["\xff"]}', 400, "the body is no JSON: "),
    "both": ({"texts": ["a"], "inputs": []}, 400, "inputs: give texts or inputs"),
    "images": ({"texts": ["a"], "images": ["data:"]}, 400, "images: this server has no models of images"),
    "an image": (
        {"inputs": [{"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        400,
        r"inputs\[0\]\.content\[0\]\.type: unknown variant `image_url`",
    ),
    "of images": ({"texts": ["a"], "input_type": "image"}, 400, "input_type: this server has no models of images"),
    "input type": ({"texts": ["a"], "input_type": "query"}, 400, "input_type: unknown variant `query`"),
    "embedding type": ({"texts": ["a"], "embedding_types": ["int4"]}, 400, r"embedding_types\[0\]: unknown"),
    "truncate": ({"texts": ["a"], "truncate": True}, 400, "truncate: is of a type that is not accepted"),
    "truncate's name": ({"texts": ["a"], "truncate": "MIDDLE"}, 400, "truncate: unknown variant `MIDDLE`"),
    "dimension 0": ({"texts": ["a"], "output_dimension": 0}, 400, "output_dimension: 0 is not from 1 to 48"),
    "dimension 49": ({"texts": ["a"], "output_dimension": 49}, 400, "output_dimension: 49 is not from 1 to 48"),
    "dimension -1": ({"texts": ["a"], "output_dimension": -1}, 400, "output_dimension: invalid value"),
    "tokens 0": ({"texts": ["a"], "max_tokens": 0}, 400, "max_tokens: "),
    "tokens": ({"texts": ["a"], "max_tokens": 1.5}, 400, "max_tokens: invalid type"),
    "priority": ({"texts": ["a"], "priority": "high"}, 400, "priority: invalid type"),
    "model": ({"texts": ["a"], "model": "other"}, 404, 'model "other" not found; this server has prompted, plain'),
    "reranker": ({"texts": ["a"], "model": "ranker"}, 400, "model: this one scores pairs"),
    "too many": ({"texts": ["a"] * 201}, 413, "texts: 201 are more than the 200 of a request"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "status", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_are_told_as_cohere_tells_them(body: Any, status: int, message: str, path: str, server: Server) -> None:
    answer = ask(server, path, body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["message"]
    assert re.search(message, answer.json["message"]), answer.json


def test_faults_before_the_body(server: Server, model: Embedder) -> None:
    answer = ask(server, "/v2/embed", {"texts": ["a"]}, {"Content-Type": "text/plain"})
    assert answer.status == 415
    assert "Content-Type" in answer.json["message"]
    answer = ask(server, "/v2/embed")
    assert answer.status == 405
    assert answer.json == {"message": "GET /v2/embed: this path takes POST"}
    answer = ask(server, "/v2/embed", {"texts": ["a"]}, JSON | {"Host": "evil.example"})
    assert answer.status == 403
    assert list(answer.json) == ["message"]
    with serve(model, api_keys=["secret"], max_body_mb=0.001) as server:
        answer = ask(server, "/v1/embed", {"texts": ["a"]})
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert list(answer.json) == ["message"]
        answer = ask(server, "/v1/embed", {"texts": ["a"]}, JSON | {"Authorization": "Bearer secret"})
        assert answer.status == 200
        answer = ask(server, "/v1/embed", {"texts": ["a" * 2000]}, JSON | {"Authorization": "Bearer secret"})
        assert answer.status == 413
        assert list(answer.json) == ["message"]


# Bodies as cohere 7.3.1 sends them, recorded.
RECORDED = {
    "ClientV2": (
        "/v2/embed",
        b'{"texts":["ping"],"model":"prompted","input_type":"search_query","embedding_types":["float"]}',
    ),
    "ClientV2, inputs": (
        "/v2/embed",
        b'{"model":"prompted","input_type":"search_query","inputs":[{"content":[{"type":"text","text":"ping"}]}],'
        b'"output_dimension":48,"embedding_types":["float"]}',
    ),
    "Client": ("/v1/embed", b'{"texts":["ping"],"model":"prompted","input_type":"search_query"}'),
}


@pytest.mark.parametrize(("path", "body"), RECORDED.values(), ids=RECORDED)
def test_bodies_of_clients(path: str, body: bytes, server: Server, model: Embedder) -> None:
    answer = ask(server, path, body)
    assert answer.status == 200, answer.body
    embeddings = answer.json["embeddings"]
    row = (embeddings["float"] if isinstance(embeddings, dict) else embeddings)[0]
    assert np.abs(np.array(row) - model.encode_query("ping", normalize_embeddings=True)).max() <= 1e-6
