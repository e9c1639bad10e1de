"""The folder of a run: `run.json` says what runs, and `cells.jsonl` has a line for each cell and round.

Every request of the cell lies in a file of `samples/`, which the line names.
"""

from __future__ import annotations

import io
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from votive.bench import machine, plan
from votive.bench.cells import Measured, Run
from votive.bench.experiment import Experiment

RUN_FILE = "run.json"
CELLS_FILE = "cells.jsonl"
SAMPLES_FOLDER = "samples"


class RunError(ValueError):
    """The experiments cannot be run as they are asked for; the text says what to do."""


class Log:
    """A folder with `run.json` and `cells.jsonl`.

    What was skipped or has only failed is measured again, as something may have been installed since; but for what the
    experiment itself skips. Its line stays, and the later line of a cell and round counts.

    Attributes:
        measured: what was finished.
        keys: of that.
        again: backends of which cells are measured again, with their number and the reason of the first.
        places: of all turns, by their keys, from 1.
    """

    def __init__(self, experiment: Experiment, folder: Path, there: list[Measured]) -> None:
        self.experiment = experiment
        self.folder = folder
        skipped = {name for name, choice in plan.choices(experiment).items() if choice.skip}
        self.measured = [each for each in there if each.is_finished or each.cell.backend in skipped]
        self.keys = {plan.key(each.cell, each.round) for each in self.measured}
        unfinished: dict[str, list[str]] = {}
        for each in there:
            if plan.key(each.cell, each.round) not in self.keys:
                unfinished.setdefault(each.cell.backend, []).append(each.skipped or next(iter(each.errors)))
        self.again = [(name, len(reasons), reasons[0]) for name, reasons in unfinished.items()]
        self.places = {plan.key(*turn): place for place, turn in enumerate(plan.turns(experiment), 1)}

    @classmethod
    def of(cls, experiment: Experiment, folder: Path, resume: bool) -> Log:
        """The folder's. Raises `RunError` where it holds what this run must not touch."""
        if not (folder / RUN_FILE).exists():
            if (folder / CELLS_FILE).exists():
                raise RunError(f"{folder} holds {CELLS_FILE} without {RUN_FILE}: remove it, or give another --out")
            return cls(experiment, folder, [])
        if not resume:
            raise RunError(f"{folder} holds a run: go on with it by --resume, or give another --out")
        if differences := _differences(read_run(folder).experiment, experiment):
            raise RunError(
                f"{folder} holds a run of another experiment of the name {experiment.name!r}, which differs in "
                f"{', '.join(differences)}: give another --out, or undo the change"
            )
        return cls(experiment, folder, read_cells(folder))

    def begin(self) -> None:
        """Write what the run is, and drop a line that was not written whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        versions, git = machine.versions(), machine.git_commit(Path.cwd())
        if (self.folder / RUN_FILE).exists():
            there = read_run(self.folder)
            described = msgspec.structs.replace(
                there,
                experiment=self.experiment,
                versions=_both(there.versions, versions),
                git=_then(there.git, git) if there.git and git else there.git or git,
            )
        else:
            described = Run(
                experiment=self.experiment,
                machine=machine.describe(),
                versions=versions,
                git=git,
                started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
        _write(self.folder / RUN_FILE, msgspec.json.format(msgspec.json.encode(described)))
        cells = self.folder / CELLS_FILE
        if cells.exists() and (content := cells.read_bytes()) and not content.endswith(b"\n"):
            whole = content[: content.rfind(b"\n") + 1]
            with open(cells, "r+b") as file:
                file.truncate(len(whole))

    def add(self, measured: Measured, samples: dict[str, Any] | None = None) -> None:
        """Another line, and before it the file of its requests: both are on the disk when this returns."""
        if samples is not None:
            place = self.places[plan.key(measured.cell, measured.round)]
            measured.samples_file = f"{SAMPLES_FOLDER}/{place:05d}.npz"
            (self.folder / SAMPLES_FOLDER).mkdir(exist_ok=True)
            content = io.BytesIO()
            np.savez_compressed(content, **samples)
            _write(self.folder / measured.samples_file, content.getvalue())
        with open(self.folder / CELLS_FILE, "ab") as file:
            file.write(msgspec.json.encode(measured) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    half = path.with_name(f"{path.name}.part")
    with open(half, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def read_run(folder: Path) -> Run:
    """What `run.json` says. Raises `RunError` where it is of another version of votive, or damaged."""
    try:
        return msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=Run)
    except msgspec.DecodeError as error:
        raise RunError(f"{folder / RUN_FILE}: {error}: give another --out") from None


def read_cells(folder: Path) -> list[Measured]:
    """The last line of each cell and round in `cells.jsonl`, in the order of their first ones.

    One that a killed run has half written is dropped, and said on standard error.

    Raises `RunError` for any other line that cannot be read.
    """
    path = folder / CELLS_FILE
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    if half := lines.pop():
        print(f"{path}: its last line was written half ({len(half)} bytes): that cell is left out", file=sys.stderr)
    found: dict[str, Measured] = {}
    for number, line in enumerate(lines, 1):
        try:
            measured = msgspec.json.decode(line, type=Measured)
        except msgspec.DecodeError as error:
            raise RunError(f"{path}, line {number}: {error}: remove the line to measure its cell again") from None
        found[plan.key(measured.cell, measured.round)] = measured
    return list(found.values())


def _differences(one: Experiment, other: Experiment) -> list[str]:
    """Keys that change what is measured."""
    pair = [_measured(one), _measured(other)]
    return [name for name in Experiment.__struct_fields__ if getattr(pair[0], name) != getattr(pair[1], name)]


def _measured(experiment: Experiment) -> Experiment:
    """Without what says how long to wait, and for whom: a run may go on with other limits, or without a backend."""
    backends = [msgspec.structs.replace(choice, skip=None) for choice in experiment.backends]
    return msgspec.structs.replace(experiment, timeout_s=None, start_timeout_s=0.0, backends=backends)


def _both(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """Versions of a run that went on."""
    return before | {name: _then(before.get(name, version), version) for name, version in now.items()}


def _then(before: str, now: str) -> str:
    """Both, one after the other, where it was changed meanwhile."""
    return before if before.rpartition(", then ")[2] == now else f"{before}, then {now}"
