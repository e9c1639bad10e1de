"""What a server is told by files, variables and flags."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from votive._config_file import ConfigError
from votive._server_config import SETTINGS, ServerConfig, read_config

SEEDS = """
model:
  name: sentence-transformers/all-MiniLM-L6-v2
  device: cpu
  backend: pytorch
  mlx: {bits: 8}
  mps: {fp16: true}
batching: {enabled: true, max_batch_size: 64, timeout_ms: 5}
server: {max_concurrency: 2}
"""


def config(
    text: str | None, here: Path, flags: Any = None, models: Any = (), suffix: str = "yaml", **env: str
) -> ServerConfig:
    path = here / f"server.{suffix}"
    if text is not None:
        path.write_text(text)
    return read_config(None if text is None else str(path), flags or {}, models, env)


def test_files_of_other_servers(here: Path) -> None:
    pytest.importorskip("yaml")
    found = config(SEEDS, here)
    (model,) = found.models
    assert model.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert model.options == {
        "max_batch_size": 64, "max_wait_ms": 5, "max_concurrency": 2, "device": "cpu", "dtype": "int8",
    }  # fmt: skip
    assert found.notes == (
        "sentence-transformers/all-MiniLM-L6-v2: backend 'pytorch' is asked for; votive computes by itself",
    )
    other = config(
        "model: m\nbackend_preference: [mlx, mps]\ndevice_preference: [cpu]\nbatch_size: 48\nnormalize: false\n"
        "max_tokens_per_text: 200\nbatching: {enabled: false}\n",
        here,
    )
    (model,) = other.models
    assert not model.normalize
    assert model.options["max_seq_length"] == 200
    assert model.options["max_batch_size"] == 1, "without batching a pass has one text"
    assert model.options["device"] in ("cpu", "metal")


def test_flags_beat_variables_and_these_files(here: Path) -> None:
    text = json.dumps({"models": ["a", {"name": "b", "dtype": "int8"}], "server": {"port": 1, "timeout": 5}})
    env = {
        "VOTIVE_SERVE_PORT": "2",
        "VOTIVE_SERVE_DTYPE": "float32",
        "VOTIVE_SERVE_ALLOWED_HOSTS": "x.example,y.example",
    }
    found = config(text, here, {"port": 3, "host": None}, suffix="json", **env)
    assert (found.options.port, found.options.timeout) == (3, 5)
    assert found.options.allowed_hosts == ["x.example", "y.example"]
    assert [model.options["dtype"] for model in found.models] == ["float32", "float32"]
    assert config(text, here, suffix="json", **env).options.port == 2
    named = config(text, here, {}, ["c=alias", "./d"], suffix="json")
    assert [(model.model, model.aliases) for model in named.models] == [("c", ("alias",)), ("./d", ())]
    assert [m.model for m in config(None, here, VOTIVE_SERVE_MODELS="e,f").models] == ["e", "f"]


def test_what_watches_a_server(here: Path) -> None:
    server = {
        "access_log": "log.jsonl",
        "on_alert": ["notify", "the team"],
        "objectives": {"p95_ms": {"warning": 50}},
    }
    text = json.dumps({"model": "m", "server": server})
    options = config(text, here, suffix="json").options
    assert (options.access_log, options.on_alert) == ("log.jsonl", ["notify", "the team"])
    assert options.objectives == {"p95_ms": {"warning": 50}}
    env = {"VOTIVE_SERVE_ACCESS_LOG": "-", "VOTIVE_SERVE_ON_ALERT": "notify 'the team'"}
    options = config(text, here, suffix="json", **env).options
    assert (options.access_log, options.on_alert) == ("-", "notify 'the team'")
    options = config(text, here, {"access_log": "other"}, suffix="json", **env).options
    assert options.access_log == "other"
    assert json.loads(config(text, here, suffix="json").printed())["server"]["objectives"] == server["objectives"]


def test_keys_come_from_a_file_or_a_variable(here: Path) -> None:
    keys = here / "keys"
    keys.write_text("# of the team\none\n\n two \n")
    found = config(None, here, {"api_key_file": str(keys), "host": "0.0.0.0"}, ["m"], VOTIVE_API_KEY="three")
    assert found.options.api_keys == ["one", "two"]
    assert "one" not in found.printed()
    assert "2 keys" in found.printed()
    assert config(None, here, {}, ["m"], VOTIVE_API_KEY="three").options.api_keys == ["three"]
    keys.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="holds no key"):
        config(None, here, {"api_key_file": str(keys)}, ["m"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"modle": "m"}', r"server\.json:1: modle: unknown key; did you mean 'model'\?"),
        ('{"models": ["m", {"name": "n"},\n3]}', r"server\.json:2: models\[2\]: expected a name, or keys and values"),
        ('{"model": {"name": "m", "aliases": 3}}', r"model\.aliases: expected a list of texts, found 3"),
        ('{"model": {"name": "m", "devise": "cpu"}}', r"model\.devise: unknown key; did you mean 'device'\?"),
        (
            '{"models": ["m", {"name": "n", "mlx": {"bit": 4}}]}',
            r"server\.json:1: models\[1\]\.mlx\.bit: unknown key; did you mean 'bits'\?",
        ),
        ('{"model": "m", "server": {"prot": 1}}', r"server\.prot: unknown key; did you mean 'port'\?"),
        ('{"model": "m", "batching": {"max_size": 1}}', r"batching\.max_size: unknown key"),
        ('{"model": "m", "models": ["n"]}', "give one of them"),
        ('{"model": {"device": "cpu"}}', "expected a name or a folder"),
        ('{"model": {"name": "m", "mlx": {"bits": 3}}}', "bits: expected one of"),
        ('{"model": 3}', "model: expected a name"),
        ('{"server": 3, "model": "m"}', "server: expected keys and values"),
        ('{"model": "m", "server": {"port": "x"}}', r"server\.port: expected a whole number, found \"x\" \(text\)"),
        ('{"model": "m",\n"server": {"port": 70000}}', r"server\.json:2: port: expected 0 to 65535, found 70000"),
        ('{"model": "m", "server": {"host": "0.0.0.0"}}', "reached by other machines"),
        (
            '{"model": "m", "server": {"objectives": {"p95": {}}}}',
            r"server\.json:1: objectives: no rule 'p95'; there are p95_ms",
        ),
        (
            '{"model": "m", "server": {"objectives": {"p95_ms": {"warning": "50"}}}}',
            "expected a number above 0, found '50'",
        ),
        ('{"model": "m", "server": {"objectives": []}}', "objectives: expected a dict, found list"),
        ('{"model": "m", "server": {"objective": {}}}', r"server\.objective: unknown key; did you mean 'objectives'\?"),
        ('{"model": "m", "server": {"on_alert": " "}}', "on_alert: expected a command"),
        ('{"model": "m", "server": {"on_alert": 3}}', "on_alert: expected a command, found 3"),
        ('{"model": "m", "server": {"on_alert": "notify \'them"}}', "on_alert: .*No closing quotation"),
        (
            '{"model": "m", "server": {"insecure": "false"}}',
            r"server\.insecure: expected true or false, found \"false\" .*; write false without",
        ),
        ('{"model": "m", "server": {"open_metrics": 1}}', r"server\.open_metrics: expected true or false, found 1 "),
        ('{"model": "m", "server": {"tls_cert": 3}}', "tls_cert: expected a str, found int"),
        ('{"model": "m", "server": {"access_log": 3}}', "access_log: expected a str, found int"),
        ('{"model": "m", "server": {"cors_origins": 3}}', "cors_origins: expected a list"),
        ('{"model": "m", "model": "n"}', "model: stands there twice"),
        ("{}", "names no model"),
        ("[]", "expected keys and values"),
        ("{", r"server\.json:1: no JSON: "),
    ],
)
def test_what_cannot_be_is_named(here: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(text, here, suffix="json")


def test_yaml_and_toml_are_read_strictly(here: Path) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(ConfigError, match=r"server\.yaml:2: model: stands there twice"):
        config("model: a\nmodel: b\n", here)
    with pytest.raises(ConfigError, match="no YAML"):
        config("model: [", here)
    with pytest.raises(ConfigError, match=r"the tag .* is not read"):
        config("model: !!python/object/apply:os.system ['true']", here)
    if sys.version_info >= (3, 11):
        assert config('model = "m"\n[server]\nport = 7\n', here, suffix="toml").options.port == 7


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("server.insecure", "model: m\nserver: {host: 0.0.0.0, \ninsecure: %s}"),
        ("server.open_metrics", "model: m\nserver:\n  open_metrics: %s"),
        ("batching.enabled", "model: m\nbatching:\n  enabled: %s"),
        ("normalize", "\nmodel: m\nnormalize: %s"),
        ("model.preload", "model:\n  name: m\n  preload: %s"),
        ("model.normalize", "model:\n  name: m\n  normalize: %s"),
        ("model.local_files_only", "model:\n  name: m\n  local_files_only: %s"),
        ("model.fallback", "model:\n  name: m\n  fallback: %s"),
        ("model.mps.fp16", "model:\n  name: m\n  mps: {fp16: %s}"),
    ],
)
def test_booleans_of_yaml_1_1_are_refused(here: Path, key: str, text: str) -> None:
    pytest.importorskip("yaml")
    for word, meant in {"yes": "true", "On": "true", "no": "false", "OFF": "false", "'false'": "false"}.items():
        shown = word.strip("'")
        told = rf'server\.yaml:3: {key}: expected true or false, found "{shown}" \(text\); write {meant} without quotes'
        with pytest.raises(ConfigError, match=told):
            config(text % word, here)
    with pytest.raises(ConfigError, match=rf"server\.yaml:3: {key}: expected true or false, found nothing$"):
        config(text % "~", here)
    for word in ("true", "false"):
        if (key, word) != ("server.insecure", "false"):
            config(text % word, here)


@pytest.mark.parametrize("text", ["1_000", "10:20", "0b11", "'8'", "true", "[8]"])
def test_numbers_of_yaml_1_1_are_refused(here: Path, text: str) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(ConfigError, match=r"server\.yaml:3: batching\.max_batch_size: expected a whole number, found "):
        config(f"model: m\nbatching:\n  max_batch_size: {text}\n", here)
    with pytest.raises(ConfigError, match=r"server\.yaml:3: server\.timeout: expected a number, found "):
        config(f"model: m\nserver:\n  timeout: {text}\n", here)


def test_variables_are_checked(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"VOTIVE_SERVE_PROT: unknown key; did you mean 'VOTIVE_SERVE_PORT'\?"):
        config(None, here, {}, ["m"], VOTIVE_SERVE_PROT="1")
    with pytest.raises(ConfigError, match="VOTIVE_SERVE_PORT: invalid literal"):
        config(None, here, {}, ["m"], VOTIVE_SERVE_PORT="x")
    with pytest.raises(ConfigError, match="VOTIVE_SERVE_INSECURE: expected true or false"):
        config(None, here, {}, ["m"], VOTIVE_SERVE_INSECURE="maybe")
    assert config(None, here, {}, ["m"], VOTIVE_SERVE_INSECURE="true", VOTIVE_SERVE_HOST="0.0.0.0").options.insecure


def test_settings_have_a_flag_each() -> None:
    flags = [setting.flag for setting in SETTINGS]
    assert len(set(flags)) == len(flags)
    assert {"--allowed-host", "--cors-origin", "--api-key-file", "--max-memory-gb"} <= set(flags)
