"""The one loop that computes a call, for threads and for asyncio.

A call is a generator: it checks its arguments, yields a `BatchRequest` for each batch, gets that batch's `BatchResult`,
and returns what its caller gets. `drive` sends the core's results into it. A caller that waits and one that awaits
differ in the two functions that `drive` is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from votive import _core
from votive.stats import counting_errors

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    import numpy as np
    from numpy.typing import NDArray

    from votive._model import Model

R = TypeVar("R")


@dataclass(frozen=True)
class BatchRequest:
    """What the core computes at a time.

    Attributes:
        texts: texts, or the first ones of pairs.
        seconds: the second ones of pairs.
        prompt: is put before each text; may be "".
        task: what the texts are for, where that decides what they go through; None for what the model's files say.
        max_length: most tokens of an input, special ones included; None for no limit but that of the model's files.
        batch_size: most texts of one pass; None for no bound but the number of tokens.
        width: numbers of a row.
        priority: above 0: the share of the machine while other calls wait.
        profile: is told where the time goes.
        normalize: scale each row to length 1.
        every_token: give the hidden states of all tokens, too.
        start: position of the first text, for messages.
        out: C-contiguous `[texts, width]` to fill, else a new array is made, which owns the memory that was computed
            into.
        chunks: with `every_token`, the tokens of the chunks of each text, from the first to behind the last: rows of
            these are given in place of hidden states.
        progress: called now and then with the number of texts that are done; what it raises ends the call.
    """

    texts: list[str]
    seconds: list[str] | None
    prompt: str
    task: str | None
    max_length: int | None
    batch_size: int | None
    width: int
    priority: float
    profile: _core.Profile | None
    normalize: bool = False
    every_token: bool = False
    start: int = 0
    out: NDArray[np.float32] | None = None
    chunks: list[list[tuple[int, int]]] | None = None
    progress: Callable[[int], Any] | None = None


# Hidden states `[all tokens, hidden]` or rows of chunks `[chunks, width]`, ids and type ids `[all tokens]`, tokens of
# each text.
TokenStates = tuple["NDArray[np.float32]", "NDArray[np.int64]", "NDArray[np.int64]", list[int]]

# Rows `[texts, width]`, tokens, rows that were cut, halvings, and with `every_token` the tokens' states.
BatchResult = tuple["NDArray[np.float32]", int, list[int], int, "TokenStates | None"]

# A call.
Steps = Generator[BatchRequest, BatchResult, R]


async def drive(
    model: Model[Any],
    core: Any,
    steps: Steps[R],
    compute: Callable[[Any, BatchRequest], Awaitable[BatchResult]],
    call: Callable[..., Awaitable[Any]],
) -> R:
    """What the steps return.

    Args:
        model: counts errors, and falls back to another device.
        core: computes until its device fails.
        steps: the call.
        compute: the result of a core for a batch.
        call: the result of a function that takes a while, for its arguments.
    """
    result: Any = None
    with counting_errors(model._stats), closing(steps):
        while True:
            try:
                request = steps.send(result)
            except StopIteration as end:
                value: R = end.value
                return value
            while True:
                try:
                    result = await compute(core, request)
                    break
                except _core.DeviceError as error:
                    core = await call(model._fall_back, core, error)


def run(model: Model[Any], steps: Steps[R]) -> R:
    """What the steps return, while the caller waits."""
    coroutine = drive(model, model._model, steps, _compute, _call)
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: R = end.value
        return value
    raise AssertionError("a call that waits was suspended")


async def _compute(core: Any, request: BatchRequest) -> BatchResult:
    result: BatchResult = core.compute(request)
    return result


async def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


async def run_async(model: Model[Any], method: str, steps: Steps[R]) -> R:
    """What the steps return, while other tasks go on. `method` is the one whose caller waits, for messages."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        message = f"a{method}: needs a running event loop of asyncio; without one, call {method}"
        raise RuntimeError(message) from None
    # Loading, which takes a while, is for models that were unpickled just now.
    core: Any = model._loaded or await asyncio.to_thread(lambda: model._model)
    return await drive(model, core, steps, _submit, asyncio.to_thread)


async def _submit(core: Any, request: BatchRequest) -> BatchResult:
    import asyncio

    future: Future[BatchResult] = asyncio.get_running_loop().create_future()
    ticket = core.submit(request, future, _deliver)
    try:
        return await future
    except _core.DeviceError:
        raise
    except BaseException:
        # Cancelled: no caller wants the rest.
        ticket.cancel()
        raise


# Futures of batches that ended, with their results or what failed.
Ended = list[tuple["Future[BatchResult]", "BatchResult | None", BaseException | None]]


def _deliver(ended: Ended) -> None:
    """Tells the event loops, from another thread than theirs."""
    by_loop: dict[AbstractEventLoop, Ended] = {}
    for end in ended:
        by_loop.setdefault(end[0].get_loop(), []).append(end)
    for loop, its in by_loop.items():
        # It may be closed by now: then no task waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, its)


def _settle(ended: Ended) -> None:
    for future, result, error in ended:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        elif result is not None:
            future.set_result(result)
