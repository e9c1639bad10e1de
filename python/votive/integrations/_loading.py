"""The model of a class whose library names models by more than one argument."""

from __future__ import annotations

from os import PathLike
from typing import Any, TypeVar

from votive.embedder import Embedder
from votive.integrations._models import check_model, load
from votive.reranker import Reranker

M = TypeVar("M", Embedder, Reranker)


def loaded(
    kind: type[M],
    model_name: str | PathLike[str] | None,
    model: str | PathLike[str] | M | None,
    options: dict[str, Any],
) -> M:
    """The model that the arguments of a class say, loaded.

    Args:
        kind: its class, which loads it.
        model_name: a folder, or a name on the hub; or a model that is loaded.
        model: the same.
        options: other arguments of `kind`.

    Raises:
        TypeError: both or neither were given, or a model of another class, or options beside a model that is loaded.
    """
    if (model_name is None) == (model is None):
        found = "none" if model is None else "both"
        raise TypeError(
            f"model_name, model: expected one of them, found {found}; model_name is a folder or a name on the hub, and "
            f"model a votive.{kind.__name__} that is loaded"
        )
    chosen: Any = model if model_name is None else model_name
    check_model(kind, "model" if model_name is None else "model_name", chosen, options)
    return load(kind, chosen, options)
