"""Measures the cells of one experiment: what the callers say in the backend's process, and what is seen from here."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np

from votive.bench import plan, resources
from votive.bench.agreement import Agreement
from votive.bench.cells import Measured, Resources
from votive.bench.experiment import Experiment, Model
from votive.bench.item_sets import ItemSets
from votive.bench.load import Bounds, Work
from votive.bench.loaded import Measurement
from votive.bench.models import ModelKey
from votive.bench.plan import Cell
from votive.bench.processes import Processes
from votive.bench.worker import NotThere, WorkerError

COLD_STARTS = 3
# Loads of which all items are known, and with them the CPU seconds of each.
OWN_CPU = ("single", "closed", "offline", "open")
# What a process warns of is heard from the one that computes the cells.
_QUIET = {"PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error"}
# Items of a call, of those by which backends are compared.
_PART = 32


class Runner:
    """The processes of one experiment, and what was found once for all its cells.

    Args:
        before: what an earlier run has measured.
    """

    def __init__(
        self,
        experiment: Experiment,
        models: dict[ModelKey, Path],
        absent: dict[ModelKey, str],
        before: list[Measured],
    ) -> None:
        self.experiment = experiment
        self.bounds = Bounds.of(experiment)
        self.processes = Processes(experiment, models, absent)
        self.items = ItemSets(experiment, self.processes.folder)
        self.agreement = Agreement(experiment, self._reference(), self._results, before)
        self.cold_starts = {
            (each.cell.model, each.cell.backend): seconds
            for each in before
            if (seconds := each.resources.cold_start_seconds) is not None
        }

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        # Who presses Ctrl-C does not wait for a request to end.
        self.processes.end(at_once=kind is not None)

    def measure(self, cell: Cell, number: int) -> tuple[Measured, dict[str, np.ndarray] | None]:
        """The cell in this round and its requests; never raises for what a backend does."""
        if reason := self.processes.reason_to_skip(cell):
            return Measured(cell=cell, round=number, skipped=reason), None
        before = _load_average()
        try:
            cold = self._cold_start(cell)
            measurement, taken = self._measure(cell)
        except NotThere as reason:
            self.processes.miss(cell, str(reason))
            return Measured(cell=cell, round=number, skipped=str(reason)), None
        except WorkerError as error:
            self.processes.drop(cell)
            return Measured(cell=cell, round=number, errors={str(error): 1}, load_average=_pair(before)), None
        outcome = measurement.outcome
        taken.cold_start_seconds = cold
        taken.device_memory_bytes = measurement.device_memory
        measured = Measured(
            cell=cell,
            round=number,
            seconds=outcome.seconds,
            requests=outcome.requests,
            items=outcome.items,
            tokens=outcome.tokens,
            latency=outcome.latency,
            histogram=outcome.histogram,
            errors=outcome.errors,
            models=outcome.models,
            resources=taken,
            pass_sizes=measurement.pass_sizes,
            load_average=_pair(before),
            marks=outcome.marks,
        )
        if outcome.seconds:
            measured.requests_per_second = outcome.requests_per_second
            measured.items_per_second = outcome.items / outcome.seconds
            measured.tokens_per_second = outcome.tokens / outcome.seconds if outcome.tokens else None
        if "quality" in self.experiment.measure:
            try:
                measured.pairs = self.agreement.pairs(cell)
                measured.consistency = self.agreement.with_reference(cell)
            except (WorkerError, ValueError) as error:
                measured.marks.append(f"not compared: {error}")
        return measured, outcome.samples

    def _measure(self, cell: Cell) -> tuple[Measurement, Resources]:
        processes = self.processes
        worker = processes.worker(cell)
        if not worker.call("has", cell.data_set):
            for name, model in processes.models(cell).items():
                worker.call("take", cell.data_set, name, self.items.of(model, cell.data_set))
        ids = [worker.process_id, *worker.call("process_ids")]
        end = time.monotonic() + plan.cell_seconds(self.experiment)
        processes.call(cell, worker, "prepare", cell, self.bounds)
        computed = resources.cpu_seconds(ids)
        with resources.Sampler(lambda: ids) as sampler:
            left = max(0.0, end - time.monotonic())
            measurement: Measurement = processes.call(
                cell, worker, "measure", cell, self.bounds, self.experiment.load, seconds=left
            )
        computed = resources.cpu_seconds(ids) - computed
        wanted = self.experiment.measure
        done = measurement.outcome.all_items
        return measurement, Resources(
            rss_peak_bytes=sampler.peak if "memory" in wanted else None,
            rss_sustained_bytes=sampler.sustained if "memory" in wanted else None,
            cpu_mhz_min=min(sampler.clocks, default=None) if "cpu" in wanted else None,
            cpu_mhz_mean=statistics.fmean(sampler.clocks) if "cpu" in wanted and sampler.clocks else None,
            # Of a search for the peak only the best load's items are known.
            cpu_seconds_per_item=computed / done if "cpu" in wanted and done and cell.load in OWN_CPU else None,
        )

    def _cold_start(self, cell: Cell) -> float | None:
        """Seconds from the start of a process to its first result, the median of some; measured once."""
        if "cold_start" not in self.experiment.measure:
            return None
        key = (cell.model, cell.backend)
        if key not in self.cold_starts:
            name, model = next(iter(self.processes.models(cell).items()))
            first = self.items.of(model, cell.data_set).work(0, 1)._replace(model=name)
            self._seconds_to_first(cell, first)  # exports what is missing, brings files into memory
            self.cold_starts[key] = statistics.median(self._seconds_to_first(cell, first) for _ in range(COLD_STARTS))
        return self.cold_starts[key]

    def _seconds_to_first(self, cell: Cell, first: Work) -> float:
        start = time.perf_counter()
        with self.processes.start(cell, **_QUIET) as worker:
            self.processes.call(cell, worker, "compute", first)
            return time.perf_counter() - start

    def _results(self, cell: Cell) -> list[list[np.ndarray]]:
        """What the backend makes of the first items of the set, with each model."""
        if reason := self.processes.reason_to_skip(cell):
            raise NotThere(reason)
        try:
            return [self._of_model(cell, name, model) for name, model in self.processes.models(cell).items()]
        except NotThere as reason:
            self.processes.miss(cell, str(reason))
            raise

    def _of_model(self, cell: Cell, name: str, model: Model) -> list[np.ndarray]:
        first = self.items.of(model, cell.data_set).first(self.experiment.quality.texts)
        worker = self.processes.worker(cell)
        if self.experiment.task == "rerank":
            scores: list[np.ndarray] = self.processes.call(cell, worker, "compute_each", first, name)
            return scores
        parts = [first[start : start + _PART] for start in range(0, len(first), _PART)]
        works = [Work(part, len(part), model=name) for part in parts]
        return [np.concatenate([np.asarray(self.processes.call(cell, worker, "compute", work)) for work in works])]

    def _reference(self) -> str:
        against = self.experiment.quality.against
        choices = self.processes.choices.items()
        return next(name for name, choice in choices if against in (None, name, choice.kind))


def _load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _pair(before: float | None) -> tuple[float, float] | None:
    after = _load_average()
    return None if before is None or after is None else (before, after)
