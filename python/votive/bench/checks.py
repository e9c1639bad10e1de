"""What an experiment's types do not say: numbers out of range, and keys that contradict each other."""

from __future__ import annotations

import re

from votive._config_file import KeyPath, found
from votive.bench.backends import find
from votive.bench.experiment import Experiment
from votive.bench.plan import cells
from votive.bench.tree import ExperimentError, Tree

_SETS = ("short", "medium", "long", "mixed")


def check(tree: Tree, experiment: Experiment) -> None:
    """Raises `ExperimentError` with file, line, key, and what is accepted."""
    if not re.fullmatch(r"[^\s/\\.][^/\\]*", experiment.name):
        raise ExperimentError(f"{tree.place(('name',))}: accepted: the name of a folder, found {experiment.name!r}")
    for index, name in enumerate(experiment.data.sets):
        if name not in _SETS:
            raise ExperimentError(
                f"{tree.place(('data', 'sets', index))}: accepted: {', '.join(_SETS)}; found {name!r}"
            )
    numbers: list[tuple[KeyPath, float | None, float]] = [
        (("threads",), experiment.threads, 1),
        (("rounds",), experiment.rounds, 1),
        (("iterations",), experiment.iterations, 1),
        (("max_iterations",), experiment.max_iterations, 1),
        (("warmup",), experiment.warmup, 0),
        (("seconds",), experiment.seconds, 0),
        (("max_seconds",), experiment.max_seconds, 0),
        (("tolerance",), experiment.tolerance, 0),
        *(
            (("data", key), getattr(experiment.data, key), 1)
            for key in ("count", "documents", "vectors", "dimension", "k")
        ),
        *((("sweep", "batch_size", i), size, 1) for i, size in enumerate(experiment.sweep.batch_size)),
        *((("sweep", "concurrency", i), size, 1) for i, size in enumerate(experiment.sweep.concurrency)),
    ]
    for path, number, least in numbers:
        # Also what is no number at all.
        if number is not None and not number >= least:
            raise ExperimentError(f"{tree.place(path)}: accepted: from {least} up; found {number}")
    for index, choice in enumerate(experiment.backends):
        try:
            find(choice.kind, experiment.task)
        except ValueError as error:
            raise ExperimentError(f"{tree.place(('backends', index, 'kind'))}: {error}") from None
    if not 0 < experiment.start_timeout_s < float("inf"):
        raise ExperimentError(
            f"{tree.place(('start_timeout_s',))}: accepted: seconds above 0; found {experiment.start_timeout_s:g}"
        )
    if experiment.timeout_s is not None and not experiment.max_seconds < experiment.timeout_s < float("inf"):
        raise ExperimentError(
            f"{tree.place(('timeout_s',))}: accepted: more than max_seconds, which ends a load that goes on and is "
            f"{experiment.max_seconds:g}; found {experiment.timeout_s:g}"
        )
    _check_load(tree, experiment)
    _check_shares(tree, experiment)
    try:
        cells(experiment)
    except ValueError as error:
        key = str(error).partition(":")[0] if str(error).startswith("sweep") else "backends"
        place = tree.place(tuple(key.split(".")[:1]))
        raise ExperimentError(f"{place._replace(key='')}: {error}") from None


def _check_load(tree: Tree, experiment: Experiment) -> None:
    load = experiment.load
    place = tree.place(("load",))
    if load.kind == "open" and not load.rate:
        raise ExperimentError(f'{place}: an open load has a rate, such as `open: {{rate: [50, "70%"]}}`')
    if load.kind != "open" and load.rate:
        raise ExperimentError(
            f"{tree.place(('load', 'rate'))}: only an open load has a rate, and this one is {load.kind}"
        )
    if load.kind == "find_peak" and load.p99_ms is None:
        raise ExperimentError(f"{place}: find_peak has a bound, such as `find_peak: {{p99_ms: 100}}`")
    for index, rate in enumerate(load.rate):
        share = re.fullmatch(r"(\d+(?:\.\d+)?)%", rate) if isinstance(rate, str) else None
        number = float(share[1]) if share else rate
        if isinstance(number, str) or not 0 < number < float("inf"):
            where = tree.place(("load", "rate", index))
            raise ExperimentError(
                f'{where}: accepted: requests a second, or a share such as "70%"; found {found(rate)}'
            )
    if not 0 < load.burstiness < float("inf"):
        raise ExperimentError(
            f"{tree.place(('load', 'burstiness'))}: accepted: above 0, where 1 is poisson; found {load.burstiness:g}"
        )
    if load.burstiness != 1 and (load.kind not in ("open", "find_peak") or load.arrivals == "constant"):
        known = f"this one is {load.kind}" if load.arrivals == "poisson" else "these are constant"
        raise ExperimentError(
            f"{tree.place(('load', 'burstiness'))}: only poisson arrivals of open and find_peak have it, and {known}"
        )


def _check_shares(tree: Tree, experiment: Experiment) -> None:
    models = experiment.models
    given = [index for index, model in enumerate(models) if model.share is not None]
    if not given:
        return
    place = tree.place(("models", given[0], "share"))
    for index, model in enumerate(models):
        if model.share is None:
            raise ExperimentError(
                f"{tree.place(('models', index))}: has no share, and models[{given[0]}] has one: give all or none"
            )
        if not 0 < model.share < float("inf"):
            where = tree.place(("models", index, "share"))
            raise ExperimentError(f"{where}: accepted: above 0, such as 70 beside 30; found {model.share:g}")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ExperimentError(f"{place}: models of one load have different names; found {', '.join(names)}")
    if experiment.task == "search":
        raise ExperimentError(f"{place}: embed and rerank have traffic to several models; the task is search")
    if experiment.load.kind == "offline":
        raise ExperimentError(f"{place}: an offline load asks for everything at once, and mixes no models")
