"""`votive serve` as a process: signals, messages, exit statuses."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import until

BERT = str(Path(__file__).parent / "fixtures" / "bert_40")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@contextmanager
def served(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server and its address."""
    command = [sys.executable, "-m", "votive", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | variables
    )
    try:
        assert process.stdout is not None
        url = re.fullmatch(r"votive serve: listening on (\S+)\n", process.stdout.readline())
        assert url is not None
        assert "ready on" in process.stdout.readline()
        yield process, url[1]
    finally:
        process.kill()
        process.communicate()


def embed(url: str, texts: Any) -> Any:
    data = json.dumps({"input": texts}).encode()
    request = urllib.request.Request(f"{url}/v1/embeddings", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: int) -> None:
    with served("--model", f"{BERT}=alias") as (process, url):
        assert len(embed(url, ["a", "b"])) == 2
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.endswith("votive serve: ended\n")


def test_a_signal_loads_the_models_again() -> None:
    with served("--model", BERT) as (process, url):
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        assert process.stdout.readline() == "votive serve: loading the models again\n"
        until(lambda: len(embed(url, "a")) == 1)


def test_settings_come_from_the_environment() -> None:
    with served(VOTIVE_SERVE_MODELS=BERT, VOTIVE_SERVE_MAX_INPUTS="1") as (_, url):
        assert len(embed(url, ["a"])) == 1
        with pytest.raises(OSError, match="413"):
            embed(url, ["a", "b"])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "votive", "serve", *arguments], capture_output=True, text=True, timeout=60
    )


def test_what_is_wrong_is_said_and_ends_it(here: Path) -> None:
    wrong = run("--model", BERT, "--host", "0.0.0.0")
    assert wrong.returncode == 2
    assert "reached by other machines" in wrong.stderr
    wrong = run()
    assert wrong.returncode == 2
    assert "names no model" in wrong.stderr
    Path("server.json").write_text('{"model": "m", "sever": {}}')
    wrong = run("--config", "server.json")
    assert wrong.returncode == 2
    assert "did you mean server?" in wrong.stderr
    wrong = run("--config", "nothing.json")
    assert wrong.returncode == 1
    assert "nothing.json: No such file" in wrong.stderr
    broken = run("--model", str(here), "--port", "0")
    assert broken.returncode == 1
    assert "cannot be loaded" in broken.stderr


def test_what_is_in_force_is_printed() -> None:
    shown = run("--model", f"{BERT}=alias", "--dtype", "int8", "--port", "9", "--print-config")
    found = json.loads(shown.stdout)
    assert found["server"]["port"] == 9
    assert found["models"][0]["options"] == {"dtype": "int8"}
    assert found["models"][0]["aliases"] == ["alias"]
