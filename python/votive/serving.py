"""One HTTP server for models, which clients of OpenAI, Cohere, Jina, Ollama and text-embeddings-inference can ask."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal

from votive import _core
from votive._arguments import check_flag, check_text
from votive._objectives import OBJECTIVES as OBJECTIVES
from votive._objectives import all_objectives
from votive.activation import ACTIVATIONS
from votive.embedder import Embedder
from votive.reranker import Reranker

if TYPE_CHECKING:
    from typing_extensions import Self

# Inputs that wait for a model before requests are answered with 429.
MAX_QUEUE = 32_768

_OWN_ADDRESSES = ("localhost", "127.", "::1")


@dataclass(frozen=True)
class ServedModel:
    """A model to serve, before it is loaded.

    Attributes:
        model: a folder, a name on the Hugging Face Hub, or a model that is loaded already.
        name: what requests call it; None for the model's own name.
        aliases: what requests may call it, too.
        kind: "embedder" or "reranker"; None for what its files are for.
        preload: load it when the server starts, else when a request asks for it.
        keep_alive: seconds without a request after which it is unloaded, and loaded again by the next; None for never.
        normalize: whether vectors are scaled to length 1, where an interface has that; False for as the model gives
            them.
        options: arguments of `Embedder` or `Reranker`.
    """

    model: str | PathLike[str] | Embedder | Reranker
    name: str | None = None
    aliases: Sequence[str] = ()
    kind: Literal["embedder", "reranker"] | None = None
    preload: bool = True
    keep_alive: float | None = None
    normalize: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerOptions:
    """How a server is reached, and what it takes.

    Attributes:
        host: an address of this machine; one that others reach needs `api_keys` or `insecure`.
        port: 0 for one that is free.
        uds: the path of a unix socket, in place of host and port.
        tls_cert: the path of a PEM file with a certificate, and those it is signed by; None for plain HTTP.
        tls_key: the path of a PEM file with its key.
        api_keys: requests must come with one of these; none for no key.
        insecure: take requests of other machines without a key.
        allowed_hosts: names by which requests may come beside "localhost" and this machine's address. On an address
            that others reach, none is for all names.
        cors_origins: web pages that may ask, as "https://example.org"; others are refused.
        open_metrics: let anybody read `/metrics` without a key.
        max_body_mb: megabytes of one request.
        max_inputs: texts of one request.
        token_ids: what `/v1/embeddings` does with token ids in place of texts: "refuse" them, since clients send ids
            of OpenAI's tokenizer, or "accept" them as ids of the model's own, whose text is computed.
        max_connections: those at a time; more are refused.
        timeout: seconds that a request may take.
        drain_seconds: how long requests that came may take when the server ends.
        max_memory_gb: gigabytes of the weights of all models; beyond that those are unloaded that nobody asked for
            longest. None for no limit.
        access_log: a file to which a line of JSON is added for each request, or "-" for standard error; None for none.
            Texts are never in it. A file that was moved away is opened anew within a second.
        objectives: bounds of alerts, for those that are not to have their own: "p95_ms" (percentile 95 of the time of a
            request), "queue_ms" (of its wait), "memory_percent", "error_percent" and "cosine_distance" (1 less the
            smallest cosine to the CPU's vectors), each a dict with "warning" and "critical". See `OBJECTIVES`.
        on_alert: a command, and its arguments, that is run when an alert is raised or cleared; it gets a line of JSON
            on standard input.
        consistency_seconds: how often the vectors of some texts are compared with those of the CPU in float32, whose
            weights are loaded once for that; None for never. Rerankers, and models that were loaded before, are not
            compared.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    api_keys: Sequence[str] = ()
    insecure: bool = False
    allowed_hosts: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    open_metrics: bool = False
    max_body_mb: float = 32
    max_inputs: int = 2048
    token_ids: Literal["refuse", "accept"] = "refuse"
    max_connections: int = 1024
    timeout: float = 600
    drain_seconds: float = 30
    max_memory_gb: float | None = None
    access_log: str | PathLike[str] | None = None
    objectives: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    on_alert: str | Sequence[str] | None = None
    consistency_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            check_option(name, getattr(self, name))
        is_own = self.host.startswith(_OWN_ADDRESSES)
        if self.uds is None and not is_own and not self.api_keys and not self.insecure:
            raise ValueError(
                f"host: {self.host} is reached by other machines; give api_keys, or insecure=True to let them all in"
            )


def check_option(name: str, value: Any) -> None:
    """Accepts what a field of `ServerOptions` may be.

    Raises:
        TypeError, ValueError: it may not be that; the message begins with the field's name.
    """
    if name in ("insecure", "open_metrics"):
        check_flag(name, value)
    elif name == "host" or (name in ("uds", "tls_cert", "tls_key", "access_log") and value is not None):
        check_text(name, fspath(value) if name == "access_log" and isinstance(value, PathLike) else value)
    elif name == "port":
        if not isinstance(value, int) or not 0 <= value < 65_536:
            raise ValueError(f"port: expected 0 to 65535, found {value!r}")
    elif name in ("api_keys", "allowed_hosts", "cors_origins"):
        if isinstance(value, str):
            raise TypeError(f"{name}: expected a list of str, found one str")
        if not all(isinstance(item, str) and item for item in value):
            raise ValueError(f"{name}: expected texts that are not empty")
    elif name == "token_ids":
        if value not in ("refuse", "accept"):
            raise ValueError(f"token_ids: expected 'refuse' or 'accept', found {value!r}")
    elif name in ("max_inputs", "max_connections"):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected 1 or more, found {value!r}")
    elif name in ("max_body_mb", "timeout", "drain_seconds") or (
        name in ("max_memory_gb", "consistency_seconds") and value is not None
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"{name}: expected a number from 0 on, found {value!r}")
    elif name == "objectives":
        all_objectives(value)
    elif name == "on_alert":
        _command(value)


class Server:
    """A running server. As a context manager it ends with the block."""

    def __init__(self, models: Sequence[ServedModel], options: ServerOptions) -> None:
        self.options = options
        self._core = _core.Server([_entry(model) for model in models], _core_options(options))

    @property
    def url(self) -> str:
        """Where it is reached: "http://127.0.0.1:8000", or "unix:" and the path of its socket."""
        host, port = self._core.address
        if port is None:
            return f"unix:{host}"
        scheme = "http" if self.options.tls_cert is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def not_ready(self) -> str | None:
        """Why it is not ready: None where all models are loaded that are loaded at the start."""
        return self._core.not_ready

    @property
    def requests_in_flight(self) -> int:
        """Requests that are not answered yet."""
        return self._core.requests_in_flight

    def reload(self) -> None:
        """Begins to load all models again that are loaded; requests go on meanwhile with those that were."""
        self._core.reload()

    def wait_until_ready(self, timeout: float | None = None) -> Self:
        """Returns when all models are loaded that are loaded at the start.

        Raises:
            RuntimeError: one cannot be loaded.
            TimeoutError: it takes longer than so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (reason := self.not_ready) is not None:
            if " cannot be loaded: " in reason:
                raise RuntimeError(reason)
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(reason)
            time.sleep(0.005)
        return self

    def stop(self, drain_seconds: float | None = None) -> None:
        """Takes no more requests, and returns when those that came are answered, or after `drain_seconds`."""
        self._core.stop(self.options.drain_seconds if drain_seconds is None else drain_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<votive.Server {self.url}>"


def serve(models: Any, **options: Any) -> Server:
    """A server of `models`, running, and ready: a context manager that ends it.

    Args:
        models: a model's name or folder, an `Embedder`, a `Reranker`, a `ServedModel`; a list of these; or a dict of
            them by the names that requests call them.
        options: attributes of `ServerOptions`. `port` is 0 by default, for one that is free: see `Server.url`.

    Raises:
        ValueError, TypeError: an option has a value that is not accepted, or two models have one name.
        RuntimeError: a model cannot be loaded.
    """
    known = set(ServerOptions.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(f"{unknown[0]}: no option of a server; there are {', '.join(sorted(known))}")
    server = Server(as_served(models), ServerOptions(**({"port": 0} | options)))
    try:
        return server.wait_until_ready()
    except BaseException:
        server.stop(0)
        raise


def as_served(models: Any) -> list[ServedModel]:
    """What `serve` takes, as a list."""
    if isinstance(models, (str, PathLike, Embedder, Reranker, ServedModel)):
        models = [models]
    if isinstance(models, Mapping):
        return [_with_name(_one(model, f"models[{name!r}]"), name) for name, model in models.items()]
    if not isinstance(models, Iterable):
        raise TypeError(f"models: expected a model, a list or a dict of models, found {type(models).__name__}")
    return [_one(model, f"models[{i}]") for i, model in enumerate(models)]


def _one(model: Any, place: str) -> ServedModel:
    if isinstance(model, ServedModel):
        return model
    if not isinstance(model, (str, PathLike, Embedder, Reranker)):
        raise TypeError(f"{place}: expected a name, a folder, an Embedder or a Reranker, found {type(model).__name__}")
    return ServedModel(model)


def _with_name(served: ServedModel, name: str) -> ServedModel:
    return replace(served, name=check_text("models: a name", name))


def _entry(served: ServedModel) -> dict[str, Any]:
    """A model as the core takes it."""
    model = served.model
    named = model._arguments["model_name_or_path"] if isinstance(model, (Embedder, Reranker)) else fspath(model)
    return {
        "name": served.name or named,
        "aliases": list(served.aliases),
        "load": lambda: _loaded(_load(served), served.normalize),
        "load_reference": None if isinstance(model, (Embedder, Reranker)) else lambda: _reference(served),
        "preload": served.preload,
        "keep_alive": served.keep_alive,
    }


def _load(served: ServedModel) -> Embedder | Reranker:
    model = served.model
    if isinstance(model, (Embedder, Reranker)):
        return model
    kind = served.kind
    options: dict[str, Any] = {"max_queue": MAX_QUEUE, "when_full": "raise"} | dict(served.options)
    if kind is None:
        from votive.inspection import inspect_model

        found = ("revision", "cache_folder", "local_files_only", "token", "base", "gguf_file")
        kind = inspect_model(model, **{name: options[name] for name in found if name in options}).kind
    if kind == "embedder":
        return Embedder(model, **options)
    if "max_seq_length" in options:
        options["max_length"] = options.pop("max_seq_length")
    return Reranker(model, **options)


def _reference(served: ServedModel) -> dict[str, Any]:
    """The model on the CPU in float32, as the core takes it."""
    options = {**served.options, "device": "cpu", "dtype": "float32"}
    return _loaded(_load(replace(served, options=options)), served.normalize)


def _loaded(model: Embedder | Reranker, normalize: bool) -> dict[str, Any]:
    """A loaded model as the core takes it."""
    origin, detail = model._model.origin
    fields: dict[str, Any] = {
        "core": model._model,
        "prompts": model.prompts,
        "default_prompt_name": model.default_prompt_name,
        "stats": model._stats,
        "normalize": normalize,
        "dimension": None,
        "labels": None,
        "label_names": [],
        "pooling": None,
        "revision": detail if origin in ("cache", "hub") else None,
        "activation": None,
    }
    if isinstance(model, Embedder):
        return fields | {
            "max_length": model._wanted_length,
            "dimension": model.get_embedding_dimension(),
            "pooling": model._files.pooling,
        }
    activation = next((name for name, function in ACTIVATIONS.items() if function is model.activation_fn), None)
    if activation is None:
        raise ValueError(
            "activation_fn: a server computes without Python, so that it needs one of "
            f"{', '.join(ACTIVATIONS)}; give one as activation_fn="
        )
    return fields | {
        "max_length": model.max_seq_length,
        "labels": model.num_labels,
        "label_names": model._model.label_names,
        "activation": activation,
    }


def _command(command: str | Sequence[str] | None) -> list[str]:
    """A command as a program and its arguments."""
    if command is None:
        return []
    if isinstance(command, str):
        try:
            command = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"on_alert: expected a command, found {command!r}: {error}") from error
    if not isinstance(command, Sequence) or not command or not all(isinstance(part, str) for part in command):
        raise ValueError(f"on_alert: expected a command, found {command!r}")
    return list(command)


def _core_options(options: ServerOptions) -> dict[str, Any]:
    body_bytes = max(1, int(options.max_body_mb * 2**20))
    objectives = all_objectives(options.objectives).values()
    return {
        "host": options.host,
        "port": options.port,
        "uds": options.uds,
        "tls_cert": options.tls_cert,
        "tls_key": options.tls_key,
        "keys": list(options.api_keys),
        "allowed_hosts": list(options.allowed_hosts),
        "cors_origins": list(options.cors_origins),
        "open_metrics": options.open_metrics,
        "max_body_bytes": body_bytes,
        "body_bytes_in_flight": 8 * body_bytes,
        "max_inputs": options.max_inputs,
        "accepts_token_ids": options.token_ids == "accept",
        "max_connections": options.max_connections,
        "timeout": float(options.timeout),
        "max_model_bytes": None if options.max_memory_gb is None else int(options.max_memory_gb * 1e9),
        "access_log": None if options.access_log is None else fspath(options.access_log),
        "objectives": [[bounds["warning"], bounds["critical"]] for bounds in objectives],
        "on_alert": _command(options.on_alert),
        "consistency_seconds": options.consistency_seconds,
    }
