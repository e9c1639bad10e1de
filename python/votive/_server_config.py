"""The configuration of a server: a file, environment variables and flags, each beating the one before.

A file is YAML, JSON or TOML. Its sections are `server`, `batching` and `models` (or `model` for one); a `model` may say
`backend`, `mlx` and `mps`, and the top may say `backend_preference`, `device_preference`, `batch_size`, `normalize` and
`max_tokens_per_text`, as files of other servers do. A key that is not known is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from votive.serving import ServedModel, ServerOptions

PREFIX = "VOTIVE_SERVE_"
KEY_VARIABLE = "VOTIVE_API_KEY"

# What others call the program that computes, where votive has no such choice.
_OTHER_PROGRAMS = ("pytorch", "torch", "compiled", "onnx", "onnxruntime", "openvino", "sentence-transformers")
_MLX_DTYPES = {4: "int4", 8: "int8", 16: "float16", 32: "float32"}


class ConfigError(ValueError):
    """A configuration that cannot be; the message names the file, the variable or the flag, and the key."""


@dataclass(frozen=True)
class Setting:
    """One thing that a server is told.

    Attributes:
        name: its key in a file, its flag with `-` for `_`, and behind `VOTIVE_SERVE_` its variable.
        section: where a file has it: "server", "batching" or "model".
        parse: the value of a text.
        metavar: what stands for the value in help; None for a flag without one.
        help: what it is for.
        target: the argument that it becomes, where that has another name.
        many: may be given several times.
    """

    name: str
    section: str
    parse: Callable[[str], Any]
    metavar: str | None
    help: str
    target: str | None = None
    many: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        name = self.name.removesuffix("s") if self.many else self.name
        return "--" + name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError(f"expected true or false, found {text!r}")
    return known[text.lower()]


SETTINGS = (
    Setting("host", "server", str, "HOST", "an address of this machine (default: 127.0.0.1)"),
    Setting("port", "server", int, "N", "0 for one that is free (default: 8000)"),
    Setting("uds", "server", str, "PATH", "listen on a unix socket, not on a port"),
    Setting("tls_cert", "server", str, "FILE", "PEM file of the certificate, with those it is signed by"),
    Setting("tls_key", "server", str, "FILE", "PEM file of its key"),
    Setting("api_key_file", "server", str, "FILE", f"keys, one a line; else ${KEY_VARIABLE} is the key"),
    Setting("insecure", "server", _flag, None, "let other machines in without a key"),
    Setting("allowed_hosts", "server", str, "NAME", "a name by which requests may come", many=True),
    Setting("cors_origins", "server", str, "ORIGIN", "a web page that may ask, as https://example.org", many=True),
    Setting("open_metrics", "server", _flag, None, "let anybody read /metrics without a key"),
    Setting("max_body_mb", "server", float, "MB", "size of one request (default: 32)"),
    Setting("max_inputs", "server", int, "N", "texts of one request (default: 2048)"),
    Setting("token_ids", "server", str, "WHAT", "refuse token ids in place of texts, or accept the model's own"),
    Setting("max_connections", "server", int, "N", "connections at a time (default: 1024)"),
    Setting("timeout", "server", float, "SECONDS", "time of one request (default: 600)"),
    Setting("drain_seconds", "server", float, "SECONDS", "time of the last requests when it ends (default: 30)"),
    Setting("max_memory_gb", "server", float, "GB", "weights of all models; those not asked for longest are unloaded"),
    Setting("access_log", "server", str, "FILE", "a line of JSON for each request; - is standard error"),
    Setting("on_alert", "server", str, "COMMAND", "run it when an alert is raised or cleared, with JSON as its input"),
    Setting("consistency_seconds", "server", float, "SECONDS", "compare vectors with the CPU's in float32 so often"),
    Setting("max_concurrency", "server", int, "N", "passes at a time of a model (default: one a thread)"),
    Setting("max_batch_size", "batching", int, "N", "texts of a pass"),
    Setting("max_batch_tokens", "batching", int, "N", "tokens of a pass (default: what fits the caches)"),
    Setting("timeout_ms", "batching", float, "MS", "how long a text waits for others (default: 0)", "max_wait_ms"),
    Setting("max_queue", "batching", int, "N", "texts that wait before requests get 429 (default: 32768)"),
    Setting("device", "model", str, "DEVICE", "auto, cpu, metal, cuda or cuda:N (default: auto)"),
    Setting("dtype", "model", str, "DTYPE", "float32, bfloat16, float16, int8 or int4 (default: auto)"),
    Setting("num_threads", "model", int, "N", "threads of each model (default: every CPU)"),
    Setting("keep_alive", "model", float, "SECONDS", "unload a model that nobody asked for so long (default: never)"),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}

# What a file says of a model beside the settings: arguments of `ServedModel`, and of `Embedder` or `Reranker`.
_OF_SERVED = ("name", "aliases", "kind", "preload", "keep_alive", "normalize")
_OF_MODEL = (
    "device", "dtype", "num_threads", "revision", "base", "gguf_file", "cache_folder", "local_files_only",
    "max_seq_length", "truncate_dim", "prompts", "default_prompt_name", "fallback",
)  # fmt: skip
_OF_OTHERS = ("backend", "mlx", "mps")
_TOP = ("model", "models", "server", "batching", "backend_preference", "device_preference", "batch_size", "normalize")


@dataclass(frozen=True)
class ServerConfig:
    """What is in force.

    Attributes:
        models: those to serve.
        options: how they are served.
        notes: what was said and changes nothing, for whoever starts the server.
    """

    models: tuple[ServedModel, ...]
    options: ServerOptions
    notes: tuple[str, ...] = ()

    def printed(self) -> str:
        """All of it as JSON, which is YAML too. Of keys only how many there are."""
        options = asdict(self.options)
        options["api_keys"] = f"{len(self.options.api_keys)} keys"
        models = [asdict(model) | {"options": dict(model.options)} for model in self.models]
        return json.dumps({"server": options, "models": models}, indent=2, default=str)


def read_config(
    path: str | None,
    flags: Mapping[str, Any],
    models: Iterable[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> ServerConfig:
    """What is in force.

    Args:
        path: a file; None for none.
        flags: settings by their names, as the command line gives them; None for those not given.
        models: of the command line, as `NAME` or `NAME=ALIAS`: in place of the file's.
        environment: variables of the process.

    Raises:
        ConfigError: a key that is not known, or a value that cannot be.
        OSError: a file cannot be read.
    """
    notes: list[str] = []
    found = {} if path is None else _read(path)
    where = path or "the command line"
    _check_keys(where, "", found, (*_TOP, "max_tokens_per_text"))
    settings: dict[str, Any] = {}
    for section in ("server", "batching"):
        given = _section(where, found, section)
        extra = ("enabled",) if section == "batching" else ("objectives",)
        _check_keys(where, f"{section}.", given, [s.name for s in SETTINGS if s.section == section] + list(extra))
        settings |= given
    if settings.pop("enabled", True) is False:
        # Without batching a pass has one text.
        settings |= {"max_batch_size": 1, "timeout_ms": 0.0}
    if "batch_size" in found:
        settings.setdefault("max_batch_size", found["batch_size"])
    entries = _entries(where, found)
    common: dict[str, Any] = {}
    if "max_tokens_per_text" in found:
        common["max_seq_length"] = found["max_tokens_per_text"]
    if "normalize" in found:
        common["normalize"] = found["normalize"]
    preferred = _preferred_device(where, found, notes)
    if preferred is not None:
        common["device"] = preferred
    overrides = _from_environment(environment) | {name: value for name, value in flags.items() if value is not None}
    settings |= {name: value for name, value in overrides.items() if _BY_NAME[name].section != "model"}
    of_models = {name: value for name, value in overrides.items() if _BY_NAME[name].section == "model"}
    named = list(models) or [name for name in environment.get(f"{PREFIX}MODELS", "").split(",") if name]
    if named:
        first = entries[0] if len(entries) == 1 and not entries[0].get("name") else {}
        entries = [first | _named(model) for model in named]
    if not entries:
        raise ConfigError(f"{where}: names no model; give --model, or `model: {{name: ...}}` in a file")
    shared = {
        s.target or s.name: settings.pop(s.name) for s in SETTINGS if s.section == "batching" and s.name in settings
    }
    if "max_concurrency" in settings:
        shared["max_concurrency"] = settings.pop("max_concurrency")
    served = tuple(_served(where, common | entry | of_models, shared, notes) for entry in entries)
    return ServerConfig(served, _server_options(where, settings, environment), tuple(notes))


def _read(path: str) -> dict[str, Any]:
    text = Path(path).read_text(encoding="utf-8")
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".json":
            found = json.loads(text, object_pairs_hook=_unique)
        elif suffix == ".toml":
            found = _toml(text)
        else:
            found = _yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(found).__name__}")
    return found


def _toml(text: str) -> Any:
    try:
        import tomllib
    except ModuleNotFoundError:
        raise ValueError("reading TOML needs Python 3.11 or newer; write YAML or JSON") from None
    return tomllib.loads(text)


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ValueError("reading YAML needs PyYAML: pip install pyyaml, or write JSON") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """YAML in which a key stands once."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _unique([(self.construct_object(key, deep=True), None) for key, _ in node.value])
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {error}") from error


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key}: stands there twice")
        found[key] = value
    return found


