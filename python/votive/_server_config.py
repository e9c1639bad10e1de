"""The configuration of a server: a file, environment variables and flags, each beating the one before.

A file is YAML, JSON or TOML. Its sections are `server`, `batching` and `models` (or `model` for one); a `model` may say
`backend`, `mlx` and `mps`, and the top may say `backend_preference`, `device_preference`, `batch_size`, `normalize` and
`max_tokens_per_text`, as files of other servers do. A key that is not known is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from votive._config_file import ConfigError, Document, KeyPath, Place, check_key, found, read_file
from votive.serving import ServedModel, ServerOptions, check_option

PREFIX = "VOTIVE_SERVE_"
KEY_VARIABLE = "VOTIVE_API_KEY"

# What others call the program that computes, where votive has no such choice.
_OTHER_PROGRAMS = ("pytorch", "torch", "compiled", "onnx", "onnxruntime", "openvino", "sentence-transformers")
_MLX_DTYPES = {4: "int4", 8: "int8", 16: "float16", 32: "float32"}


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


# Of variables; in files true and false alone are no texts.
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(f"expected true or false, found {text!r}")
    return _FLAGS[text.lower()]


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
    Setting("device", "model", str, "DEVICE", "auto, cpu, metal, cuda, cuda:N, vulkan, dx12 or wgpu (default: auto)"),
    Setting("dtype", "model", str, "DTYPE", "float32, bfloat16, float16, int8 or int4 (default: auto)"),
    Setting("num_threads", "model", int, "N", "threads of each model (default: every CPU)"),
    Setting("keep_alive", "model", float, "SECONDS", "unload a model that nobody asked for so long (default: never)"),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}

# What a file says beside the settings, with what parses a text of it, and str for what is checked elsewhere. Of a
# model: arguments of `ServedModel`, and of `Embedder` or `Reranker`.
_OF_SERVED: dict[str, Callable[[str], Any]] = {
    "name": str, "aliases": str, "kind": str, "preload": _flag, "keep_alive": float, "normalize": _flag,
}  # fmt: skip
_OF_MODEL: dict[str, Callable[[str], Any]] = {
    "device": str, "dtype": str, "num_threads": int, "revision": str, "base": str, "gguf_file": str,
    "cache_folder": str, "local_files_only": _flag, "max_seq_length": int, "truncate_dim": int, "prompts": str,
    "default_prompt_name": str, "fallback": _flag,
}  # fmt: skip
_OF_OTHERS: dict[str, Callable[[str], Any]] = {"backend": str, "mlx": str, "mps": str}
_OF_SECTIONS: dict[str, dict[str, Callable[[str], Any]]] = {
    "server": {"objectives": str},
    "batching": {"enabled": _flag},
}
_TOP: dict[str, Callable[[str], Any]] = {
    "model": str, "models": str, "server": str, "batching": str, "backend_preference": str, "device_preference": str,
    "batch_size": int, "normalize": _flag, "max_tokens_per_text": int,
}  # fmt: skip


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
    document = Document("the command line", {}) if path is None else read_file(Path(path))
    top = _keys(document, (), _TOP)
    settings: dict[str, Any] = {}
    for section, others in _OF_SECTIONS.items():
        known = {setting.name: setting.parse for setting in SETTINGS if setting.section == section}
        settings |= _keys(document, (section,), known | others)
    for name in ("allowed_hosts", "cors_origins"):
        if name in settings:
            settings[name] = _list(document, ("server", name))
    for name, value in settings.items():
        try:
            check_option(name, value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{document.place(('server', name))._replace(key='')}: {error}") from error
    if settings.pop("enabled", True) is False:
        # Without batching a pass has one text.
        settings |= {"max_batch_size": 1, "timeout_ms": 0.0}
    if "batch_size" in top:
        settings.setdefault("max_batch_size", top["batch_size"])
    entries = _entries(document)
    common: dict[str, Any] = {}
    if "max_tokens_per_text" in top:
        common["max_seq_length"] = top["max_tokens_per_text"]
    if "normalize" in top:
        common["normalize"] = top["normalize"]
    preferred = _preferred_device(document, notes)
    if preferred is not None:
        common["device"] = preferred
    overrides = _from_environment(environment) | {name: value for name, value in flags.items() if value is not None}
    settings |= {name: value for name, value in overrides.items() if _BY_NAME[name].section != "model"}
    of_models = {name: value for name, value in overrides.items() if _BY_NAME[name].section == "model"}
    named = list(models) or [name for name in environment.get(f"{PREFIX}MODELS", "").split(",") if name]
    if named:
        at, first = entries[0] if len(entries) == 1 and "name" not in entries[0][1] else ((), {})
        entries = [(at, first | _named(model)) for model in named]
    if not entries:
        raise ConfigError(f"{document.source}: names no model; give --model, or `model: {{name: ...}}` in a file")
    shared = {
        s.target or s.name: settings.pop(s.name) for s in SETTINGS if s.section == "batching" and s.name in settings
    }
    if "max_concurrency" in settings:
        shared["max_concurrency"] = settings.pop("max_concurrency")
    served = tuple(_served(document, at, common | entry | of_models, shared, notes) for at, entry in entries)
    return ServerConfig(served, _server_options(document.source, settings, environment), tuple(notes))


def _keys(document: Document, path: KeyPath, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Keys and values, which are numbers or true and false where their texts are made such; none where nothing is."""
    section = document.get(path)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ConfigError(f"{document.place(path)}: expected keys and values, found {found(section)}")
    for key, value in section.items():
        place = document.place((*path, key))
        check_key(place, key, known)
        _check_kind(place, known[key], value)
    return dict(section)


