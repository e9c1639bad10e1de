"""Who asks when: loads of threads over a function that computes.

In a closed load nobody asks while the system hangs, so that it says what the system can do. An open load says what a
client sees: each request is due at its instant, and its latency counts from there, also where no caller was free.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from votive.bench.arrivals import Arrivals
from votive.bench.cells import Latency, OfModel
from votive.bench.experiment import Experiment
from votive.bench.plan import PEAK_TRIALS
from votive.bench.statistics import (
    Request,
    Window,
    closed_window,
    histogram,
    latency,
    marks,
    open_window,
    samples,
)

# So many requests of an open load are on their way at most; further ones wait in the generator, on the clock.
OPEN_CALLERS = 128
# A system that does nothing but fail is left after so many requests.
MOST_FAILURES = 100
# Find the peak: the search ends where the rates that passed and failed are so near, or after `PEAK_TRIALS`.
NEAR = 1.05


class Work(NamedTuple):
    """What one request asks for: `values`, in which are so many items, such as pairs; in mixed traffic of a model."""

    values: list[Any]
    items: int
    tokens: int = 0
    model: str = ""


Compute = Callable[[Work], Any]
Works = Callable[[int], Work]
"""The work of the request of this number."""


class Clock(Protocol):
    """Of seconds."""

    def now(self) -> float:
        """Of any beginning."""

    def sleep(self, seconds: float) -> None:
        """Return when they are over."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """See `Clock`."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """When a load begins to count, and when it ends: as the experiment says."""

    warmup: int
    iterations: int
    seconds: float
    max_iterations: int | None
    max_seconds: float

    @classmethod
    def of(cls, experiment: Experiment) -> Bounds:
        """Those of all its cells."""
        return cls(
            warmup=experiment.warmup,
            iterations=experiment.iterations,
            seconds=experiment.seconds,
            max_iterations=experiment.max_iterations,
            max_seconds=experiment.max_seconds,
        )

    @property
    def least(self) -> int:
        """Requests that count where time allows it."""
        return self.iterations if self.max_iterations is None else min(self.iterations, self.max_iterations)

    def is_over(self, counted: int, seconds: float) -> bool:
        """Whether there is enough, or too much, after so many requests without those of the warm-up."""
        if seconds >= self.max_seconds or (self.max_iterations is not None and counted >= self.max_iterations):
            return True
        return counted >= self.iterations and seconds >= self.seconds


class Outcome(msgspec.Struct, kw_only=True):
    """What a load gives: as `votive.bench.cells.Measured` has these fields.

    `all_items` are those of the warm-up and of the tail, too; so are `samples`, as `votive.bench.statistics` has them.
    `models` has numbers of each model in mixed traffic.
    """

    seconds: float
    requests: int
    items: int
    tokens: int
    latency: Latency | None
    histogram: list[int]
    errors: dict[str, int]
    marks: list[str]
    all_items: int
    samples: dict[str, np.ndarray]
    models: dict[str, OfModel] = {}

    @property
    def requests_per_second(self) -> float:
        """Of the steady window."""
        return self.requests / self.seconds if self.seconds else 0.0


def closed(compute: Compute, works: Works, bounds: Bounds, callers: int, clock: Clock | None = None) -> Outcome:
    """So many callers, each of which asks when its answer has come; with one of them, one request after the other.

    The warm-up has as many seconds as what is counted, which begins when these are over or the requests of the warm-up
    are through: a system that compiles in its first request has numbers of later ones.
    """
    clock = clock or SystemClock()
    # Before each caller has had an answer they are still finding their rhythm.
    bounds = msgspec.structs.replace(bounds, warmup=max(bounds.warmup, callers if callers > 1 else 0))
    turn = threading.Lock()
    begun = failed = 0
    warmed: tuple[int, float] | None = None  # requests and seconds until then
    start = clock.now()
    done: list[list[Request]] = [[] for _ in range(callers)]

    def call(caller: int) -> None:
        nonlocal begun, failed, warmed
        while True:
            with turn:
                now = clock.now() - start
                if warmed is None and (begun >= bounds.warmup or now >= bounds.max_seconds):
                    warmed = begun, now
                is_over = warmed is not None and bounds.is_over(begun - warmed[0], now - warmed[1])
                if is_over or failed >= MOST_FAILURES:
                    return
                number = begun
                begun += 1
            work = works(number)
            request = _ask(compute, work, clock, None)
            done[caller].append(request)
            with turn:
                failed = 0 if request.error is None else failed + 1

    _together(callers, call)
    everything = [request for each in done for request in each]
    window = closed_window(done, warmed[0] if warmed else bounds.warmup)
    return _outcome(window, everything, bounds.least, is_open=False)


def opened(
    compute: Compute,
    works: Works,
    bounds: Bounds,
    rate: float,
    arrivals: Arrivals,
    callers: int = OPEN_CALLERS,
    clock: Clock | None = None,
) -> Outcome:
    """So many requests a second by schedule.

    A caller that is free takes the next instant and sleeps until then. What is due when none is free is sent as soon as
    one is, and its latency has the time that it waited. Requests that are due are all sent, also after the last second,
    but for those of a system that is so far behind that they take longer than the load: it is saturated.
    """
    clock = clock or SystemClock()
    turn = threading.Lock()
    instants = enumerate(arrivals.instants(rate))
    start = clock.now()
    done: list[Request] = []
    failed = 0

    def call(_: int) -> None:
        nonlocal failed
        while True:
            with turn:
                number, instant = next(instants)
                now = clock.now() - start
                if (
                    bounds.is_over(number - bounds.warmup, instant)
                    or now > 2 * bounds.max_seconds
                    or failed >= MOST_FAILURES
                ):
                    return
            work = works(number)
            free = clock.now()
            if free < start + instant:
                clock.sleep(start + instant - free)
            request = _ask(compute, work, clock, start + instant, free)
            with turn:
                done.append(request)
                failed = 0 if request.error is None else failed + 1

    _together(callers, call)
    return _outcome(open_window(done, bounds.warmup), done, bounds.least, is_open=True)


def offline(compute: Compute, work: Work, bounds: Bounds, clock: Clock | None = None) -> Outcome:
    """Everything in one call, again and again for the least seconds; and once before that where there is a warm-up."""
    once = msgspec.structs.replace(bounds, warmup=min(bounds.warmup, 1), iterations=1)
    return closed(compute, lambda _: work, once, 1, clock)


def find_peak(
    compute: Compute,
    works: Works,
    bounds: Bounds,
    p99_ms: float,
    arrivals: Arrivals,
    peak: float,
    callers: int = OPEN_CALLERS,
    clock: Clock | None = None,
) -> Outcome:
    """The greatest rate at which the p99 is within the bound and nothing piles up or fails, as its load went.

    `peak` is what a closed load reached, where the search begins. Where every rate fails, the slowest one is given,
    marked.
    """
    passed, failed = 0.0, float("inf")
    best: Outcome | None = None
    rate, tried = peak, 0
    while tried < PEAK_TRIALS and failed > passed * NEAR:
        outcome = opened(compute, works, bounds, rate, arrivals, callers, clock)
        tried += 1
        within = outcome.latency is not None and outcome.latency.p99 <= p99_ms
        if within and not outcome.errors and "saturated" not in outcome.marks:
            passed, best = rate, outcome
        else:
            failed = rate
            last = outcome
        rate = passed * 1.5 if failed == float("inf") else (passed + failed) / 2
    if best is None:
        last.marks.append(f"invalid: no rate down to {failed:.3g}/s has its p99 within {p99_ms:g} ms")
        return last
    return best


def _ask(compute: Compute, work: Work, clock: Clock, due: float | None, free: float = 0.0) -> Request:
    """`due` by schedule, by a caller that is free from then on; None for one that is due now."""
    begin = clock.now()
    late = 0.0 if due is None else max(0.0, begin - max(due, free))
    due = begin if due is None else due
    try:
        compute(work)
    except Exception as error:
        return Request(due, clock.now(), late=late, error=kind(error), model=work.model)
    return Request(due, clock.now(), work.items, work.tokens, late, model=work.model)


def kind(error: Exception) -> str:
    """What failures are counted by: the class, and the beginning of what it says."""
    said = str(error).strip().partition("\n")[0][:100]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _together(callers: int, call: Callable[[int], None]) -> None:
    """Each caller in a thread. Raises what the first of them raised that failed."""
    if callers == 1:
        call(0)
        return
    failures: list[BaseException] = []

    def guarded(caller: int) -> None:
        try:
            call(caller)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(caller,), daemon=True) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _outcome(window: Window, everything: list[Request], least: int, *, is_open: bool) -> Outcome:
    answered = [request for request in window.answered if request.error is None]
    milliseconds = _milliseconds(window.sent)
    return Outcome(
        seconds=window.seconds,
        requests=len(answered),
        items=sum(request.items for request in answered),
        tokens=sum(request.tokens for request in answered),
        latency=latency(milliseconds),
        histogram=histogram(milliseconds) if milliseconds else [],
        errors=_errors(everything),
        marks=marks(window, least, is_open=is_open),
        all_items=sum(request.items for request in everything),
        models={
            model: _of_model(model, window, everything)
            for model in sorted({request.model for request in everything if request.model})
        },
        samples=samples(window.sent, everything),
    )


def _of_model(model: str, window: Window, everything: list[Request]) -> OfModel:
    answered = [request for request in window.answered if request.model == model and request.error is None]
    items = sum(request.items for request in answered)
    return OfModel(
        requests=len(answered),
        items=items,
        items_per_second=items / window.seconds if window.seconds else 0.0,
        latency=latency(_milliseconds(request for request in window.sent if request.model == model)),
        errors=_errors(request for request in everything if request.model == model),
    )


def _milliseconds(requests: Iterable[Request]) -> list[float]:
    return [request.milliseconds for request in requests if request.error is None]


def _errors(requests: Iterable[Request]) -> dict[str, int]:
    return dict(Counter(request.error for request in requests if request.error is not None))
