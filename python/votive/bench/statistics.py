"""What the times of requests say: percentiles, histograms, the steady part of a cell, and what makes it doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from votive.bench.cells import Latency

EDGES: tuple[float, ...] = tuple(float(f"{10 ** (step / 20):.4g}") for step in range(-40, 101))
"""Milliseconds from 0.01 to 100,000, twenty to a decade: `histogram` counts what is below each."""

# Of so many samples or more, five lie above the p99.
P99_SAMPLES = 500
# A generator that is later than this at its own p99 has measured itself.
LATE_MS = 1.0
# The backlog grows by this share of what arrives, and latency by this share of the time, in a saturated cell. A backlog
# that grows by less than so many roots of the number of requests may do so by chance.
SATURATED_SLOPE = 0.05
CHANCE = 2.0
# Slopes of fewer requests say nothing.
SATURATION_SAMPLES = 20


class Request(NamedTuple):
    """One request: seconds on the clock of its load.

    Attributes:
        due: when it had to be sent: by schedule in an open load, else when it was.
        end: when its answer was there.
        late: seconds by which the generator itself was behind.
        error: kind of its failure.
        model: that it asked, in mixed traffic.
    """

    due: float
    end: float
    items: int = 0
    tokens: int = 0
    late: float = 0.0
    error: str | None = None
    model: str = ""

    @property
    def milliseconds(self) -> float:
        """From when it was due."""
        return 1e3 * (self.end - self.due)


class Window(NamedTuple):
    """The steady part of a cell.

    `sent` are the requests whose latencies count, `answered` those whose items do, within `seconds`. `is_warm` says
    whether the warm-up is over where it begins.
    """

    sent: list[Request]
    answered: list[Request]
    seconds: float
    is_warm: bool = True


def percentile(ascending: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all are not above ("nearest rank"): one that was measured."""
    rank = -(-percent * len(ascending) // 100)
    return ascending[max(rank, 1) - 1]


def latency(milliseconds: Sequence[float]) -> Latency | None:
    """Of the requests; None of none."""
    if not milliseconds:
        return None
    ascending = sorted(milliseconds)
    p50, p95, p99 = (percentile(ascending, percent) for percent in (50, 95, 99))
    mean = sum(ascending) / len(ascending)
    return Latency(samples=len(ascending), mean=mean, p50=p50, p95=p95, p99=p99, max=ascending[-1])


def histogram(milliseconds: Sequence[float]) -> list[int]:
    """For each of `EDGES` how many are below it."""
    counts: list[int] = np.searchsorted(np.sort(milliseconds), EDGES, side="left").tolist()
    return counts


def samples(counted: Sequence[Request], everything: Sequence[Request]) -> dict[str, np.ndarray]:
    """A row for each request, in the order in which they were due: what the numbers of a cell are made of.

    `start_seconds`: when it was due, from the first one on. `latency_ms`: from then until its answer. `items`: in it.
    `failed`: it has no answer. `counted`: it lies in the steady window. The latencies of those that are counted and
    have not failed are those of the cell's percentiles, to the bit.
    """
    inside = {id(request) for request in counted}
    by_schedule = sorted(everything, key=lambda request: request[:2])
    first = by_schedule[0].due if by_schedule else 0.0
    return {
        "start_seconds": np.array([request.due - first for request in by_schedule], np.float64),
        "latency_ms": np.array([request.milliseconds for request in by_schedule], np.float64),
        "items": np.array([request.items for request in by_schedule], np.int64),
        "failed": np.array([request.error is not None for request in by_schedule], bool),
        "counted": np.array([id(request) in inside for request in by_schedule], bool),
    }


def closed_window(callers: Sequence[Sequence[Request]], warmup: int) -> Window:
    """Of callers that each wait for their answers: from the end of the last warm-up request until one caller stops.

    Then fewer than all of them run. Requests count by their ends, so that each is whole or not in it. Where nothing is
    left of so few requests, all of them count.
    """
    ends = sorted(request.end for caller in callers for request in caller)
    if not ends:
        return Window([], [], 0.0)
    everything = [request for caller in callers for request in caller]
    is_warm = warmup <= len(ends)
    begin = ends[warmup - 1] if 0 < warmup <= len(ends) else min(request.due for request in everything)
    end = min(caller[-1].end for caller in callers if caller)
    steady = [request for request in everything if begin < request.end <= end]
    if not steady:
        begin, end = min(request.due for request in everything), ends[-1]
        steady, is_warm = everything, warmup == 0
    return Window(steady, steady, end - begin, is_warm)


def open_window(requests: Sequence[Request], warmup: int) -> Window:
    """Of requests by schedule: all that were due after those of the warm-up, however late their answers came.

    None of these is cut off at the end: slow ones would be.
    """
    by_schedule = sorted(requests)
    counted = by_schedule[warmup:] or by_schedule
    if not counted:
        return Window([], [], 0.0)
    seconds = max(request.end for request in counted) - counted[0].due
    return Window(counted, counted, seconds, warmup == 0 or warmup < len(by_schedule))


def is_saturated(requests: Sequence[Request]) -> bool:
    """Whether the backlog and the latency of an open load both grow until its end."""
    by_schedule = sorted(requests)
    if len(by_schedule) < SATURATION_SAMPLES:
        return False
    due = np.array([request.due for request in by_schedule])
    taken = np.array([request.end - request.due for request in by_schedule])
    if due[-1] == due[0]:
        return False
    ends = np.sort(due + taken)
    # Those that are due and not answered, when each one is due.
    waiting = np.arange(1, len(due) + 1) - np.searchsorted(ends, due, side="right")
    grown = _slope(due, waiting) * (due[-1] - due[0])
    if grown < max(SATURATED_SLOPE * len(due), CHANCE * len(due) ** 0.5) or _slope(due, taken) < SATURATED_SLOPE:
        return False
    # A stall in the middle lifts both lines, and is over before the end.
    last = len(due) // 10
    return bool(waiting[-last:].mean() > waiting[:-last].max() / 2)


def marks(window: Window, least: int, *, is_open: bool) -> list[str]:
    """What makes the numbers doubtful, as `votive.bench.cells.Measured.marks` has it.

    `least` requests were to be counted. Some of them are cut off with the tail, so that half of them are enough.
    """
    sent = window.sent
    found = [] if window.is_warm else ["warm-up counts"]
    if 2 * len(sent) < least:
        found.append(f"short: {len(sent)} of {least} requests")
    if is_open and is_saturated(sent):
        found.append("saturated")
    if is_open and sent:
        late = 1e3 * percentile(sorted(request.late for request in sent), 99)
        if late > LATE_MS:
            found.append(f"invalid: the generator was {late:.3g} ms late at its p99")
    answered = sum(request.error is None for request in sent)
    if 0 < answered < P99_SAMPLES:
        found.append(f"p99 from {answered} samples")
    return found


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the line of least squares."""
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x))
