"""The backends of experiments that need nothing but votive, and what the others say where they are not installed."""

from __future__ import annotations

import json
import shlex
import sys
import threading
import types
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive

pytest.importorskip("msgspec")

from votive.bench.backends import KINDS, find
from votive.bench.backends.backend import Backend, Setup
from votive.bench.backends.folders import check_task
from votive.bench.backends.search_backend import SearchBackend
from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import BackendChoice, Batching, Data

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS = ["one text", "another text, which is longer", "a third"]
ASKED = [("what?", ["this", "that it is", "nothing"])]


def setup_of(kind: str, task: Any = "embed", model: str = "bert_40", **fields: Any) -> Setup:
    batching = fields.pop("batching", Batching())
    return Setup(
        task=task,
        model=FIXTURES / model,
        choice=BackendChoice(kind=kind, **fields),
        batching=batching,
        data=Data(vectors=500, dimension=16, k=5),
        threads=1,
        max_seq_length=None,
        cache=Path("unused"),
    )


def make(setup: Setup) -> Backend:
    return find(setup.choice.kind, setup.task).make(setup)


def load(setup: Setup) -> Backend:
    return find(setup.choice.kind, setup.task).load(setup)


@pytest.mark.parametrize("batching", [Batching(), Batching(enabled=False), Batching(timeout_ms=1, max_batch_size=2)])
def test_votive_embeds(batching: Batching) -> None:
    backend = load(setup_of("votive", dtype="float32", batching=batching))
    expected = votive.Embedder(FIXTURES / "bert_40", device="cpu", dtype="float32").encode(TEXTS)
    np.testing.assert_array_equal(backend.compute(TEXTS), expected)


def test_votive_reranks() -> None:
    backend = load(setup_of("votive", "rerank", "bert_rerank", dtype="float32"))
    model = votive.Reranker(FIXTURES / "bert_rerank", device="cpu", dtype="float32")
    expected = model.predict([(ASKED[0][0], document) for document in ASKED[0][1]])
    np.testing.assert_array_equal(backend.compute(ASKED), expected)


def taken(kind: str, vectors: np.ndarray) -> Backend:
    backend = make(setup_of(kind, "search"))
    assert isinstance(backend, SearchBackend)
    try:
        backend.prepare()
    except (ImportError, Unavailable) as reason:
        pytest.skip(f"{reason}: pip install {KINDS[kind].install}")
    backend.take(vectors)
    return backend


