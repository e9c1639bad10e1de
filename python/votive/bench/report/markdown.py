"""`report.md`: tables of backends, of what was swept, and what they say."""

from __future__ import annotations

import re

from votive.bench.cells import Consistency, OfModel
from votive.bench.plan import model_name
from votive.bench.report.folder import RULE, Overall, folder
from votive.bench.report.matrix import SHOWN, WORDS, Matrix
from votive.bench.report.summary import Report, Row, Spread, Summary, setting
from votive.bench.statistics import P99_SAMPLES

_COLUMNS = ("batch_size", "Batch"), ("concurrency", "Conc"), ("batching", "Batching"), ("rate", "Rate")
STAR = "\\*"
_EXPLAINED = {
    "noisy": "noisy: rounds differ by more than 15 % of their median.",
    "saturated": "saturated: the queue grew until the end, so that the numbers are none of a steady state.",
    "invalid": "invalid: the generator could not keep its schedule.",
    "short": "short: `max_seconds` was over before half of the requests that `iterations` asks for.",
    "warm-up": "warm-up counts: the time was over before the warm-up was, so that its requests are in the numbers.",
    "p99": f"{STAR}: a p99 of fewer than 500 requests.",
}


def escape(text: object) -> str:
    """A name in a line or a cell of a table."""
    plain = " ".join(str(text).split()).replace("\\", "\\\\").replace("&", "&amp;")
    plain = plain.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`*\[\]])", r"\\\1", plain)


def short(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(value: Spread | None, unit: str = "") -> str:
    """Median (lowest-highest)."""
    if value is None:
        return ""
    if value.lowest == value.highest:
        return f"{short(value.median)}{unit}"
    return f"{short(value.median)}{unit} ({short(value.lowest)}-{short(value.highest)})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """All columns but the first are flush right; cells are escaped already."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(report: Report, plots: dict[str, list[str]] | None = None) -> str:
    """The whole file; with the paths of plots, by the names of their experiments."""
    parts = []
    if len(report.experiments) > 1:
        parts += _overview(report)
    for summary in report.experiments:
        parts += _experiment(summary, (plots or {}).get(summary.run.experiment.name, []))
    return "\n\n".join(parts) + "\n"


def _overview(report: Report) -> list[str]:
    found = folder(report)
    rows = []
    for phase in found.phases:
        best = phase.best
        line = [f"{phase.number}. {escape(phase.experiment)}", phase.varies]
        if best is None:
            rows.append([*line, "", "none: nothing may be compared", "", "", "", ""])
            continue
        of = best.cell
        gain = "" if phase.gain is None else f"{phase.gain:.2f}"
        line += [escape(f"{model_name(of.model)}, {of.data_set}"), f"**{escape(of.backend)}**", escape(setting(of))]
        rows.append([*line, f"{short(best.rate)} {phase.items}/s", spread(best.p95_ms), gain])
    head = ["Phase", "Varies", "Model, texts", "Winner", "At", "Throughput", "P95 (ms)", "x best before"]
    parts = ["# Executive summary", "## Phases", table(head, rows)]
    if found.overall:
        parts.append("## Overall winner")
        parts += [_won(one) for one in found.overall]
    if configured := [one for one in found.overall if one.batching is not None]:
        parts += ["## Recommended configuration", f"{RULE}, of all phases:"]
        for one in configured:
            if len(configured) > 1:
                parts.append(f"{escape(one.best.cell.model)}, {escape(one.best.cell.data_set)}:")
            parts.append(f"```yaml\n{one.batching}\n```")
    if found.insights:
        parts += ["## Key insights", "\n".join(f"- {escape(insight)}." for insight in found.insights)]
    return parts


def _won(one: Overall) -> str:
    best = one.best
    p95 = f", p95 {short(best.p95_ms.median)} ms" if best.p95_ms else ""
    phases = f"{one.phases} phases" if one.phases > 1 else "one phase"
    return (
        f"**{escape(best.cell.backend)}** ({escape(best.cell.model)}, {escape(best.cell.data_set)}): "
        f"{short(best.rate)} {one.items}/s at {escape(setting(best.cell))}{p95}, in "
        f"{escape(best.cell.experiment)}; the best of {phases}."
    )


def _experiment(one: Summary, plots: list[str]) -> list[str]:
    experiment = one.run.experiment
    parts = [f"# {escape(experiment.name)}"]
    if experiment.description:
        parts.append(escape(experiment.description))
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in one.rows:
        if row.skipped is None:
            groups.setdefault((row.cell.model, row.cell.data_set), []).append(row)
    for (model, data_set), rows in groups.items():
        parts.append(f"## {escape(model)}, {escape(data_set)}")
        parts += _tables(one, rows)
        parts += _by_model(one, rows)
        parts += _quality(one, rows)
    if not groups:
        parts.append("Nothing was measured.")
    parts += _marks(one)
    for winner in one.winners:
        said = "" if winner.clear else ", though within the spread of the rounds"
        cell = winner.cell
        parts.append(
            f"**Winner** ({escape(cell.model)}, {escape(cell.data_set)}): {escape(cell.backend)}, "
            f"{short(winner.items_per_second)} {one.items}/s at {escape(setting(cell))}{said}."
        )
    if one.insights:
        parts += ["## Key insights", "\n".join(f"- {escape(insight)}." for insight in one.insights)]
    if one.batching:
        parts += ["## Recommended configuration", f"{RULE}:", f"```yaml\n{one.batching}\n```"]
    for matrix in one.matrices:
        where = f": {escape(model_name(matrix.model))}, {escape(matrix.data_set)}" if len(one.matrices) > 1 else ""
        parts += [f"## Consistency of all backends{where}", *consistency(matrix, experiment.task)]
    if plots:
        shown = [f"![{path.rpartition('__')[2].removesuffix('.png').replace('_', ' ')}]({path})" for path in plots]
        parts += ["## Plots", *shown]
    if one.alerts:
        rows_of = [
            [escape(f"{a.cell.backend}, {setting(a.cell)}"), a.what, short(a.value), short(a.limit), a.level]
            for a in one.alerts
        ]
        parts += ["## Alerts", table(["Where", "What", "Value", "Limit", "Level"], rows_of)]
    if one.not_checked:
        parts.append(f"Objectives that nothing was measured for: {', '.join(one.not_checked)}.")
    if failures := _failures(one):
        parts += ["## Failed", "\n".join(failures)]
    if one.skipped:
        lines = [f"- {escape(name)}: {escape(reason)}" for name, reason in one.skipped.items()]
        parts += ["## Skipped", "\n".join(lines)]
    return [*parts, *machine(one)]


def _tables(one: Summary, rows: list[Row]) -> list[str]:
    swept = [(name, title) for name, title in _COLUMNS if len({getattr(row.cell, name) for row in rows}) > 1]
    unit = f"Throughput ({one.items}/s)"
    best: dict[str, Row] = {}
    for row in rows:
        name = row.cell.backend
        if name not in best or (row.counts, row.rate) > (best[name].counts, best[name].rate):
            best[name] = row
    won = {winner.cell for winner in one.winners}
    head = ["Backend", unit, "Latency Avg (ms)", "P99 (ms)", f"x {escape(one.reference)}", "Memory peak (MiB)", "Marks"]
    clocks = any(row.cpu_mhz for row in rows)
    if clocks:
        head.insert(-1, "CPU (MHz)")
    if swept:
        head.insert(1, "Best at")
    lines = []
    for row in best.values():
        name, rate = escape(row.cell.backend), spread(row.items_per_second)
        if row.cell in won:
            name, rate = f"**{name}**", f"**{rate}**"
        memory = "" if row.rss_peak_bytes is None else short(row.rss_peak_bytes.highest / 2**20)
        line = [name, rate, spread(row.mean_ms), _p99(row), spread(row.ratio), memory, _marked(row)]
        if clocks:
            line.insert(-1, spread(row.cpu_mhz))
        if swept:
            line.insert(1, escape(setting(row.cell)) if row.items_per_second else "")
        lines.append(line)
    parts = [table(head, lines)]
    for name, peak in best.items() if swept else ():
        parts.append(f"### {escape(name)}")
        head = [*(title for _, title in swept), unit, "Latency Avg (ms)", "P95 (ms)", "P99 (ms)", "Marks"]
        lines = []
        for row in rows:
            if row.cell.backend == name:
                rate = spread(row.items_per_second)
                rate = f"**{rate}**" if row is peak and row.counts else rate
                point = [_setting(getattr(row.cell, key)) for key, _ in swept]
                lines.append([*point, rate, spread(row.mean_ms), spread(row.p95_ms), _p99(row), _marked(row)])
        parts.append(table(head, lines))
    return parts


def _setting(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else escape(value)


def _by_model(one: Summary, rows: list[Row]) -> list[str]:
    """What each model of mixed traffic did, all rounds together."""
    lines = []
    for row in rows:
        drawn = sum(of.requests for each in row.rounds for of in each.models.values())
        for name in (model.name for model in one.run.experiment.models):
            found = [each.models[name] for each in row.rounds if name in each.models]
            if not found:
                continue
            requests = sum(of.requests for of in found)
            share = f"{100 * requests / drawn:.3g} %" if drawn else ""
            times = [of.latency for of in found if of.latency is not None]
            p50, p95, p99 = (spread(Spread.of(getattr(each, key) for each in times)) for key in ("p50", "p95", "p99"))
            failed = sum(sum(of.errors.values()) for of in found)
            lines.append(
                [
                    escape(f"{row.cell.backend}, {setting(row.cell)}"),
                    escape(model_name(name)),
                    share,
                    short(requests),
                    spread(Spread.of(of.items_per_second for of in found)),
                    p50,
                    p95,
                    p99 + (STAR if any(map(_has_few, found)) else ""),
                    short(failed) if failed else "",
                ]
            )
    if not lines:
        return []
    head = ["Backend", "Model", "Share", "Requests", f"Throughput ({one.items}/s)", "P50 (ms)", "P95 (ms)", "P99 (ms)"]
    return ["### Each model", table([*head, "Errors"], lines)]


def _failures(one: Summary) -> list[str]:
    """Kinds of failures, each with how often it came, and where first."""
    where: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], int] = {}
    for row in one.rows:
        for each in row.rounds:
            for kind, count in each.errors.items():
                key = (row.cell.backend, kind)
                where.setdefault(key, setting(row.cell))
                counts[key] = counts.get(key, 0) + count
    return [
        f"- {escape(name)}, first at {escape(where[name, kind])}: {escape(kind)} (times: {count})"
        for (name, kind), count in counts.items()
    ]


def consistency(matrix: Matrix, task: str) -> list[str]:
    """A row and a column for each backend; one number above the diagonal, another below."""
    shown = SHOWN[task]
    above, below = (WORDS[name] for name in shown)
    said = f"Above the diagonal: {above}; below: {below}." if above != below else f"{above[0].upper()}{above[1:]}."
    places = range(len(matrix.backends))
    lines = [
        [f"{row + 1}. {escape(name)}", *(_near(matrix.at(row, column, shown)) for column in places)]
        for row, name in enumerate(matrix.backends)
    ]
    return [said, table(["Backend", *(str(place + 1) for place in places)], lines)]


def _near(value: float | None) -> str:
    """With the digits in which what is nearly equal differs."""
    return "" if value is None else f"{value:.6f}" if abs(value) > 1e-3 or value == 0 else f"{value:.2g}"


def _quality(one: Summary, rows: list[Row]) -> list[str]:
    """How near the backends are to the reference, where that was measured."""
    found: dict[str, Consistency] = {}
    for row in rows:
        if row.consistency is not None:
            found.setdefault(row.cell.backend, row.consistency)
    if not found:
        return []
    overlap = "Recall" if one.run.experiment.task == "search" else "Same neighbours"
    columns = [
        ("cosine_mean", "Cosine mean", ".6f"),
        ("cosine_min", "Cosine min", ".6f"),
        ("max_difference", "Largest difference", ".2g"),
        ("spearman", "Spearman", ".6f"),
        ("rank_overlap", overlap, ".4f"),
        ("nan_count", "NaN", "d"),
    ]
    # No column of nothing, and none of zeros: NaNs are counted.
    shown = [each for each in columns if any(getattr(one, each[0]) not in (None, 0) for one in found.values())]
    against = next(iter(found.values())).against
    lines = []
    for backend, values in found.items():
        numbers = [(getattr(values, name), form) for name, _, form in shown]
        lines.append([escape(backend), *("" if value is None else format(value, form) for value, form in numbers)])
    return [table([f"Against {escape(against)}", *(title for _, title, _ in shown)], lines)]


def _p99(row: Row) -> str:
    few = any(mark.startswith("p99") for mark in row.marks)
    return spread(row.p99_ms) + (STAR if few and row.p99_ms else "")


def _has_few(model: OfModel) -> bool:
    """For a p99: a model of mixed traffic has a part of the requests only."""
    return model.latency is not None and model.latency.samples < P99_SAMPLES


def _marked(row: Row) -> str:
    errors = [f"{short(row.error_percent)} % errors"] if row.error_percent else []
    return escape("; ".join([*(mark for mark in row.marks if not mark.startswith("p99")), *errors]))


def _marks(one: Summary) -> list[str]:
    there = {mark for row in one.rows for mark in row.marks}
    if any(_has_few(model) for row in one.rows for each in row.rounds for model in each.models.values()):
        there.add("p99")
    lines = [f"- {said}" for key, said in _EXPLAINED.items() if any(mark.startswith(key) for mark in there)]
    return ["\n".join(lines)] if lines else []


def machine(one: Summary) -> list[str]:
    """What the numbers were taken on."""

    def shown(name: str, value: object) -> list[str]:
        if name.endswith("_bytes") and isinstance(value, (int, float)):
            name, value = name.removesuffix("_bytes"), f"{value / 2**30:.1f} GiB"
        return [escape(name), escape(" ".join(map(str, value)) if isinstance(value, list) else value)]

    rows = [shown(name, value) for name, value in one.run.machine.items()]
    rows += [[escape(name), escape(value)] for name, value in one.run.versions.items()]
    rows += [["git", escape(one.run.git)]] if one.run.git else []
    return ["## Machine and versions", table(["What", "Value"], rows), f"Started {escape(one.run.started)}."]
