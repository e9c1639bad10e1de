"""What the rounds of an experiment say together: medians, ratios, alerts, a winner, and what to configure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import msgspec

from votive.bench.cells import Consistency, Measured, Run
from votive.bench.experiment import Batching, Objective
from votive.bench.log import read_cells, read_run
from votive.bench.plan import Cell
from votive.bench.report.matrix import Matrix, matrices

SCHEMA_VERSION = 1
# Rounds that differ by more than this share of their median are marked.
NOISY = 0.15
# A configuration is as fast as the fastest from this share of its throughput on.
NEAR_PEAK = 0.95
ITEMS = {"embed": "texts", "rerank": "pairs", "search": "queries"}


class Spread(msgspec.Struct, frozen=True):
    """Of the rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """None where no round has a value."""
        found = [value for value in values if value is not None]
        return cls(median(found), min(found), max(found)) if found else None


class Row(msgspec.Struct, kw_only=True):
    """A cell, all rounds together; None where it was not measured.

    Attributes:
        items_per_second, requests_per_second, tokens_per_second: throughput.
        mean_ms, p50_ms, p95_ms, p99_ms: latencies.
        ratio: throughput as a multiple of the reference's in the same round and setting.
        cpu_mhz: mean clock of the CPU.
        marks: "noisy", and those of any round.
        skipped: why no round was measured.
    """

    cell: Cell
    rounds: list[Measured]
    items_per_second: Spread | None = None
    requests_per_second: Spread | None = None
    tokens_per_second: Spread | None = None
    mean_ms: Spread | None = None
    p50_ms: Spread | None = None
    p95_ms: Spread | None = None
    p99_ms: Spread | None = None
    ratio: Spread | None = None
    rss_peak_bytes: Spread | None = None
    device_memory_bytes: Spread | None = None
    cpu_mhz: Spread | None = None
    error_percent: float = 0.0
    marks: list[str] = []
    skipped: str | None = None

    @property
    def counts(self) -> bool:
        """Whether its numbers may be compared."""
        return self.items_per_second is not None and not any(
            mark.startswith(("saturated", "invalid")) for mark in self.marks
        )

    @property
    def consistency(self) -> Consistency | None:
        """Its numbers against the reference's, which rounds share; None where they were not compared."""
        return next((each.consistency for each in self.rounds if each.consistency is not None), None)

    @property
    def rate(self) -> float:
        """Items a second; 0 where it was not measured."""
        return self.items_per_second.median if self.items_per_second else 0.0


class Alert(msgspec.Struct, kw_only=True):
    """A number beyond its objective."""

    cell: Cell
    what: str
    value: float
    limit: float
    level: str


class Winner(msgspec.Struct, kw_only=True):
    """The fastest backend of a model and a set of texts.

    Attributes:
        cell: where it is fastest.
        clear: its slowest round is faster than the fastest round of the next backend.
    """

    cell: Cell
    items_per_second: float
    clear: bool


class Summary(msgspec.Struct, kw_only=True):
    """An experiment's rows and what they say."""

    run: Run
    reference: str
    rows: list[Row]
    alerts: list[Alert]
    winners: list[Winner]
    batching: str | None
    insights: list[str]
    skipped: dict[str, str]
    matrices: list[Matrix]
    not_checked: list[str]

    @property
    def items(self) -> str:
        """What is counted: texts, pairs or queries."""
        return ITEMS[self.run.experiment.task]


class Report(msgspec.Struct, kw_only=True):
    """What `report.json` holds."""

    schema_version: int = SCHEMA_VERSION
    experiments: list[Summary]


def load(folder: Path) -> Summary:
    """Of a folder with `run.json` and `cells.jsonl`."""
    return summarize(read_run(folder), read_cells(folder))


def summarize(run: Run, measured: list[Measured]) -> Summary:
    """Merge the rounds of each cell, and find what they say."""
    by_cell: dict[Cell, list[Measured]] = {}
    for each in measured:
        by_cell.setdefault(each.cell, []).append(each)
    names = list(dict.fromkeys(cell.backend for cell in by_cell))
    first = run.experiment.backends[0].name
    reference = first if first in names else next(iter(names), "")
    rows = [_row(cell, rounds, by_cell.get(_at(cell, reference), [])) for cell, rounds in by_cell.items()]
    alerts, not_checked = _alerts(run, rows)
    winners = [winner for group in _groups(rows) if (winner := _winner(group)) is not None]
    skipped: dict[str, str] = {}
    for row in rows:
        if row.skipped is not None:
            skipped.setdefault(row.cell.backend, row.skipped)
    return Summary(
        run=run,
        reference=reference,
        rows=rows,
        alerts=alerts,
        winners=winners,
        batching=_batching(run, rows, winners),
        insights=list(_insights(reference, rows)),
        skipped=skipped,
        matrices=matrices(measured),
        not_checked=not_checked,
    )


