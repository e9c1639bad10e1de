"""The command line of the benchmarks. It says what it has on any machine: none of the peers is imported for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "embed": ("targets", "table"),
    "rerank": ("targets", "table"),
    "store": ("targets", "table", "proof", "binary"),
    "callers": ("targets", "table"),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benches", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_names_the_subjects() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{{{','.join(COMMANDS)}}}" in done.stdout


@pytest.mark.parametrize("subject", COMMANDS)
def test_help_of_a_subject_names_its_commands(subject: str) -> None:
    done = run(subject, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{{{','.join(COMMANDS[subject])}}}" in done.stdout


@pytest.mark.parametrize(("subject", "what"), [(subject, what) for subject, all in COMMANDS.items() for what in all])
def test_help_of_a_command_names_its_options(subject: str, what: str) -> None:
    done = run(subject, what, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"--out", "--quick"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (("embed", "proof"), ("targets", "table")),
        (("callers", "proof"), ("targets", "table")),
        (("models", "table"), tuple(COMMANDS)),
        (("rerank", "table", "--model", "qwen3"), ("minilm",)),
        (("store", "table", "--peers", "numpy,lancedb"), ("votive", "numpy", "torch", "faiss-flat")),
    ],
    ids=" ".join,
)
def test_what_has_no_meaning_is_refused_with_the_choices(arguments: tuple[str, ...], choices: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    reason = done.stderr.splitlines()[-1]
    assert "choose from" in reason
    assert all(choice in reason for choice in choices)
