"""Errors of public methods show the caller's line and one frame of votive, those of constructors the line alone.

`VOTIVE_TRACEBACK=1` in the environment shows all frames. Frames that are not votive's, such as those of a function that
a caller gave, always stay.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from votive._core import VotiveError
from votive._hints import explain_keyword

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type[Any])

_FOLDER = os.path.join(os.path.dirname(__file__), "")

# What methods say that they raise, and Ctrl-C. All else is a mistake of votive's own, and frames help to find it.
_SHORTENED = (VotiveError, TypeError, ValueError, KeyError, OSError, ImportError, RuntimeError, KeyboardInterrupt)

# Special methods that raise what a user reads.
_SPECIAL = ("__init__", "__exit__")


def short_traceback(function: Callable[P, R]) -> Callable[P, R]:
    """The function, also one of asyncio, with short tracebacks, and with hints for keywords that it does not have."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def wait(*arguments: P.args, **options: P.kwargs) -> Any:
            try:
                return await function(*arguments, **options)
            except _SHORTENED as error:
                _shorten(error, function)
                raise

        return cast("Callable[P, R]", wait)

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except _SHORTENED as error:
            _shorten(error, function)
            raise

    return call


def short_tracebacks(kind: C) -> C:
    """The class, with short tracebacks of its own public methods and properties, and of its constructor."""
    for name, value in list(vars(kind).items()):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        if inspect.isfunction(value):
            setattr(kind, name, short_traceback(value))
        elif isinstance(value, classmethod):
            setattr(kind, name, classmethod(short_traceback(value.__func__)))
        elif isinstance(value, property):
            get, set = (accessor and short_traceback(accessor) for accessor in (value.fget, value.fset))
            setattr(kind, name, property(get, set))
    return kind


def _shorten(error: BaseException, function: Callable[..., Any]) -> None:
    """Takes frames of votive out of what the caller of `function` caught, and is about to raise again."""
    caught = error.__traceback__
    if caught is None:
        return
    if caught.tb_next is None and isinstance(error, TypeError):
        # What was given does not fit the signature.
        explain_keyword(error, function)
    if os.environ.get("VOTIVE_TRACEBACK") == "1":
        return
    if sys.version_info >= (3, 11):
        # Without the wrapper's frame. Python 3.10 raises what was caught, so that there it is the one that stays.
        error.__traceback__ = caught = caught.tb_next
        if caught is not None and function.__name__ == "__init__":
            # Notebooks would show all lines of a constructor's call of another one.
            _keep_foreign(caught)
            error.__traceback__ = caught = caught.tb_next
    if caught is not None:
        _keep_foreign(caught)


def _keep_foreign(kept: TracebackType) -> None:
    """Takes frames of votive out of those below `kept`."""
    following = kept.tb_next
    while following is not None:
        if not following.tb_frame.f_code.co_filename.startswith(_FOLDER):
            kept.tb_next = following
            kept = following
        following = following.tb_next
    kept.tb_next = None