def _at(cell: Cell, backend: str) -> Cell:
    return msgspec.structs.replace(cell, backend=backend)


def _row(cell: Cell, rounds: list[Measured], reference: list[Measured]) -> Row:
    done = [each for each in rounds if each.skipped is None]
    if not done:
        return Row(cell=cell, rounds=rounds, skipped=rounds[0].skipped)
    # A round in which nothing was answered has failed, and is none with a speed of 0.
    answered = [each for each in done if each.requests]
    theirs = {each.round: each.items_per_second for each in reference if each.requests}
    latencies = [each.latency for each in done if each.latency is not None]
    rate = Spread.of(each.items_per_second for each in answered)
    marks = list(dict.fromkeys(mark for each in done for mark in each.marks))
    # By schedule the throughput is what was asked for; there latency says whether rounds agree.
    judged = Spread.of(each.p50 for each in latencies) if cell.load == "open" else rate
    if judged is not None and judged.highest - judged.lowest > NOISY * judged.median:
        marks.insert(0, "noisy")
    failed = sum(sum(each.errors.values()) for each in done)
    requests = sum(each.requests for each in done)
    return Row(
        cell=cell,
        rounds=rounds,
        items_per_second=rate,
        requests_per_second=Spread.of(each.requests_per_second for each in answered),
        tokens_per_second=Spread.of(each.tokens_per_second for each in answered),
        mean_ms=Spread.of(each.mean for each in latencies),
        p50_ms=Spread.of(each.p50 for each in latencies),
        p95_ms=Spread.of(each.p95 for each in latencies),
        p99_ms=Spread.of(each.p99 for each in latencies),
        ratio=Spread.of(each.items_per_second / theirs[each.round] for each in answered if theirs.get(each.round)),
        rss_peak_bytes=Spread.of(each.resources.rss_peak_bytes for each in done),
        device_memory_bytes=Spread.of(each.resources.device_memory_bytes for each in done),
        cpu_mhz=Spread.of(each.resources.cpu_mhz_mean for each in done),
        error_percent=100 * failed / (failed + requests) if failed else 0.0,
        marks=marks,
    )


def _alerts(run: Run, rows: list[Row]) -> tuple[list[Alert], list[str]]:
    """Numbers beyond the objectives, and objectives that nothing was measured for."""
    memory = run.machine.get("memory_bytes")
    values: dict[str, Callable[[Row], float | None]] = {
        "p95_ms": lambda row: row.p95_ms.median if row.p95_ms else None,
        "p99_ms": lambda row: row.p99_ms.median if row.p99_ms else None,
        "memory_percent": lambda row: (
            100 * row.rss_peak_bytes.highest / memory
            if row.rss_peak_bytes and isinstance(memory, (int, float))
            else None
        ),
        "error_percent": lambda row: row.error_percent,
        "gpu_percent": lambda row: None,
    }
    found, missing = [], []
    measured = [row for row in rows if row.skipped is None]
    for what, value_of in values.items():
        objective: Objective | None = getattr(run.experiment.objectives, what)
        if objective is None:
            continue
        known = [(row, value) for row in measured if (value := value_of(row)) is not None]
        if not known:
            missing.append(what)
        for row, value in known:
            level = "critical" if value >= objective.critical else "warning" if value >= objective.warning else None
            if level is not None:
                limit = getattr(objective, level)
                found.append(Alert(cell=row.cell, what=what, value=value, limit=limit, level=level))
    least = run.experiment.quality.cosine_min
    worst: dict[tuple[str, str, str], Alert] = {}
    for row in measured:
        for each in row.rounds:
            cosine = each.consistency.cosine_min if each.consistency else None
            if cosine is not None and cosine < least:
                key = (row.cell.model, row.cell.backend, row.cell.data_set)
                alert = Alert(cell=row.cell, what="cosine_min", value=cosine, limit=least, level="warning")
                if key not in worst or cosine < worst[key].value:
                    worst[key] = alert
    return [*found, *worst.values()], missing


