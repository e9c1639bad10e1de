"""Loads, on a clock that only moves when somebody sleeps or computes."""

from __future__ import annotations

import threading
from itertools import islice, pairwise
from statistics import mean, pstdev
from typing import Any

import numpy as np
import pytest
from votive.bench import load, statistics
from votive.bench.arrivals import Arrivals
from votive.bench.load import Bounds, Work


class StoppedClock:
    """Its time is what was slept and computed."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Server:
    """Takes so many seconds for each request; hangs from `stall` on for `hangs` seconds, then answers all at once."""

    def __init__(self, clock: StoppedClock, seconds: float, stall: float = float("inf"), hangs: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        self.begin = clock.now() + stall
        self.end = self.begin + hangs
        self.asked = 0

    def __call__(self, work: Work) -> None:
        self.asked += 1
        if self.begin <= self.clock.now() < self.end:
            self.clock.time = self.end
        else:
            self.clock.time += self.seconds


EVENLY, AT_RANDOM = Arrivals("constant", 1), Arrivals("poisson", 1)


def works(number: int) -> Work:
    return Work([number], 2, 10)


def bounds(**changes: Any) -> Bounds:
    given: dict[str, Any] = {
        "warmup": 0,
        "iterations": 100,
        "seconds": 0.0,
        "max_iterations": None,
        "max_seconds": 1e6,
    }
    return Bounds(**(given | changes))


def test_closed_counts_requests_items_and_tokens() -> None:
    clock = StoppedClock()
    server = Server(clock, 0.25)
    found = load.closed(server, works, bounds(warmup=10), 1, clock)
    assert server.asked == 110
    assert (found.requests, found.items, found.tokens, found.seconds, found.all_items) == (100, 200, 1000, 25.0, 220)
    assert found.requests_per_second == 4.0
    assert found.latency is not None
    assert (found.latency.p50, found.latency.max) == (250.0, 250.0)
    assert found.marks == ["p99 from 100 samples"]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"seconds": 50.0}, 200),  # the requests were there before
        ({"seconds": 10.0}, 100),
        ({"max_seconds": 5.0}, 20),
        ({"max_iterations": 30}, 30),
        ({"max_iterations": 30, "warmup": 5}, 35),
    ],
)
def test_the_end_of_a_load(changes: dict[str, Any], asked: int) -> None:
    clock = StoppedClock()
    server = Server(clock, 0.25)
    load.closed(server, works, bounds(**changes), 1, clock)
    assert server.asked == asked


def test_a_first_request_that_takes_all_the_time_is_not_counted() -> None:
    # Such as one that compiles.
    clock = StoppedClock()
    server = Server(clock, 0.25, stall=0.0, hangs=300.0)
    found = load.closed(server, works, bounds(warmup=10, max_seconds=60.0), 1, clock)
    assert (server.asked, found.requests, found.seconds) == (101, 100, 25.0)
    assert found.marks == ["p99 from 100 samples"]


def test_a_schedule_whose_first_request_is_due_too_late_says_that_nothing_counts() -> None:
    clock = StoppedClock()
    found = load.opened(Server(clock, 0.1), works, bounds(max_seconds=1.0), 0.001, AT_RANDOM, 1, clock)
    assert (found.requests, found.latency) == (0, None)
    assert found.marks[-1] == "short: 0 of 100 requests"


def test_a_system_that_is_slow_all_along_says_how_few_requests_it_had() -> None:
    clock = StoppedClock()
    found = load.closed(Server(clock, 25.0), works, bounds(warmup=10, max_seconds=60.0), 1, clock)
    # Three until the warm-up has no more time, and three that count.
    assert (found.requests, found.seconds) == (3, 75.0)
    assert found.marks == ["short: 3 of 100 requests", "p99 from 3 samples"]


def test_an_open_load_sees_the_stall_that_a_closed_one_hides() -> None:
    # A request each 10 ms; 1,000 are answered at once, then the server hangs for 10 s, in which 1,000 more are due.
    clock = StoppedClock()
    server = Server(clock, 0.0, stall=9.995, hangs=10.0)
    found = load.opened(server, works, bounds(iterations=2000), 100, EVENLY, 1, clock)
    assert server.asked == 2000
    latency = found.latency
    assert latency is not None
    assert latency.samples == 2000
    assert latency.max == pytest.approx(9995)
    assert latency.p50 == pytest.approx(0.0, abs=10)
    assert latency.p95 == pytest.approx(9000, abs=10)
    assert latency.p99 == pytest.approx(9800, abs=10)
    assert latency.mean == pytest.approx(2500, abs=10)

    clock = StoppedClock()
    server = Server(clock, 0.01, stall=9.995, hangs=10.0)
    found = load.closed(server, works, bounds(iterations=2000), 1, clock)
    latency = found.latency
    assert latency is not None
    assert latency.p99 == pytest.approx(10.0)
    assert latency.max == pytest.approx(9995, abs=15)


def test_every_request_is_kept() -> None:
    """Ten of the warm-up, and a hundred that wait for the stall: their percentiles are in the samples."""
    clock = StoppedClock()
    found = load.opened(Server(clock, 0.001, 0.5, 2.0), works, bounds(warmup=10), 100, EVENLY, 1, clock)
    kept = found.samples
    assert kept["counted"].tolist() == [False] * 10 + [True] * 100
    assert np.allclose(kept["start_seconds"], np.arange(110) / 100)
    assert found.latency is not None
    assert statistics.latency(kept["latency_ms"][kept["counted"]].tolist()) == found.latency
    # Due at 0.5 s, answered at 2.5 s.
    assert kept["latency_ms"].max() == found.latency.max == pytest.approx(2000, abs=1)


def test_more_than_a_server_can_is_marked() -> None:
    clock = StoppedClock()
    found = load.opened(Server(clock, 0.02), works, bounds(iterations=1000), 100, AT_RANDOM, 1, clock)
    assert found.marks == ["saturated"]
    assert found.requests_per_second == pytest.approx(50, rel=0.01)
    clock = StoppedClock()
    found = load.opened(Server(clock, 0.005), works, bounds(iterations=1000), 100, AT_RANDOM, 1, clock)
    assert found.marks == []
    assert found.requests_per_second == pytest.approx(100, rel=0.1)


def test_a_load_that_falls_far_behind_ends() -> None:
    clock = StoppedClock()
    server = Server(clock, 1.0)
    found = load.opened(server, works, bounds(iterations=1000, max_seconds=50.0), 100, EVENLY, 1, clock)
    assert 100 <= server.asked <= 102
    assert "saturated" in found.marks


def test_a_generator_that_oversleeps_is_invalid() -> None:
    class Slow(StoppedClock):
        def sleep(self, seconds: float) -> None:
            self.time += seconds + 0.003

    clock = Slow()
    found = load.opened(Server(clock, 0.001), works, bounds(iterations=500), 100, EVENLY, 1, clock)
    assert found.marks == ["invalid: the generator was 3 ms late at its p99"]


def gaps(arrivals: Arrivals, rate: float, count: int) -> list[float]:
    instants = list(islice(arrivals.instants(rate), count))
    return [after - before for before, after in pairwise(instants)]


def test_schedules() -> None:
    assert list(islice(Arrivals("constant", 1).instants(10), 4)) == [0.0, 0.1, 0.2, 0.3]
    found = gaps(Arrivals("poisson", 20), 10, 10_000)
    assert found == gaps(Arrivals("poisson", 20), 10, 10_000)
    assert found != gaps(Arrivals("poisson", 21), 10, 10_000)
    assert mean(found) == pytest.approx(0.1, rel=0.05)
    # Of exponential gaps, 1/e are longer than the mean.
    assert mean(gap > 0.1 for gap in found) == pytest.approx(0.368, abs=0.02)


@pytest.mark.parametrize("burstiness", [0.25, 0.5, 1.0, 4.0, 100.0])
def test_bursts_have_the_rate_that_is_asked_for_and_a_spread_of_one_through_the_root(burstiness: float) -> None:
    found = gaps(Arrivals("poisson", 20, burstiness), 50, 100_000)
    assert 1 / mean(found) == pytest.approx(50, rel=0.02)
    assert pstdev(found) / mean(found) == pytest.approx(burstiness**-0.5, rel=0.02)


def test_bursts_keep_callers_waiting_though_the_rate_is_the_same() -> None:
    p95 = {}
    for burstiness in (0.1, 1.0, 10.0):
        clock = StoppedClock()
        arrivals = Arrivals("poisson", 1, burstiness)
        found = load.opened(Server(clock, 0.01), works, bounds(iterations=3000), 50, arrivals, 1, clock)
        assert found.latency is not None
        p95[burstiness] = found.latency.p95
    assert p95[0.1] > 2 * p95[1.0] > 2 * p95[10.0]


def test_each_model_of_mixed_traffic_has_numbers_of_its_own() -> None:
    clock = StoppedClock()

    def compute(work: Work) -> None:
        clock.time += {"small": 0.25, "large": 0.75}[work.model]
        if work.values[0] % 8 == 3:
            raise ValueError("odd")

    def mixed(number: int) -> Work:
        return Work([number], 2, 10, "large" if number % 4 == 3 else "small")

    found = load.closed(compute, mixed, bounds(), 1, clock)
    # 75 requests take 0.25 s and 25 take 0.75; every second one of these fails.
    assert (found.requests, found.seconds, found.errors) == (87, 37.5, {"ValueError: odd": 13})
    small, large = found.models["small"], found.models["large"]
    assert (small.requests, small.items, small.items_per_second, small.errors) == (75, 150, 4.0, {})
    assert (large.requests, large.items, large.items_per_second) == (12, 24, 0.64)
    assert large.errors == found.errors
    assert small.latency is not None
    assert large.latency is not None
    assert (small.latency.p99, large.latency.p99, large.latency.samples) == (250.0, 750.0, 12)


def test_everything_at_once() -> None:
    clock = StoppedClock()
    server = Server(clock, 4.0)
    found = load.offline(server, Work(["a", "b"], 2, 10), bounds(warmup=10, seconds=10.0), clock)
    assert (server.asked, found.items, found.seconds) == (4, 6, 12.0)


def test_the_peak_within_a_bound() -> None:
    # One after the other in 10 ms each, so that what comes evenly has 10 ms up to 100 a second.
    clock = StoppedClock()
    each = bounds(iterations=2000)
    found = load.find_peak(Server(clock, 0.01), works, each, 20, EVENLY, 300, 1, clock)
    assert 100 / load.NEAR < found.requests_per_second <= 101
    assert found.latency is not None
    assert found.latency.p99 <= 20
    assert found.marks == []


def test_no_rate_is_within_a_bound_that_is_too_small() -> None:
    clock = StoppedClock()
    found = load.find_peak(Server(clock, 0.01), works, bounds(), 5, EVENLY, 128, 1, clock)
    assert found.marks[-1] == "invalid: no rate down to 1/s has its p99 within 5 ms"


def test_failures_are_counted_by_kind_and_are_no_latencies() -> None:
    clock = StoppedClock()

    def compute(work: Work) -> None:
        clock.time += 1.0
        if work.values[0] % 4 == 1:
            raise ValueError("odd\nmore")
        if work.values[0] % 4 == 3:
            raise KeyError

    found = load.closed(compute, works, bounds(), 1, clock)
    assert found.errors == {"ValueError: odd": 25, "KeyError": 25}
    assert (found.requests, found.items) == (50, 100)
    assert found.latency is not None
    assert found.latency.samples == 50


def test_what_only_fails_is_left() -> None:
    def compute(work: Work) -> None:
        raise ValueError

    clock = StoppedClock()
    endless = bounds(seconds=1e5)
    found = load.closed(compute, works, endless, 1, clock)
    assert (found.errors, found.latency, found.requests) == ({"ValueError": load.MOST_FAILURES}, None, 0)
    found = load.opened(compute, works, endless, 100, EVENLY, 1, clock)
    assert found.errors == {"ValueError": load.MOST_FAILURES}


@pytest.mark.parametrize("kind", ["closed", "open"])
def test_as_many_callers_as_are_asked_for_are_on_their_way_together(kind: str) -> None:
    # Nobody goes on before all are there.
    together = threading.Barrier(128, timeout=60)

    def compute(work: Work) -> None:
        together.wait()

    if kind == "closed":
        found = load.closed(compute, works, bounds(iterations=128, max_iterations=0), 128)
    else:
        found = load.opened(compute, works, bounds(iterations=128), 1e6, EVENLY, 128)
    assert found.errors == {}
    assert found.all_items in (2 * 128, 2 * 256)


def test_every_request_is_asked_once_whatever_the_callers() -> None:
    seen: list[int] = []
    load.closed(lambda work: seen.extend(work.values), works, bounds(iterations=500), 8)
    assert sorted(seen) == list(range(508))
