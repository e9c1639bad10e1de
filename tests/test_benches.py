"""The command line of the benchmarks, which says what it has on any machine; and stores of documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benches import report
from benches.peers import documents

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "embed": ("targets", "table", "pauses"),
    "rerank": ("targets", "table"),
    "store": ("targets", "table", "proof", "binary", "documents", "commits"),
    "callers": ("targets", "table"),
    "dropin": ("util",),
    "static": ("targets",),
    "serve": ("table", "soak"),
    "quantized": ("targets",),
    "scale": ("engines", "rows"),
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
        (("embed", "proof"), ("targets", "table", "pauses")),
        (("callers", "proof"), ("targets", "table")),
        (("models", "table"), tuple(COMMANDS)),
        (("rerank", "table", "--model", "qwen3"), ("minilm",)),
        (("store", "table", "--peers", "numpy,lancedb"), ("votive", "numpy", "torch", "faiss-flat")),
        (("store", "documents", "--peers", "numpy"), tuple(documents.PEERS)),
        (("quantized", "targets", "--model", "gemma3"), ("minilm", "qwen3")),
    ],
    ids=" ".join,
)
def test_what_has_no_meaning_is_refused_with_the_choices(arguments: tuple[str, ...], choices: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    reason = done.stderr.splitlines()[-1]
    assert "choose from" in reason
    assert all(choice in reason for choice in choices)


def measured(folder: Path, what: str, *arguments: str) -> dict[str, Any]:
    """What a quick run has written. Skips where the one store that is asked for is not installed."""
    done = run("store", what, "--quick", "--out", str(folder), *arguments)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / f"store_{what}.json").read_text())
    reasons = list(results["skipped"].values())
    if reasons and reasons[0].startswith("No module named"):
        pytest.skip(reasons[0])
    assert (reasons, results["failed"]) == ([], {})
    return results


@pytest.mark.parametrize("store", documents.PEERS)
def test_a_store_of_documents_does_all_that_is_measured(store: str, tmp_path: Path) -> None:
    facts = measured(tmp_path, "documents", "--rows", "300", "--peers", store)["stores"][store]
    assert facts["rows"] == 300
    assert list(facts["found"].values()) == [1.0, 1.0, 1.0]  # HNSW sees all of so few
    assert f"| {store} |" in (tmp_path / "store_documents.md").read_text()


def test_commits_of_one_row_are_counted(tmp_path: Path) -> None:
    results = measured(tmp_path, "commits", "--commits", "120")
    steps = results["stores"]["votive"]["steps"]
    assert [step["commits"] for step in steps] == [100, 20]
    assert all(step["manifest"] > 0 for step in steps)
    assert "| votive | 120 |" in (tmp_path / "store_commits.md").read_text()


def test_results_are_written_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    report.write(tmp_path / "a" / "b", "soak", {"seconds": [1]}, "| Memory |")
    assert json.loads((tmp_path / "a" / "b" / "soak.json").read_text()) == {"seconds": [1]}
    assert (tmp_path / "a" / "b" / "soak.md").read_text() == "| Memory |"
