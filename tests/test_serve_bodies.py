"""Bodies that are kept: what programs send, with what they read of the answers, and what nobody should send."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from serving import JSON, ask, connect, decoded
from votive import Embedder, serve
from votive.serving import Server

# What programs send was recorded, or is what their sources write; `reads` is what they read of the answer.
CLIENTS: dict[str, Any] = json.loads((FIXTURES / "bodies" / "clients.json").read_text())
HOSTILE: list[dict[str, Any]] = json.loads((FIXTURES / "bodies" / "hostile.json").read_text())
# What Cohere's kinds of texts are in front of the model's.
PROMPTS = {"search_query": "query", "search_document": "document"}
# An answer that takes longer is none.
PATIENCE = 10


@pytest.fixture(scope="module")
def server(model: Embedder) -> Iterator[Server]:
    with serve({"vectors": model, "ranker": str(FIXTURES / "bert_rerank")}) as server:
        yield server


def read(answer: Any, place: str) -> list[Any]:
    """What is at a place such as `data[].embedding`: of each item where there is `[]`."""
    found = [answer]
    for step in filter(None, place.replace("[]", ".[]").split(".")):
        found = [item for items in found for item in items] if step == "[]" else [fields[step] for fields in found]
    return found


@pytest.mark.parametrize("name", CLIENTS)
def test_what_programs_send(name: str, server: Server, model: Embedder) -> None:
    case = CLIENTS[name]
    body = case["body"]
    answer = ask(server, case["path"], body, JSON | {"Authorization": "Bearer "})
    assert answer.status == case.get("status", 200), answer.body
    found = {place: read(answer.json, place) for place in case["reads"]}
    for place, values in found.items():
        assert values, f"nothing is at {place}"
        if "embedding" in place or place == "[]":
            texts = next(body[key] for key in ("input", "inputs", "texts") if key in body)
            texts = [texts] if isinstance(texts, str) else texts
            prompt = PROMPTS.get(body.get("input_type"))
            rows = model.encode(texts, prompt_name=prompt, normalize_embeddings=True)
            assert same([decoded(row) if isinstance(row, str) else np.float32(row) for row in values], [*rows])
        if place == "results[].relevance_score":
            assert len(values) == min(body["top_n"] or len(body["documents"]), len(body["documents"]))
            assert all(0 <= score <= 1 for score in values)
            assert values == sorted(values, reverse=True)
        if place == "results[].index":
            assert len({*values}) == len(values)
            assert {*values} <= {*range(len(body["documents"]))}
    if "model" in found:
        assert found["model"] == [body["model"]]
    if "response_type" in found:
        assert found["response_type"] == ["embeddings_by_type"], "the client reads the answer by it"


def test_what_nobody_should_send(server: Server) -> None:
    """All over one connection: after an error the next request has its own answer."""
    assert all(case["status"] < 500 for case in HOSTILE)
    with connect(server, PATIENCE) as connection:
        for case in HOSTILE:
            body = (case["text"] * case.get("times", 1) + case.get("end", "")).encode()
            connection.request("POST", case["path"], body, JSON)
            response = connection.getresponse()
            said = response.read()
            assert response.status == case["status"], (case, said[:1000])
            assert isinstance(json.loads(said), dict if response.status != 200 else (dict, list)), case
            assert len(said) < 100_000, case
    assert ask(server, "/v1/embeddings", {"input": "a"}).status == 200