def _groups(rows: list[Row]) -> list[list[Row]]:
    """Rows that may be compared, by model and set of texts."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.counts:
            groups.setdefault((row.cell.model, row.cell.data_set), []).append(row)
    return list(groups.values())


def _winner(rows: list[Row]) -> Winner | None:
    # By schedule the fastest is who was asked most.
    rows = [row for row in rows if row.cell.load != "open" and row.rate > 0]
    if not rows:
        return None
    best = max(rows, key=lambda row: row.rate)
    others = [row.items_per_second for row in rows if row.cell.backend != best.cell.backend]
    assert best.items_per_second is not None
    lowest = best.items_per_second.lowest
    clear = all(other is None or other.highest < lowest for other in others)
    return Winner(cell=best.cell, items_per_second=best.rate, clear=clear)


def recommended(rows: list[Row]) -> Row | None:
    """The smallest latency (p95) of those with at least 95 % of the peak throughput."""
    peak = max((row.rate for row in rows), default=0.0)
    near = [row for row in rows if row.rate >= NEAR_PEAK * peak and row.p95_ms is not None]
    return min(near, key=lambda row: row.p95_ms.median if row.p95_ms else 0.0, default=None)


def _batching(run: Run, rows: list[Row], winners: list[Winner]) -> str | None:
    """The block for `votive serve --config` and for an experiment, of the first winner; None of stores."""
    if not winners or run.experiment.task == "search":
        return None
    won = winners[0].cell
    same = (won.model, won.data_set, won.backend)
    chosen = recommended(
        [
            row
            for row in rows
            if row.counts and row.cell.load != "open" and (row.cell.model, row.cell.data_set, row.cell.backend) == same
        ]
    )
    if chosen is None:
        return None
    return batching(run.experiment.batching, chosen)


def batching(asked: Batching, chosen: Row) -> str:
    """The block of a cell that was measured as `asked`."""
    # What all callers ask at a time may share a pass.
    together = chosen.cell.batch_size * (chosen.cell.concurrency if chosen.cell.batching else 1)
    lines = [
        "batching:",
        f"  enabled: {str(chosen.cell.batching).lower()}",
        f"  max_batch_size: {asked.max_batch_size or together}",
    ]
    if asked.timeout_ms is not None:
        lines.append(f"  timeout_ms: {asked.timeout_ms:g}")
    return "\n".join(lines)


def _insights(reference: str, rows: list[Row]) -> Iterable[str]:
    for group in _groups(rows):
        kept = [row for row in group if row.cell.load != "open"]
        where = f" ({group[0].cell.model}, {group[0].cell.data_set})" if len(_groups(rows)) > 1 else ""
        for backend in dict.fromkeys(row.cell.backend for row in kept):
            mine = [row for row in kept if row.cell.backend == backend]
            if backend != reference:
                ratios = {setting(row.cell): row.ratio for row in mine if row.ratio is not None and row.rate}
                yield from _compared(backend, reference, ratios, where)
            for name in ("batch_size", "concurrency"):
                yield from _flattens(backend, name, mine, where)


def _compared(backend: str, reference: str, ratios: dict[str, Spread], where: str) -> Iterable[str]:
    """The throughput by setting, as multiples of the reference's."""
    if not ratios:
        return
    least, most = min(ratios, key=lambda at: ratios[at].median), max(ratios, key=lambda at: ratios[at].median)
    ratio = ratios[most]
    if len(ratios) > 1:
        middle = median(each.median for each in ratios.values())
        lowest, highest = f"{ratios[least].median:.2f}x", f"{ratio.median:.2f}x"
        span = f"in the median, from {lowest} at {least} to {highest} at {most}"
        span = f"at each of {len(ratios)} settings" if lowest == highest else span
        yield f"{backend} has {middle:.2f}x the throughput of {reference} {span}{where}"
    elif ratio.lowest < 1 < ratio.highest:
        span = f"{ratio.lowest:.2f}x to {ratio.highest:.2f}x"
        yield f"{backend} is neither faster nor slower than {reference} in all rounds: {span} at {most}{where}"
    else:
        yield f"{backend} has {ratio.median:.2f}x the throughput of {reference} at {most}{where}"


def _flattens(backend: str, name: str, rows: list[Row], where: str) -> Iterable[str]:
    best: dict[int, float] = {}
    for row in rows:
        value: int = getattr(row.cell, name)
        best[value] = max(best.get(value, 0.0), row.rate)
    if len(best) < 2:
        return
    values = sorted(best)
    for value in values[:-1]:
        later = max(best[each] for each in values if each > value)
        if later < 1.05 * best[value]:
            callers = "past one caller" if value == 1 else f"past {value} callers"
            text = f"past a batch of {value}" if name == "batch_size" else callers
            yield f"{backend}: {text} throughput rises by less than 5 %{where}"
            return


def setting(cell: Cell) -> str:
    """The point of a sweep, in words; where batching is off, callers take turns."""
    callers = f"{cell.concurrency} caller{'' if cell.concurrency == 1 else 's'}"
    if isinstance(cell.rate, str):
        callers = f"{cell.rate} of the peak of {callers}"
    elif cell.rate is not None:  # by schedule, whoever is free
        callers = f"{cell.rate:g} requests/s"
    return f"batch {cell.batch_size}, {callers}{'' if cell.batching else ', batching off'}"
