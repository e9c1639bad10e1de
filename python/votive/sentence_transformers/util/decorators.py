"""`sentence_transformers.util.decorators`, as far as programs name it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

__all__ = ["save_to_hub_args_decorator"]


def save_to_hub_args_decorator(func: Callable[..., Any]) -> Callable[..., Any]:
    """A method that takes `repo_id` also by its older name, and no `token` in the place of older arguments."""

    @wraps(func)
    def with_older_names(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = kwargs.pop("repo_name", None)
        if name:
            kwargs.setdefault("repo_id", name)
        return func(self, *args[:2], *((None,) if len(args) >= 2 else ()), *args[2:], **kwargs)

    return with_older_names
