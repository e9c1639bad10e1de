"""Runs that end before they are through, and go on: by signals, by a kill, and with what was not there before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from bench_stubs import choice, experiment
from votive.bench import log, plan
from votive.bench.log import read_cells, read_run
from votive.bench.run import run

PROGRAM = """
import sys
import bench_stubs
import votive.cli

if __name__ == "__main__":
    bench_stubs.install()
    sys.exit(votive.cli.main(["bench", *sys.argv[1:]]))
"""


def program(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`votive bench` with the stubs, in another process."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env=os.environ | variables | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def signalled(stub_model: Path, tmp_path: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """A run of twelve cells that gets the signal in the sixth."""
    file = tmp_path / "tiny.json"
    file.write_bytes(msgspec.json.encode(experiment(stub_model, choice("counting"), choice("signalling"))))
    out = str(tmp_path / "out")
    return program(tmp_path, str(file), "--out", out, MARKER=str(tmp_path / "marker"), SIGNAL=str(int(number)))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_run_that_was_killed_goes_on(
    stub_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = signalled(stub_model, tmp_path, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = tmp_path / "out" / "tiny"
    asked = read_run(folder).experiment
    before = (folder / "cells.jsonl").read_bytes()
    assert len(before.splitlines()) == 5
    # As if it was killed while it wrote.
    (folder / "cells.jsonl").write_bytes(before + b'{"cell":{"exper')
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    assert run([asked], tmp_path / "out", True, False) == [folder]
    assert "its last line was written half (15 bytes): that cell is left out" in capsys.readouterr().err
    after = (folder / "cells.jsonl").read_bytes()
    assert after.startswith(before)
    lines = read_cells(folder)
    assert [plan.key(line.cell, line.round) for line in lines] == [plan.key(*turn) for turn in plan.turns(asked)]
    # There is nothing left to do.
    run([asked], tmp_path / "out", True, False)
    assert (folder / "cells.jsonl").read_bytes() == after


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("number", "status", "last"),
    [(signal.SIGINT, 130, "votive bench run: interrupted"), (signal.SIGTERM, 143, "goes on")],
)
def test_a_signal_leaves_a_report_of_what_was_measured(
    number: signal.Signals, status: int, last: str, stub_model: Path, tmp_path: Path
) -> None:
    done = signalled(stub_model, tmp_path, number)
    out = tmp_path / "out"
    assert done.returncode == status, done.stderr
    assert f"stopped: what was measured is in {out}" in done.stderr
    assert done.stderr.rstrip().endswith(last)
    assert "Traceback" not in done.stderr
    assert len(read_cells(out / "tiny")) == 5
    report = (out / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# tiny\n")
    assert "| 3 | " in report
    assert done.stdout.startswith("# tiny\n")
    # What it says is so.
    goes_on = program(tmp_path, str(tmp_path / "tiny.json"), "--out", str(out), "--resume", MARKER=str(tmp_path))
    assert goes_on.returncode == 0, goes_on.stderr
    assert len(read_cells(out / "tiny")) == 12


def test_what_was_skipped_or_failed_is_tried_again(
    stub_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = tmp_path / "installed"
    asked = experiment(
        stub_model,
        choice("counting"),
        choice("late", environment={"INSTALLED": str(installed)}),
        choice("failing"),
        choice("other", skip="not today"),
        rounds=1,
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    first = {(line.cell.backend, line.cell.batch_size): line for line in read_cells(folder)}
    before = (folder / "cells.jsonl").read_bytes()
    installed.touch()
    capsys.readouterr()
    run([asked], tmp_path / "out", True, False)
    assert capsys.readouterr().err.splitlines()[:2] == [
        "tiny: late: cells to try again: 3: no such engine yet: pip install engine",
        "tiny: failing: cells to try again: 3: ValueError: no",
    ]
    after = (folder / "cells.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 12 + 6
    again = {(line.cell.backend, line.cell.batch_size): line for line in read_cells(folder)}
    assert list(again) == list(first)
    for (backend, size), line in again.items():
        if backend == "late":
            assert (line.skipped, line.requests) == (None, 4)
        elif backend == "failing":
            assert line.errors == {"ValueError: no": 5}
        else:
            assert line == first[backend, size]


def test_versions_of_what_was_installed_meanwhile_are_told(
    stub_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = experiment(stub_model, choice("counting"), rounds=1)
    for versions in ({"votive": "1", "torch": "2"}, {"votive": "1", "torch": "3", "onnx": "4"}, {"torch": "3"}):
        monkeypatch.setattr(log.machine, "versions", lambda versions=versions: versions)
        [folder] = run([asked], tmp_path / "out", True, False)
    assert read_run(folder).versions == {"votive": "1", "torch": "2, then 3", "onnx": "4"}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_the_working_directory_is_told(
    stub_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(repository)
    commits: list[str] = []

    def git(*arguments: str) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *named, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def told() -> str | None:
        [folder] = run([experiment(stub_model, choice("counting"), rounds=1)], tmp_path / "out", True, False)
        return read_run(folder).git

    assert told() is None
    git("init", "-q")
    assert told() is None  # without a commit
    file = repository / "file"
    for content in ("one", "two"):
        file.write_text(content)
        git("add", "file")
        git("commit", "-qm", content)
        git("tag", content)
        commits.append(git("rev-parse", "HEAD"))
        assert told() == ", then ".join(commits)
    file.write_text("changed")
    assert told() == f"{commits[0]}, then {commits[1]}, then {commits[1]}-dirty"
