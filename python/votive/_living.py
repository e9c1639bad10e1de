"""Which models of this process have their weights loaded, so that one with equal arguments need not load them again."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

if TYPE_CHECKING:
    from votive._model import Model

# Whether the model that is being made is one of `votive.shared`.
being_shared: ContextVar[bool] = ContextVar("being_shared", default=False)

# Which weights a name means, and how they are computed with.
_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "OMP_NUM_THREADS", "RAYON_NUM_THREADS")

# Arguments that may be a folder.
_PATHS = ("model_name_or_path", "base", "cache_folder")

# Folders of modules lie in a model's folder, and what these have in folders within.
_DEPTH = 2


class Weights(NamedTuple):
    """What two models share weights by.

    Attributes:
        arguments: class and arguments, without those that each model sees to itself.
        surroundings: the environment, and the names, sizes and times of the files, which may be others by now.
    """

    arguments: Hashable
    surroundings: Hashable

    @classmethod
    def of(cls, kind: type, arguments: dict[str, Any]) -> Weights:
        """Those that are loaded for the arguments now."""
        # Who may read the files is no property of theirs.
        named = {name: resolved(name, value) for name, value in arguments.items() if name != "token"}
        variables = {name: os.environ[name] for name in os.environ if name.startswith("VOTIVE_") or name in _VARIABLES}
        files = [file for name in ("model_name_or_path", "base") if named.get(name) for file in _files(named[name])]
        return cls((kind, frozenset(named.items())), (frozenset(variables.items()), tuple(sorted(files))))


def resolved(name: str, value: Any) -> Any:
    """The value of an argument; the one path of a folder or file, by whatever path it is given."""
    return os.path.realpath(value) if value and name in _PATHS and os.path.exists(value) else value


def _files(path: str, depth: int = _DEPTH) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of each file of a model's folder, or of the file; nothing of a name on the hub."""
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            for entry in entries:
                if depth or not entry.is_dir():
                    yield from _files(entry.path, depth - 1)
    elif os.path.exists(path):
        status = os.stat(path)
        yield path, status.st_size, status.st_mtime_ns


_models: WeakSet[Model[Any]] = WeakSet()
_kept: dict[Hashable, Model[Any]] = {}
_changing = threading.Lock()
_loading: dict[Hashable, threading.Lock] = {}


def _forked() -> None:
    """Has locks that no thread holds, and no model of a GPU, which nothing can be computed with after a fork."""
    global _changing
    _changing = threading.Lock()
    _loading.clear()
    for model in list(_models):
        if model._loaded is not None and model._loaded.device != "cpu":
            _models.discard(model)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def one_at_a_time(key: Hashable) -> Iterator[None]:
    """No two threads are within it with equal keys."""
    with _loading.setdefault(key, threading.Lock()):
        yield


def register(model: Model[Any]) -> None:
    """Has others find the weights of a model, for as long as it is there and is not closed."""
    with _changing:
        _models.add(model)


def keep(model: Model[Any], weights: Weights) -> None:
    """Keeps the model, and so its weights, until it is closed or its files are others."""
    with _changing:
        if weights.arguments not in _kept or not is_living(_kept[weights.arguments], weights):
            _kept[weights.arguments] = model


def is_living(model: Model[Any], weights: Weights) -> bool:
    """Whether others may have the weights of the model, which must be these."""
    return model in _models and model._loaded is not None and model._weights == weights


def find(weights: Weights) -> tuple[Model[Any], Any] | None:
    """A model that has these weights, and its core."""
    with _changing:
        candidates = list(_models)
    for model in candidates:
        # Asked once: another thread may close the model.
        core = model._loaded
        if core is not None and is_living(model, weights):
            return model, core
    return None
