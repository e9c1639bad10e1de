"""What tests share: tiny models, and new interpreters to try things in."""

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stored
import votive.cli
from stores import DIMENSION, ROWS
from votive import Embedder, EmbeddingStore, Reranker

FIXTURES = Path(__file__).parent / "fixtures"

# What tests do not say otherwise is about the CPU. To run them on another device, name it in the environment.
os.environ.setdefault("VOTIVE_DEVICE", "cpu")

# Where a test fails, all frames are of interest. Those of short tracebacks take this away.
os.environ.setdefault("VOTIVE_TRACEBACK", "1")

# A program that runs in the background may ignore Ctrl-C, and what it starts would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Everything else that changes how an Embedder computes: a new interpreter starts without.
VARIABLES = (
    "VOTIVE_ISA",
    "VOTIVE_FAKE_DEVICE",
    "VOTIVE_PORTABLE",
    "VOTIVE_PROFILE",
    "VOTIVE_TRACEBACK",
    "VOTIVE_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
)


@pytest.fixture(scope="session")
def folder() -> str:
    """A model of dimension 48 that takes 48 tokens, with the prompts "query", "document" and "plain"."""
    return str(FIXTURES / "bert_modules")


@pytest.fixture(scope="session")
def model(folder: str) -> Embedder:
    """That model. Tests that change it load their own."""
    return Embedder(folder)


@pytest.fixture(scope="session")
def ranker() -> Reranker:
    """A reranker of one label that takes 64 tokens. Tests that change it load their own."""
    return Reranker(str(FIXTURES / "bert_rerank"))


@pytest.fixture
def stub_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Puts the stubs among the backends of experiments. A folder for them, without a model: words stand for tokens."""
    import bench_stubs

    monkeypatch.setenv("VOTIVE_BENCH_CACHE", str(tmp_path / "cache"))
    bench_stubs.install()
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Runs code in a new interpreter, with `sys.argv[1:]` and environment variables, and gives what it prints."""

    def run(code: str, *arguments: str, **variables: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | variables
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fails(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail; gives its one line on standard error after a look at what is left behind."""

    def run(*arguments: str, status: int = 1) -> str:
        before = sorted(os.listdir())
        assert votive.cli.main(arguments) == status
        assert sorted(os.listdir()) == before
        output = capsys.readouterr()
        assert output.out == ""
        command = " ".join(arguments[: 2 if arguments[0] == "store" else 1])
        assert output.err.startswith(f"votive {command}: ")
        assert output.err.count("\n") == 1
        return output.err.removeprefix(f"votive {command}: ").rstrip("\n")

    return run


def differing(inputs: list[Any], copies: int) -> Iterator[Any]:
    """`copies` times as many texts or pairs, of which no two are equal: equal ones would be computed once."""
    for copy in range(copies):
        for given in inputs:
            yield f"{copy} {given}" if isinstance(given, str) else [given[0], f"{copy} {given[1]}"]


@dataclass(frozen=True)
class Tiny:
    """A tiny model of one of the classes, and what it may be given: for what holds for all of them."""

    kind: type[Embedder] | type[Reranker]
    folder: str
    inputs: list[Any]

    @property
    def method(self) -> str:
        """The name of the method that computes."""
        return "encode" if self.kind is Embedder else "predict"

    def load(self, num_threads: int = 2) -> Any:
        """The model; with two threads, so that work is shared out wherever the tests run."""
        return self.kind(self.folder, num_threads=num_threads)

    def of(self, model: Any) -> Callable[..., Any]:
        """The method of `model` that computes."""
        return getattr(model, self.method)

    def differing(self, copies: int) -> list[Any]:
        """As `differing`, of `inputs`."""
        return list(differing(self.inputs, copies))

    def program(self, num_threads: int) -> str:
        """Source for a new interpreter, which gives it `model`, `compute`, `INPUTS` and `differing(INPUTS, copies)`."""
        return f"""
import json
from collections.abc import Iterator
from typing import Any
from votive import {self.kind.__name__}

INPUTS = json.loads({json.dumps(json.dumps(self.inputs))})
{inspect.getsource(differing)}
model = {self.kind.__name__}({self.folder!r}, num_threads={num_threads})
compute = model.{self.method}
"""


TINY = {
    "Embedder": (Embedder, "bert_40", "texts.json"),
    "Reranker": (Reranker, "bert_rerank", "pairs.json"),
    "Reranker, causal": (Reranker, "qwen3_rerank", "pairs.json"),
}


@pytest.fixture(scope="module", params=TINY.values(), ids=TINY)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    """A model of each class in turn."""
    kind, folder, inputs = request.param
    return Tiny(kind, str(FIXTURES / folder), json.loads((FIXTURES / inputs).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def tiny_model(tiny: Tiny) -> Any:
    """That model, for tests that do not change it."""
    return tiny.load()


@pytest.fixture(scope="module")
def tiny_rows(tiny: Tiny, tiny_model: Any) -> np.ndarray:
    """What it gives for its inputs."""
    return tiny.of(tiny_model)(tiny.inputs)


@pytest.fixture
def vectors() -> np.ndarray:
    """Those of `store`."""
    return np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def queries() -> np.ndarray:
    """To ask it with."""
    return np.random.default_rng(2).standard_normal((7, DIMENSION)).astype(np.float32)


@pytest.fixture
def store(vectors: np.ndarray) -> EmbeddingStore:
    """Rows numbered from 0, with texts and metadata."""
    store = EmbeddingStore()
    metadata = {"year": np.arange(1900, 1900 + ROWS), "even": np.arange(ROWS) % 2 == 0}
    store.add_embeddings(vectors, texts=[f"text {row}" for row in range(ROWS)], metadata=metadata)
    return store


@pytest.fixture(scope="module", params=["int64", "str", "int8"])
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, one for all tests of a module, not to be touched."""
    folder = tmp_path_factory.mktemp("intact") / "store"
    stored.make(folder, request.param)
    return folder
