"""Clients that mean no good: crowds, such as take nothing of their answers, bodies that are damaged at random."""

import json
import random
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from conftest import FIXTURES
from process_memory import resident_bytes
from serving import JSON, ask, connect
from votive import serve
from votive.serving import Server

# A part is no more than the system keeps for a listener that has not accepted them: 128.
CROWD, PART = 10_000, 100
# Clients' receive buffers are small, and an answer is not.
UNREAD_BYTES = 4096
MUTANTS = 300

BODIES = {
    "/v1/embeddings": {"input": ["a", "b"], "model": "m", "encoding_format": "base64", "dimensions": 8, "user": "u"},
    "/v2/embed": {"model": "m", "texts": ["a"], "input_type": "search_query", "embedding_types": ["int8", "float"]},
    "/v1/embed": {"model": "m", "texts": ["a"], "truncate": "END", "output_dimension": 8},
    "/v1/rerank": {"model": "r", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True},
    "/rerank": {"query": "q", "texts": ["a", "b"], "raw_scores": True, "return_text": True, "truncate": True},
    "/score": {"model": "r", "text_1": "a", "text_2": ["b", "c"]},
    "/embed": {"inputs": ["a", "b"], "normalize": False, "truncation_direction": "left", "dimensions": 8},
    "/predict": {"inputs": [["a", "b"], ["c", "d"]], "raw_scores": True},
    "/similarity": {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {}},
    "/tokenize": {"inputs": "a b", "add_special_tokens": False},
    "/decode": {"ids": [[1, 2, 3]], "skip_special_tokens": True},
    "/vertex": {"instances": [{"inputs": "a"}]},
    "/api/embed": {"model": "m", "input": ["a"], "truncate": True, "keep_alive": "5m", "options": {}},
    "/api/embeddings": {"model": "m", "prompt": "a"},
    "/api/show": {"model": "m"},
}
PARTS = [
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"-1", b"1e999", b"18446744073709551616", b"true", b"\\ud800",
    b"\xff", b"\x00", b"[" * 200, b"NaN", b"0.5", b'"a"', b"{}", b"[]",
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = {"m": str(FIXTURES / "bert_40"), "r": str(FIXTURES / "bert_rerank")}
    with serve(models) as server:
        yield server


def crowd(host: str, port: int, count: int) -> list[bytes]:
    """What so many connections, all open before the first is read, are told until they are closed."""
    said: list[bytes] = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection((host, port), timeout=30))
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, [])
        while selector.get_map():
            found = selector.select(timeout=30)
            assert found, f"{len(selector.get_map())} clients are told nothing"
            for key, _ in found:
                assert isinstance(key.fileobj, socket.socket)
                try:
                    part = key.fileobj.recv(1000)
                except ConnectionError:
                    part = b""
                key.data.append(part)
                if not part:
                    selector.unregister(key.fileobj)
                    said.append(b"".join(key.data))
    return said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_crowd_is_refused_and_who_was_there_is_answered() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10 * PART
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{hard} descriptors are too few")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        with serve(str(FIXTURES / "bert_40"), max_connections=2) as server, connect(server) as kept:
            host, _, port = server.url.removeprefix("http://").partition(":")

            def is_answered() -> bool:
                kept.request("POST", "/v1/embeddings", json.dumps({"input": "a"}), JSON)
                response = kept.getresponse()
                response.read()
                return response.status == 200

            assert is_answered()
            told, taken = 0, 0
            # The second place is taken by one that says nothing.
            with socket.create_connection((host, int(port))):
                for part in range(CROWD // PART):
                    said = crowd(host, int(port), PART)
                    assert {words[:12] for words in said} <= {b"", b"HTTP/1.1 503"}
                    told += sum(bool(words) for words in said)
                    assert is_answered()
                    if part == 0:
                        taken = resident_bytes()
            assert told > 0
            assert resident_bytes() < taken + (8 << 20), "memory stays"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_takes_nothing_of_an_answer_stops_nobody() -> None:
    with serve(str(FIXTURES / "bert_40")) as server, ExitStack() as stack:
        host, _, port = server.url.removeprefix("http://").partition(":")
        body = json.dumps({"input": ["a"] * 2000}).encode()
        head = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        for _ in range(20):
            slow = stack.enter_context(closing(socket.socket()))
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
            slow.settimeout(30)
            slow.connect((host, int(port)))
            slow.sendall(head.encode() + body)
            assert slow.recv(15) == b"HTTP/1.1 200 OK", "the answer has begun, and the rest is not read"
        for _ in range(20):
            assert ask(server, "/v1/embeddings", {"input": "hello"}).status == 200
        before = time.monotonic()
        server.stop(0.2)
        assert time.monotonic() - before < 10, "the end does not wait for them"


# Heads, bodies and ranges that come in small parts, and answers that are taken so.
SLOW = {
    "heads": ("-H", "/v1/embeddings"),
    "bodies": ("-B", "/v1/embeddings"),
    "reading": ("-X", "/openapi.json"),
    "ranges": ("-R", "/openapi.json"),
}


@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="slowhttptest is not installed")
@pytest.mark.parametrize(("mode", "path"), SLOW.values(), ids=SLOW)
def test_slow_clients_stop_nobody(mode: str, path: str, server: Server) -> None:
    limits = ["-c", "300", "-r", "600", "-i", "1", "-l", "4", "-p", "2"]
    command = ["slowhttptest", mode, *limits, "-f", "application/json", "-u", f"{server.url}{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as slow:
        asked = 0
        while slow.poll() is None:
            before = time.monotonic()
            assert ask(server, "/v1/embeddings", {"input": "hello"}).status == 200
            assert time.monotonic() - before < 2
            asked += 1
            time.sleep(0.01)
        assert slow.stdout is not None
        said = slow.stdout.read().decode()
        assert slow.returncode == 0, said
        assert "service available:\x1b[1;32m   \x1b[1;32mYES" in said, said
    assert asked > 20


def mutant(body: bytes, choice: random.Random) -> bytes:
    """The body with some of its bytes lost, repeated, changed, or others between them."""
    found = bytearray(body)
    for _ in range(choice.randint(1, 4)):
        start = choice.randrange(len(found) + 1)
        end = min(len(found), start + choice.choice([0, 1, 1, 2, 5, 20]))
        match choice.randrange(4):
            case 0:
                del found[start:end]
            case 1:
                found[start:end] = choice.choice(PARTS)
            case 2:
                found[start:start] = found[start:end] * choice.choice([1, 2, 50])
            case 3 if start < len(found):
                found[start] ^= 1 << choice.randrange(8)
    return bytes(found)


@pytest.mark.parametrize("path", BODIES)
def test_damaged_bodies_have_an_answer(path: str, server: Server) -> None:
    body = json.dumps(BODIES[path]).encode()
    assert ask(server, path, body).status in (200, 400, 422)
    choice = random.Random(path)
    with connect(server) as connection:
        for _ in range(MUTANTS):
            damaged = mutant(body, choice)
            connection.request("POST", path, damaged, JSON)
            response = connection.getresponse()
            said = response.read()
            assert response.status < 500, (damaged, said)
            assert said, damaged
