"""What type checkers see: programs in `typing` without an error, and mistakes there of which each is found.

basedpyright is pyright in a wheel that brings Node along: pyright's own downloads it when it first runs.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "typing"
PROGRAMS = sorted(FOLDER.glob("*.py"))

# A file, and the number of a line with an error.
Errors = set[tuple[str, int]]


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(cache: Path) -> Errors:
    options = ("--strict", "--no-error-summary", "--config-file=", f"--cache-dir={cache}")
    output = run("mypy", *options, *map(str, PROGRAMS))
    found = re.findall(r"^(.+\.py):(\d+): error: ", output, re.MULTILINE)
    return {(Path(file).name, int(line)) for file, line in found}


def pyright(folder: Path) -> Errors:
    project = folder / "pyrightconfig.json"
    # Not "strict": that also asks programs for annotations and reports what is not used.
    project.write_text(json.dumps({"include": [str(FOLDER)], "typeCheckingMode": "standard"}))
    output = run("basedpyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(project))
    report = json.loads(output)
    assert report["summary"]["filesAnalyzed"] == len(PROGRAMS)
    return {
        (Path(found["file"]).name, found["range"]["start"]["line"] + 1)
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


@pytest.mark.parametrize("check", [mypy, pyright])
def test_each_mistake_is_found_and_nothing_else(check: Callable[[Path], Errors], tmp_path: Path) -> None:
    planted = {
        (program.name, number)
        for program in PROGRAMS
        for number, line in enumerate(program.read_text(encoding="utf-8").splitlines(), 1)
        if line.endswith("# error")
    }
    found = check(tmp_path)
    assert planted - found == set(), "mistakes that are not found"
    assert found - planted == set(), "errors where there is no mistake"
    assert planted
