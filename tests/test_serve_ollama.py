"""Ollama's embeddings of a server, and what programs ask that manage its models."""

import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import JSON, ask, until
from votive import Embedder, Reranker
from votive.serving import ServedModel, Server, serve

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS = ["a candle is wax with a wick", "", " \t\n ", "naïve café, 東京 🕯️", "wax"]
LONG = "wax and a wick " * 60


@pytest.fixture(scope="module")
def server(model: Embedder) -> Iterator[Server]:
    """A server of a model of vectors by a short name and one with a tag, and of a reranker."""
    ranker = Reranker(str(FIXTURES / "bert_rerank"))
    with serve({"all-minilm": model, "org/plain:v1.5": model, "ranker": ranker}, max_inputs=200) as server:
        yield server


@pytest.mark.parametrize("name", ["all-minilm", "all-minilm:latest", "org/plain:v1.5"])
def test_vectors_have_length_one(name: str, server: Server, model: Embedder) -> None:
    answer = ask(server, "/api/embed", {"model": name, "input": TEXTS})
    assert answer.status == 200, answer.body
    body = answer.json
    assert list(body) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    assert body["model"] == name
    expected = model.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(np.array(body["embeddings"]) - expected).max() <= 1e-6
    assert body["total_duration"] > body["load_duration"] >= 0
    assert body["prompt_eval_count"] > len(TEXTS)


def test_one_text(server: Server, model: Embedder) -> None:
    body = ask(server, "/api/embed", {"model": "all-minilm", "input": "wax"}).json
    assert np.abs(np.array(body["embeddings"]) - model.encode(["wax"], normalize_embeddings=True)).max() <= 1e-6
    body = ask(server, "/api/embed", {"model": "all-minilm", "input": "wax", "dimensions": 7}).json
    expected = model.encode(["wax"], normalize_embeddings=True, truncate_dim=7)
    assert np.abs(np.array(body["embeddings"]) - expected).max() <= 1e-6
    whole = ask(server, "/api/embed", {"model": "all-minilm", "input": "wax", "dimensions": 0}).json
    assert len(whole["embeddings"][0]) == 48


def test_the_older_path_gives_the_vector_as_it_is(server: Server, model: Embedder) -> None:
    for text in ("wax", "naïve café, 東京 🕯️", " "):
        answer = ask(server, "/api/embeddings", {"model": "all-minilm", "prompt": text})
        assert list(answer.json) == ["embedding"]
        expected = model.encode(text)
        assert np.abs(np.array(answer.json["embedding"]) - expected).max() <= 1e-6
        assert abs(np.linalg.norm(expected) - 1) > 1e-3


@pytest.mark.parametrize("body", [{}, {"input": ""}, {"input": []}, {"input": None}], ids=str)
def test_nothing_loads_the_model(body: dict[str, Any], server: Server) -> None:
    found = ask(server, "/api/embed", {"model": "all-minilm"} | body).json
    assert (found["embeddings"], found["prompt_eval_count"]) == ([], 0)


def test_no_prompt_gives_no_vector(server: Server) -> None:
    for body in ({}, {"prompt": ""}, {"prompt": None}):
        assert ask(server, "/api/embeddings", {"model": "all-minilm"} | body).json == {"embedding": []}
    faulty = ask(server, "/api/embed", {"model": "ranker", "input": ""})
    assert faulty.status == 400


def test_bodies_need_no_type(server: Server) -> None:
    raw = b'{"model": "all-minilm", "input": "wax"}'
    assert ask(server, "/api/embed", raw, {}).status == 200
    # What curl says of its -d.
    assert ask(server, "/api/embed", raw, {"Content-Type": "application/x-www-form-urlencoded"}).status == 200
    answer = ask(server, "/api/embed", raw, {"Content-Type": "text/plain"})
    assert answer.status == 415
    assert list(answer.json) == ["error"]


def test_texts_are_cut(server: Server) -> None:
    answer = ask(server, "/api/embed", {"model": "all-minilm", "input": [LONG, "wax"]})
    assert answer.headers["x-votive-truncated"] == "1"
    same = ask(server, "/api/embed", {"model": "all-minilm", "input": [LONG, "wax"], "truncate": True})
    assert same.json["embeddings"] == answer.json["embeddings"]
    refused = ask(server, "/api/embed", {"model": "all-minilm", "input": ["wax", LONG], "truncate": False})
    assert refused.status == 400
    assert list(refused.json) == ["error"]
    message = r"the input length exceeds the context length: input\[1\]: has \d+ tokens, the model takes 48"
    assert re.fullmatch(message, refused.json["error"])
    assert ask(server, "/api/embed", {"model": "all-minilm", "input": ["wax"], "truncate": False}).status == 200
    assert ask(server, "/api/embeddings", {"model": "all-minilm", "prompt": LONG}).status == 200
    short = ask(server, "/api/embed", {"model": "all-minilm", "input": LONG, "options": {"num_ctx": 10}}).json
    assert short["prompt_eval_count"] == 10
    for options in ({"num_ctx": 8192}, {"num_ctx": 0}, {"num_ctx": None, "temperature": 0.5, "stop": ["a"]}, {}, None):
        body = {"model": "all-minilm", "input": [LONG, "wax"], "options": options}
        assert ask(server, "/api/embed", body).json["embeddings"] == answer.json["embeddings"]


