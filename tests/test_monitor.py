"""`votive monitor`, alerts, and the files that it prints for other programs."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import votive.cli
from served import embed, metrics, value
from serving import ask, until
from votive import serving
from votive.cli import monitor

FIXTURES = Path(__file__).parent / "fixtures"
MODELS = {"small": str(FIXTURES / "bert_40"), "ranks": str(FIXTURES / "bert_rerank")}


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.serve(MODELS) as server:
        assert embed(server, ["one", "two", "three"], "small") == 200
        assert embed(server, []) == 400
        yield server


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert votive.cli.main(["monitor", *arguments]) == 0
    shown, said = capsys.readouterr()
    assert said == ""
    return shown


class TestOnce:
    def test_a_table(self, server: serving.Server, capsys: pytest.CaptureFixture[str]) -> None:
        shown = show(capsys, server.url, "--once")
        title, *lines = shown.splitlines()
        assert re.fullmatch(rf"votive {re.escape(votive.__version__)} at {server.url}, ready, up \d:\d\d:\d\d", title)
        assert max(map(len, lines)) < 120
        assert re.search(r"^per second +now +last minute$", shown, re.MULTILINE)
        assert re.search(r"^texts +\d+\.\d +\d+\.\d$", shown, re.MULTILINE)
        assert re.search(r"^request +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d$", shown, re.MULTILINE)
        assert re.search(r"^1 requests in flight, \d connections$", shown, re.MULTILINE)
        assert re.search(r"^errors: empty 1$", shown, re.MULTILINE)
        assert re.search(r"^small +loaded +\d", shown, re.MULTILINE)
        assert "\x1b" not in shown

    def test_json(self, server: serving.Server, capsys: pytest.CaptureFixture[str]) -> None:
        (line,) = show(capsys, server.url + "/", "--once", "--json").splitlines()
        found = json.loads(line)
        assert found["totals"]["inputs"] == 3
        assert found["per_second"]["inputs"] > 0
        assert [model["name"] for model in found["models"]] == ["small", "ranks"]
        assert found["last_minute"]["request_ms"]["p99"] > 0

    def test_a_model_that_is_not_loaded(self, capsys: pytest.CaptureFixture[str]) -> None:
        models = [serving.ServedModel(MODELS["small"], name="late\n", preload=False)]
        with serving.serve(models) as server:
            shown = show(capsys, server.url, "--once")
        assert re.search(r"^late\S* +not loaded$", shown, re.MULTILINE)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix sockets")
def test_a_unix_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "socket")
    monkeypatch.setenv("VOTIVE_API_KEY", "secret")
    with serving.serve(MODELS["small"], uds=path, api_keys=["secret"]) as server:
        assert server.url == f"unix:{path}"
        assert f"at {server.url}, ready" in show(capsys, server.url, "--once")
        monkeypatch.delenv("VOTIVE_API_KEY")
        assert votive.cli.main(["monitor", server.url, "--once"]) == 1
        assert "wants a key" in capsys.readouterr().err
    assert votive.cli.main(["monitor", server.url, "--once"]) == 1
    assert f"no answer from {server.url}: " in capsys.readouterr().err


def test_rates_are_those_between_two_looks() -> None:
    def stats(uptime: float, inputs: int) -> dict[str, Any]:
        return {
            "uptime_seconds": uptime,
            "totals": {"requests": 1, "inputs": inputs},
            "last_minute": {"seconds": 10.0, "requests": 5, "inputs": 20},
        }

    first = monitor._with_rates(stats(100.0, 50), None)
    assert first["per_second"] == {"requests": 0.5, "inputs": 2.0}
    later = monitor._with_rates(stats(102.0, 90), stats(100.0, 50))
    assert later["per_second"] == {"requests": 0.0, "inputs": 20.0}
    restarted = monitor._with_rates(stats(1.0, 3), stats(100.0, 50))
    assert restarted["per_second"] == {"requests": 0.5, "inputs": 2.0}


def test_lines_until_it_is_interrupted(server: serving.Server) -> None:
    command = [sys.executable, "-m", "votive", "monitor", server.url, "--json", "--interval", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        lines = [json.loads(program.stdout.readline()) for _ in range(3)]
        assert lines[0]["time"] < lines[1]["time"] < lines[2]["time"]
        assert lines[2]["per_second"]["inputs"] == 0
        if sys.platform == "win32":
            program.kill()
            return
        program.send_signal(signal.SIGINT)
        program.stdout.read()
        assert (program.stderr.read(), program.wait(30)) == ("", 0)


class TestKeys:
    def test_of_a_file_and_of_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "key"
        file.write_text("# mine\nsecret\n")
        monkeypatch.delenv("VOTIVE_API_KEY", raising=False)
        with serving.serve(MODELS["small"], api_keys=["secret"]) as server:
            assert votive.cli.main(["monitor", server.url, "--once"]) == 1
            assert "wants a key: set VOTIVE_API_KEY" in capsys.readouterr().err
            assert "ready" in show(capsys, server.url, "--once", "--api-key-file", str(file))
            monkeypatch.setenv("VOTIVE_API_KEY", "secret")
            assert "ready" in show(capsys, server.url, "--once")

    def test_an_empty_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "key").write_text("\n")
        assert votive.cli.main(["monitor", "--api-key-file", str(tmp_path / "key")]) == 1
        assert "holds no key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "problem"),
    [("http://127.0.0.1:1", "no answer from http://127.0.0.1:1: "), ("127.0.0.1:8000", "want an address such as")],
)
def test_no_server(url: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert votive.cli.main(["monitor", url]) == 1
    assert problem in capsys.readouterr().err


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:votive|process)_\w+", expression))


def series(server: serving.Server) -> set[str]:
    """The names of all samples, which are there where Linux tells of processes."""
    samples = {name for family in metrics(server).values() for name, _ in family.samples}
    others = {"process_resident_memory_bytes", "process_cpu_seconds_total", "votive_memory_used_bytes"}
    return samples if sys.platform == "linux" else samples | others | {"votive_memory_limit_bytes"}


class TestFiles:
    def test_rules_for_prometheus(self, server: serving.Server, capsys: pytest.CaptureFixture[str]) -> None:
        yaml = pytest.importorskip("yaml")
        found = yaml.safe_load(show(capsys, "--rules", "prometheus"))
        ((name, rules),) = [(group["name"], group["rules"]) for group in found["groups"]]
        assert (list(found), name) == (["groups"], "votive")
        known = series(server)
        for rule in rules:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"[A-Za-z]+", rule["alert"])
            assert re.fullmatch(r"\d+m", rule["for"])
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"].count("{{") == rule["annotations"]["summary"].count("}}")
            for opened, closed in ("()", "{}", "[]"):
                assert rule["expr"].count(opened) == rule["expr"].count(closed)
            assert names_in(rule["expr"])
            assert names_in(rule["expr"]) <= known
        alerts = {(rule["alert"], rule["labels"]["severity"]): rule["expr"] for rule in rules}
        assert len(alerts) == len(rules)
        assert alerts["VotiveSlow", "critical"].endswith(" > 500")
        assert alerts["VotiveErrors", "warning"].endswith(" > 1")

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
    def test_promtool_takes_the_rules(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        rules = tmp_path / "rules.yml"
        rules.write_text(show(capsys, "--rules", "prometheus"), encoding="utf-8")
        checked = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
    def test_promtool_takes_the_metrics(self, server: serving.Server) -> None:
        page = ask(server, "/metrics").body
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

    def test_a_dashboard_for_grafana(self, server: serving.Server, capsys: pytest.CaptureFixture[str]) -> None:
        found = json.loads(show(capsys, "--rules", "grafana"))
        known = series(server)
        assert (found["title"], found["schemaVersion"]) == ("votive", 39)
        variables = {variable["name"] for variable in found["templating"]["list"]}
        ids, places = set(), set()
        for panel in found["panels"]:
            ids.add(panel["id"])
            place = panel["gridPos"]
            places.add((place["x"], place["y"]))
            assert place["x"] + place["w"] <= 24
            assert panel["type"] == "timeseries"
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            for target in panel["targets"]:
                assert names_in(target["expr"])
                assert names_in(target["expr"]) <= known
                assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
        assert len(ids) == len(places) == len(found["panels"])


class TestAlerts:
    def test_none_from_the_start(self, server: serving.Server) -> None:
        found = ask(server, "/alerts").json["alerts"]
        bounds = {(alert["rule"], alert["severity"]): alert["bound"] for alert in found}
        expected = {(rule, name): bound for rule, all in serving.OBJECTIVES.items() for name, bound in all.items()}
        assert bounds == expected
        numbers = metrics(server)
        for rule, severity in bounds:
            assert value(numbers, "votive_alert", rule=rule, severity=severity) in (0, 1)
        assert value(numbers, "votive_alert", rule="error_percent", severity="critical") == 0

    # Two windows of 5 seconds.
    @pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux alone")
    def test_one_is_raised_and_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        told, log = tmp_path / "told", tmp_path / "log"
        code = f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read())"
        objectives = {"memory_percent": {"warning": 1e-6, "critical": float("inf")}}
        options = {"objectives": objectives, "on_alert": [sys.executable, "-c", code], "access_log": log}
        with serving.serve(MODELS["small"], **options) as server:
            until(lambda: told.exists() and told.read_text().endswith("\n"))
            numbers = metrics(server)
            assert value(numbers, "votive_alert", rule="memory_percent", severity="warning") == 1
            assert value(numbers, "votive_alert", rule="memory_percent", severity="critical") == 0
            shown = show(capsys, server.url, "--once")
        change = json.loads(told.read_text())
        assert (change["alert"], change["severity"], change["state"]) == ("memory_percent", "warning", "raised")
        assert change["value"] > change["bound"] == 1e-6
        assert change in [json.loads(line) for line in log.read_text().splitlines()]
        assert re.search(r"^warning: memory_percent is [\d.]+, its bound 1e-06, since ", shown, re.MULTILINE)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"objectives": {"p95": {}}}, "no rule 'p95'; there are p95_ms"),
            ({"objectives": {"p95_ms": {"fatal": 1}}}, "no severity 'fatal'; there are warning, critical"),
            ({"objectives": {"p95_ms": {"warning": -1}}}, "expected a number above 0, found -1"),
            ({"objectives": {"p95_ms": {"warning": float("nan")}}}, "expected a number above 0"),
            ({"objectives": {"p95_ms": {"warning": 501}}}, "warning is above critical"),
            ({"objectives": {"p95_ms": 3}}, "expected a dict, found int"),
            ({"objectives": 3}, "objectives: expected a dict, found int"),
            ({"on_alert": ""}, "on_alert: expected a command"),
            ({"on_alert": [1]}, "on_alert: expected a command"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], problem: str) -> None:
        with pytest.raises((TypeError, ValueError), match=re.escape(problem)):
            serving.ServerOptions(**options)

    def test_a_command_is_split_as_a_shell_does(self) -> None:
        assert serving._command("notify 'the team' --now") == ["notify", "the team", "--now"]
