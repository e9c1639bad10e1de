"""`votive bench`: experiments of files, and what is made of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from votive.cli.failure import CommandFailed, UsageError
from votive.cli.parser import suggestion
from votive.cli.terminal import is_terminal

if TYPE_CHECKING:
    from votive.bench.experiment import Experiment

# What reads experiments and measures, by the names of their modules.
_PACKAGES = {"yaml": "PyYAML", "msgspec": "msgspec", "psutil": "psutil"}

_EXAMPLES = Path(__file__).parents[1] / "bench" / "examples"


class _Worse(CommandFailed):
    """Something got worse."""

    exit_status = 3


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of a command of `votive bench` say."""
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise CommandFailed(f'needs {", ".join(missing)}: pip install "votive[bench]"')
    {"run": _run, "compare": _compare, "report": _report, "datasheet": _datasheet}[arguments.action](arguments)


def _run(arguments: argparse.Namespace) -> None:
    experiments = _experiments(arguments)
    if arguments.list:
        print(_listed(experiments))
        return
    if arguments.dry_run:
        print(_planned(experiments))
        return
    from votive.bench.report import write_report
    from votive.bench.run import Stopped
    from votive.bench.run import run as measure

    out = Path(arguments.out)
    try:
        folders = measure(experiments, out, arguments.resume, is_terminal(sys.stderr))
    except Stopped as stopped:
        print(write_report(stopped.folders, out))
        raise stopped.by from None
    print(write_report(folders, out))
    for experiment in experiments:
        folder = out / experiment.name
        if experiment.baseline is not None and folder in folders:
            _print_comparison(Path(experiment.baseline), folder, experiment.tolerance)


def _compare(arguments: argparse.Namespace) -> None:
    _print_comparison(Path(arguments.before), Path(arguments.after), arguments.tolerance)


def _print_comparison(before: Path, after: Path, tolerance: float) -> None:
    from votive.bench.compare import compare

    text, is_worse = compare(before, after, tolerance)
    print(text)
    if is_worse:
        raise _Worse(f"{after} is worse than {before} by more than {tolerance:.0%}")


def _report(arguments: argparse.Namespace) -> None:
    from votive.bench.log import read_run
    from votive.bench.report import write_report

    folder = Path(arguments.folder)
    # In the order in which they were measured, which phases depend on.
    inner = sorted((path.parent for path in folder.glob("*/run.json")), key=lambda run: (read_run(run).started, run))
    folders = [folder] if (folder / "run.json").is_file() else inner
    if not folders:
        raise CommandFailed(f"{folder}: holds no run: neither run.json nor folders with one")
    print(write_report(folders, folder))


def _datasheet(arguments: argparse.Namespace) -> None:
    from votive.bench.datasheet import datasheet

    print(datasheet(arguments.model, Path(arguments.out), arguments.quick))


def _experiments(arguments: argparse.Namespace) -> list[Experiment]:
    """Those that are asked for.

    Raises:
        UsageError: a file is no experiment, or none is left.
    """
    from votive._config_file import ConfigError
    from votive.bench.loader import load, quick

    experiments = []
    for path in _files(arguments.files or (["examples"] if arguments.list else ["dtypes"])):
        try:
            experiment, notes = load(path, arguments.set or ())
        except ConfigError as error:
            raise UsageError(str(error)) from error
        for note in notes:
            print(f"{arguments.prog}: {note}", file=sys.stderr)
        experiments.append(quick(experiment) if arguments.quick else experiment)
    if arguments.only is None:
        return experiments
    chosen = [left for each in experiments if (left := _only(each, arguments.only)) is not None]
    if not chosen:
        names = ", ".join(each.name for each in experiments)
        raise UsageError(f"--only {arguments.only}: matches neither a backend nor an experiment; there are {names}")
    return chosen


def _only(experiment: Experiment, pattern: str) -> Experiment | None:
    """The experiment where its name matches, else with the backends whose names do."""
    from msgspec.structs import replace

    from votive.bench.plan import backend_names

    if fnmatchcase(experiment.name, pattern):
        return experiment
    names = zip(experiment.backends, backend_names(experiment), strict=True)
    backends = [replace(choice, name=name) for choice, name in names if fnmatchcase(name, pattern)]
    return replace(experiment, backends=backends) if backends else None


def _files(given: list[str]) -> Iterator[Path]:
    """The files of experiments that files, folders and names of examples stand for."""
    from votive.bench.loader import is_readable

    examples = {path.stem: path for path in sorted(_EXAMPLES.glob("[!_]*.yaml"))}
    for name in given:
        path = Path(name)
        if path.is_dir():
            # What begins with _ is there to be extended.
            found = [each for each in sorted(path.iterdir()) if is_readable(each) and each.name[0] not in "_."]
            if not found:
                raise UsageError(f"{path}: holds no experiment: no file of YAML, JSON or TOML")
            yield from found
        elif path.is_file():
            yield path
        elif name == "examples":
            yield from examples.values()
        elif name in examples:
            yield examples[name]
        else:
            hint = suggestion(name, examples) or "; `votive bench --list` names the examples"
            raise UsageError(f"{name}: no such file, folder or example{hint}")


def _listed(experiments: list[Experiment]) -> str:
    width = max(len(each.name) for each in experiments)
    return "\n".join(f"{each.name:<{width}}  {each.description}" for each in experiments)


def _planned(experiments: list[Experiment]) -> str:
    """What would be measured, and how long it takes."""
    from votive.bench.plan import backend_names, cells, estimated_seconds, traffics

    lines = []
    for each in experiments:
        count = len(cells(each))
        lines.append(
            f"{each.name}: {each.task}, {count} {'cell' if count == 1 else 'cells'} in {each.rounds} "
            f"{'round' if each.rounds == 1 else 'rounds'}, {_time(estimated_seconds(each))} at least"
        )
        lines.append(f"  models    {', '.join(traffics(each))}")
        for number, (choice, name) in enumerate(zip(each.backends, backend_names(each), strict=True)):
            skipped = f" (skipped: {choice.skip})" if choice.skip else ""
            lines.append(f"  {'backends' if number == 0 else '':<8}  {name}{skipped}")
    if len(experiments) > 1:
        lines.append(f"all: {_time(sum(map(estimated_seconds, experiments)))} at least")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
