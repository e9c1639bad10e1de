"""The server itself: who is answered, what is refused, how models come and go, and how it ends."""

import http.client
import json
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive
from serving import JSON, Answer, ask, connect, decoded, until
from votive import Embedder, Reranker, serve
from votive.serving import ServedModel, Server, ServerOptions

FIXTURES = Path(__file__).parent / "fixtures"
BERT, RERANKER = str(FIXTURES / "bert_40"), str(FIXTURES / "bert_rerank")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(BERT)


@pytest.fixture(scope="module")
def server(embedder: Embedder) -> Iterator[Server]:
    with serve({"bert": embedder, "ranks": RERANKER}) as server:
        yield server


def embed(server: Server, texts: Any, **fields: Any) -> Answer:
    return ask(server, "/v1/embeddings", {"input": texts, "model": "bert", "encoding_format": "base64"} | fields)


def test_vectors_have_the_bits_of_encode(server: Server, embedder: Embedder) -> None:
    texts = ["hello world", "", "ünïcode \U0001f600 \u0000", "word " * 200]
    answer = embed(server, texts)
    rows = np.stack([decoded(item["embedding"]) for item in answer.json["data"]])
    assert answer.status == 200
    assert [item["index"] for item in answer.json["data"]] == [0, 1, 2, 3]
    with pytest.warns(votive.TruncationWarning):
        np.testing.assert_array_equal(rows, embedder.encode(texts, normalize_embeddings=True))
    report = embedder.last_report
    assert report is not None
    assert answer.json["usage"] == {"prompt_tokens": report.tokens, "total_tokens": report.tokens}
    assert answer.headers["x-votive-truncated"] == "1", "what was cut is said"
    assert "compute;dur=" in answer.headers["server-timing"]
    as_text = ask(server, "/v1/embeddings", {"input": texts[:1]}).json
    assert as_text["model"] == "bert", "the first model is the default one"
    np.testing.assert_array_equal(np.float32(as_text["data"][0]["embedding"]), rows[0])


def test_dimensions_cut_and_scale_again(server: Server, embedder: Embedder) -> None:
    row = decoded(embed(server, "hello", dimensions=7).json["data"][0]["embedding"])
    np.testing.assert_array_equal(row, embedder.encode("hello", normalize_embeddings=True, truncate_dim=7))
    for dimensions in (0, 10_000):
        refused = embed(server, "hello", dimensions=dimensions)
        assert refused.status == 400
        assert refused.json["error"]["param"] == "dimensions"
    assert embed(server, "hello", dimensions="7").json["error"]["param"] == "dimensions"


def test_rows_come_without_json_for_who_asks(server: Server, embedder: Embedder) -> None:
    texts = ["hello", "world", "again"]
    answer = ask(server, "/v1/embeddings", {"input": texts}, JSON | {"Accept": "application/octet-stream"})
    shape = [int(size) for size in answer.headers["x-votive-shape"].split(",")]
    rows = np.frombuffer(answer.body, "<f4").reshape(shape)
    np.testing.assert_array_equal(rows, embedder.encode(texts, normalize_embeddings=True))
    refused = ask(server, "/v1/embeddings", {"input": []}, JSON | {"Accept": "application/octet-stream"})
    assert refused.json["error"]["param"] == "input"


