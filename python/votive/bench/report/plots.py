"""Plots of an experiment: figures of matplotlib, from which PNG files and the SVG inside HTML are both made.

Only what was measured is drawn. Colours are those of Okabe and Ito, which differ for colour-blind readers, and every
backend has a marker of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from votive.bench.report.summary import Row, Summary, setting
from votive.bench.statistics import EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"
MARKERS = "osD^vPX*"
# Text and axes, which HTML shows in the colour of its own text; and lines of grids.
INK, GRID = "#1b1c1d", "#d9dadb"
SIZE = 7.2, 4.0
STYLES = {"p50": ":", "p95": "--", "p99": "-"}
RULES: dict[Any, Any] = {
    "figure.figsize": SIZE,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


def figures(summary: Summary) -> dict[str, Figure]:
    """By the names of their files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    with matplotlib.rc_context(RULES):
        return dict(_figures(summary))


def png(figure: Figure) -> bytes:
    """Twice as fine as screens of old."""
    import matplotlib

    written = io.BytesIO()
    with matplotlib.rc_context(RULES):
        figure.savefig(written, format="png", dpi=144, metadata={"Software": None})
    return written.getvalue()


def svg(figure: Figure, name: str) -> str:
    """To stand inside HTML: no address in it, as wide as there is room, in the colours of the page.

    `name` makes its inner names differ from those of other plots of the page, and is what it is called.
    """
    import matplotlib

    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({**RULES, "svg.hashsalt": name, "svg.id": None}):
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    opening, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    # Names of groups are the same in every plot, and nothing refers to them.
    rest = re.sub(r' id="(?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend)[^"]*"', "", rest)
    rest = rest.replace("xlink:href", "href").replace(INK, "currentColor").replace(GRID, "var(--grid)")
    # Families are those of the page.
    rest = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px sans-serif", rest)
    return f'<svg role="img" aria-label="{_attribute(name)}" {box[0] if box else ""}>{rest.strip()}'


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _figures(summary: Summary) -> Iterator[tuple[str, Figure]]:
    names = list(dict.fromkeys(row.cell.backend for row in summary.rows if row.skipped is None))
    looks = {
        name: {"color": colour, "marker": marker}
        for name, colour, marker in zip(names, cycle(COLOURS), cycle(MARKERS), strict=False)
    }
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in summary.rows:
        if row.items_per_second is not None:
            groups.setdefault((row.cell.model, row.cell.data_set), []).append(row)
    for number, ((model, data_set), rows) in enumerate(groups.items()):
        end = f"_{number + 1}" if len(groups) > 1 else ""
        about = f"{_last(model)}, {data_set}"
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
        yield "memory", _memory(summary, names)
    if worst := _worst(summary):
        measured = (each for row in summary.rows for each in row.rounds)
        against = next(each.consistency.against for each in measured if each.consistency is not None)
        yield "consistency", _consistency(worst, against)


def _last(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2] or model


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_short(title, 80), loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _short(text: str, length: int = 34) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the plot, where no line runs through it."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels), default=0)
    columns = min(3, len(labels), max(1, 100 // (longest + 6)))
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, columns))


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


