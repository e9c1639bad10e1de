"""Runs experiments: every cell in every round, a line on the disk for each, so that a killed run goes on.

```text
find the models, and refuse folders that hold something else
for each experiment, for each cell and round as the plan has them:
    the backend's process, started where it does not run; what cannot be there is skipped
    items of the set to the process
    load average; the cell in the process, memory sampled from here; load average
    the line
```
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from votive._cpus import usable_cpus
from votive.bench import backends, plan, resources
from votive.bench.agreement import Agreement
from votive.bench.backends.backend import Setup
from votive.bench.cells import Measured, Resources
from votive.bench.data import Count, Items, from_file, items, model_tokens
from votive.bench.experiment import BackendChoice, Experiment, Model
from votive.bench.load import TRIALS, Bounds
from votive.bench.loaded import LoadedBackend, Measurement
from votive.bench.log import Log, RunError
from votive.bench.models import ModelKey, cache_folder, find_models, key_of, needs_folder
from votive.bench.plan import Cell
from votive.bench.worker import NotThere, Worker, WorkerError, environment

COLD_STARTS = 3
# A request that takes longer than all of its load and this is not waited for.
PATIENCE_SECONDS = 600.0


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with the folders that hold what was measured before it."""

    def __init__(self, folders: list[Path]) -> None:
        super().__init__()
        self.folders = folders


def run(experiments: list[Experiment], out: Path, resume: bool, progress: bool) -> list[Path]:
    """Measure all cells; gives the folders with what was measured, one an experiment.

    Experiments that were not begun when it was stopped have no folder.

    Args:
        experiments: with different names.
        out: where the folders are made.
        resume: go on with folders that hold a part of the same experiments.
        progress: show a bar with the time left.

    Raises:
        Stopped: Ctrl-C ended the run; what was measured is on the disk.
        RunError: no model is found, or a folder holds another run. Nothing was measured.
    """
    folders = {experiment.name: out / experiment.name for experiment in experiments}
    if len(folders) < len(experiments):
        raise RunError("two experiments have the same name: give one of them another, by its key `name`")
    models, absent = find_models(experiments)
    for experiment in experiments:
        _check(experiment)
    for reason in dict.fromkeys(absent.values()):
        print(f"{reason}: its cells are skipped", file=sys.stderr)
    logs = [Log.of(experiment, folders[experiment.name], resume) for experiment in experiments]
    turns = [(experiment, log, list(plan.turns(experiment))) for experiment, log in zip(experiments, logs, strict=True)]
    begun: list[Path] = []
    with _Bar(progress, sum(len(each) for _, _, each in turns), sum(len(log.keys) for log in logs)) as bar:
        try:
            for experiment, log, each in turns:
                begun.append(log.folder)
                log.begin()
                with _Runner(experiment, models, absent, log.measured) as runner:
                    for cell, number in each:
                        if plan.key(cell, number) in log.keys:
                            continue
                        bar.show(cell, number)
                        log.add(*runner.measure(cell, number))
                        bar.advance()
        except KeyboardInterrupt:
            bar.say(f"stopped: what was measured is in {out}; the same command with --resume goes on")
            raise Stopped(begun) from None
    return begun


