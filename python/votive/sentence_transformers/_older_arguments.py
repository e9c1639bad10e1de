"""Decorators of methods that take arguments by their older names, too: `sentence_transformers.util.decorators`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any

from votive.sentence_transformers._log import logger, warn_once

__all__ = [
    "cross_encoder_init_args_decorator",
    "cross_encoder_predict_rank_args_decorator",
    "deprecated_kwargs",
    "save_to_hub_args_decorator",
]


Function = Callable[..., Any]

# What stood behind the name of a model in `CrossEncoder(...)`, by position.
_POSITIONAL = ("num_labels", "max_length", "activation_fn", "device")


def deprecated_kwargs(**renames: str) -> Callable[[Function], Function]:
    """For functions that take keywords also by older names: `renames` has today's name of each.

    Where both are given, today's counts.
    """

    def decorated(function: Function) -> Function:
        @wraps(function)
        def with_older_names(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **_renamed(function.__qualname__, kwargs, renames))

        return with_older_names

    return decorated


def cross_encoder_init_args_decorator(function: Function) -> Function:
    """For `CrossEncoder.__init__`: takes arguments of earlier versions by position and by name."""
    renames = {
        "model_name": "model_name_or_path",
        "automodel_args": "model_kwargs",
        "tokenizer_args": "processor_kwargs",
        "tokenizer_kwargs": "processor_kwargs",
        "config_args": "config_kwargs",
        "cache_dir": "cache_folder",
        "default_activation_function": "activation_fn",
    }

    @wraps(function)
    def with_older_names(self: Any, *args: Any, **kwargs: Any) -> Any:
        by_position = dict(zip(_POSITIONAL, args[1:], strict=False))
        for name, value in by_position.items():
            logger.warning(
                "Passing `%s` as a positional argument to CrossEncoder is deprecated. "
                "Please use `%s=%r` as a keyword argument instead.",
                name,
                name,
                value,
            )
        kwargs = by_position | _renamed("CrossEncoder", kwargs, renames)
        if "classifier_dropout" in kwargs:
            dropout = {"classifier_dropout": kwargs.pop("classifier_dropout")}
            logger.warning(
                "The CrossEncoder `classifier_dropout` argument is deprecated. Please use `config_kwargs=%r` instead.",
                dropout,
            )
            kwargs["config_kwargs"] = (kwargs.get("config_kwargs") or {}) | dropout
        return function(self, *args[:1], **kwargs)

    return with_older_names


def cross_encoder_predict_rank_args_decorator(function: Function) -> Function:
    """For `CrossEncoder.predict` and `rank`: takes keywords of earlier versions, some of which do nothing."""
    known = inspect.signature(function).parameters
    idle = ["num_workers", *(name for name in ("convert_to_numpy", "convert_to_tensor") if name not in known)]
    if function.__name__ == "rank":
        idle.append("apply_softmax")

    @wraps(function)
    def with_older_names(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs = _renamed(
            function.__qualname__, kwargs, {"sentences": "inputs", "activation_fct": "activation_fn"}, idle
        )
        return function(self, *args, **kwargs)

    return with_older_names


def save_to_hub_args_decorator(function: Function) -> Function:
    """For `save_to_hub`: takes `repo_id` also by its older name, and no `token` in the place of older arguments."""

    @wraps(function)
    def with_older_names(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = kwargs.pop("repo_name", None)
        if name:
            kwargs.setdefault("repo_id", name)
        return function(self, *args[:2], *((None,) if len(args) >= 2 else ()), *args[2:], **kwargs)

    return with_older_names


def _renamed(
    function: str, kwargs: Mapping[str, Any], renames: Mapping[str, str], idle: Collection[str] = ()
) -> dict[str, Any]:
    """Keywords by today's names, without those that do nothing."""
    found = {name: value for name, value in kwargs.items() if name not in renames and name not in idle}
    for name, value in kwargs.items():
        if name in renames:
            now = renames[name]
            warn_once(
                f"The {function} `{name}` argument was renamed and is now deprecated. Please use `{now}` instead."
            )
            found.setdefault(now, value)
        elif name in idle:
            warn_once(f"The {function} `{name}` argument is deprecated and has no effect.")
    return found
