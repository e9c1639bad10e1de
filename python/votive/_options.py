"""The constructors' options: what each may be, and whether the core takes it. A new one is described here alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike, fspath
from types import NoneType
from typing import Any, get_args

from votive import _core
from votive._arguments import check_choice, check_count, check_path, check_text
from votive.activation import resolve_activation
from votive.backend import device_name
from votive.similarity_function import similarity_name
from votive.typing import WhenFull

# Milliseconds. A longer wait is a mistake in the unit.
MAX_WAIT_MS = 60_000


@dataclass(frozen=True)
class Option:
    """One argument of a constructor.

    Attributes:
        name: its name in the signature.
        check: gives the value to keep, or raises an error that begins with the name.
        for_core: whether the core is given it, by the same name.
    """

    name: str
    check: Callable[[str, Any], Any]
    for_core: bool = False


def _typed(name: str, value: Any, *types: type) -> Any:
    if not isinstance(value, types):
        accepted = " or ".join("None" if kind is NoneType else kind.__name__ for kind in types)
        raise TypeError(f"{name}: expected {accepted}, found {type(value).__name__}")
    return check_text(name, value) if isinstance(value, str) else value


def _text(name: str, value: Any) -> Any:
    return _typed(name, value, str)


def _optional_text(name: str, value: Any) -> Any:
    return _typed(name, value, str, NoneType)


def _flag(name: str, value: Any) -> Any:
    return _typed(name, value, bool)


def _count(name: str, value: Any) -> Any:
    check_count(name, value)
    return value


def _model_path(name: str, value: Any) -> Any:
    if not isinstance(value, str | PathLike):
        raise TypeError(f"{name}: expected a model's name or the path of its folder, found {type(value).__name__}")
    return _text(name, fspath(value))


def _base(name: str, value: Any) -> Any:
    return None if value is None else _model_path(name, value)


def _folder(name: str, value: Any) -> Any:
    if value is None:
        return None
    folder = fspath(value)
    if not isinstance(folder, str):
        raise TypeError(f"{name}: expected str or None, found {type(folder).__name__}")
    check_path(name, folder)
    return folder


def _device(name: str, value: Any) -> Any:
    return "auto" if value is None else _text(name, device_name(value))


def _token(name: str, value: Any) -> Any:
    return _typed(name, value, bool, str, NoneType)


def _prompts(name: str, value: Any) -> Any:
    if _typed(name, value, dict, NoneType) is None:
        return None
    return {check_text(f"{name}: a name", key): check_text(f"{name}[{key!r}]", text) for key, text in value.items()}


def _similarity(name: str, value: Any) -> Any:
    return None if value is None else similarity_name(name, value)


def _activation(name: str, value: Any) -> Any:
    if value is not None:
        resolve_activation(value)
    return value


def _wait(name: str, value: Any) -> Any:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected a number, found {type(value).__name__}")
    if not 0 <= float(value) <= MAX_WAIT_MS:
        raise ValueError(f"{name}: expected 0 to {MAX_WAIT_MS}, found {value}")
    return value


def _when_full(name: str, value: Any) -> Any:
    check_choice(name, value, get_args(WhenFull))
    return value


OPTIONS = {
    option.name: option
    for option in (
        Option("model_name_or_path", _model_path, for_core=True),
        Option("device", _device, for_core=True),
        Option("dtype", _text, for_core=True),
        Option("revision", _optional_text, for_core=True),
        Option("base", _base, for_core=True),
        Option("gguf_file", _optional_text, for_core=True),
        Option("cache_folder", _folder, for_core=True),
        Option("local_files_only", _flag, for_core=True),
        Option("token", _token, for_core=True),
        Option("max_seq_length", _count),
        Option("num_threads", _count, for_core=True),
        Option("max_batch_tokens", _count, for_core=True),
        Option("max_batch_size", _count, for_core=True),
        Option("max_wait_ms", _wait, for_core=True),
        Option("max_queue", _count, for_core=True),
        Option("max_concurrency", _count, for_core=True),
        Option("when_full", _when_full),
        Option("fallback", _flag),
        Option("prompts", _prompts),
        Option("default_prompt_name", _optional_text),
        Option("truncate_dim", _count),
        Option("similarity_fn_name", _similarity),
        Option("num_labels", _count),
        Option("activation_fn", _activation),
    )
}


def check_options(given: dict[str, Any]) -> dict[str, Any]:
    """The options as they are kept.

    Raises:
        TypeError, ValueError: one is not what it may be; the message begins with its name.
    """
    return {name: OPTIONS[name].check(name, value) for name, value in given.items()}


def core_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those that the core takes."""
    return {name: value for name, value in options.items() if name in OPTIONS and OPTIONS[name].for_core}


def with_credential(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with the token where neither `vars`, nor a pickle, nor a traceback's locals show it."""
    token = arguments["token"]
    return arguments | {"token": _core.Credential(token)} if isinstance(token, str) else dict(arguments)
