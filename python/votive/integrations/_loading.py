"""The model of a class for another library: loaded by its name, or one that is there."""

from __future__ import annotations

from os import PathLike
from typing import Any, TypeVar

from votive._model import Model

AnyModel = TypeVar("AnyModel", bound="Model[Any]")


def loaded(
    kind: type[AnyModel],
    model_name: str | PathLike[str] | None,
    model: str | PathLike[str] | AnyModel | None,
    options: dict[str, Any],
) -> AnyModel:
    """The model that the arguments of a class say.

    Args:
        kind: its class, which loads it.
        model_name: a folder, or a name on the hub.
        model: a model that is loaded; or `model_name` by its other name.
        options: other arguments of `kind`.

    Raises:
        TypeError: both or neither were given, or a model of another class, or options beside a model that is loaded.
    """
    if (model_name is None) == (model is None):
        which = "none" if model is None else "both"
        raise TypeError(
            f"model_name, model: expected one of them, found {which}; model_name is a folder or a name on the hub, and "
            f"model a votive.{kind.__name__} that is loaded"
        )
    name = model if model_name is None else model_name
    if isinstance(name, kind):
        if options:
            raise TypeError(f"{', '.join(options)}: options of loading a model, and the one that was given is loaded")
        return name
    if not isinstance(name, str | PathLike):
        argument = "model" if model_name is None else "model_name"
        raise TypeError(
            f"{argument}: expected a name, a folder or a votive.{kind.__name__}, found {type(name).__name__}"
        )
    load: Any = kind
    found: AnyModel = load(name, **options)
    return found
