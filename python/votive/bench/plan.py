"""The cells of an experiment, and the order in which they are measured."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product

import msgspec

from votive.bench.experiment import BackendChoice, Experiment, Model


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one backend, taken once in each round.

    Attributes:
        experiment: name of the experiment.
        model: name of the model; of mixed traffic, the models with their shares.
        backend: name of the backend in this experiment.
        data_set: name of the set of texts; "file" for those of a file.
        batch_size: items of a request.
        concurrency: callers at a time.
        batching: whether callers share passes.
        load: kind of load.
        rate: requests a second of an open load; a share such as "70%" of the peak; None in others.
    """

    experiment: str
    model: str
    backend: str
    data_set: str
    batch_size: int
    concurrency: int
    batching: bool
    load: str
    rate: float | str | None = None


# More of them are a mistake: half a day even where each takes five seconds.
MAX_CELLS = 10_000

# Seconds of loading a model in a fresh process, and what a cell takes beside its own seconds, for estimates.
_START_SECONDS, _BESIDE_SECONDS = 8.0, 0.5

# Rates that the search for a peak tries.
PEAK_TRIALS = 8

# Seconds that a cell has where the experiment does not say it, and those that it has beside its load at least.
_CELL_SECONDS, _MORE_SECONDS = 300.0, 60.0


def choices(experiment: Experiment) -> dict[str, BackendChoice]:
    """The backends by what cells call them."""
    return dict(zip(backend_names(experiment), experiment.backends, strict=True))


def backend_names(experiment: Experiment) -> list[str]:
    """How cells and tables call the backends, in their order: by their own names, or by what they are; no two alike.

    Raises:
        ValueError: two were given the same name.
    """
    names: list[str] = []
    for choice in experiment.backends:
        name = choice.name or _made_name(choice)
        if name in names:
            if choice.name is not None:
                raise ValueError(f"two backends are called {name!r}")
            name = next(numbered for n in count(2) if (numbered := f"{name} ({n})") not in names)
        names.append(name)
    return names


def _made_name(choice: BackendChoice) -> str:
    parts = [choice.kind, choice.dtype, choice.precision, f"{choice.bits} bits" if choice.bits else None]
    parts += [choice.device, "compiled" if choice.compile else None]
    parts += [choice.file and choice.file.rpartition("/")[2], choice.dialect if choice.url else None]
    return " ".join(part for part in parts if part)


def cells(experiment: Experiment) -> list[Cell]:
    """All cells, in the order in which a round measures them: at each point the backends take turns.

    Raises:
        ValueError: a sweep that cannot be, more than `MAX_CELLS`, or two backends of one name.
    """
    names = backend_names(experiment)
    points = _points(experiment)
    rates: list[float | str | None] = [*experiment.load.rate] if experiment.load.kind == "open" else [None]
    sets = ["vectors"] if experiment.task == "search" else ["file"] if experiment.data.file else experiment.data.sets
    traffic = traffics(experiment)
    number = len(traffic) * len(sets) * len(points) * len(rates) * len(names)
    if number > MAX_CELLS:
        raise ValueError(f"sweep: {number:,} cells are more than {MAX_CELLS:,}; take shorter lists, or `points`")
    return [
        Cell(
            experiment=experiment.name,
            model=model,
            backend=name,
            data_set=data_set,
            batch_size=batch_size,
            concurrency=concurrency,
            batching=batching,
            load=experiment.load.kind,
            rate=rate,
        )
        for model in traffic
        for data_set in sets
        for batch_size, concurrency, batching in points
        for rate in rates
        for name in names
    ]


def model_name(model: str) -> str:
    """The end of a path, or of a name on the hub."""
    return model.rstrip("/").rpartition("/")[2] or model


def traffics(experiment: Experiment) -> dict[str, list[Model]]:
    """What is asked of models, by what cells call it: of each one alone, or of all together, where they have shares."""
    if all(model.share is None for model in experiment.models):
        return {model.name: [model] for model in experiment.models}
    names = [model_name(model.name) for model in experiment.models]
    parts = [f"{name} {100 * share:.3g} %" for name, share in zip(names, shares(experiment.models), strict=True)]
    return {", ".join(parts): experiment.models}