def test_a_client_that_leaves_while_a_model_is_loaded_leaves_it_loaded(tmp_path: Path) -> None:
    calls: list[int] = []
    go = threading.Event()

    class Slow(Embedder):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            calls.append(1)
            assert go.wait(30)
            super().__init__(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(votive.serving, "Embedder", Slow)
        with serve([ServedModel(BERT, name="late", kind="embedder", preload=False)]) as server:
            with connect(server) as connection:
                connection.request("POST", "/v1/embeddings", json.dumps({"input": "a"}), JSON)
                until(lambda: calls)
            until(lambda: server.requests_in_flight == 0)
            go.set()
            assert ask(server, "/v1/embeddings", {"input": "a"}).status == 200
    assert calls == [1]


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        (b"", 400, None, "the body is empty"),
        (b"{", 400, None, "no JSON"),
        (b'{"input": "a"} x', 400, None, "no JSON"),
        (b'{"input": "\xff"}', 400, None, "no JSON"),
        (b'{"input": "\\ud800"}', 400, "input", "hex escape"),
        (b"[" * 100_000, 400, None, "no JSON object"),
        ({}, 400, None, "missing field `input`"),
        ({"input": None}, 400, "input", "a string or an array of strings"),
        ({"input": []}, 400, "input", "one text at least"),
        ({"input": ["a", 3]}, 400, "input", "both"),
        ({"input": ["a", None]}, 400, "input[1]", "expected a string"),
        ({"input": [1, 2, 3]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"input": [[1], [2]]}, 400, "input", "token ids"),
        ({"input": ["a"] * 2049}, 413, "input", "2048"),
        ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format", "unknown variant"),
        ({"input": "a", "model": "nothing"}, 404, "model", "this server has bert, ranks"),
        ({"input": "a", "model": "ranks"}, 400, "model", "scores pairs"),
    ],
)  # fmt: skip
def test_bad_bodies_are_told_what_to_change(server: Server, body: Any, status: int, param: Any, words: str) -> None:
    answer = ask(server, "/v1/embeddings", body)
    error = answer.json["error"]
    assert (answer.status, error["param"]) == (status, param), error
    assert words in error["message"]
    assert {"message", "type", "param", "code"} == set(error)


def test_unknown_fields_are_tolerated(server: Server) -> None:
    assert embed(server, "a", user="me", truncate=True, input_type="query", modality="text").status == 200


def test_paths_methods_and_types(server: Server) -> None:
    assert ask(server, "/nothing").status == 404
    assert ask(server, "/v1/embeddings").status == 405
    wrong = ask(server, "/v1/embeddings", {"input": "a"}, {"Content-Type": "text/plain"})
    assert wrong.status == 415
    assert "application/json" in wrong.json["error"]["message"]
    assert (
        ask(server, "/v1/embeddings", {"input": "a"}, {"Content-Type": "application/json; charset=utf-8"}).status == 200
    )
    packed = ask(server, "/v1/embeddings", {"input": "a"}, JSON | {"Content-Encoding": "gzip"})
    assert packed.status == 415
    assert "compressed" in packed.json["error"]["message"]


def test_models_are_listed_by_name(server: Server) -> None:
    listed = ask(server, "/v1/models").json
    assert [model["id"] for model in listed["data"]] == ["bert", "ranks"]
    assert listed["object"] == "list"
    assert ask(server, "/v1/models/ranks").json["id"] == "ranks"
    assert ask(server, "/v1/models/a/b").json["error"]["code"] == "model_not_found"


def test_requests_have_ids(server: Server) -> None:
    own = ask(server, "/health", headers={"x-request-id": "trace-1.2_3"})
    assert own.headers["x-request-id"] == "trace-1.2_3"
    made = {
        ask(server, "/health", headers={"x-request-id": bad}).headers["x-request-id"] for bad in ("a b", "é", "x" * 65)
    }
    assert len(made) == 3
    assert not made & {"a b", "x" * 65}


def test_hosts_and_origins(server: Server) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = ask(server, "/v1/embeddings", {"input": "a"}, JSON | headers)
        assert answer.status == 403
        assert "allow" in answer.json["error"]["message"]
    with serve(BERT, cors_origins=["https://page.example"]) as open_to_page:
        page = {"Origin": "https://page.example"}
        answer = ask(open_to_page, "/v1/embeddings", {"input": "a"}, JSON | page)
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        preflight = ask(open_to_page, "/v1/embeddings", headers=page, method="OPTIONS")
        assert preflight.status == 204
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert ask(open_to_page, "/v1/models", headers={"Origin": "https://other.example"}).status == 403


