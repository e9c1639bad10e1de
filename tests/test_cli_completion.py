"""`votive completion`: scripts with which shells complete commands and options."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import votive.cli

# Calls what bash calls when Tab is pressed after the words, and prints what it would offer.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p votive | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$function 2> /dev/null
echo "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    pytest.importorskip("shtab")
    command = [sys.executable, "-m", "votive", "completion", "bash"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    path = tmp_path_factory.mktemp("completion") / "votive.bash"
    path.write_text(printed)
    return path


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["enc"], {"encode"}),
        (["store", "c"], {"create", "compact"}),
        (["store", "create", "--metr"], {"--metric"}),
        (["store", "create", "folder", "file", "--metric", "co"], {"cosine"}),
        (["search", "query", "--filt"], {"--filter"}),
        (["completion", ""], {"bash", "zsh", "fish", "tcsh"}),
        (["encode", "notes"], {"notes.txt"}),
        (["search", "query", "fol"], {"folder"}),
    ],
)
def test_bash_completes(words: list[str], offered: set[str], script: Path, here: Path) -> None:
    Path("notes.txt").touch()
    Path("folder").mkdir()
    command = ["bash", "--norc", "-c", ASK, "bash", str(script), "votive", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert {word.rstrip("/") for word in done.stdout.split()} == offered, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_have_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert votive.cli.main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert "encode" in printed
    assert "compact" in printed


def test_without_shtab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert votive.cli.main(["completion", "bash"]) == 1
    said = capsys.readouterr().err
    assert said == "votive completion: needs the package shtab: pip install 'votive[completion]'\n"
