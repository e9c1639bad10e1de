"""What the experiments of a folder say together: each is a phase, and what was best so far is carried on."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import msgspec

from votive.bench.plan import Cell, model_name
from votive.bench.report.summary import (
    ITEMS,
    NEAR_PEAK,
    Report,
    Row,
    Summary,
    batching,
    recommended,
    setting,
)

# A phase that changes the best by less than this share changes nothing.
GAIN = 0.05


class Phase(msgspec.Struct, kw_only=True):
    """An experiment's best of one model and set of texts.

    Attributes:
        number: of the experiment, from 1.
        best: the fastest; by schedule who holds the greatest rate. None where nothing may be compared.
        gain: its throughput as a multiple of the best of all phases before; None in the first.
    """

    number: int
    experiment: str
    varies: str
    best: Row | None
    items: str
    gain: float | None = None


class Overall(msgspec.Struct, kw_only=True):
    """The best of all phases of a task, a model and a set of texts, and how to configure it: None of stores."""

    task: str
    best: Row
    chosen: Row
    batching: str | None
    phases: int

    @property
    def items(self) -> str:
        """What is counted."""
        return ITEMS[self.task]


class Folder(msgspec.Struct, kw_only=True):
    """All of it."""

    phases: list[Phase]
    overall: list[Overall]
    insights: list[str]


def folder(report: Report) -> Folder:
    """Of the experiments in their order."""
    phases: list[Phase] = []
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for number, one in enumerate(report.experiments, 1):
        task = one.run.experiment.task
        for winner in one.winners:
            best = next(row for row in one.rows if row.cell == winner.cell)
            before = groups.setdefault((task, best.cell.model, best.cell.data_set), [])
            gain = best.rate / max(row.rate for row in before) if before else None
            phases.append(_phase(number, one, best, gain))
            same = (best.cell.model, best.cell.data_set)
            before += [row for row in one.rows if _compares(row) and (row.cell.model, row.cell.data_set) == same]
        if not one.winners:
            phases.append(_phase(number, one, _held(one), None))
    overall = [_overall(report, task, rows) for (task, _, _), rows in groups.items()]
    return Folder(phases=phases, overall=overall, insights=list(_insights(report, phases, overall, groups)))


def _compares(row: Row) -> bool:
    return row.counts and row.cell.load != "open" and row.rate > 0


def _held(one: Summary) -> Row | None:
    """Of an open load: the greatest rate that is answered steadily, and within what is critical."""
    critical = {alert.cell for alert in one.alerts if alert.level == "critical"}
    steady = [row for row in one.rows if row.cell.load == "open" and row.counts and row.cell not in critical]
    return max(steady, key=lambda row: (row.rate, -row.p95_ms.median if row.p95_ms else 0.0), default=None)


def _phase(number: int, one: Summary, best: Row | None, gain: float | None) -> Phase:
    swept = []
    for key, words in (("backend", "backends"), ("batch_size", "batch sizes"), ("concurrency", "callers")):
        if len({getattr(row.cell, key) for row in one.rows}) > 1:
            swept.append(words)
    for key, words in (("batching", "batching"), ("rate", "rates"), ("model", "models"), ("data_set", "texts")):
        if len({getattr(row.cell, key) for row in one.rows}) > 1:
            swept.append(words)
    varies = ", ".join(swept) or "nothing"
    return Phase(
        number=number, experiment=one.run.experiment.name, varies=varies, best=best, items=one.items, gain=gain
    )


def _overall(report: Report, task: str, rows: list[Row]) -> Overall:
    best = max(rows, key=lambda row: row.rate)
    chosen = recommended([row for row in rows if row.cell.backend == best.cell.backend]) or best
    run = next(one.run for one in report.experiments if one.run.experiment.name == chosen.cell.experiment)
    phases = len({row.cell.experiment for row in rows})
    block = None if task == "search" else batching(run.experiment.batching, chosen)
    return Overall(task=task, best=best, chosen=chosen, batching=block, phases=phases)


def _insights(
    report: Report, phases: list[Phase], overall: list[Overall], groups: dict[tuple[str, str, str], list[Row]]
) -> Iterator[str]:
    several = len({model for _, model, _ in groups}) > 1

    def place(cell: Cell) -> str:
        return f"{model_name(cell.model)}, {cell.data_set}" if several else cell.data_set

    for phase in phases:
        if phase.best is not None and phase.gain is not None:
            where = f"{phase.experiment} ({place(phase.best.cell)})"
            if phase.gain > 1 + GAIN:
                at = setting(phase.best.cell)
                yield f"{where} raises the best throughput to {phase.gain:.2f}x: {phase.best.cell.backend}, {at}"
            else:
                yield f"{where} reaches {phase.gain:.2f}x of the throughput that was best before"
    for one, rows in zip(overall, groups.values(), strict=True):
        found = [*_of_best(one, rows), *_of_memory(rows), *_of_batching(rows)]
        yield from (f"{insight} ({place(one.best.cell)})" for insight in found)
    beyond = [alert for one in report.experiments for alert in one.alerts]
    if beyond:
        critical = sum(alert.level == "critical" for alert in beyond)
        names = ", ".join(dict.fromkeys(alert.cell.experiment for alert in beyond))
        are = "number is" if len(beyond) == 1 else "numbers are"
        yield f"{len(beyond)} {are} beyond the objectives, {critical or 'none'} critically, in {names}"
    skipped: dict[str, int] = {}
    for one_experiment in report.experiments:
        for name in one_experiment.skipped:
            skipped[name] = skipped.get(name, 0) + 1
    if skipped:
        number = len(report.experiments)
        names = ", ".join(f"{name} in {count} of {number} experiments" for name, count in skipped.items())
        yield f"not measured: {names}"


def _of_best(one: Overall, rows: list[Row]) -> Iterator[str]:
    """What the recommended setting gives away and saves."""
    peak, chosen = one.best, one.chosen
    if chosen is not peak and peak.p95_ms and chosen.p95_ms and chosen.p95_ms.median < peak.p95_ms.median:
        yield (
            f"{setting(chosen.cell)} has {100 * chosen.rate / peak.rate:.0f} % of the peak of {peak.cell.backend} "
            f"at {100 * chosen.p95_ms.median / peak.p95_ms.median:.0f} % of its p95"
        )
    mine = [row for row in rows if row.cell.backend == peak.cell.backend]
    alone, many = (
        [row for row in mine if (row.cell.concurrency == 1) is is_alone and row.cell.batch_size == peak.cell.batch_size]
        for is_alone in (True, False)
    )
    if alone and many:
        first, most = max(alone, key=lambda row: row.rate), max(many, key=lambda row: (row.cell.concurrency, row.rate))
        gain = f"{most.rate / first.rate:.2f}x"
        yield f"{peak.cell.backend}: {most.cell.concurrency} callers have {gain} the throughput of one"


def _of_memory(rows: list[Row]) -> Iterator[str]:
    most: dict[str, float] = {}
    for row in rows:
        if row.rss_peak_bytes is not None:
            most[row.cell.backend] = max(most.get(row.cell.backend, 0.0), row.rss_peak_bytes.highest / 2**20)
    if len(most) > 1:
        least, greatest = min(most, key=most.__getitem__), max(most, key=most.__getitem__)
        yield (
            f"{least} needs the least memory, {most[least]:,.0f} MiB, and {greatest} the most, "
            f"{most[greatest]:,.0f} MiB"
        )


def _of_batching(rows: list[Row]) -> Iterator[str]:
    """With and without, in cells that are else the same."""
    without: dict[Cell, Row] = {row.cell: row for row in rows if not row.cell.batching}
    ratios: dict[str, list[float]] = {}
    for row in rows:
        other = without.get(msgspec.structs.replace(row.cell, batching=False)) if row.cell.batching else None
        if other is not None and row.cell.concurrency > 1:
            ratios.setdefault(row.cell.backend, []).append(row.rate / other.rate)
    if ratios:
        each = ", ".join(f"{backend} {median(found):.2f}x" for backend, found in ratios.items())
        yield f"with batching, throughput is so many times that of callers that take turns (median): {each}"


RULE = f"The smallest p95 with at least {NEAR_PEAK:.0%} of the peak throughput of the winner".replace("%", " %")