FAULTS: dict[str, tuple[str, Any, int, str]] = {
    "no JSON": ("embed", b"{", 400, "the body is no JSON"),
    "nothing": ("embed", b"", 400, "the body is empty"),
    "a number": ("embed", {"input": 3}, 400, "input: invalid type: integer `3`, expected a string or an array"),
    "numbers": ("embed", {"input": [1, 2]}, 400, "input: invalid input type"),
    "of both": ("embed", {"input": ["a", 1]}, 400, "input: "),
    "an object": ("embed", {"input": {"text": "a"}}, 400, "input: invalid type: map"),
    "dimensions": ("embed", {"input": "a", "dimensions": 49}, 400, "dimensions: 49 is not from 1 to 48"),
    "dimensions -1": ("embed", {"input": "a", "dimensions": -1}, 400, "dimensions: invalid value"),
    "truncate": ("embed", {"input": "a", "truncate": "END"}, 400, "truncate: invalid type"),
    "keep_alive": ("embed", {"input": "a", "keep_alive": "5 minutes"}, 400, "keep_alive: invalid value.*a time as"),
    "keep_alive's type": ("embed", {"input": "a", "keep_alive": []}, 400, "keep_alive: invalid type.*a time as"),
    "options": ("embed", {"input": "a", "options": 3}, 400, "options: invalid type"),
    "num_ctx": ("embed", {"input": "a", "options": {"num_ctx": "4k"}}, 400, r"options\.num_ctx: invalid type"),
    "num_ctx 1": ("embed", {"input": "a", "options": {"num_ctx": 1}}, 400, r"options\.num_ctx: 1 "),
    "model": ("embed", {"input": "a", "model": "llama3"}, 404, 'model "llama3" not found; this server has'),
    "another tag": ("embed", {"input": "a", "model": "all-minilm:33m"}, 404, "not found"),
    "a reranker": ("embed", {"input": "a", "model": "ranker"}, 400, "model: this one scores pairs"),
    "too many": ("embed", {"input": ["a"] * 201}, 413, "input: 201 are more than the 200"),
    "prompt": ("embeddings", {"prompt": ["a"]}, 400, "prompt: invalid type"),
    "prompt's model": ("embeddings", {"prompt": "a", "model": "x"}, 404, "not found"),
    "shown": ("show", {"model": "x"}, 404, 'model "x" not found'),
    "shown name": ("show", {"model": 3}, 400, "model: invalid type"),
    "generate": ("generate", {"model": "all-minilm", "prompt": "a"}, 404, "no such path: POST /api/generate"),
    "chat": ("chat", {"model": "all-minilm", "messages": []}, 404, "no such path: POST /api/chat"),
    "pull": ("pull", {"model": "all-minilm"}, 404, "no such path: POST /api/pull"),
    "tags": ("tags", {}, 405, "POST /api/tags: this path takes GET"),
}