def _throughput(summary: Summary, rows: list[Row], key: str, about: str, looks: dict[str, dict[str, str]]) -> Figure:
    word = "Batch size" if key == "batch_size" else "Callers at a time"
    figure, axes = _axes(f"Throughput by {word.lower()}: {about}", word, f"{summary.items.capitalize()}/s")
    shares = len({row.cell.batching for row in rows}) > 1
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
            label = _short(name) + (f", batching {'on' if batching else 'off'}" if shares else "")
            axes.plot(points, [s.median for s in spreads], "-" if batching else "--", label=label, **look)  # type: ignore[arg-type]
            lowest, highest = [s.lowest for s in spreads], [s.highest for s in spreads]
            axes.fill_between(points, lowest, highest, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    _plain_ticks(axes.xaxis, sorted({getattr(row.cell, key) for row in rows}))
    axes.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def _by_rate(summary: Summary, rows: list[Row], about: str, looks: dict[str, dict[str, str]]) -> Figure:
    figure, axes = _axes(f"Latency by rate: {about}", "Requests/s, by schedule", "Latency (ms)")
    for name, look in looks.items():
        mine = [row for row in rows if row.cell.backend == name and row.p99_ms is not None]
        # A share of the peak is drawn where it was measured.
        at = {id(row): _rate(row) for row in mine}
        mine.sort(key=lambda row: at[id(row)])
        for percentile, style in STYLES.items():
            values = [spread.median for row in mine if (spread := getattr(row, f"{percentile}_ms")) is not None]
            if values:
                label = f"{_short(name)}, {percentile}"
                axes.plot([at[id(row)] for row in mine], values, style, label=label, **look)  # type: ignore[arg-type]
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
    _legend(figure, axes)
    return figure


def _rate(row: Row) -> float:
    if isinstance(row.cell.rate, (int, float)):
        return float(row.cell.rate)
    return row.requests_per_second.median if row.requests_per_second else 0.0


def _cdf(rows: list[Row], about: str, looks: dict[str, dict[str, str]]) -> Figure:
    figure, axes = _axes(f"Latencies of all requests: {about}", "Latency (ms)", "Share of the requests (%)")
    drawn: list[float] = []
    for name, look in looks.items():
        mine = [row for row in rows if row.cell.backend == name and any(each.histogram for each in row.rounds)]
        if not mine:
            continue
        row = max(mine, key=lambda row: (row.counts, row.rate))
        rounds = [each for each in row.rounds if each.histogram and each.latency is not None]
        total = sum(each.latency.samples for each in rounds if each.latency)
        if not total:
            continue
        shares = [100 * sum(counts) / total for counts in zip(*(each.histogram for each in rounds), strict=True)]
        label = f"{_short(name)}, {setting(row.cell)}"
        axes.plot(EDGES[: len(shares)], shares, label=label, color=look["color"], marker=look["marker"], markevery=5)
        drawn += [edge for edge, share in zip(EDGES, shares, strict=False) if 0 < share < 100]
    axes.set_xscale("log")
    if drawn:
        axes.set_xlim(min(drawn) / 1.3, max(drawn) * 1.3)
    axes.set_ylim(0, 102)
    _plain_ticks(axes.xaxis)
    _legend(figure, axes)
    return figure


def pareto(rows: list[Row]) -> list[Row]:
    """Those that no other beats in both throughput and latency (p95), fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row.rate, row.p95_ms.median if row.p95_ms else 0.0)):
        if row.p95_ms and (not front or row.p95_ms.median < (front[-1].p95_ms or row.p95_ms).median):
            front.append(row)
    return front


def _scatter(summary: Summary, rows: list[Row], about: str, looks: dict[str, dict[str, str]]) -> Figure:
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
            axes.plot(latencies, rates, linestyle="none", label=_short(name), **look)  # type: ignore[arg-type]
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def _memory(summary: Summary, names: list[str]) -> Figure:
    figure, axes = _axes("Memory of the process, most of all cells", "MiB", "")
    bars: list[tuple[str, float, str]] = []
    for name, colour in zip(names, islice(cycle(COLOURS), len(names)), strict=True):
        for what, key in (("", "rss_peak_bytes"), (", device", "device_memory_bytes")):
            spreads = [getattr(row, key) for row in summary.rows if row.cell.backend == name]
            if found := [spread.highest for spread in spreads if spread is not None]:
                bars.append((f"{_short(name)}{what}", max(found) / 2**20, colour))
    bars.reverse()
    drawn = axes.barh(range(len(bars)), [bar[1] for bar in bars], color=[bar[2] for bar in bars], height=0.6)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in bars])
    axes.bar_label(drawn, [f"{bar[1]:,.0f}" for bar in bars], padding=3)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return figure


def _worst(summary: Summary) -> dict[tuple[str, str], tuple[float, bool]]:
    """By backend, and by model and texts: the distance from the reference; whether it is 1 - cosine."""
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    several = len({row.cell.model for row in summary.rows}) > 1
    for row in summary.rows:
        where = f"{_last(row.cell.model)}\n{row.cell.data_set}" if several else row.cell.data_set
        for each in row.rounds:
            if each.consistency is None or each.consistency.against == row.cell.backend:
                continue
            cosine = each.consistency.cosine_min
            value = each.consistency.max_difference if cosine is None else max(0.0, 1 - cosine)
            if value is not None:
                key = (row.cell.backend, where)
                found[key] = (max(value, found[key][0] if key in found else 0.0), cosine is not None)
    return found


def _consistency(worst: dict[tuple[str, str], tuple[float, bool]], against: str) -> Figure:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    is_cosine = all(cosine for _, cosine in worst.values())
    what = "1 - smallest cosine" if is_cosine else "largest difference"
    figure, axes = _axes(f"Distance from {_short(against, 60)}", "", "")
    backends = list(dict.fromkeys(backend for backend, _ in worst))
    places = list(dict.fromkeys(place for _, place in worst))
    nan = float("nan")
    # What is equal has no logarithm; nothing is nearer than float32 can tell.
    least, most = 1e-8, 1e-1
    middle = (least * most) ** 0.5
    values = [[max(worst.get((backend, place), (nan, True))[0], least) for place in places] for backend in backends]
    shown = axes.imshow(values, cmap="cividis", norm=LogNorm(least, most), aspect="auto")
    axes.set_xticks(range(len(places)), [_short(place) for place in places])
    axes.set_yticks(range(len(backends)), [_short(backend) for backend in backends])
    axes.grid(visible=False)
    for y, backend in enumerate(backends):
        for x, place in enumerate(places):
            if (backend, place) in worst:
                value = worst[backend, place][0]
                colour = "#000000" if value > middle else "#ffffff"
                axes.text(x, y, f"{value:.2g}", ha="center", va="center", color=colour)
    bar = figure.colorbar(shown, ax=axes, format=FuncFormatter(lambda value, _: f"{value:g}"), extend="both")
    bar.set_label(what)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure
