"""What a worker's process holds: one backend with its model, or with all of mixed traffic, and the items.

Here the cells are measured.

Callers and backend share the process, so that no number has the way between two processes in it. A server is another
process by nature.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import numpy as np

from votive.bench import load
from votive.bench.arrivals import Arrivals
from votive.bench.backends.backend import Backend, Setup
from votive.bench.data import Items
from votive.bench.experiment import Load
from votive.bench.load import Bounds, Outcome, Work, Works
from votive.bench.plan import Cell

# Requests of mixed traffic whose models are drawn; the draws then begin again.
DRAWS = 1 << 16


class Measurement(msgspec.Struct, kw_only=True):
    """What the process says of a cell."""

    outcome: Outcome
    pass_sizes: float | None
    device_memory: int | None


class LoadedBackend:
    """One backend, ready to compute.

    Args:
        load: makes it of a model.
        setups: by the names of the models of mixed traffic; "" for a model alone.
        shares: of the models in the requests.
    """

    def __init__(self, load: Callable[[Setup], Backend], setups: dict[str, Setup], shares: list[float]) -> None:
        self.setup = next(iter(setups.values()))
        self.backends = {model: load(setup) for model, setup in setups.items()}
        self.drawn = random.Random(self.setup.data.seed).choices(
            list(setups), shares, k=DRAWS if len(setups) > 1 else 1
        )
        self.items: dict[tuple[str, str], Items] = {}
        self.peaks: dict[tuple[str, int, int], float] = {}  # requests a second
        self.turn = self._turn()

    def compute(self, work: Work) -> np.ndarray:
        """As the backend's of this model, by one caller at a time or by as many as may come."""
        with self.turn:
            return self.backends[work.model].compute(work.values)

    def compute_each(self, items: list[Any], model: str) -> list[np.ndarray]:
        """The results of each item, one call after the other."""
        return [np.asarray(self.compute(Work([item], 1, model=model))) for item in items]

    def process_ids(self) -> list[int]:
        """Further processes that compute for it."""
        return [number for backend in self.backends.values() for number in backend.process_ids()]

    def take(self, name: str, model: str, items: Items) -> None:
        """Keep the items of a set of this name for the model."""
        self.items[name, model] = items

    def has(self, name: str) -> bool:
        """Whether `take` had those of all models."""
        return all((name, model) in self.items for model in self.backends)

    def prepare(self, cell: Cell, bounds: Bounds) -> None:
        """Find what the load of the cell begins with: the closed peak of its point."""
        key = _point(cell)
        if key not in self.peaks and (cell.load == "find_peak" or isinstance(cell.rate, str)):
            outcome = load.closed(self.compute, self._works(cell), bounds, cell.concurrency)
            self.peaks[key] = outcome.requests_per_second

    def measure(self, cell: Cell, bounds: Bounds, asked: Load) -> Measurement:
        """The cell, once, after `prepare`."""
        self._pass_sizes()
        outcome = self._load(cell, bounds, asked)
        device = [taken for backend in self.backends.values() if (taken := backend.device_memory()) is not None]
        # A process's memory on a device is told by each of its models.
        return Measurement(outcome=outcome, pass_sizes=self._pass_sizes(), device_memory=max(device, default=None))

    def close(self) -> None:
        """End what the backend has started."""
        for backend in self.backends.values():
            backend.close()

    def _pass_sizes(self) -> float | None:
        """Since the last call; of several models nobody says how many passes each had."""
        sizes = [backend.pass_sizes() for backend in self.backends.values()]
        return sizes[0] if len(sizes) == 1 else None

    def _works(self, cell: Cell) -> Works:
        items = {model: self.items[cell.data_set, model] for model in self.backends}

        def works(number: int) -> Work:
            model = self.drawn[number % len(self.drawn)]
            return items[model].work(number, cell.batch_size)._replace(model=model)

        return works

    def _load(self, cell: Cell, bounds: Bounds, asked: Load) -> Outcome:
        works = self._works(cell)
        arrivals = Arrivals(asked.arrivals, self.setup.data.seed, asked.burstiness)
        if cell.load == "offline":
            (items,) = (self.items[cell.data_set, model] for model in self.backends)
            return load.offline(self.compute, items.everything(), bounds)
        if cell.load == "single":
            return load.closed(self.compute, works, bounds, 1)
        if cell.load == "find_peak":
            assert asked.p99_ms is not None, "the loader wants load.p99_ms of find_peak"
            rate = self.peaks[_point(cell)]
            if rate:
                return load.find_peak(self.compute, works, bounds, asked.p99_ms, arrivals, rate)
        if cell.load == "open":
            rate = self._rate(cell)
            if rate:
                return load.opened(self.compute, works, bounds, rate, arrivals)
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
        if not all(backend.is_concurrent for backend in self.backends.values()) or not batching.enabled:
            return threading.Lock()
        return threading.BoundedSemaphore(batching.max_concurrency) if batching.max_concurrency else nullcontext()


def _point(cell: Cell) -> tuple[str, int, int]:
    return cell.data_set, cell.batch_size, cell.concurrency
