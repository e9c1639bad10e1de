"""What the times of requests say, with answers that are known."""

from __future__ import annotations

import pytest
from votive.bench import statistics
from votive.bench.statistics import EDGES, Request


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (100, 50, 50),
        (100, 95, 95),
        (100, 99, 99),
        (5, 30, 2),
        (5, 40, 2),
        (5, 50, 3),
        (5, 100, 5),
        (1, 99, 1),
        (20, 95, 19),
    ],
)
def test_percentiles_are_the_nearest_rank(count: int, percent: int, expected: int) -> None:
    assert statistics.percentile(range(1, count + 1), percent) == expected


def test_percentiles_of_the_textbook() -> None:
    values = [15, 20, 35, 40, 50]
    assert [statistics.percentile(values, percent) for percent in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]


def test_latency_of_a_thousand() -> None:
    found = statistics.latency([float(value) for value in range(1000, 0, -1)])
    assert found is not None
    assert (found.samples, found.mean, found.p50, found.p95, found.p99, found.max) == (1000, 500.5, 500, 950, 990, 1000)
    assert statistics.latency([]) is None


def test_edges_are_twenty_to_a_decade() -> None:
    assert (EDGES[0], EDGES[20], EDGES[40], EDGES[-1], len(EDGES)) == (0.01, 0.1, 1.0, 100_000.0, 141)
    assert sorted(set(EDGES)) == list(EDGES)


def test_a_histogram_counts_what_is_below_each_edge() -> None:
    counts = statistics.histogram([0.005, 1.0, 1.1, 5e5])
    assert len(counts) == len(EDGES)
    assert counts[0] == 1
    assert counts[EDGES.index(1.0)] == 1
    assert counts[EDGES.index(1.0) + 1] == 3
    assert counts[-1] == 3


def test_the_window_ends_where_a_caller_stops() -> None:
    long = [Request(float(start), start + 1.0, items=2) for start in range(10)]
    short = [Request(start + 0.5, start + 1.5, items=2) for start in range(6)]
    window = statistics.closed_window([long, short], warmup=2)
    # The second request ends at 1.5, the shorter caller stops at 6.5.
    assert window.seconds == 5.0
    assert sorted(request.end for request in window.answered) == [2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5]
    assert sum(request.items for request in window.answered) / window.seconds == 4.0


def test_all_requests_count_where_nothing_else_is_left() -> None:
    window = statistics.closed_window([[Request(1.0, 3.0, items=1)], [Request(1.0, 2.0, items=1)]], warmup=2)
    assert (len(window.sent), window.seconds, window.is_warm) == (2, 2.0, False)
    assert statistics.closed_window([[], []], warmup=2).sent == []


def test_an_open_window_keeps_what_ends_late() -> None:
    requests = [Request(float(due), due + 0.1) for due in range(10)] + [Request(5.5, 60.0)]
    window = statistics.open_window(requests, warmup=2)
    assert [request.due for request in window.sent] == [2, 3, 4, 5, 5.5, 6, 7, 8, 9]
    assert window.seconds == 58.0


def served(rate: float, seconds_each: float, count: int) -> list[Request]:
    """By one server, in turn."""
    free = 0.0
    requests = []
    for number in range(count):
        due = number / rate
        free = max(free, due) + seconds_each
        requests.append(Request(due, free, items=1))
    return requests


def test_what_comes_faster_than_it_is_served_is_saturated() -> None:
    assert statistics.is_saturated(served(100, 0.015, 300))
    assert not statistics.is_saturated(served(100, 0.0099, 300))


def test_a_stall_that_is_over_is_not_saturated() -> None:
    requests = [
        Request(due / 100, max(due / 100, 2.0 if 100 <= due < 200 else 0.0) + 0.001, items=1) for due in range(1000)
    ]
    assert not statistics.is_saturated(requests)


def marks(requests: list[Request], *, is_open: bool) -> list[str]:
    return statistics.marks(statistics.Window(requests, requests, 1.0), 400, is_open=is_open)


def test_marks() -> None:
    assert marks(served(100, 0.001, 500), is_open=True) == []
    assert marks(served(100, 0.001, 499), is_open=True) == ["p99 from 499 samples"]
    assert "saturated" in marks(served(100, 0.02, 500), is_open=True)
    late = [request._replace(late=0.0021) for request in served(100, 0.001, 500)]
    assert marks(late, is_open=True) == ["invalid: the generator was 2.1 ms late at its p99"]
    assert marks(late, is_open=False) == []
    assert marks(served(100, 0.001, 200), is_open=True) == ["p99 from 200 samples"]
    assert marks(served(100, 0.001, 199), is_open=True) == ["short: 199 of 400 requests", "p99 from 199 samples"]
    few = [request._replace(late=0.0021 if number < 5 else 0.0) for number, request in enumerate(late)]
    assert marks(few, is_open=True) == []


@pytest.mark.parametrize(("warmup", "is_warm"), [(0, True), (2, True), (3, False), (4, False)])
def test_a_window_that_has_its_warm_up_in_it_says_so(warmup: int, is_warm: bool) -> None:
    requests = served(1, 0.5, 3)
    window = statistics.closed_window([requests], warmup)
    assert window.is_warm is is_warm
    assert statistics.open_window(requests, warmup).is_warm is is_warm
    assert ("warm-up counts" in statistics.marks(window, 0, is_open=False)) is not is_warm


def test_samples_give_the_numbers_of_the_cell() -> None:
    """Three of five count, of which one has failed."""
    early, late, failed = Request(11.0, 11.5, 2), Request(12.0, 12.25, 2), Request(13.0, 14.0, error="no")
    everything = [late, Request(10.0, 10.5, 3), failed, early, Request(14.0, 14.5, 3)]
    found = statistics.samples([early, late, failed], everything)
    assert {name: values.tolist() for name, values in found.items()} == {
        "start_seconds": [0.0, 1.0, 2.0, 3.0, 4.0],
        "latency_ms": [500.0, 500.0, 250.0, 1000.0, 500.0],
        "items": [3, 2, 2, 0, 3],
        "failed": [False, False, False, True, False],
        "counted": [False, True, True, True, False],
    }
    assert {name: values.size for name, values in statistics.samples([], []).items()} == dict.fromkeys(found, 0)
