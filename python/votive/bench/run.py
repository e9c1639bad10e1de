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

import sys
from pathlib import Path

from votive.bench import backends, plan
from votive.bench.bar import Bar
from votive.bench.data import from_file
from votive.bench.experiment import Experiment
from votive.bench.log import Log, RunError
from votive.bench.models import find_models
from votive.bench.runner import Runner


class Stopped(BaseException):
    """Ctrl-C, or a signal that ends the process, with the folders that hold what was measured before it.

    Attributes:
        by: what was raised, which ends the process as its caller expects it.
    """

    def __init__(self, folders: list[Path], by: KeyboardInterrupt | SystemExit) -> None:
        super().__init__()
        self.folders = folders
        self.by = by


def run(experiments: list[Experiment], out: Path, resume: bool, progress: bool) -> list[Path]:
    """Measure all cells; gives the folders with what was measured, one an experiment.

    Experiments that were not begun when it was stopped have no folder.

    Args:
        experiments: with different names.
        out: where the folders are made.
        resume: go on with folders that hold a part of the same experiments; what was skipped or failed is tried again.
        progress: show a bar with the time left.

    Raises:
        Stopped: Ctrl-C ended the run, or the `SystemExit` of a signal's handler; what was measured is on the disk.
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
    for log in logs:
        for backend, number, reason in log.again:
            print(f"{log.experiment.name}: {backend}: cells to try again: {number}: {reason}", file=sys.stderr)
    turns = [(experiment, log, list(plan.turns(experiment))) for experiment, log in zip(experiments, logs, strict=True)]
    begun: list[Path] = []
    with Bar(progress, sum(len(each) for _, _, each in turns), sum(len(log.keys) for log in logs)) as bar:
        try:
            for experiment, log, each in turns:
                begun.append(log.folder)
                log.begin()
                with Runner(experiment, models, absent, log.measured) as runner:
                    for cell, number in each:
                        if plan.key(cell, number) in log.keys:
                            continue
                        bar.show(cell, number)
                        log.add(*runner.measure(cell, number))
                        bar.advance()
        except (KeyboardInterrupt, SystemExit) as signal:
            bar.say(f"stopped: what was measured is in {out}; the same command with --resume goes on")
            raise Stopped(begun, signal) from None
    return begun


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
    names = plan.backend_names(experiment)
    if against is not None and against not in (*names, *(choice.kind for choice in experiment.backends)):
        raise RunError(
            f"{experiment.name}: quality.against: no backend is named {against!r}: there are {', '.join(names)}"
        )
