"""The processes of an experiment's backends, and what is known of backends that are not there or do not answer.

```text
a cell asks for its backend's process:
    it runs: that one, also from round to round
    else it is started, and has `start_timeout_s` to load its model
a call has some seconds; who takes longer is killed, and told so
    the first time: the next cell of the backend begins with a new process
    the second time: the backend is given up
```
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from votive._cpus import usable_cpus
from votive.bench import backends, plan
from votive.bench.backends.backend import Setup
from votive.bench.experiment import Experiment, Model
from votive.bench.loaded import LoadedBackend
from votive.bench.models import ModelKey, cache_folder, key_of, needs_folder
from votive.bench.plan import Cell
from votive.bench.worker import NoAnswer, Worker, environment

# A backend that has not answered in time so often is given up.
MOST_UNANSWERED = 2


class Processes:
    """Those of one experiment. They run on from cell to cell, and from round to round, of one model.

    Attributes:
        choices: backends by what cells call them.
    """

    def __init__(self, experiment: Experiment, models: dict[ModelKey, Path], absent: dict[ModelKey, str]) -> None:
        self.experiment = experiment
        self._traffics = plan.traffics(experiment)
        self.choices = plan.choices(experiment)
        self._models = models
        self._absent = absent
        self._threads = experiment.threads or usable_cpus()
        self._workers: dict[tuple[str, str, bool], Worker] = {}
        self._missing: dict[tuple[str, str], str] = {}
        self._unanswered: dict[tuple[str, str], int] = {}

    def reason_to_skip(self, cell: Cell) -> str | None:
        """Why the cell's backend is not there; None where nothing is known against it."""
        choice = self.choices[cell.backend]
        if choice.skip:
            return choice.skip
        for model in self._traffics[cell.model] if needs_folder(choice) else ():
            if reason := self._absent.get(key_of(model)):
                return reason
        return self._missing.get((cell.model, cell.backend))

    def miss(self, cell: Cell, reason: str) -> None:
        """Skip the further cells of this backend and model for this reason."""
        self._missing[cell.model, cell.backend] = reason
        self.drop(cell)

    def models(self, cell: Cell) -> dict[str, Model]:
        """Those that the cell asks, by what its requests call them; a lone one needs no name, which is "" then."""
        models = self._traffics[cell.model]
        return {model.name if len(models) > 1 else "": model for model in models}

    def folder(self, model: Model) -> Path:
        """Of the model; its name where it has none."""
        return self._models.get(key_of(model), Path(model.name))

    def worker(self, cell: Cell) -> Worker:
        """The process of the cell's backend, with the models loaded."""
        for key in [key for key in self._workers if key[0] != cell.model]:
            self._workers.pop(key).close()
        key = (cell.model, cell.backend, cell.batching)
        if key in self._workers and not self._workers[key].is_alive:
            self.drop(cell)
        if key not in self._workers:
            self._workers[key] = self.start(cell)
        return self._workers[key]

    def start(self, cell: Cell, **variables: str) -> Worker:
        """Another process of the backend, with the models loaded, which is the caller's to close.

        `variables` are added to its environment.
        """
        choice = self.choices[cell.backend]
        kind = backends.find(choice.kind, self.experiment.task)
        models = self.models(cell)
        setups = {name: self._setup(cell, model) for name, model in models.items()}
        make = partial(LoadedBackend, kind.load, setups, plan.shares(list(models.values())))
        worker = Worker(make, environment(self._threads) | choice.environment | variables)
        try:
            self._ask(cell, worker, "process_ids", (), "start_timeout_s", self.experiment.start_timeout_s)
        except BaseException:
            worker.kill()
            raise
        return worker

    def call(self, cell: Cell, worker: Worker, method: str, *arguments: Any, seconds: float | None = None) -> Any:
        """What the method gives, within the seconds of a cell, or what is left of them.

        Raises:
            NoAnswer: it took longer; its process is killed, and the text says what to do.
            WorkerError: it failed.
        """
        return self._ask(cell, worker, method, arguments, "timeout_s", plan.cell_seconds(self.experiment), seconds)

    def drop(self, cell: Cell) -> None:
        """Have the next cell of this backend begin with a new process."""
        worker = self._workers.pop((cell.model, cell.backend, cell.batching), None)
        if worker is not None:
            worker.kill()

    def end(self, at_once: bool) -> None:
        """End all; at once also those that compute."""
        for worker in self._workers.values():
            (worker.kill if at_once else worker.close)()

    def _ask(
        self,
        cell: Cell,
        worker: Worker,
        method: str,
        arguments: tuple[Any, ...],
        key: str,
        limit: float,
        left: float | None = None,
    ) -> Any:
        """`key` is where the experiment says the limit, of which so many seconds may be `left`."""
        try:
            return worker.call(method, *arguments, seconds=limit if left is None else left)
        except NoAnswer:
            did = "it had not loaded its model" if key == "start_timeout_s" else "no answer"
            reason = (
                f"{did} after {limit:g} seconds, and was ended: raise {key}, or leave the backend out by its key skip"
            )
            at = (cell.model, cell.backend)
            self._unanswered[at] = self._unanswered.get(at, 0) + 1
            if self._unanswered[at] >= MOST_UNANSWERED:
                self.miss(cell, f"given up after {MOST_UNANSWERED} times: {reason}")
            raise NoAnswer(reason) from None

    def _setup(self, cell: Cell, model: Model) -> Setup:
        folder = self.folder(model)
        return Setup(
            task=self.experiment.task,
            model=folder,
            choice=self.choices[cell.backend],
            batching=msgspec.structs.replace(self.experiment.batching, enabled=cell.batching),
            data=self.experiment.data,
            threads=self._threads,
            max_seq_length=model.max_seq_length,
            cache=cache_folder(folder, self.experiment.task),
        )
