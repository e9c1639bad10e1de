"""`votive bench datasheet`: the tables that describe one model on this machine, by votive's number types and its peers.

```text
experiments of the model: texts one by one, batches, documents of a query, users at a time
run them: each is a folder, and a datasheet that was stopped goes on
tables from the folders, and what was not there
```
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from votive.bench.experiment import BackendChoice, Experiment, Load, Measure, Model, Sweep, Task
from votive.bench.report.markdown import consistency, escape, machine, short, spread, table
from votive.bench.report.summary import NOISY, Row, Spread, Summary, load

BATCHES = [1, 2, 5, 10, 20, 50, 100]
DOCUMENTS = [2, 5, 10, 20]
USERS = [1, 2, 5, 10, 20]
# Documents of a query, where something else is varied.
USUAL_DOCUMENTS = 10
MIB = 2**20
# A cell of each kind is shorter than in experiments, as there are many.
SECONDS, ITERATIONS, MOST_SECONDS = 2.0, 50, 10.0
# From this share of its CPUs on, a machine is not idle before the run.
BUSY = 0.25
# What is measured may take all CPUs, and a little more where its threads outnumber them.
OWN_LOAD = 2
_ALWAYS: tuple[Measure, ...] = ("latency", "throughput", "memory", "cpu")
_ONCE: tuple[Measure, ...] = ("cold_start", "quality")


def backends(devices: list[str]) -> list[BackendChoice]:
    """The number types of votive, its other devices on this machine, and peers; the first is the reference."""
    choices = [BackendChoice(kind="votive", dtype=dtype) for dtype in ("float32", "bfloat16", "int8", "int4")]
    choices += [BackendChoice(kind="votive", device=device) for device in devices if device != "cpu"]
    choices.append(BackendChoice(kind="sentence-transformers"))
    torch = [{"metal": "mps"}.get(device, device) for device in devices if device != "cpu"]
    choices += [BackendChoice(kind="sentence-transformers", device=device) for device in torch]
    for kind in ("onnxruntime", "openvino"):
        choices += [BackendChoice(kind=kind, precision=precision) for precision in ("float32", "int8")]
    return [*choices, BackendChoice(kind="mlx")]


def experiments(model: str, tasks: list[Task], choices: list[BackendChoice]) -> list[Experiment]:
    """What is measured, named for its tables."""

    def experiment(task: Task, what: str, load: Load, sweep: Sweep) -> Experiment:
        return Experiment(
            name=f"{task}_{what}",
            task=task,
            models=[Model(name=model)],
            backends=choices,
            load=load,
            sweep=sweep,
            seconds=SECONDS,
            iterations=ITERATIONS,
            max_seconds=MOST_SECONDS,
            measure=[*_ALWAYS, *(_ONCE if what == "single" else ())],
        )

    closed = Load(kind="closed")
    found = []
    for task in tasks:
        usual = 1 if task == "embed" else USUAL_DOCUMENTS
        found.append(experiment(task, "single", Load(kind="single"), Sweep(batch_size=[1])))
        sizes = ("batches", BATCHES) if task == "embed" else ("documents", DOCUMENTS)
        found.append(experiment(task, sizes[0], closed, Sweep(batch_size=sizes[1])))
        found.append(experiment(task, "users", closed, Sweep(batch_size=[usual], concurrency=USERS)))
    return found


def datasheet(model: str, out: Path, quick: bool) -> str:
    """Measure the model, write `datasheet.md`, `datasheet.html` and the reports into `out`; gives the Markdown.

    Where `out` holds a part of the same datasheet, that is not measured again, which is said on standard error.
    """
    from votive import inspect_model
    from votive.backend import available_backends
    from votive.bench import loader, run

    inspected = inspect_model(model)
    tasks: list[Task] = ["embed"] if inspected.kind == "embedder" else ["rerank"]
    if inspected.kind == "embedder" and inspected.is_reranker_too:
        tasks.append("rerank")
    planned = experiments(model, tasks, backends([each.device for each in available_backends()]))
    if quick:
        planned = [loader.quick(each) for each in planned]
    there = [one.name for one in planned if (out / one.name / "run.json").is_file()]
    if there:
        print(f"datasheet: {out} holds {', '.join(there)}: goes on; remove it to measure anew", file=sys.stderr)
    try:
        folders = run.run(planned, out, resume=True, progress=sys.stderr.isatty())
    except run.Stopped as stopped:
        _write(model, stopped.folders, out)
        raise stopped.by from None
    return _write(model, folders, out)


def _write(model: str, folders: list[Path], out: Path) -> str:
    """The files of what was measured; gives the datasheet."""
    from votive.bench.report import html, write_report

    write_report(folders, out)
    written = text(model, [load(folder) for folder in folders])
    (out / "datasheet.md").write_text(written, encoding="utf-8")
    (out / "datasheet.html").write_text(html.page(written, {}), encoding="utf-8")
    return written


def text(model: str, summaries: list[Summary]) -> str:
    """The tables of what was measured, as Markdown."""
    found = {one.run.experiment.name: one for one in summaries}
    parts = [f"# Datasheet: {escape(model)}", *_trust(summaries)]
    for task, tables in (("embed", _embed), ("rerank", _rerank)):
        of_task = {name.removeprefix(f"{task}_"): one for name, one in found.items() if name.startswith(f"{task}_")}
        if of_task:
            parts += tables(of_task)
            parts += _common(of_task, "text" if task == "embed" else "document")
    parts += _absent(found)
    if summaries:
        parts += machine(summaries[0])
    return "\n\n".join(parts) + "\n"


def _trust(summaries: list[Summary]) -> list[str]:
    """How far the numbers go."""
    if not summaries:
        return []
    run = summaries[0].run
    rounds, seconds = run.experiment.rounds, run.experiment.seconds
    if rounds == 1:
        said = [f"One round of at least {seconds:g} s a cell: a trial. Without `--quick` the numbers are to be kept."]
    else:
        said = [f"Medians of {rounds} rounds of at least {seconds:g} s a cell."]
    measured = [row for one in summaries for row in _rows(one)]
    noisy = sum("noisy" in row.marks for row in measured)
    if noisy:
        said.append(
            f"In {noisy} of {len(measured)} cells the rounds differ by more than {100 * NOISY:g} %: see `report.md`."
        )
    before, cpus = float(run.machine.get("load", 0)), float(run.machine.get("cpus", 1))  # type: ignore[arg-type]
    during = max((max(each.load_average or (0, 0)) for row in measured for each in row.rounds), default=0)
    busy = [f"{before:g} on {cpus:g} CPUs before it began"] if before > BUSY * cpus else []
    busy += [f"{during:.1f} while it ran"] if during > OWN_LOAD * cpus else []
    if busy:
        said.append(f"Other programs kept the machine busy: a load of {' and '.join(busy)}.")
    return [" ".join(said)]


def _embed(found: dict[str, Summary]) -> list[str]:
    parts = ["## Single text", *_single(found.get("single"), "texts")]
    parts += ["## Batches: texts/s", *_pivot(found.get("batches"), "batch_size", lambda row: row.items_per_second)]
    return [
        *parts,
        "## Batches: latency (ms)",
        *_pivot(found.get("batches"), "batch_size", lambda row: row.mean_ms, least=True),
    ]


def _rerank(found: dict[str, Summary]) -> list[str]:
    documents = found.get("documents")
    return [
        "## Reranking: one document",
        *_single(found.get("single"), "pairs"),
        "## Reranking: latency by documents (ms)",
        *_pivot(documents, "batch_size", lambda row: row.mean_ms, least=True),
        "## Reranking: pairs/s by documents",
        *_pivot(documents, "batch_size", lambda row: row.items_per_second),
    ]


def _common(found: dict[str, Summary], noun: str) -> list[str]:
    users = found.get("users")
    of = "a text" if noun == "text" else f"{USUAL_DOCUMENTS} documents"
    return [
        f"## Users at a time, {of} each: requests/s",
        *_pivot(users, "concurrency", lambda row: row.requests_per_second),
        f"## Users at a time, {of} each: p95 (ms)",
        *_pivot(users, "concurrency", lambda row: row.p95_ms, least=True),
        "## Memory (MiB)",
        *_memory(found),
        "## Memory by users (MiB)",
        *_pivot(users, "concurrency", _peak, least=True),
        "## Cold start",
        *_cold(found.get("single")),
        "## Consistency",
        *_consistency(found.get("single")),
    ]


def _rows(one: Summary | None) -> list[Row]:
    return [row for row in one.rows if row.skipped is None] if one else []


def _by_backend(one: Summary | None) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in _rows(one):
        found.setdefault(row.cell.backend, []).append(row)
    return found


_NOTHING = ["Not measured."]


def _single(one: Summary | None, items: str) -> list[str]:
    rows = _rows(one)
    if not rows:
        return _NOTHING
    best = max(row.rate for row in rows)
    lines = []
    for row in rows:
        seconds = Spread.of(each.resources.cpu_seconds_per_item for each in row.rounds)
        rate = spread(row.items_per_second)
        lines.append(
            [
                escape(row.cell.backend),
                f"**{rate}**" if row.rate == best > 0 else rate,
                *(spread(value) for value in (row.mean_ms, row.p50_ms, row.p95_ms, row.p99_ms)),
                short(1e3 * seconds.median) if seconds else "",
            ]
        )
    return [table(["Backend", f"{items}/s", "Mean (ms)", "P50 (ms)", "P95 (ms)", "P99 (ms)", "CPU (ms)"], lines)]


def _pivot(one: Summary | None, key: str, value: Callable[[Row], Spread | None], *, least: bool = False) -> list[str]:
    """A row a backend, a column a point of the sweep; the best of each column is bold."""
    found = _by_backend(one)
    points = sorted({getattr(row.cell, key) for rows in found.values() for row in rows})
    cells = {
        (name, getattr(row.cell, key)): number.median
        for name, rows in found.items()
        for row in rows
        if (number := value(row)) is not None and number.median > 0
    }
    if not cells:
        return _NOTHING
    best = {}
    for point in points:
        numbers = [number for (_, at), number in cells.items() if at == point]
        best[point] = (min if least else max)(numbers, default=None)

    def shown(name: str, point: int) -> str:
        number = cells.get((name, point))
        if number is None:
            return ""
        return f"**{short(number)}**" if number == best[point] else short(number)

    lines = [[escape(name), *(shown(name, point) for point in points)] for name in found]
    return [table(["Backend", *map(str, points)], lines)]


def _peak(row: Row) -> Spread | None:
    return _mib(row.rss_peak_bytes)


def _mib(value: Spread | None) -> Spread | None:
    return Spread(value.median / MIB, value.lowest / MIB, value.highest / MIB) if value else None


def _memory(found: dict[str, Summary]) -> list[str]:
    """The most of each experiment: what stays, what was needed for a moment, and what lies on the device."""
    titles = [title for title in ("single", "batches", "documents", "users") if title in found]
    named = {title: _by_backend(found[title]) for title in titles}
    names = dict.fromkeys(name for rows in named.values() for name in rows)
    lines = []
    for name in names:
        line = [escape(name)]
        rows = [row for title in titles for row in named[title].get(name, [])]
        for title in titles:
            peaks = [_peak(row) for row in named[title].get(name, [])]
            highest = max((peak.highest for peak in peaks if peak), default=None)
            line.append("" if highest is None else short(highest))
        kept = Spread.of(each.resources.rss_sustained_bytes for row in rows for each in row.rounds)
        device = [row.device_memory_bytes.highest for row in rows if row.device_memory_bytes]
        line += [short(kept.highest / MIB) if kept else "", short(max(device) / MIB) if device else ""]
        lines.append(line)
    if not any("".join(line[1:]) for line in lines):
        return _NOTHING
    return [table(["Backend", *(f"Peak, {title}" for title in titles), "Sustained", "On the device"], lines)]


def _cold(one: Summary | None) -> list[str]:
    lines = []
    for name, rows in _by_backend(one).items():
        seconds = Spread.of(each.resources.cold_start_seconds for row in rows for each in row.rounds)
        if seconds is not None:
            lines.append([escape(name), short(seconds.median)])
    if not lines:
        return _NOTHING
    return ["From the start of a process to its first result.", table(["Backend", "Seconds"], lines)]


def _consistency(one: Summary | None) -> list[str]:
    lines = []
    against = ""
    for name, rows in _by_backend(one).items():
        found = next((each.consistency for row in rows for each in row.rounds if each.consistency), None)
        if found is not None:
            against = found.against
            near = [found.cosine_mean, found.cosine_min, found.spearman, found.rank_overlap]
            line = ["" if value is None else f"{value:.6f}" for value in near]
            difference = "" if found.max_difference is None else f"{found.max_difference:.2g}"
            lines.append([escape(name), *line, difference, str(found.nan_count)])
    if not lines:
        return _NOTHING
    head = ["Backend", "Cosine mean", "Cosine min", "Spearman", "First ten shared", "Largest difference", "NaN"]
    # Scores have no cosines.
    filled = [place for place in range(len(head)) if any(line[place] for line in lines)]
    head, *lines = ([line[place] for place in filled] for line in (head, *lines))
    assert one is not None
    of_all = [part for matrix in one.matrices for part in consistency(matrix, one.run.experiment.task)]
    return [f"Against {escape(against)}.", table(head, lines), *of_all]


def _absent(found: dict[str, Summary]) -> list[str]:
    """What was not there, what failed, and what this model has no tables of."""
    lines: dict[str, None] = {}
    for one in found.values():
        for name, reason in one.skipped.items():
            lines[f"- {escape(name)}: {escape(reason)}"] = None
        for row in _rows(one):
            for kind in dict.fromkeys(kind for each in row.rounds for kind in each.errors):
                lines[f"- {escape(row.cell.backend)}, {escape(one.run.experiment.name)}: {escape(kind)}"] = None
    for task, kind in (("embed", "an embedding model"), ("rerank", "a reranker")):
        if not any(name.startswith(f"{task}_") for name in found):
            lines[f"- Tables of {task}: the model is not {kind}; `votive bench datasheet` of one has them"] = None
        else:
            expected = ("single", "batches" if task == "embed" else "documents", "users")
            missing = [what for what in expected if f"{task}_{what}" not in found]
            if missing:
                lines[f"- {', '.join(missing)} of {task}: the run was stopped before; the same command goes on"] = None
    return ["## What was not there", "\n".join(lines)] if lines else []