@pytest.mark.parametrize(
    "kind", ["votive-store", "faiss", "usearch", "numpy", "torch", "qdrant", "lancedb", "sqlite-vec"]
)
def test_search_finds_the_nearest(kind: str) -> None:
    vectors = np.random.default_rng(3).standard_normal((500, 16), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    backend = taken(kind, vectors)
    expected = np.argsort(-(vectors[:3].astype(np.float64) @ vectors.T), axis=1)[:, :5]
    found = backend.compute(list(vectors[:3]))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    backend.close()


@pytest.mark.parametrize("dialect", ["openai", "cohere", "tei", "ollama", "jina"])
def test_http_gets_what_encode_gives(dialect: Any) -> None:
    model = votive.Embedder(FIXTURES / "bert_40", device="cpu", dtype="float32")
    with votive.serve({str(FIXTURES / "bert_40"): model}) as server:
        url = server.url + ("/v1" if dialect in ("openai", "jina") else "")
        backend = load(setup_of("http", dialect=dialect, url=url))
        expected = model.encode(TEXTS, normalize_embeddings=True)
        found = backend.compute(TEXTS)
        backend.close()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dialect", ["openai", "cohere", "tei", "jina"])
def test_http_gets_scores(dialect: Any) -> None:
    model = votive.Reranker(FIXTURES / "bert_rerank", device="cpu", dtype="float32")
    with votive.serve({str(FIXTURES / "bert_rerank"): model}) as server:
        url = server.url + ("/v1" if dialect in ("openai", "jina") else "")
        backend = load(setup_of("http", "rerank", "bert_rerank", dialect=dialect, url=url))
        found = backend.compute(ASKED)
        backend.close()
    assert found.shape == (3,)
    expected = model.rank(*ASKED[0])
    assert np.argsort(-found).tolist() == [each["corpus_id"] for each in expected]


class Forgetful(BaseHTTPRequestHandler):
    """Answers one request of a connection, and closes it without a word."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        answer = json.dumps([[float(len(text))] for text in texts]).encode()
        self.send_response(500 if texts == ["no"] else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


def test_http_asks_again_where_the_server_has_closed_what_was_idle() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        backend = load(setup_of("http", dialect="tei", url=f"http://127.0.0.1:{server.server_port}"))
        assert [backend.compute([text]).tolist() for text in ("a", "bc")] == [[[1.0]], [[2.0]]]
        with pytest.raises(RuntimeError, match="HTTP 500 at /embed"):
            backend.compute(["no"])
        # What failed is not in the way of the next one.
        assert backend.compute(["abc"]).tolist() == [[3.0]]
        server.shutdown()
        thread.join()
    for _ in range(2):  # and who is not there is said, each time
        with pytest.raises(ConnectionError):
            backend.compute(["a"])
    backend.close()


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no kind of backend.*did you mean 'onnxruntime'"):
        make(setup_of("onnx-runtime"))


def test_a_task_that_a_kind_does_not_do_is_refused() -> None:
    with pytest.raises(Unavailable, match="faiss does search, not embed"):
        make(setup_of("faiss"))


@pytest.mark.parametrize(
    ("kind", "task", "there"),
    [
        ("onnxruntime", "embed", "cpu or cuda or coreml"),
        ("openvino", "embed", "cpu"),
        ("fastembed", "embed", "cpu"),
        ("model2vec", "embed", "cpu"),
        ("faiss", "search", "cpu"),
    ],
)
def test_a_device_that_a_kind_does_not_have_is_refused(kind: str, task: Any, there: str) -> None:
    with pytest.raises(Unavailable, match=f"{kind} computes on {there} here, not on mps"):
        make(setup_of(kind, task, device="mps"))


@pytest.mark.parametrize("kind", ["sentence-transformers", "transformers", "model2vec", "fastembed", "mlx"])
def test_what_is_not_installed_says_how_to_install_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = type(make(setup_of(kind)))

    def missing(self: Backend) -> None:
        raise ImportError("No module named 'it'")

    monkeypatch.setattr(backend, "load", missing)
    with pytest.raises(Unavailable, match=f"pip install {KINDS[kind].install}"):
        load(setup_of(kind))


def test_http_without_an_address_says_what_is_missing() -> None:
    with pytest.raises(Unavailable, match="give url, or served"):
        load(setup_of("http"))


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
def test_a_server_is_started_and_ended(dialect: Any) -> None:
    served = f"{sys.executable} -m votive serve --model {{model}} --port {{port}} --dtype float32"
    backend = load(setup_of("http", dialect=dialect, served=served))
    expected = votive.Embedder(FIXTURES / "bert_40", device="cpu", dtype="float32").encode(
        TEXTS, normalize_embeddings=True
    )
    np.testing.assert_allclose(backend.compute(TEXTS), expected, atol=1e-6)
    (process,) = backend.process_ids()
    backend.close()
    assert not Path(f"/proc/{process}").exists()


def test_a_server_that_does_not_start_is_skipped() -> None:
    with pytest.raises(Unavailable, match="no-such-program is not installed"):
        load(setup_of("http", served="no-such-program --port {port}"))
    with pytest.raises(Unavailable, match="text-embeddings-router is not on the path"):
        load(setup_of("tei"))
    said = "import sys; print('ImportError: it: pip install it', file=sys.stderr); sys.exit('ended')"
    with pytest.raises(Unavailable, match="the server ended when it was started: ImportError: it: pip install it"):
        load(setup_of("http", served=shlex.join([sys.executable, "-c", said])))


def test_votive_skips_a_model_that_it_does_not_load() -> None:
    with pytest.raises(Unavailable, match="cross-encoder"):
        load(setup_of("votive", model="bert_rerank"))


def test_mlx_skips_a_reranker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlx", "mlx.core", "mlx.nn", "mlx_embeddings"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    with pytest.raises(Unavailable, match="bert_rerank is a reranker, which does not embed"):
        load(setup_of("mlx", model="bert_rerank"))


def test_sqlite_without_extensions_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite_vec", types.ModuleType("sqlite_vec"))
    monkeypatch.setitem(sys.modules, "apsw", None)
    monkeypatch.setattr("sqlite3.Connection", object)
    with pytest.raises(Unavailable, match="sqlite3 loads no extensions: pip install apsw"):
        load(setup_of("sqlite-vec", "search"))


def test_votive_says_how_large_its_passes_are() -> None:
    backend = load(setup_of("votive", dtype="float32"))
    assert backend.pass_sizes() is None
    backend.compute(TEXTS)
    assert backend.pass_sizes() == 3.0
    assert backend.pass_sizes() is None


@pytest.mark.parametrize(
    ("model", "task", "reason"),
    [
        ("bert_40", "embed", None),
        ("bert_40", "rerank", "bert_40 is an embedder, which does not rerank"),
        ("router", "rerank", "router is an embedder, which does not rerank"),
        ("bert_rerank", "rerank", None),
        ("bert_rerank", "embed", "bert_rerank is a reranker, which does not embed"),
        # Language models that say yes or no.
        ("qwen3_rerank", "rerank", None),
        ("qwen3_rerank", "embed", None),
        ("no-such-folder", "rerank", None),
    ],
)
def test_a_model_is_for_one_task(model: str, task: Any, reason: str | None) -> None:
    if reason is None:
        check_task(FIXTURES / model, task)
    else:
        with pytest.raises(Unavailable, match=reason):
            check_task(FIXTURES / model, task)


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"architectures": ["NewThingForSequenceClassification"]}, ["embed"]),
        ({"architectures": ["NewThingModel"]}, ["rerank"]),
        ({"architectures": ["NewThingForCausalLM"]}, []),
        ({}, []),
        (None, []),
    ],
)
def test_the_task_of_a_model_that_votive_does_not_read(config: Any, refused: list[str], tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "new_thing"}))
    for task in ("embed", "rerank"):
        with pytest.raises(Unavailable) if task in refused else nullcontext():
            check_task(tmp_path, task)  # type: ignore[arg-type]