@pytest.mark.parametrize(("path", "body", "status", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_are_told_as_ollama_tells_them(path: str, body: Any, status: int, message: str, server: Server) -> None:
    answer = ask(server, f"/api/{path}", body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    assert re.search(message, answer.json["error"]), answer.json


def test_faults_before_the_body(server: Server, model: Embedder) -> None:
    answer = ask(server, "/api/embed")
    assert (answer.status, answer.json) == (405, {"error": "GET /api/embed: this path takes POST"})
    answer = ask(server, "/api/embed", {"input": "a"}, JSON | {"Host": "evil.example"})
    assert (answer.status, list(answer.json)) == (403, ["error"])
    with serve(model, api_keys=["secret"]) as server:
        answer = ask(server, "/api/tags")
        assert (answer.status, list(answer.json)) == (401, ["error"])
        assert ask(server, "/api/tags", headers={"Authorization": "Bearer secret"}).status == 200
        assert ask(server, "/").status == 200


# What programs ask that manage models


def test_models_are_listed(server: Server) -> None:
    answer = ask(server, "/api/tags")
    assert answer.status == 200
    models = answer.json["models"]
    assert [entry["name"] for entry in models] == ["all-minilm:latest", "org/plain:v1.5", "ranker:latest"]
    for entry in models:
        assert entry["model"] == entry["name"]
        assert re.fullmatch("[0-9a-f]{64}", entry["digest"])
        assert entry["size"] > 1000
        assert abs(moment(entry["modified_at"]) - time.time()) < 3600
        details = entry["details"]
        assert details["format"] == "safetensors"
        assert re.fullmatch(r"\d+\.\d\dK", details["parameter_size"])
        assert details["quantization_level"] == "float32"
    assert len({entry["digest"] for entry in models}) == 3


def test_models_are_shown(server: Server) -> None:
    for body in ({"model": "all-minilm"}, {"name": "all-minilm:latest", "verbose": True}, {}):
        found = ask(server, "/api/show", body).json
        assert found["capabilities"] == ["embedding"]
        facts = found["model_info"]
        assert facts[f"{facts['general.architecture']}.embedding_length"] == 48
        assert facts[f"{facts['general.architecture']}.context_length"] == 48
        assert facts["general.parameter_count"] > 1000
        assert found["modelfile"] == "FROM all-minilm"
    assert ask(server, "/api/show", {"model": "ranker"}).json["capabilities"] == ["rerank"]


def test_what_says_that_it_is_ollama(server: Server) -> None:
    found = ask(server, "/api/version").json
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    answer = ask(server, "/")
    assert (answer.status, answer.body) == (200, b"Ollama is running")
    answer = ask(server, "/", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    for path in ("/api/tags", "/api/version"):
        assert ask(server, path, method="HEAD").status == 200


def moment(text: str) -> float:
    """Seconds since 1970 of a time as answers have it."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc).timestamp()


def loaded(server: Server) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in ask(server, "/api/ps").json["models"]}


def test_models_are_loaded_and_unloaded() -> None:
    folder = FIXTURES / "bert_40"
    served = [ServedModel(folder, name="first", preload=False), ServedModel(folder, name="second", preload=False)]
    with serve(served) as server:
        assert loaded(server) == {}
        shown = ask(server, "/api/show", {"model": "first"}).json
        assert (shown["model_info"], shown["capabilities"]) == ({}, [])
        sizes = {entry["name"]: entry["size"] for entry in ask(server, "/api/tags").json["models"]}
        assert sizes == {"first:latest": 0, "second:latest": 0}

        answer = ask(server, "/api/embed", {"model": "first", "input": ""}).json
        assert answer["embeddings"] == []
        assert answer["load_duration"] > 100_000
        entry = loaded(server)["first:latest"]
        assert moment(entry["expires_at"]) > time.time() + 1e8
        assert (entry["size_vram"], entry["context_length"]) == (0, 320)
        assert entry["size"] > 1000

        ask(server, "/api/embed", {"model": "first", "input": "a", "keep_alive": "5m"})
        assert 280 < moment(loaded(server)["first:latest"]["expires_at"]) - time.time() <= 301
        ask(server, "/api/embed", {"model": "first", "input": "a", "keep_alive": 3600})
        assert 3580 < moment(loaded(server)["first:latest"]["expires_at"]) - time.time() <= 3601
        ask(server, "/api/embed", {"model": "first", "input": "a", "keep_alive": -1})
        assert moment(loaded(server)["first:latest"]["expires_at"]) > time.time() + 1e8

        ask(server, "/api/embed", {"model": "second", "input": "a", "keep_alive": 0.1})
        until(lambda: "second:latest" not in loaded(server))
        assert "first:latest" in loaded(server)
        found = ask(server, "/api/embed", {"model": "first", "input": "a", "keep_alive": 0})
        assert len(found.json["embeddings"]) == 1
        until(lambda: "first:latest" not in loaded(server))
        # It comes back for whoever asks, and stays as it did at first.
        ask(server, "/api/embeddings", {"model": "first", "prompt": "a"})
        ask(server, "/api/embed", {"model": "second", "input": "a", "keep_alive": 0.1})
        until(lambda: "second:latest" not in loaded(server))
        assert moment(loaded(server)["first:latest"]["expires_at"]) > time.time() + 1e8


# Bodies as programs send them: ollama 0.6.3's were recorded, Open WebUI's is what its source writes.
RECORDED = {
    "ollama, embed": ("/api/embed", b'{"model":"all-minilm","input":["a"],"options":{"num_ctx":10},"keep_alive":"5m"}'),
    "ollama, embed nothing": ("/api/embed", b'{"model":"all-minilm","input":""}'),
    "ollama, embeddings": ("/api/embeddings", b'{"model":"all-minilm","prompt":"a"}'),
    "Open WebUI": ("/api/embed", b'{"input": ["a", "b"], "model": "all-minilm:latest"}'),
}


@pytest.mark.parametrize(("path", "body"), RECORDED.values(), ids=RECORDED)
def test_bodies_of_clients(path: str, body: bytes, server: Server) -> None:
    answer = ask(server, path, body, JSON | {"Authorization": "Bearer key"})
    assert answer.status == 200, answer.body
    rows = answer.json.get("embeddings", [answer.json.get("embedding")])
    assert all(len(row) == 48 for row in rows)
