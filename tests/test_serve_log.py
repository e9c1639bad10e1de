"""The access log of a server: a line of JSON for each request, without its texts."""

import http.client
import json
import re
import socket
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from served import embed, metrics, value
from serving import JSON, ask, until
from votive import serving

FIXTURES = Path(__file__).parent / "fixtures"
MODELS = {"small": str(FIXTURES / "bert_40")}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(path: Path) -> list[dict[str, Any]]:
    """What a log holds, of which every line is whole."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_for_each_request(tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    log.write_text('{"older": true}\n')
    before = datetime.now(timezone.utc)
    with serving.serve(MODELS, access_log=log) as server:
        body = {"input": ["hidden words", "secret " * 200], "model": "small"}
        answer = ask(server, "/v1/embeddings", body, {**JSON, "traceparent": TRACE, "x-request-id": "mine-1"})
        assert answer.status == 200
        embed(server, [], headers={"traceparent": "nonsense"})
        ask(server, "/private/path?token=hidden")
        ask(server, "/health")
    older, good, empty, unknown, health = lines(log)
    assert older == {"older": True}
    times = ("time", "total_ms", "queue_ms", "tokenize_ms", "compute_ms", "tokens")
    assert {name: number for name, number in good.items() if name not in times} == {
        "id": "mine-1",
        "route": "/v1/embeddings",
        "status": 200,
        "model": "small",
        "inputs": 2,
        "truncated": 1,
        "bytes": len(answer.body),
        "client": "127.0.0.1",
        "traceparent": TRACE,
    }
    assert good["tokens"] > 40
    assert good["total_ms"] >= good["compute_ms"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", good["time"])
    # Told in whole milliseconds.
    seconds = datetime.fromisoformat(good["time"].replace("Z", "+00:00")).timestamp() - before.timestamp()
    assert -0.001 <= seconds < 600
    assert (empty["status"], empty["reason"]) == (400, "empty")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", empty["id"])
    assert "model" not in empty
    assert "traceparent" not in empty
    assert (unknown["route"], unknown["status"], unknown["reason"]) == ("other", 404, "path")
    assert (health["route"], health["status"]) == ("/health", 200)
    for word in ("hidden", "secret", "private"):
        assert word not in log.read_text()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
def test_a_socket_has_no_address(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving.serve(MODELS, uds=str(path), access_log=tmp_path / "log"):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        connection.close()
    (line,) = lines(tmp_path / "log")
    assert "client" not in line


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved there")
def test_a_file_that_was_moved_is_opened_anew(tmp_path: Path) -> None:
    log, old = tmp_path / "log", tmp_path / "log.1"
    with serving.serve(MODELS, access_log=log) as server:
        ask(server, "/health")
        until(lambda: lines(log))
        log.rename(old)

        def again() -> bool:
            ask(server, "/live")
            return log.exists()

        until(again)
    assert lines(old)[0]["route"] == "/health"
    assert {line["route"] for line in lines(log)} == {"/live"}


def test_standard_error(run_python: Callable[..., str]) -> None:
    code = """
import io, os, sys, urllib.request
from votive import serving
read, write = os.pipe()
os.dup2(write, 2)
with serving.serve({"small": sys.argv[1]}, access_log="-") as server:
    urllib.request.urlopen(server.url + "/health").read()
os.close(write)
os.close(2)
print(os.read(read, 1 << 16).decode())
"""
    line = json.loads(run_python(code, MODELS["small"]))
    assert (line["route"], line["status"]) == ("/health", 200)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_full_disk_stops_no_request() -> None:
    with serving.serve(MODELS, access_log="/dev/full") as server:
        assert embed(server, "one") == 200
        until(lambda: value(metrics(server), "votive_log_dropped_lines_total") >= 1)


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        serving.serve(MODELS, access_log=tmp_path / "nowhere" / "log")


def test_none_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with serving.serve(MODELS) as server:
        assert embed(server, "one") == 200
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
