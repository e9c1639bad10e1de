"""What a worker's process holds: one backend with its model, and the items; here the cells are measured.

Callers and backend share the process, so that no number has the way between two processes in it. A server is another
process by nature.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import numpy as np

from votive.bench import load
from votive.bench.backends.backend import Backend, Setup
from votive.bench.data import Items
from votive.bench.load import Bounds, Outcome
from votive.bench.plan import Cell


class Measurement(msgspec.Struct, kw_only=True):
    """What the process says of a cell."""

    outcome: Outcome
    pass_sizes: float | None
    device_memory: int | None


class LoadedBackend:
    """One backend, ready to compute."""

    def __init__(self, load: Callable[[Setup], Backend], setup: Setup) -> None:
        self.setup = setup
        self.backend = load(setup)
        self.items: dict[str, Items] = {}
        self.peaks: dict[tuple[str, int, int], float] = {}  # requests a second
        self.turn = self._turn()

    def compute(self, items: list[Any]) -> np.ndarray:
        """As the backend's, by one caller at a time or by as many as may come."""
        with self.turn:
            return self.backend.compute(items)

    def compute_each(self, items: list[Any]) -> list[np.ndarray]:
        """The results of each item, one call after the other."""
        return [np.asarray(self.compute([item])) for item in items]

    def process_ids(self) -> list[int]:
        """Further processes that compute for it."""
        return self.backend.process_ids()

    def take(self, name: str, items: Items) -> None:
        """Keep the items of a set of this name."""
        self.items[name] = items

    def has(self, name: str) -> bool:
        """Whether `take` had them."""
        return name in self.items

    def prepare(self, cell: Cell, bounds: Bounds) -> None:
        """Find what the load of the cell begins with: the closed peak of its point."""
        key = _point(cell)
        if key not in self.peaks and (cell.load == "find_peak" or isinstance(cell.rate, str)):
            items = self.items[cell.data_set]
            outcome = load.closed(
                self.compute, lambda number: items.work(number, cell.batch_size), bounds, cell.concurrency
            )
            self.peaks[key] = outcome.requests_per_second

    def measure(self, cell: Cell, bounds: Bounds, arrivals: str, p99_ms: float | None) -> Measurement:
        """The cell, once, after `prepare`."""
        self.backend.pass_sizes()
        outcome = self._load(cell, bounds, arrivals, p99_ms)
        return Measurement(
            outcome=outcome,
            pass_sizes=self.backend.pass_sizes(),
            device_memory=self.backend.device_memory(),
        )

    def close(self) -> None:
        """End what the backend has started."""
        self.backend.close()

    def _load(self, cell: Cell, bounds: Bounds, arrivals: str, p99_ms: float | None) -> Outcome:
        items = self.items[cell.data_set]
        seed = self.setup.data.seed

        def works(number: int) -> load.Work:
            return items.work(number, cell.batch_size)

        if cell.load == "offline":
            return load.offline(self.compute, items.everything(), bounds)
        if cell.load == "single":
            return load.closed(self.compute, works, bounds, 1)
        if cell.load == "find_peak":
            assert p99_ms is not None, "the loader wants load.p99_ms of find_peak"
            rate = self.peaks[_point(cell)]
            if rate:
                return load.find_peak(self.compute, works, bounds, p99_ms, arrivals, seed, rate)
        if cell.load == "open":
            rate = self._rate(cell)
            if rate:
                return load.opened(self.compute, works, bounds, rate, arrivals, seed)
        # Also what does nothing but fail, which has no peak: this load says how.
        outcome = load.closed(self.compute, works, bounds, cell.concurrency)
        if cell.load == "closed":
            self.peaks[_point(cell)] = outcome.requests_per_second
        return outcome

    def _rate(self, cell: Cell) -> float:
        """Requests a second of an open load: a number, or a share of the peak."""
        if isinstance(cell.rate, str):
            return float(cell.rate.strip().removesuffix("%")) / 100 * self.peaks[_point(cell)]
        assert cell.rate is not None, "the loader wants load.rate of an open load"
        return float(cell.rate)

    def _turn(self) -> AbstractContextManager[object]:
        """What callers pass on their way in."""
        batching = self.setup.batching
        if not self.backend.is_concurrent or not batching.enabled:
            return threading.Lock()
        return threading.BoundedSemaphore(batching.max_concurrency) if batching.max_concurrency else nullcontext()


def _point(cell: Cell) -> tuple[str, int, int]:
    return cell.data_set, cell.batch_size, cell.concurrency
