"""Programs for sentence-transformers give its results under `votive run`, without a changed line.

`programs/expected` has what each one computes with sentence-transformers; `programs/README.md` says how it is made.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "programs"
CROSS_ENCODER = "models--cross-encoder--ms-marco-MiniLM-L6-v2"
COMMIT = "0" * 40
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def huggingface(tmp_path_factory):
    """A cache with a tiny cross-encoder under the name of the programs' one. The other model comes from a package."""
    home = tmp_path_factory.mktemp("huggingface")
    model = home / "hub" / CROSS_ENCODER
    shutil.copytree(FOLDER.parent / "fixtures" / "bert_rerank", model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    return home


def close(expected, found):
    """Whether two results are the same, numbers to the tolerance."""
    if isinstance(expected, dict):
        return expected.keys() == found.keys() and all(close(value, found[key]) for key, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(close, expected, found))
    if isinstance(expected, float):
        return abs(expected - found) <= TOLERANCE * max(1, abs(expected))
    return expected == found


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_gives_the_reference_results(name, huggingface, tmp_path):
    program = FOLDER / f"{name}.py"
    for package in re.findall("^# needs: (.+)$", program.read_text(encoding="utf-8"), flags=re.MULTILINE):
        pytest.importorskip(package)
    found = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "votive", "run", str(program), str(found)],
        env=os.environ | {"HF_HOME": str(huggingface), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads((FOLDER / "expected" / f"{name}.json").read_text(encoding="utf-8"))
    assert close(expected, json.loads(found.read_text(encoding="utf-8")))