class _Runner:
    """The processes of one experiment, and what is known of its backends.

    Processes run on from cell to cell, and from round to round, of one model.
    """

    def __init__(
        self,
        experiment: Experiment,
        models: dict[ModelKey, Path],
        absent: dict[ModelKey, str],
        before: list[Measured],
    ) -> None:
        self.experiment = experiment
        self.models = models
        self.absent = absent
        self.threads = experiment.threads or usable_cpus()
        self.bounds = Bounds.of(experiment)
        self.choices = _choices(experiment)
        self.workers: dict[tuple[str, str, bool], Worker] = {}
        self.missing: dict[tuple[str, str], str] = {}
        self.counts: dict[str, Count | None] = {}
        self.items: dict[tuple[str, str], Items] = {}
        self.cold_starts: dict[tuple[str, str], float] = {}
        self.agreement = Agreement(experiment, self._reference(), self._results, before)
        for each in before:
            if each.resources.cold_start_seconds is not None:
                self.cold_starts[each.cell.model, each.cell.backend] = each.resources.cold_start_seconds

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        for worker in self.workers.values():
            # Who presses Ctrl-C does not wait for a request to end.
            (worker.close if kind is None else worker.kill)()

    def measure(self, cell: Cell, number: int) -> tuple[Measured, dict[str, np.ndarray] | None]:
        """The cell in this round and its requests; never raises for what a backend does."""
        if reason := self._reason_to_skip(cell):
            return Measured(cell=cell, round=number, skipped=reason), None
        for key in [key for key in self.workers if key[0] != cell.model]:
            self.workers.pop(key).close()
        before = _load_average()
        try:
            cold = self._cold_start(cell)
            measurement, taken = self._measure(cell)
        except NotThere as reason:
            self.missing[cell.model, cell.backend] = str(reason)
            self._drop(cell)
            return Measured(cell=cell, round=number, skipped=str(reason)), None
        except WorkerError as error:
            self._drop(cell)
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
                measured.marks.append(f"invalid: not compared with the reference: {error}")
        return measured, outcome.samples

    def _reason_to_skip(self, cell: Cell) -> str | None:
        choice = self.choices[cell.backend]
        if choice.skip:
            return choice.skip
        if needs_folder(choice) and (reason := self.absent.get(key_of(self._model(cell)))):
            return reason
        return self.missing.get((cell.model, cell.backend))

    def _model(self, cell: Cell) -> Model:
        return next(model for model in self.experiment.models if model.name == cell.model)

    def _measure(self, cell: Cell) -> tuple[Measurement, Resources]:
        worker = self._worker(cell)
        if not worker.call("has", cell.data_set):
            worker.call("take", cell.data_set, self._items(cell))
        load = self.experiment.load
        ids = [worker.process_id, *worker.call("process_ids")]
        loads = TRIALS if cell.load == "find_peak" else 1
        patience = PATIENCE_SECONDS + 3 * loads * self.bounds.max_seconds
        worker.call("prepare", cell, self.bounds, seconds=patience)
        computed = resources.cpu_seconds(ids)
        with resources.Sampler(lambda: ids) as sampler:
            measurement: Measurement = worker.call(
                "measure", cell, self.bounds, load.arrivals, load.p99_ms, seconds=patience
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

    def _setup(self, cell: Cell) -> Setup:
        model = self._model(cell)
        folder = self.models.get(key_of(model), Path(model.name))
        return Setup(
            task=self.experiment.task,
            model=folder,
            choice=self.choices[cell.backend],
            batching=msgspec.structs.replace(self.experiment.batching, enabled=cell.batching),
            data=self.experiment.data,
            threads=self.threads,
            max_seq_length=model.max_seq_length,
            cache=cache_folder(folder, self.experiment.task),
        )

    def _start(self, cell: Cell, **more: str) -> Worker:
        choice = self.choices[cell.backend]
        kind = backends.find(choice.kind, self.experiment.task)
        make = partial(LoadedBackend, kind.load, self._setup(cell))
        return Worker(make, environment(self.threads) | choice.environment | more)

    def _worker(self, cell: Cell) -> Worker:
        key = (cell.model, cell.backend, cell.batching)
        if key not in self.workers:
            self.workers[key] = self._start(cell)
        return self.workers[key]

    def _drop(self, cell: Cell) -> None:
        """Have the next cell of this backend begin with a new process."""
        worker = self.workers.pop((cell.model, cell.backend, cell.batching), None)
        if worker is not None:
            worker.kill()

    def _items(self, cell: Cell) -> Items:
        key = (cell.model, cell.data_set)
        if key not in self.items:
            if self.experiment.task != "search" and cell.model not in self.counts:
                folder = self._setup(cell).model
                self.counts[cell.model] = model_tokens(folder) if folder.exists() else None
            count = self.counts.get(cell.model)
            self.items[key] = items(self.experiment.task, self.experiment.data, cell.data_set, count)
        return self.items[key]

    def _cold_start(self, cell: Cell) -> float | None:
        """Seconds from the start of a process to its first result, the median of some; measured once."""
        if "cold_start" not in self.experiment.measure:
            return None
        key = (cell.model, cell.backend)
        if key not in self.cold_starts:
            first = self._items(cell).work(0, 1).values
            with self._start(cell, **_QUIET) as worker:  # exports what is missing, brings files into memory
                worker.call("compute", first)
            self.cold_starts[key] = statistics.median(self._seconds_to_first(cell, first) for _ in range(COLD_STARTS))
        return self.cold_starts[key]

    def _seconds_to_first(self, cell: Cell, first: list[Any]) -> float:
        start = time.perf_counter()
        with self._start(cell, **_QUIET) as worker:
            worker.call("compute", first)
            return time.perf_counter() - start

    def _results(self, cell: Cell) -> list[np.ndarray]:
        """What the backend makes of the first items of the set."""
        if reason := self._reason_to_skip(cell):
            raise NotThere(reason)
        first = self._items(cell).first(self.experiment.quality.texts)
        try:
            worker = self._worker(cell)
            if self.experiment.task == "rerank":
                each: list[np.ndarray] = worker.call("compute_each", first, seconds=PATIENCE_SECONDS)
                return each
            parts = [first[start : start + 32] for start in range(0, len(first), 32)]
            return [np.concatenate([worker.call("compute", part, seconds=PATIENCE_SECONDS) for part in parts])]
        except NotThere as reason:
            self.missing[cell.model, cell.backend] = str(reason)
            self._drop(cell)
            raise

    def _reference(self) -> str:
        against = self.experiment.quality.against
        named = (name for name, choice in self.choices.items() if against in (None, name, choice.kind))
        return next(named)


def _choices(experiment: Experiment) -> dict[str, BackendChoice]:
    """Backends by the names that cells call them."""
    return dict(zip(plan.backend_names(experiment), experiment.backends, strict=True))


# What a process warns of is heard from the one that computes the cells.
_QUIET = {"PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error"}
# Loads of which all items are known, and with them the CPU seconds of each.
OWN_CPU = ("single", "closed", "offline", "open")


def _check(experiment: Experiment) -> None:
    """Raises `RunError` for what would end the run in the middle."""
    data, against = experiment.data, experiment.quality.against
    for choice in experiment.backends:
        try:
            backends.find(choice.kind, experiment.task)
        except ValueError as error:
            raise RunError(f"{experiment.name}: backends: {error}") from None
    if data.file is not None and experiment.task != "search":
        try:
            from_file(Path(data.file), data.field)
        except (OSError, ValueError) as error:
            raise RunError(f"{experiment.name}: data.file: {error}") from None
    choices = _choices(experiment)
    if against is not None and all(against not in (name, choice.kind) for name, choice in choices.items()):
        raise RunError(
            f"{experiment.name}: quality.against: no backend is named {against!r}: there are {', '.join(choices)}"
        )


def _load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _pair(before: float | None) -> tuple[float, float] | None:
    after = _load_average()
    return None if before is None or after is None else (before, after)


class _Bar:
    """Cells that are done, `before` of them by an earlier run, and the time that is left."""

    def __init__(self, show: bool, total: int, before: int) -> None:
        from votive._progress import bar_class

        self._bar = bar_class()(total=total, initial=before, unit=" cells", disable=not show, file=sys.stderr)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def show(self, cell: Cell, number: int) -> None:
        """What is measured now."""
        at = f"{cell.data_set}, batch {cell.batch_size}, {cell.concurrency} callers"
        self._bar.set_description(f"{cell.experiment}: {cell.backend}, {at}, round {number + 1}")

    def advance(self) -> None:
        """One more is done."""
        self._bar.update()

    def say(self, line: str) -> None:
        """On standard error, above the bar."""
        self._bar.write(line, file=sys.stderr)