def test_keys(embedder: Embedder) -> None:
    with serve({"bert": embedder}, api_keys=["secret", "other"]) as server:
        for headers in ({"Authorization": "Bearer secret"}, {"api-key": "other"}, {"x-api-key": "secret"}):
            assert ask(server, "/v1/embeddings", {"input": "a"}, JSON | headers).status == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            answer = ask(server, "/v1/models", headers=headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json["error"]["code"] == "invalid_api_key"
            assert "secret" not in answer.body.decode()
        assert ask(server, "/health").status == 200, "what watches a server has no key"


def test_an_open_server_needs_a_key_or_a_word(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="reached by other machines"):
        serve(embedder, host="0.0.0.0")
    with serve(embedder, host="0.0.0.0", insecure=True) as server:
        port = server.url.rpartition(":")[2]
        with closing(http.client.HTTPConnection("127.0.0.1", int(port))) as connection:
            connection.request("GET", "/health", headers={"Host": "any.example"})
            assert connection.getresponse().status == 200


def test_large_bodies_are_refused_also_while_they_come(embedder: Embedder) -> None:
    with serve({"bert": embedder}, max_body_mb=0.01) as server:
        for size in (20_000, 200_000):
            answer = ask(server, "/v1/embeddings", {"input": "x" * size})
            assert answer.status == 413
            assert "--max-body-mb" in answer.json["error"]["message"]
        with connect(server) as connection:
            connection.request("POST", "/v1/embeddings", (b"x" * 5000 for _ in range(4)), JSON, encode_chunked=True)
            assert connection.getresponse().status == 413
        assert embed(server, "a").status == 200


def test_bodies_of_all_requests_share_a_bound(embedder: Embedder) -> None:
    with serve({"bert": embedder}, max_body_mb=0.1) as server, ExitStack() as stack:
        # Eight bodies of that size fit at a time: these send half of a body, and then nothing.
        held = [stack.enter_context(connect(server)) for _ in range(9)]
        for connection in held:
            connection.putrequest("POST", "/v1/embeddings")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", "104857")
            connection.endheaders()
            connection.send(b" " * 100_000)
        until(lambda: server.requests_in_flight >= 8)
        until(lambda: ask(server, "/v1/embeddings", b" " * 90_000).status == 429)
        answer = ask(server, "/v1/embeddings", b" " * 90_000)
        assert answer.json["error"]["type"] == "rate_limit_error"
        assert answer.headers["retry-after-ms"] == "1000"
        for connection in held:
            connection.close()
        until(lambda: embed(server, "a").status == 200)


def test_connections_over_the_limit_are_told_so(embedder: Embedder) -> None:
    with serve({"bert": embedder}, max_connections=5) as server, connect(server) as kept:
        kept.request("GET", "/health")
        kept.getresponse().read()
        host, _, port = server.url.removeprefix("http://").partition(":")
        # They say nothing, or half of a head.
        silent = [socket.create_connection((host, int(port))) for _ in range(4)]
        silent[0].sendall(b"GET /health HTT")
        for _ in range(300):
            with socket.create_connection((host, int(port)), timeout=30) as refused:
                said = refused.recv(1000)
                assert said == b"" or said.startswith(b"HTTP/1.1 503"), said
        kept.request("GET", "/health")
        assert kept.getresponse().status == 200, "who was there is answered"
        for connection in silent:
            connection.close()
        until(lambda: _is_answered(server))


def _is_answered(server: Server) -> bool:
    try:
        return ask(server, "/health").status == 200
    except OSError:
        return False


def test_what_is_no_http_is_refused(server: Server) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    for sent in (
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"G\x00T / HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(sent)
            assert b" 4" in (connection.recv(100) or b" 400")
    many = "".join(f"x-{i}: 1\r\n" for i in range(1000))
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n".encode())
        assert b" 431 " in connection.recv(100)
    assert ask(server, "/health").status == 200


def test_a_client_that_leaves_is_not_computed_for(tmp_path: Path) -> None:
    model = Embedder(BERT, num_threads=1, max_batch_size=1)
    with serve({"bert": model}) as server:
        texts = [f"text {i} " + "word " * 30 for i in range(2000)]
        with connect(server) as connection:
            connection.request("POST", "/v1/embeddings", json.dumps({"input": texts}), JSON)
            until(lambda: model.stats().texts > 0)
        until(lambda: server.requests_in_flight == 0)
        done = model.stats().texts
        assert done < len(texts)
        assert embed(server, "after").status == 200
        assert model.stats().texts <= done + 10, "the rest was given up"


def test_many_threads_get_their_own_rows(server: Server, embedder: Embedder) -> None:
    texts = [f"text number {i}" for i in range(64)]
    expected = embedder.encode(texts, normalize_embeddings=True)
    failures: list[str] = []

    def work(first: int) -> None:
        with connect(server) as connection:
            for i in range(first, 64, 8):
                body = json.dumps({"input": texts[i], "encoding_format": "base64"})
                connection.request("POST", "/v1/embeddings", body, JSON)
                row = decoded(json.loads(connection.getresponse().read())["data"][0]["embedding"])
                if not np.array_equal(row, expected[i]):
                    failures.append(texts[i])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_full_queue_is_429() -> None:
    model = Embedder(BERT, num_threads=1, max_batch_size=1, max_queue=100, when_full="raise")
    body = json.dumps({"input": [f"text {i} " + "word " * 30 for i in range(2000)]})
    refused: list[Answer] = []

    def is_refused() -> bool:
        with connect(server) as connection:
            # It may be done before the other one comes: then both are sent again.
            connection.request("POST", "/v1/embeddings", body, JSON)
            until(lambda: server.requests_in_flight > 0 or model.stats().texts > 0)
            answer = embed(server, ["a", "b"])
        refused.extend([answer] if answer.status == 429 else [])
        return bool(refused)

    with serve({"bert": model}) as server:
        until(is_refused)
    assert refused[0].json["error"]["type"] == "rate_limit_error"
    assert 100 <= int(refused[0].headers["retry-after-ms"]) <= 30_000


def test_ending_waits_for_requests() -> None:
    model = Embedder(BERT, num_threads=1, max_batch_size=1)
    server = serve({"bert": model})
    with connect(server) as connection:
        connection.request("POST", "/v1/embeddings", json.dumps({"input": [f"{i} word" for i in range(1000)]}), JSON)
        until(lambda: model.stats().texts > 0)
        server.stop()
        response = connection.getresponse()
        assert response.status == 200
        assert len(json.loads(response.read())["data"]) == 1000
        assert response.headers["connection"] == "close"
    with pytest.raises(ConnectionError):
        ask(server, "/health")
    server.stop()


def test_requests_that_are_not_done_when_it_ends_are_told_so() -> None:
    model = Embedder(BERT, num_threads=1, max_batch_size=1)
    server = serve({"bert": model})
    texts = [f"{i} " + "word " * 30 for i in range(2000)]
    with connect(server) as connection:
        connection.request("POST", "/v1/embeddings", json.dumps({"input": texts}), JSON)
        until(lambda: model.stats().texts > 0)
        server.stop(0)
        response = connection.getresponse()
        assert response.status == 503
        assert b"ending" in response.read()


def test_a_request_that_takes_too_long() -> None:
    model = Embedder(BERT, num_threads=1, max_batch_size=1)
    with serve({"bert": model}, timeout=0.01) as server:
        answer = embed(server, [f"{i} " + "word " * 30 for i in range(2000)])
        assert answer.status == 504
        assert "send fewer texts" in answer.json["error"]["message"]


def test_a_model_is_loaded_when_asked_for_and_unloaded_when_not(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BERT, folder)
    served = ServedModel(folder, name="late", preload=False, keep_alive=0.0)
    with serve([served]) as server:
        first = ask(server, "/v1/embeddings", {"input": "a"})
        assert first.status == 200
        # Unloaded at once: a folder that is gone is seen by a later request.
        shutil.rmtree(folder)
        until(lambda: ask(server, "/v1/embeddings", {"input": "a"}).status == 503)
        answer = ask(server, "/v1/embeddings", {"input": "a"})
        assert "late cannot be loaded" in answer.json["error"]["message"]
        shutil.copytree(BERT, folder)
        assert ask(server, "/v1/embeddings", {"input": "a"}).json["data"] == first.json["data"]


def test_models_share_the_memory(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("one", "two")}
    for folder in folders.values():
        shutil.copytree(BERT, folder)
    with serve(
        {name: ServedModel(folder, preload=False) for name, folder in folders.items()}, max_memory_gb=1e-9
    ) as server:
        for name in ("one", "two", "one", "two"):
            assert ask(server, "/v1/embeddings", {"input": "a", "model": name}).status == 200
        # The one that was not asked for last is gone, and comes from its files again.
        shutil.rmtree(folders["one"])
        assert ask(server, "/v1/embeddings", {"input": "a", "model": "two"}).status == 200
        assert ask(server, "/v1/embeddings", {"input": "a", "model": "one"}).status == 503


def test_models_are_loaded_again_while_requests_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BERT, folder)
    with serve({"bert": folder}) as server:
        before = embed(server, "hello").json["data"]
        shutil.rmtree(folder)
        shutil.copytree(FIXTURES / "bert_plain", folder)
        answers: list[int] = []
        ending = threading.Event()

        def keep_asking() -> None:
            while not ending.is_set():
                answers.append(embed(server, "hello").status)

        thread = threading.Thread(target=keep_asking)
        thread.start()
        assert ask(server, "/admin/reload", {}).json == {"models": [{"name": "bert", "error": None}]}
        ending.set()
        thread.join()
        assert set(answers) == {200}
        assert embed(server, "hello").json["data"] != before
        shutil.rmtree(folder)
        assert ask(server, "/admin/reload", {}).json["models"][0]["error"]
        assert embed(server, "hello").status == 200, "what cannot be loaded again stays as it was"


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        serve(str(tmp_path))
    server = Server([ServedModel(tmp_path, name="broken"), ServedModel(BERT, name="bert")], ServerOptions(port=0))
    with server:
        until(lambda: "cannot be loaded" in (server.not_ready or ""))
        health = ask(server, "/health")
        assert health.status == 503
        assert "broken" in health.json["error"]
        assert ask(server, "/health/live").status == 200
        until(lambda: embed(server, "a").status == 200)
        assert ask(server, "/v1/embeddings", {"input": "a", "model": "broken"}).status == 503


def test_what_cannot_be_served(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match='two are called "x"'):
        serve([ServedModel(BERT, name="x"), ServedModel(BERT, name="x")])
    with pytest.raises(ValueError, match="one model at least"):
        serve([])
    with pytest.raises(TypeError, match=r"models\[0\]: expected a name"):
        serve([3])
    with pytest.raises(TypeError, match="prot: no option of a server"):
        serve(BERT, prot=3)
    with pytest.raises(RuntimeError, match="activation_fn: a server computes without Python"):
        serve(Reranker(RERANKER, activation_fn=lambda logits: logits))
    for name, value in {
        "port": 70_000,
        "api_keys": "one",
        "max_inputs": 0,
        "timeout": -1,
        "max_memory_gb": "x",
    }.items():
        with pytest.raises((ValueError, TypeError), match=name):
            serve(BERT, **{name: value})
    with serve({"bert": embedder}) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(ValueError, match="taken by another process"):
            serve({"bert": embedder}, port=port)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
def test_a_unix_socket(embedder: Embedder, here: Path) -> None:
    for _ in range(2):
        with serve({"bert": embedder}, uds="votive.sock") as server, socket.socket(socket.AF_UNIX) as client:
            assert server.url == "unix:votive.sock"
            client.connect("votive.sock")
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert not Path("votive.sock").exists()


def test_tls(embedder: Embedder, tmp_path: Path) -> None:
    cert, key = str(FIXTURES / "tls" / "cert.pem"), str(FIXTURES / "tls" / "key.pem")
    with serve({"bert": embedder}, tls_cert=cert, tls_key=key) as server:
        assert server.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=cert)
        port = int(server.url.rpartition(":")[2])
        with closing(http.client.HTTPSConnection("localhost", port, context=context)) as connection:
            connection.request("POST", "/v1/embeddings", json.dumps({"input": "a"}), JSON)
            assert connection.getresponse().status == 200
        with socket.create_connection(("localhost", port), timeout=30) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP"), "what is not encrypted gets no answer"
    with pytest.raises(ValueError, match="tls_cert: and tls_key go together"):
        serve(embedder, tls_cert=cert)
    with pytest.raises(OSError, match=r"nothing\.pem"):
        serve(embedder, tls_cert="nothing.pem", tls_key=key)
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ValueError, match="tls_key"):
        serve(embedder, tls_cert=cert, tls_key=str(tmp_path / "empty.pem"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_no_server(embedder: Embedder) -> None:
    with serve({"bert": embedder}) as server:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                server.stop()
                server.reload()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert embed(server, "a").status == 200, "the parent's goes on"
