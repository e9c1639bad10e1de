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


# Two windows of 5 seconds.
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux alone")
@pytest.mark.parametrize("in_file", [False, True], ids=["flags", "file"])
def test_it_logs_requests_and_tells_of_alerts(in_file: bool, here: Path) -> None:
    """A bound that any memory is above is a file's; the rest is told by flags, or by the file, too."""
    log, told = here / "log.jsonl", here / "told.jsonl"
    notify = here / "notify.py"
    notify.write_text(f"import sys\nopen({str(told)!r}, 'a').write(sys.stdin.read())\n")
    command = f"{sys.executable} '{notify}'"
    section: dict[str, Any] = {"objectives": {"memory_percent": {"warning": 1e-6}}}
    arguments = ["--model", BERT, "--config", "server.json"]
    if in_file:
        section |= {"access_log": str(log), "on_alert": command}
    else:
        arguments += ["--access-log", str(log), "--on-alert", command]
    (here / "server.json").write_text(json.dumps({"server": section}))
    with served(*arguments) as (process, url):
        assert len(embed(url, ["a", "b"])) == 2
        until(lambda: told.exists() and told.read_text().endswith("\n"))
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[1] == ""
    change = json.loads(told.read_text())
    assert (change["alert"], change["severity"], change["state"]) == ("memory_percent", "warning", "raised")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert change in lines
    requests = [line for line in lines if "route" in line]
    assert [(line["route"], line["status"], line["inputs"]) for line in requests] == [("/v1/embeddings", 200, 2)]


def test_a_log_on_standard_error() -> None:
    with served("--model", BERT, "--access-log", "-") as (process, url):
        embed(url, ["a"])
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert json.loads(err)["route"] == "/v1/embeddings"
    assert "route" not in out


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
    assert "did you mean 'server'?" in wrong.stderr
    wrong = run("--config", "nothing.json")
    assert wrong.returncode == 1
    assert "nothing.json: No such file" in wrong.stderr
    wrong = run("--model", BERT, "--on-alert", "notify 'the team")
    assert wrong.returncode == 2
    assert "No closing quotation" in wrong.stderr
    wrong = run("--model", BERT, "--port", "0", "--access-log", str(here / "nowhere" / "log"))
    assert wrong.returncode in (1, 2)
    assert "nowhere" in wrong.stderr
    broken = run("--model", str(here), "--port", "0")
    assert broken.returncode == 1
    assert "cannot be loaded" in broken.stderr


def test_what_is_in_force_is_printed() -> None:
    shown = run("--model", f"{BERT}=alias", "--dtype", "int8", "--port", "9", "--print-config")
    found = json.loads(shown.stdout)
    assert found["server"]["port"] == 9
    assert found["models"][0]["options"] == {"dtype": "int8"}
    assert found["models"][0]["aliases"] == ["alias"]
