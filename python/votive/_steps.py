"""Calls in steps: what is checked before, and done with what they give, is the same for threads and for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from votive import _core
from votive.stats import counting_errors

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from typing import ParamSpec

    import numpy as np
    from numpy.typing import NDArray

    from votive._model import Model

    P = ParamSpec("P")

R = TypeVar("R")


@dataclass(frozen=True)
class Step:
    """What the core computes at a time.

    Attributes:
        texts: texts, or the first ones of pairs.
        seconds: the second ones of pairs.
        prompt: is put before each text; may be "".
        batch_size: most texts of one pass; None for no bound but the number of tokens.
        width: numbers of a row.
        priority: above 0: the share of the machine while other calls wait.
        profile: is told where the time goes.
        normalize: scale each row to length 1.
        every_token: give the hidden states of all tokens, too.
        start: position of the first text, for messages.
        out: C-contiguous `[texts, width]` to fill, else a new array is made, which owns the memory that was computed
            into.
        progress: called now and then with the number of texts that are done; what it raises ends the call.
    """

    texts: list[str]
    seconds: list[str] | None
    prompt: str
    batch_size: int | None
    width: int
    priority: float
    profile: _core.Profile | None
    normalize: bool = False
    every_token: bool = False
    start: int = 0
    out: NDArray[np.float32] | None = None
    progress: Callable[[int], Any] | None = None


# Hidden states `[all tokens, hidden]`, ids and type ids `[all tokens]`, tokens of each text.
States = tuple["NDArray[np.float32]", "NDArray[np.int64]", "NDArray[np.int64]", list[int]]

# Of a step: rows `[texts, width]`, tokens, rows that were cut, halvings, and the tokens' states with `every_token`.
Found = tuple["NDArray[np.float32]", int, list[int], int, "States | None"]

# A call: gives its steps, gets what each of them found, and returns what its caller gets.
Steps = Generator[Step, Found, R]


def blocking(method: Callable[P, Steps[R]]) -> Callable[P, R]:
    """The method of a model whose caller waits while its steps are computed."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        model: Any = args[0]
        core = model._model
        found: Any = None
        with counting_errors(model._stats), closing(method(*args, **kwargs)) as steps:
            while True:
                try:
                    step = steps.send(found)
                except StopIteration as end:
                    result: R = end.value
                    return result
                core, found = _compute(model, core, step)

    return call


async def attend(model: Model[Any], method: Callable[..., R], *args: Any, **options: Any) -> R:
    """What a `blocking` method of the model gives, while other tasks go on."""
    import asyncio

    name = f"a{method.__name__}"
    for option in ("out", "show_progress_bar"):
        if option in options:
            raise TypeError(f"{name}: {option} is only for {method.__name__}")
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        message = f"{name}: needs a running event loop of asyncio; without one, call {method.__name__}"
        raise RuntimeError(message) from None
    # Loading, which takes a while, is for models that were unpickled just now.
    core: Any = model._loaded or await asyncio.to_thread(lambda: model._model)
    found: Any = None
    steps: Callable[..., Steps[R]] = method.__wrapped__  # type: ignore[attr-defined]
    with counting_errors(model._stats), closing(steps(model, *args, **options)) as call:
        while True:
            try:
                step = call.send(found)
            except StopIteration as end:
                result: R = end.value
                return result
            core, found = await _computed(loop, model, core, step)


def _compute(model: Model[Any], core: Any, step: Step) -> tuple[Any, Found]:
    """What the step finds, and the core that found it: with `fallback` the first one whose device does not fail."""
    while True:
        try:
            return core, core.compute(step)
        except _core.DeviceError as error:
            core = model._after(core, error)


async def _computed(loop: AbstractEventLoop, model: Model[Any], core: Any, step: Step) -> tuple[Any, Found]:
    """As `_compute`, without waiting."""
    import asyncio

    while True:
        future: Future[Found] = loop.create_future()
        ticket = core.submit(step, future, _deliver)
        try:
            return core, await future
        except _core.DeviceError as error:
            core = await asyncio.to_thread(model._after, core, error)
        except BaseException:
            # Cancelled: nobody wants the rest.
            ticket.cancel()
            raise


# Futures whose steps ended, with what was found or what failed.
Ended = list[tuple["Future[Found]", "Found | None", BaseException | None]]


def _deliver(ended: Ended) -> None:
    """Tells the event loops, from another thread than theirs."""
    by_loop: dict[AbstractEventLoop, Ended] = {}
    for end in ended:
        by_loop.setdefault(end[0].get_loop(), []).append(end)
    for loop, its in by_loop.items():
        # It may be closed by now: then nobody waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, its)


def _settle(ended: Ended) -> None:
    for future, found, error in ended:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        elif found is not None:
            future.set_result(found)