def shares(models: list[Model]) -> list[float]:
    """Of the requests, in all 1."""
    given = [1.0 if model.share is None else model.share for model in models]
    return [share / sum(given) for share in given]


def cell_seconds(experiment: Experiment) -> float:
    """After so many seconds a cell is given up: as the experiment says, else after its load has ended in any case."""
    if experiment.timeout_s is not None:
        return experiment.timeout_s
    # A load by schedule is left after twice its seconds, and a closed one has its warm-up, also where it comes before
    # for the peak.
    loads = {"open": 4, "find_peak": 2 + 2 * PEAK_TRIALS}.get(experiment.load.kind, 2)
    return max(_CELL_SECONDS, loads * experiment.max_seconds + _MORE_SECONDS)


def turns(experiment: Experiment) -> Iterator[tuple[Cell, int]]:
    """Each cell with the number of its round, in the order in which they are measured: whole rounds."""
    planned = cells(experiment)
    return ((cell, number) for number in range(experiment.rounds) for cell in planned)


def key(cell: Cell, number: int) -> str:
    """What a cell in a round is known by, in every run of the same experiment."""
    return msgspec.json.encode([*msgspec.structs.astuple(cell), number]).decode()


def estimated_seconds(experiment: Experiment) -> float:
    """About how long it takes at least: slow backends take longer than the least seconds of a cell."""
    each = min(experiment.seconds, experiment.max_seconds)
    if experiment.load.kind == "find_peak":
        each *= PEAK_TRIALS
    measured = [not choice.skip for choice in experiment.backends]
    running = sum(measured)
    share = running / max(1, len(measured))
    starts = running * len(experiment.models) * _START_SECONDS
    return starts + len(cells(experiment)) * share * experiment.rounds * (each + _BESIDE_SECONDS)


def _points(experiment: Experiment) -> list[tuple[int, int, bool]]:
    """Batch size, callers and batching of each point, every one once."""
    sweep = experiment.sweep
    if sweep.zip is not None and sweep.points is not None:
        raise ValueError("sweep: give one of zip and points")
    lists: dict[str, list[int | bool]] = {
        "batch_size": [*sweep.batch_size],
        "concurrency": [*sweep.concurrency],
        "batching": [experiment.batching.enabled] if sweep.batching is None else [*sweep.batching],
    }
    given: list[dict[str, int | bool]] = [{}]
    if sweep.zip is not None:
        lengths = {name: len(values) for name, values in sweep.zip.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ValueError(f"sweep.zip: lists of one length are paired; {shown}")
        given = [dict(zip(sweep.zip, values, strict=True)) for values in zip(*sweep.zip.values(), strict=True)]
    elif sweep.points is not None:
        given = sweep.points
    found: dict[tuple[int, int, bool], None] = {}
    for index, point in enumerate(given):
        where = f"sweep.points[{index}]" if sweep.points is not None else "sweep.zip"
        for name, value in point.items():
            if name not in lists:
                raise ValueError(f"{where}.{name}: unknown key; accepted: {', '.join(lists)}")
            if isinstance(value, bool) != (name == "batching") or (name != "batching" and value < 1):
                accepted = "true or false" if name == "batching" else "whole numbers from 1 up"
                raise ValueError(f"{where}.{name}: accepted: {accepted}, found {value}")
        sizes, callers, shares = (([point[name]] if name in point else values) for name, values in lists.items())
        number = len(sizes) * len(callers) * len(shares)
        if len(found) + number > MAX_CELLS:
            raise ValueError(f"sweep: more than {MAX_CELLS:,} points; take shorter lists, or `points`")
        for size, caller, share in product(sizes, callers, shares):
            # One caller asks, or all is asked at once.
            alone = experiment.load.kind in ("single", "offline")
            found[int(size), 1 if alone else int(caller), bool(share)] = None
    if not found:
        raise ValueError("sweep: has no point")
    return list(found)
