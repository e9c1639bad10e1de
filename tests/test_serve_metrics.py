"""`/metrics` and `/stats` of a server: what is counted, and in which form it is told."""

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from exposition import parse
from served import embed, metrics, value
from serving import JSON, ask, connect, until
from votive import serving

FIXTURES = Path(__file__).parent / "fixtures"
LONG = "one two three " * 200

SECONDS = ["0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5"]
SECONDS += ["1.0", "2.5", "5.0", "10.0", "30.0", "+Inf"]


@pytest.fixture
def server() -> Iterator[serving.Server]:
    models = {"small": str(FIXTURES / "bert_40"), 'a "b" \\ c': str(FIXTURES / "bert_modules")}
    with serving.serve(models, max_inputs=50) as server:
        yield server


def test_every_series_is_there_from_the_start(server: serving.Server) -> None:
    before = metrics(server)
    for path in ("/v1/embeddings", "/embeddings", "/v1/models", "/v1/models/{*name}", "/health", "/metrics", "other"):
        for status in ("2xx", "3xx", "4xx", "5xx"):
            assert value(before, "votive_requests_total", route=path, status=status) == 0
    for name in ("votive_inputs_total", "votive_tokens_total", "votive_truncated_inputs_total"):
        assert set(before[name].samples.values()) == {0.0}
        assert len(before[name].samples) == 2
    for name in ("votive_queue_seconds", "votive_tokenize_seconds", "votive_compute_seconds"):
        assert value(before, f"{name}_count", model="small") == 0
    bounds = [dict(labels)["le"] for name, labels in before["votive_request_seconds"].samples if "le" in dict(labels)]
    assert bounds[: len(SECONDS)] == SECONDS
    for reason in ("client", "deadline", "drain"):
        assert value(before, "votive_cancelled_total", reason=reason) == 0
    for reason in ("queue", "bytes", "connections"):
        assert value(before, "votive_rejected_total", reason=reason) == 0
    assert value(before, "votive_model_loaded", model="small") == 1
    assert value(before, "votive_in_flight") == 1
    assert value(before, "votive_connections") == 1
    embed(server, ["one", LONG])
    ask(server, "/nowhere")
    embed(server, ["one"], 'a "b" \\ c')
    after = metrics(server)
    # No request makes a series.
    for name, family in before.items():
        assert family.samples.keys() == after[name].samples.keys()


def test_requests_are_counted(server: serving.Server) -> None:
    model = serving.Embedder(FIXTURES / "bert_40")
    assert embed(server, ["one", "a second text"]) == 200
    assert embed(server, LONG, "small") == 200
    model.encode(["one", "a second text"])
    tokens = model.last_report.tokens
    with pytest.warns(match="cut"):
        model.encode(LONG)
    tokens += model.last_report.tokens
    assert embed(server, ["x"] * 51) == 413
    assert embed(server, [], "small") == 400
    assert embed(server, ["x"], "large") == 404
    assert ask(server, "/v1/embeddings").status == 405
    assert ask(server, "/no/such/path").status == 404
    assert ask(server, "/v1/models/small").status == 200
    found = metrics(server)
    assert value(found, "votive_requests_total", route="/v1/embeddings", status="2xx") == 2
    assert value(found, "votive_requests_total", route="/v1/embeddings", status="4xx") == 4
    assert value(found, "votive_requests_total", route="/v1/models/{*name}", status="2xx") == 1
    assert value(found, "votive_requests_total", route="other", status="4xx") == 1
    assert value(found, "votive_inputs_total", model="small") == 3
    assert value(found, "votive_inputs_total", model='a "b" \\ c') == 0
    assert value(found, "votive_tokens_total", model="small") == tokens
    assert value(found, "votive_truncated_inputs_total", model="small") == 1
    errors = {dict(labels)["reason"]: count for (_, labels), count in found["votive_errors_total"].samples.items()}
    wrong = {"too_large": 1, "empty": 1, "model": 1, "method": 1, "path": 1}
    assert {reason: count for reason, count in errors.items() if count} == wrong
    assert value(found, "votive_request_seconds_count", route="/v1/embeddings") == 6
    assert 0 < value(found, "votive_request_seconds_sum", route="/v1/embeddings") < 60
    for name in ("votive_queue_seconds", "votive_tokenize_seconds", "votive_compute_seconds"):
        assert value(found, f"{name}_count", model="small") == 2
    assert 0 < value(found, "votive_compute_seconds_sum", model="small") < 60
    assert value(found, "votive_pass_inputs_sum", model="small") == 3
    assert value(found, "votive_pass_tokens_sum", model="small") == tokens
    assert value(found, "votive_pass_tokens_bucket", model="small", le="255.0") >= 1
    assert value(found, "votive_queue_inputs", model="small") == 0


def test_the_process_is_told_where_linux_tells_it(server: serving.Server) -> None:
    found = metrics(server)
    (key,) = found["votive_build_info"].samples
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", dict(key[1])["version"])
    assert value(found, "votive_model_bytes", model="small") > 1000
    assert value(found, "votive_scratch_bytes") >= 0
    if sys.platform == "linux":
        assert value(found, "process_resident_memory_bytes") > 1 << 20
        assert value(found, "process_cpu_seconds_total") > 0
        assert 3 < value(found, "process_open_fds") <= value(found, "process_max_fds")
        assert 1.6e9 < value(found, "process_start_time_seconds") < 1e10
    else:
        assert not any(name.startswith("process_") for name in found)


