"""Maps of how near the results of backends are: to the reference, by texts, and to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from votive.bench.plan import model_name
from votive.bench.report.matrix import SHOWN, Matrix
from votive.bench.report.style import PAPER, SIZE, short
from votive.bench.report.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is equal has no logarithm; nothing is nearer than float32 can tell.
LEAST, MOST = 1e-8, 1e-1
# Four colours for each power of ten.
STEPS = 28
# Inches of a row, and of what is above and below all of them.
ROW, BESIDE = 0.3, 1.4
# In columns of more backends numbers would run into each other.
NUMBERED = 12
WORDS = {
    "cosine_mean": "1 - mean cosine",
    "cosine_min": "1 - smallest cosine",
    "spearman": "1 - rank correlation",
    "max_difference": "largest difference",
    "rank_overlap": "share that not both found",
}


def heat_maps(summary: Summary) -> Iterator[tuple[str, Figure]]:
    """By the names of their files. Against the reference alone there is a map where it says more than the others."""
    worst = _worst(summary)
    if worst and (len({place for _, place in worst}) > 1 or not summary.matrices):
        measured = (each for row in summary.rows for each in row.rounds)
        against = next(each.consistency.against for each in measured if each.consistency is not None)
        yield "consistency", _against(worst, against)
    for number, matrix in enumerate(summary.matrices):
        end = f"_{number + 1}" if len(summary.matrices) > 1 else ""
        about = f"{model_name(matrix.model)}, {matrix.data_set}"
        yield f"consistency_of_all{end}", _of_all(matrix, SHOWN[summary.run.experiment.task], about)


def _worst(summary: Summary) -> dict[tuple[str, str], tuple[float, bool]]:
    """By backend, and by model and texts: the distance from the reference; whether it is 1 - cosine."""
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    several = len({row.cell.model for row in summary.rows}) > 1
    for row in summary.rows:
        where = f"{model_name(row.cell.model)}\n{row.cell.data_set}" if several else row.cell.data_set
        for each in row.rounds:
            if each.consistency is None or each.consistency.against == row.cell.backend:
                continue
            cosine = each.consistency.cosine_min
            value = each.consistency.max_difference if cosine is None else max(0.0, 1 - cosine)
            if value is not None:
                key = (row.cell.backend, where)
                found[key] = (max(value, found[key][0] if key in found else 0.0), cosine is not None)
    return found


def _against(worst: dict[tuple[str, str], tuple[float, bool]], against: str) -> Figure:
    backends = list(dict.fromkeys(backend for backend, _ in worst))
    places = list(dict.fromkeys(place for _, place in worst))
    values = [[worst.get((backend, place), (None, True))[0] for place in places] for backend in backends]
    is_cosine = all(cosine for _, cosine in worst.values())
    what = WORDS["cosine_min" if is_cosine else "max_difference"]
    return _map(f"Distance from {short(against, 60)}", [short(place) for place in places], backends, values, what)


def _of_all(matrix: Matrix, shown: tuple[str, str], about: str) -> Figure:
    places = range(len(matrix.backends))
    values = [[_distance(matrix.at(row, column, shown), shown[column < row]) for column in places] for row in places]
    above, below = (WORDS[name] for name in shown)
    what = above if above == below else f"{above} above the diagonal,\n{below} below"
    names = [f"{row + 1}. {short(name)}" for row, name in enumerate(matrix.backends)]
    return _map(f"Distance of all from each other: {about}", [str(row + 1) for row in places], names, values, what)


def _distance(value: float | None, name: str) -> float | None:
    return value if value is None or name == "max_difference" else max(0.0, 1 - value)


def _map(title: str, columns: list[str], rows: list[str], values: list[list[float | None]], what: str) -> Figure:
    """Distances on a logarithmic scale; None is left empty."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(SIZE[0], max(SIZE[1], BESIDE + ROW * len(rows))), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(short(title, 80), loc="left")
    drawn = [[float("nan") if value is None else max(value, LEAST) for value in line] for line in values]
    # Neither the map nor its bar is an image, which the page would not show.
    colours = colormaps["cividis"].resampled(STEPS)
    shown = axes.pcolormesh(drawn, cmap=colours, norm=LogNorm(LEAST, MOST), edgecolors=PAPER, linewidth=0.5)
    axes.invert_yaxis()
    axes.set_xticks([x + 0.5 for x in range(len(columns))], columns, fontsize=10 if len(columns) <= NUMBERED else 8)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [short(row) for row in rows])
    axes.grid(visible=False)
    for y, line in enumerate(values if len(columns) <= NUMBERED else ()):
        for x, value in enumerate(line):
            if value is not None:
                colour = "#000000" if value > (LEAST * MOST) ** 0.5 else "#ffffff"
                axes.text(x + 0.5, y + 0.5, _brief(value), ha="center", va="center", color=colour, fontsize=8)
    bar = figure.colorbar(shown, ax=axes, format=FuncFormatter(lambda value, _: f"{value:g}"), extend="both")
    bar.set_label(what, fontsize=9)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def _brief(value: float) -> str:
    """One digit: the table has the others."""
    power = f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.1g}" if value == 0 or value >= 0.001 else power