def _section(where: str, found: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = found.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ConfigError(f"{where}: {name}: expected keys and values, found {type(section).__name__}")
    return dict(section)


def _check_keys(where: str, path: str, found: Mapping[Any, Any], known: Iterable[str]) -> None:
    known = list(known)
    for key in found:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: {path}{key}: unknown key; {hint}")


def _entries(where: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "model" in found and "models" in found:
        raise ConfigError(f"{where}: model, models: give one of them")
    given = found.get("models", found.get("model"))
    if given is None:
        return []
    entries = given if isinstance(given, list) else [given]
    read = []
    for i, entry in enumerate(entries):
        place = f"models[{i}]" if isinstance(given, list) else "model"
        entry = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: {place}: expected a name, or keys and values, found {type(entry).__name__}")
        _check_keys(where, f"{place}.", entry, (*_OF_SERVED, *_OF_MODEL, *_OF_OTHERS))
        read.append(entry)
    return read


def _named(model: str) -> dict[str, Any]:
    name, _, alias = model.rpartition("=")
    return {"name": name, "aliases": [alias]} if name else {"name": model}


def _preferred_device(where: str, found: Mapping[str, Any], notes: list[str]) -> str | None:
    """The first device of the preferences that is there."""
    from votive.backend import available_backends, device_name

    names = [name for key in ("backend_preference", "device_preference") for name in _list(where, key, found.get(key))]
    there = {backend.name for backend in available_backends()}
    for name in names:
        if name in _OTHER_PROGRAMS:
            notes.append(f"{name!r} is preferred: votive computes by itself, on the first device that is there")
            return None
        device = device_name(name)
        if device == "auto" or device.partition(":")[0] in there:
            return device
        notes.append(f"{name!r} is preferred, and not there: going on with the next one")
    return None


def _list(where: str, key: str, value: Any) -> list[str]:
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise ConfigError(f"{where}: {key}: expected a list of texts, found {value!r}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = {setting.variable: setting for setting in SETTINGS}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in (f"{PREFIX}MODELS", f"{PREFIX}CONFIG"):
            continue
        _check_keys("the environment", "", {variable: text}, (*known, f"{PREFIX}MODELS", f"{PREFIX}CONFIG"))
        setting = known[variable]
        try:
            parts = [setting.parse(part) for part in text.split(",")] if setting.many else setting.parse(text)
        except ValueError as error:
            raise ConfigError(f"{variable}: {error}") from error
        found[setting.name] = parts
    return found


def _served(where: str, entry: Mapping[str, Any], shared: Mapping[str, Any], notes: list[str]) -> ServedModel:
    entry = dict(entry)
    name = entry.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where}: model.name: expected a name or a folder, found {name!r}")
    backend = entry.pop("backend", None)
    if backend in _OTHER_PROGRAMS:
        notes.append(f"{name}: backend {backend!r} is asked for; votive computes by itself")
    elif backend is not None:
        from votive.backend import device_name

        entry.setdefault("device", device_name(backend))
    bits = _option(where, entry.pop("mlx", None), "mlx", "bits")
    if bits is not None:
        if bits not in _MLX_DTYPES:
            raise ConfigError(f"{where}: model.mlx.bits: expected one of {[*_MLX_DTYPES]}, found {bits!r}")
        entry.setdefault("dtype", _MLX_DTYPES[bits])
    if _option(where, entry.pop("mps", None), "mps", "fp16"):
        entry.setdefault("dtype", "float16")
    own = {key: entry.pop(key) for key in _OF_SERVED if key in entry}
    aliases = own.pop("aliases", [])
    aliases = [aliases] if isinstance(aliases, str) else aliases
    return ServedModel(model=name, aliases=tuple(aliases), options={**shared, **entry}, **own)


def _option(where: str, section: Any, name: str, key: str) -> Any:
    if section is None:
        return None
    if not isinstance(section, dict):
        raise ConfigError(f"{where}: model.{name}: expected keys and values, found {section!r}")
    _check_keys(where, f"model.{name}.", section, (key,))
    return section.get(key)


def _server_options(where: str, settings: dict[str, Any], environment: Mapping[str, str]) -> ServerOptions:
    path = settings.pop("api_key_file", None)
    keys = [environment[KEY_VARIABLE]] if environment.get(KEY_VARIABLE) else []
    if path is not None:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise ConfigError(f"{path}: holds no key")
    for name in ("allowed_hosts", "cors_origins"):
        if name in settings:
            settings[name] = _list(where, f"server.{name}", settings[name])
    known = {field.name for field in fields(ServerOptions)}
    given = {name: value for name, value in settings.items() if name in known}
    try:
        return ServerOptions(**({"api_keys": keys} | given))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
