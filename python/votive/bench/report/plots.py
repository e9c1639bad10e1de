"""Plots of an experiment: figures of matplotlib, from which PNG files and the SVG inside HTML are both made.

Only what was measured is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from votive.bench.plan import model_name
from votive.bench.report import style
from votive.bench.report.heat_maps import heat_maps
from votive.bench.report.style import INK, Look, legend, short
from votive.bench.report.summary import Row, Summary, setting
from votive.bench.statistics import EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches of a bar and what is beside it.
BAR = 0.27
# Lines of percentiles.
STYLES = {"p50": ":", "p95": "--", "p99": "-"}


def backends(summary: Summary) -> list[str]:
    """The names of those that were measured."""
    return list(dict.fromkeys(row.cell.backend for row in summary.rows if row.skipped is None))


def figures(summary: Summary, looks: dict[str, Look] | None = None) -> dict[str, Figure]:
    """By the names of their files.

    Args:
        summary: what is drawn.
        looks: of its backends; None: made for this experiment alone.

    Raises:
        ImportError: matplotlib is not installed.
    """
    with style.rules():
        return dict(_figures(summary, looks or style.looks(backends(summary))))


def _figures(summary: Summary, looks: dict[str, Look]) -> Iterator[tuple[str, Figure]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in summary.rows:
        if row.items_per_second is not None:
            groups.setdefault((row.cell.model, row.cell.data_set), []).append(row)
    for number, ((model, data_set), rows) in enumerate(groups.items()):
        end = f"_{number + 1}" if len(groups) > 1 else ""
        about = f"{model_name(model)}, {data_set}"
        paced = [row for row in rows if row.cell.load == "open"]
        free = [row for row in rows if row.cell.load != "open" and row.counts]
        for key, word in (("batch_size", "batch"), ("concurrency", "concurrency")):
            if len({getattr(row.cell, key) for row in free}) > 1:
                yield f"throughput_by_{word}{end}", _throughput(summary, free, key, about, looks)
        if paced and any(row.p99_ms for row in paced):
            yield f"latency_by_rate{end}", _by_rate(summary, paced, about, looks)
        if any(each.histogram for row in rows for each in row.rounds):
            yield f"latency_cdf{end}", _cdf(rows, about, looks)
        if len([row for row in free if row.p95_ms]) > 2:
            yield f"throughput_latency{end}", _scatter(summary, free, about, looks)
    if any(row.rss_peak_bytes for row in summary.rows):
        yield "memory", _memory(summary, looks)
    yield from heat_maps(summary)


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(short(title, 80), loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _plain_ticks(axis: Any, values: list[int] | None = None) -> None:
    """Numbers without exponents on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())
    if values is None:
        lowest, highest = axis.get_view_interval()
        # Within few powers of ten these alone would be one or two names.
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if highest < 1000 * lowest else (1.0,), numticks=12))
    else:
        # All of many would run into each other.
        axis.set_ticks(values if len(values) <= 12 else values[:: -(-len(values) // 12)])


def _throughput(summary: Summary, rows: list[Row], key: str, about: str, looks: dict[str, Look]) -> Figure:
    word = "Batch size" if key == "batch_size" else "Callers at a time"
    figure, axes = _axes(f"Throughput by {word.lower()}: {about}", word, f"{summary.items.capitalize()}/s")
    shares = len({row.cell.batching for row in rows}) > 1
    named: set[str] = set()
    for name, look in looks.items():
        for batching in (True, False):
            best: dict[int, Row] = {}
            for row in rows:
                if (row.cell.backend, row.cell.batching) == (name, batching):
                    value = getattr(row.cell, key)
                    if value not in best or row.rate > best[value].rate:
                        best[value] = row
            if not best:
                continue
            points = sorted(best)
            spreads = [spread for x in points if (spread := best[x].items_per_second) is not None]
            label = short(name) if name not in named else None
            named.add(name)
            axes.plot(points, [s.median for s in spreads], "-" if batching else "--", label=label, **look)
            lowest, highest = [s.lowest for s in spreads], [s.highest for s in spreads]
            axes.fill_between(points, lowest, highest, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    _plain_ticks(axes.xaxis, sorted({getattr(row.cell, key) for row in rows}))
    axes.set_ylim(bottom=0)
    legend(figure, axes, {"batching on": "-", "batching off": "--"} if shares else None)
    return figure


def _by_rate(summary: Summary, rows: list[Row], about: str, looks: dict[str, Look]) -> Figure:
    figure, axes = _axes(f"Latency by rate: {about}", "Requests/s, by schedule", "Latency (ms)")
    for name, look in looks.items():
        mine = [row for row in rows if row.cell.backend == name and row.p99_ms is not None]
        # A share of the peak is drawn where it was measured.
        at = {id(row): _rate(row) for row in mine}
        mine.sort(key=lambda row: at[id(row)])
        for percentile, line in STYLES.items():
            values = [spread.median for row in mine if (spread := getattr(row, f"{percentile}_ms")) is not None]
            if values:
                # Markers of all three would hide the lines of many backends.
                looks_so = {**look, "label": short(name)} if percentile == "p99" else {"color": look["color"]}
                axes.plot([at[id(row)] for row in mine], values, line, **looks_so)
    crossed = [(_rate(row), row.p99_ms.median) for row in rows if row.p99_ms and not row.counts]
    if crossed:
        label = "saturated or invalid: not steady"
        axes.plot(*zip(*crossed, strict=True), linestyle="none", marker="x", color=INK, markersize=11, label=label)
    for percentile in ("p95", "p99"):
        objective = getattr(summary.run.experiment.objectives, f"{percentile}_ms")
        for level in ("warning", "critical") if objective is not None else ():
            limit = getattr(objective, level)
            axes.axhline(limit, color=INK, linewidth=1, linestyle="-." if level == "warning" else "-")
            across = axes.get_yaxis_transform()
            axes.text(0.01, limit, f"{percentile} {level}", transform=across, va="bottom", fontsize=8)
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)
    legend(figure, axes, STYLES)
    return figure


def _rate(row: Row) -> float:
    if isinstance(row.cell.rate, (int, float)):
        return float(row.cell.rate)
    return row.requests_per_second.median if row.requests_per_second else 0.0


def _cdf(rows: list[Row], about: str, looks: dict[str, Look]) -> Figure:
    chosen: dict[str, Row] = {}
    for row in rows:
        name = row.cell.backend
        if any(each.histogram and each.latency for each in row.rounds) and (
            name not in chosen or (row.counts, row.rate) > (chosen[name].counts, chosen[name].rate)
        ):
            chosen[name] = row
    settings = {setting(row.cell) for row in chosen.values()}
    at = f", {settings.pop()}" if len(settings) == 1 else ""
    figure, axes = _axes(f"Latencies of all requests: {about}{at}", "Latency (ms)", "Share of the requests (%)")
    drawn: list[float] = []
    for name, look in looks.items():
        if name not in chosen:
            continue
        row = chosen[name]
        rounds = [each for each in row.rounds if each.histogram and each.latency is not None]
        total = sum(each.latency.samples for each in rounds if each.latency)
        shares = [100 * sum(counts) / total for counts in zip(*(each.histogram for each in rounds), strict=True)]
        label = short(name) if at else f"{short(name)}, {setting(row.cell)}"
        axes.plot(EDGES[: len(shares)], shares, label=label, markevery=5, **look)
        drawn += [edge for edge, share in zip(EDGES, shares, strict=False) if 0 < share < 100]
    axes.set_xscale("log")
    if drawn:
        axes.set_xlim(min(drawn) / 1.3, max(drawn) * 1.3)
    axes.set_ylim(0, 102)
    _plain_ticks(axes.xaxis)
    legend(figure, axes)
    return figure


def pareto(rows: list[Row]) -> list[Row]:
    """Those that no other beats in both throughput and latency (p95), fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row.rate, row.p95_ms.median if row.p95_ms else 0.0)):
        if row.p95_ms and (not front or row.p95_ms.median < (front[-1].p95_ms or row.p95_ms).median):
            front.append(row)
    return front


def _scatter(summary: Summary, rows: list[Row], about: str, looks: dict[str, Look]) -> Figure:
    title = f"Throughput against latency: {about}"
    figure, axes = _axes(title, "Latency p95 (ms)", f"{summary.items.capitalize()}/s")
    known = [row for row in rows if row.p95_ms is not None]
    front = pareto(known)
    edge = [row.p95_ms.median for row in front if row.p95_ms]
    axes.plot(edge, [row.rate for row in front], color=INK, linewidth=1, label="best of both (Pareto front)")
    for name, look in looks.items():
        mine = [row for row in known if row.cell.backend == name]
        if mine:
            latencies = [row.p95_ms.median for row in mine if row.p95_ms]
            rates = [row.rate for row in mine]
            axes.plot(latencies, rates, linestyle="none", label=short(name), **look)
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.set_ylim(bottom=0)
    legend(figure, axes)
    return figure


def _memory(summary: Summary, looks: dict[str, Look]) -> Figure:
    figure, axes = _axes("Memory of the process, most of all cells", "MiB", "")
    bars: list[tuple[str, float, str]] = []
    for name, look in looks.items():
        for what, key in (("", "rss_peak_bytes"), (", device", "device_memory_bytes")):
            spreads = [getattr(row, key) for row in summary.rows if row.cell.backend == name]
            if found := [spread.highest for spread in spreads if spread is not None]:
                bars.append((f"{short(name)}{what}", max(found) / 2**20, look["color"]))
    bars.reverse()
    figure.set_size_inches(style.SIZE[0], max(style.SIZE[1], 1 + BAR * len(bars)))
    drawn = axes.barh(range(len(bars)), [bar[1] for bar in bars], color=[bar[2] for bar in bars], height=0.6)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in bars])
    axes.bar_label(drawn, [f"{bar[1]:,.0f}" for bar in bars], padding=3)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return figure