def test_openmetrics_by_accept(server: serving.Server) -> None:
    embed(server, "one")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    answer = ask(server, "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    found = parse(answer.body.decode(), is_open=True)
    assert (
        found["votive_requests"].samples["votive_requests_total", (("route", "/v1/embeddings"), ("status", "2xx"))] == 1
    )
    assert ask(server, "/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_prometheus_own_client_reads_it(server: serving.Server, accept: str) -> None:
    prometheus = pytest.importorskip("prometheus_client.parser")
    openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
    embed(server, "one", 'a "b" \\ c')
    reader = prometheus if accept == "text/plain" else openmetrics
    text = ask(server, "/metrics", headers={"accept": accept}).body.decode()
    families = {family.name: family for family in reader.text_string_to_metric_families(text)}
    tokens = {sample.labels["model"]: sample.value for sample in families["votive_tokens"].samples}
    assert tokens['a "b" \\ c'] > 0


def test_metrics_need_the_key() -> None:
    with serving.serve({"small": str(FIXTURES / "bert_40")}, api_keys=["secret"]) as server:
        for path in ("/metrics", "/stats"):
            assert ask(server, path).status == 401
            assert ask(server, path, headers={"authorization": "Bearer secret"}).status == 200
        found = metrics(server, {"x-api-key": "secret"})
        assert value(found, "votive_errors_total", reason="key") == 2


class Latch:
    """Loads models when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()
        self._load = serving._load
        monkeypatch.setattr(serving, "_load", self)

    def __call__(self, served: serving.ServedModel) -> object:
        self.started.set()
        assert self.go_on.wait(60)
        return self._load(served)


LATE = [serving.ServedModel(str(FIXTURES / "bert_40"), name="late", preload=False)]


def test_a_client_that_leaves_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    latch = Latch(monkeypatch)
    with serving.serve(LATE) as server:
        with connect(server) as connection:
            connection.request("POST", "/v1/embeddings", b'{"input": "x"}', JSON)
            assert latch.started.wait(60)
            assert value(metrics(server), "votive_in_flight") == 2
        until(lambda: value(metrics(server), "votive_cancelled_total", reason="client") == 1)
        found = metrics(server)
        assert value(found, "votive_requests_total", route="/v1/embeddings", status="4xx") == 1
        assert value(found, "votive_in_flight") == 1
        latch.go_on.set()


def test_what_takes_too_long_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    latch = Latch(monkeypatch)
    with serving.serve(LATE, timeout=0.05) as server:
        assert embed(server, "x") == 504
        found = metrics(server)
        assert value(found, "votive_cancelled_total", reason="deadline") == 1
        assert value(found, "votive_errors_total", reason="late") == 1
        assert value(found, "votive_requests_total", route="/v1/embeddings", status="5xx") == 1
        latch.go_on.set()


def test_what_finds_no_room_is_counted() -> None:
    with serving.serve({"small": str(FIXTURES / "bert_40")}, max_connections=1) as server:
        with connect(server) as first:
            first.request("GET", "/health")
            assert first.getresponse().read()
            with connect(server) as second:
                second.connect()
                assert second.sock.recv(100).startswith(b"HTTP/1.1 503 ")
        until(lambda: _rejected(server) >= 1)


def _rejected(server: serving.Server) -> float:
    """Connections that were refused; 0 where this one is."""
    try:
        answer = ask(server, "/metrics")
    except OSError:
        # It was closed before all of the request was sent.
        return 0
    if answer.status != 200:
        return 0
    return value(parse(answer.body.decode()), "votive_rejected_total", reason="connections")


class TestStats:
    def test_models_tell_what_they_tell_python(self) -> None:
        model = serving.Embedder(FIXTURES / "bert_40")
        models = {"small": model, "other": str(FIXTURES / "bert_rerank")}
        with serving.serve(models) as server:
            assert embed(server, ["one", "two"], "small") == 200
            found = ask(server, "/stats").json
            own = model.stats()
        small, other = found["models"]
        assert (small["name"], small["kind"], small["loaded"], small["failure"]) == ("small", "embedder", True, None)
        assert (other["kind"], other["calls"]) == ("reranker", 0)
        for name in ("calls", "texts", "tokens", "truncated", "halved", "errors"):
            assert small[name] == getattr(own, name)
        for name in ("queue_wait", "latency", "pass_texts", "pass_tokens"):
            spread = getattr(own, name)
            for number in ("count", "mean", "p50", "p95", "p99"):
                assert small[name][number] == pytest.approx(getattr(spread, number))
        assert small["weights_bytes"] == own.memory.weights
        assert found["memory"]["weights_bytes"] == small["weights_bytes"] + other["weights_bytes"]

    def test_the_last_minute(self, server: serving.Server) -> None:
        for _ in range(5):
            embed(server, ["one", "two"], "small")
        embed(server, [])
        found = ask(server, "/stats").json
        minute = found["last_minute"]
        assert (minute["requests"], minute["failed"], minute["inputs"]) == (6, 0, 10)
        assert 0 < minute["request_ms"]["p50"] <= minute["request_ms"]["p95"] <= minute["request_ms"]["p99"]
        assert 0 < minute["seconds"] < 120
        assert (found["ready"], found["in_flight"], found["errors"]) == (True, 1, {"empty": 1})
        if sys.platform == "linux":
            memory = found["memory"]
            assert 0 < memory["process_bytes"] < memory["limit_bytes"]
            assert 0 < memory["used_bytes"] <= memory["limit_bytes"]
