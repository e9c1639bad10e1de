"""Models that fail in the middle of their work: whose requests fail, and that all others are answered."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from served import metrics, value
from serving import ask, decoded, until
from votive import Embedder, serve
from votive.serving import ServedModel, Server

BERT = FIXTURES / "bert_40"
# A word of the vocabulary, which overflows, and one that does not.
BAD, GOOD = "a", "b"
LONG = "b " * 20

# Each interface's own request, and the status that its clients take for an error of the server.
REQUESTS = {
    "/v1/embeddings": ({"model": "fails", "input": BAD}, 500),
    "/v1/embeddings, base64": ({"model": "fails", "input": BAD, "encoding_format": "base64"}, 500),
    "/v2/embed": ({"model": "fails", "texts": [BAD], "input_type": "search_query", "embedding_types": ["int8"]}, 500),
    "/v1/embed": ({"model": "fails", "texts": [BAD]}, 500),
    "/api/embed": ({"model": "fails", "input": BAD}, 500),
    "/api/embeddings": ({"model": "fails", "prompt": BAD}, 500),
    "/embed": ({"inputs": BAD}, 424),
    "/embed_all": ({"inputs": BAD}, 424),
    "/similarity": ({"inputs": {"source_sentence": BAD, "sentences": [GOOD]}}, 424),
}


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in which the numbers of one word are so large that layers give infinite ones."""
    folder = tmp_path_factory.mktemp("models") / "overflowing"
    shutil.copytree(BERT, folder)
    row = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"][BAD]
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:data])
    words = next(entry for name, entry in header.items() if name.endswith("word_embeddings.weight"))
    large = np.full(words["shape"][1], 3e38, "<f4").tobytes()
    start = data + words["data_offsets"][0] + row * len(large)
    content[start : start + len(large)] = large
    file.write_bytes(content)
    return folder


@pytest.fixture
def server(overflowing: Path) -> Iterator[Server]:
    # They wait for each other, so that passes hold texts of several requests.
    failing = ServedModel(overflowing, name="fails", options={"max_wait_ms": 5})
    with serve([failing, ServedModel(BERT, name="works")]) as server:
        yield server


def row(server: Server, model: str, text: str) -> Any:
    """The vector of a text, or the status of an error."""
    body = {"model": model, "input": text, "encoding_format": "base64"}
    answer = ask(server, "/v1/embeddings", body)
    return decoded(answer.json["data"][0]["embedding"]) if answer.status == 200 else answer.status


@pytest.mark.parametrize("name", REQUESTS)
def test_numbers_that_are_none_are_an_error_of_each_interface(name: str, server: Server) -> None:
    body, status = REQUESTS[name]
    answer = ask(server, name.partition(",")[0], body)
    assert answer.status == status, answer.body
    assert "infinite or no number" in answer.body.decode()
    assert value(metrics(server), "votive_errors_total", reason="failed") == 1


def test_requests_beside_one_that_fails_are_answered(server: Server) -> None:
    expected = Embedder(BERT).encode([GOOD, BAD], normalize_embeddings=True)
    wanted = [("fails", BAD), ("fails", GOOD), ("works", BAD), ("fails", GOOD)] * 50
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda request: row(server, *request), wanted))
    for (model, text), got in zip(wanted, found, strict=True):
        if (model, text) == ("fails", BAD):
            assert got == 500
        else:
            assert same(got, expected[0 if text == GOOD else 1])
    assert value(metrics(server), "votive_errors_total", reason="failed") == 50
    until(lambda: ask(server, "/stats").json["in_flight"] <= 1)


@pytest.mark.parametrize(
    ("fault", "short", "problem"),
    [("memory:8", 200, "out of memory: 22 tokens"), ("operation:3", 500, "lost in operation 3")],
)
def test_a_device_without_memory_or_lost(fault: str, short: int, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", fault)
    models = [ServedModel(BERT, name=device, options={"device": device}) for device in ("fake", "cpu")]
    with serve(models) as server:
        for _ in range(3):
            answer = ask(server, "/v1/embeddings", {"model": "fake", "input": [GOOD, LONG]})
            assert (answer.status, problem in answer.json["error"]["message"]) == (500, True)
            assert ask(server, "/v1/embeddings", {"model": "fake", "input": GOOD}).status == short
            assert ask(server, "/v1/embeddings", {"model": "cpu", "input": LONG}).status == 200
        ready = ask(server, "/ready")
        assert (ready.status, problem in ready.body.decode()) == ((200, False) if short == 200 else (503, True))
