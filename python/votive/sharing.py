"""One model for all who ask for it in a process: what the tasks of Ray, Spark and Dask compute with."""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from os import PathLike
from typing import Any, NamedTuple, TypeVar

from votive._living import being_shared, is_living, one_at_a_time, resolved
from votive._model import Model
from votive._options import OPTIONS
from votive._tracebacks import short_traceback

M = TypeVar("M", bound="Model[Any]")


class _Shared(NamedTuple):
    model: Model[Any]
    state: dict[str, Any]  # as it was loaded


_shared: dict[Hashable, _Shared] = {}


@short_traceback
def shared(kind: type[M], model_name_or_path: str | PathLike[str], **options: Any) -> M:
    """The one model of this process that was loaded with these arguments; the first call loads it.

    Threads that ask at once get the same object, which is loaded once. What fails to load is tried again by the next
    call. The object stays until the process ends, or `close()` is called on it: then the next call loads another one.
    So does a call after the files of a folder were written anew.

    Settings that are changed on the object, such as `max_seq_length` or `prompts`, are changed for all who have it. A
    later call does not get that object: it gets one with the settings that it asks for, and the same weights.
    `copy.copy(model)` has the weights, and settings of its own.

    Pickled, it is its arguments. Where it is unpickled, it finds the weights that are loaded for equal arguments there,
    and what it has to load is kept until the process ends. So tasks of Spark, Ray and Dask that hold it load once.

    After `os.fork()` the child goes on with the weights of its parent on the CPU, and loads its own on a GPU.

    >>> model = votive.shared(Embedder, "sentence-transformers/all-MiniLM-L6-v2", num_threads=8)

    Args:
        kind: `Embedder`, `Reranker`, or a class made of them.
        model_name_or_path: as for the class; a folder is the same by whatever path.
        options: the other arguments of the class. Calls that differ in any but `token` get different objects. Those
            that differ in settings alone share the weights, and the numbers of `stats`.

    Raises:
        TypeError: `kind` is no such class, or an option cannot be compared with those of other calls, as its type has
            no hash.
        Exception: what the class raises.
    """
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise TypeError(f"kind: expected Embedder or Reranker, found {kind!r:.200}")
    try:
        bound = inspect.signature(kind).bind(model_name_or_path, **options)
    except TypeError:
        # Its own error says what it takes.
        return kind(model_name_or_path, **options)  # type: ignore[arg-type]
    bound.apply_defaults()
    key = (kind, frozenset((name, _hashable(name, value)) for name, value in bound.arguments.items()))
    with one_at_a_time(key):
        found = _shared.get(key)
        if found is None or not _is_as_loaded(found):
            token = being_shared.set(True)
            try:
                model: Any = kind(model_name_or_path, **options)  # type: ignore[arg-type]
            finally:
                being_shared.reset(token)
            found = _shared[key] = _Shared(model, model.__getstate__())
    return found.model  # type: ignore[return-value]


def _hashable(name: str, value: Any) -> Hashable:
    """The value as it is compared with that of other calls."""
    if name == "token":
        return None
    if name in OPTIONS:
        value = resolved(name, OPTIONS[name].check(name, value))
    if isinstance(value, dict):
        return frozenset((key, _hashable(f"{name}[{key!r}]", item)) for key, item in value.items())
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{name}: {type(value).__name__} has no hash, so that it cannot be compared with that of other calls; load "
            "the model without votive.shared"
        ) from None
    return value  # type: ignore[no-any-return]


def _is_as_loaded(found: _Shared) -> bool:
    model, state = found
    return is_living(model, model._present_weights()) and model.__getstate__() == state