def _check_kind(place: Place, parse: Callable[[str], Any], value: Any) -> None:
    if parse is _flag and not isinstance(value, bool):
        word = str(value).lower()
        meant = f"; write {json.dumps(_FLAGS[word])} without quotes" if word in _FLAGS else ""
        raise ConfigError(f"{place}: expected true or false, found {found(value)}{meant}")
    expected = "a whole number" if parse is int else "a number" if parse is float else None
    kinds = int if parse is int else (int, float)
    if expected and value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
        raise ConfigError(f"{place}: expected {expected}, found {found(value)}")


def _entries(document: Document) -> list[tuple[KeyPath, dict[str, Any]]]:
    """What the file says of each model, and where."""
    if "model" in document.value and "models" in document.value:
        raise ConfigError(f"{document.place(('models',))}: stands beside model; give one of them")
    name = "models" if "models" in document.value else "model"
    given = document.get((name,))
    if given is None:
        return []
    paths: list[KeyPath] = [(name, index) for index in range(len(given))] if isinstance(given, list) else [(name,)]
    return [(path, _entry(document, path)) for path in paths]


def _entry(document: Document, path: KeyPath) -> dict[str, Any]:
    entry = document.get(path)
    if isinstance(entry, str):
        return {"name": entry}
    if not isinstance(entry, dict):
        raise ConfigError(f"{document.place(path)}: expected a name, or keys and values, found {found(entry)}")
    entry = _keys(document, path, _OF_SERVED | _OF_MODEL | _OF_OTHERS)
    if "aliases" in entry:
        entry["aliases"] = tuple(_list(document, (*path, "aliases")))
    if entry.pop("mlx", None) is not None:
        bits = _keys(document, (*path, "mlx"), {"bits": int}).get("bits")
        if bits not in (None, *_MLX_DTYPES):
            place = document.place((*path, "mlx", "bits"))
            raise ConfigError(f"{place}: expected one of {[*_MLX_DTYPES]}, found {found(bits)}")
        if bits is not None:
            entry.setdefault("dtype", _MLX_DTYPES[bits])
    if entry.pop("mps", None) is not None and _keys(document, (*path, "mps"), {"fp16": _flag}).get("fp16"):
        entry.setdefault("dtype", "float16")
    return entry


def _named(model: str) -> dict[str, Any]:
    name, _, alias = model.rpartition("=")
    return {"name": name, "aliases": (alias,)} if name else {"name": model}


def _preferred_device(document: Document, notes: list[str]) -> str | None:
    """The first device of the preferences that is there."""
    names = [name for key in ("backend_preference", "device_preference") for name in _list(document, (key,))]
    for name in names:
        if name in _OTHER_PROGRAMS:
            notes.append(f"{name!r} is preferred: votive computes by itself, on the first device that is there")
            return None
        if (device := _device(name)) is not None:
            return device
        notes.append(f"{name!r} is preferred, and not there: going on with the next one")
    return None


def _device(name: str) -> str | None:
    """The device of that name, if it is there. Others are names too, in a file that other programs read."""
    from votive._core import DeviceError
    from votive.backend import get_backend

    try:
        return name if name == "auto" else get_backend(name).device
    except (DeviceError, ValueError):
        return None


def _list(document: Document, path: KeyPath) -> list[str]:
    value = document.get(path)
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise ConfigError(f"{document.place(path)}: expected a list of texts, found {found(value)}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    known = {setting.variable: setting for setting in SETTINGS}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in (f"{PREFIX}MODELS", f"{PREFIX}CONFIG"):
            continue
        place = Place("the environment", None, variable)
        check_key(place, variable, (*known, f"{PREFIX}MODELS", f"{PREFIX}CONFIG"))
        setting = known[variable]
        try:
            parts = [setting.parse(part) for part in text.split(",")] if setting.many else setting.parse(text)
        except ValueError as error:
            raise ConfigError(f"{variable}: {error}") from error
        given[setting.name] = parts
    return given


def _served(
    document: Document, path: KeyPath, entry: dict[str, Any], shared: Mapping[str, Any], notes: list[str]
) -> ServedModel:
    name = entry.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{document.place((*path, 'name'))}: expected a name or a folder, found {found(name)}")
    backend = entry.pop("backend", None)
    if backend in _OTHER_PROGRAMS:
        notes.append(f"{name}: backend {backend!r} is asked for; votive computes by itself")
    elif backend is not None:
        from votive.backend import device_name

        entry.setdefault("device", device_name(backend))
    own = {key: entry.pop(key) for key in _OF_SERVED if key in entry}
    return ServedModel(model=name, options={**shared, **entry}, **own)


def _server_options(source: str, settings: dict[str, Any], environment: Mapping[str, str]) -> ServerOptions:
    path = settings.pop("api_key_file", None)
    keys = [environment[KEY_VARIABLE]] if environment.get(KEY_VARIABLE) else []
    if path is not None:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise ConfigError(f"{path}: holds no key")
    try:
        return ServerOptions(**({"api_keys": keys} | settings))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {error}") from error
