"""What the tests of the Embedder share: a tiny model, and new interpreters to try things in."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from votive import Embedder

# Everything that changes how an Embedder computes: a new interpreter starts without.
VARIABLES = (
    "VOTIVE_ISA",
    "VOTIVE_PORTABLE",
    "VOTIVE_PROFILE",
    "VOTIVE_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
)


@pytest.fixture(scope="session")
def folder() -> str:
    """A model of dimension 48 that takes 48 tokens, with the prompts "query", "document" and "plain"."""
    return str(Path(__file__).parent / "fixtures" / "bert_modules")


@pytest.fixture(scope="session")
def model(folder: str) -> Embedder:
    """That model. Tests that change it load their own."""
    return Embedder(folder)


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
