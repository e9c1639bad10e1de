"""How plots look: colours and markers of backends, legends, and the files that are made of figures.

Colours are those of Okabe and Ito, which differ for colour-blind readers. There are fewer of them than backends may be,
so that each backend has a marker beside its colour, and from the eighth on every other seven are hollow.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"
MARKERS = "osD^vPX*"
# What HTML shows in colours of its own: text and axes, lines of grids, and what lies below the plots.
INK, GRID, PAPER = "#1b1c1d", "#d9dadb", "#fffffe"
SIZE = 7.2, 4.0
# Inches of a line of a legend.
ROW = 0.19
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

Look = dict[str, Any]
"""Arguments of `plot` that are a backend's own."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """One for each, no two alike of the first 56."""
    return {name: _look(number) for number, name in enumerate(dict.fromkeys(names))}


def _look(number: int) -> Look:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    if number // len(COLOURS) % 2:
        return {"color": colour, "marker": marker, "mfc": PAPER, "mec": colour, "mew": 1.5}
    # An edge makes the pale ones visible on white.
    return {"color": colour, "marker": marker, "mfc": colour, "mec": INK, "mew": 0.5}


def legend(figure: Figure, axes: Axes, more: dict[str, Any] | None = None) -> None:
    """Below the plot, where no line runs through it; the figure grows with it.

    `more`: what styles of lines mean, by their words.
    """
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    for label, line in (more or {}).items():
        handles.append(Line2D([], [], color=INK, linestyle=line))
        labels.append(label)
    longest = max(map(len, labels), default=0)
    columns = max(1, min(3, len(labels), 100 // (longest + 6)))
    rows = -(-len(labels) // columns)
    width, height = SIZE
    figure.set_size_inches(width, height + max(0, rows - 2) * ROW)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def short(text: str, length: int = 34) -> str:
    """The beginning of what is too long for a plot."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def rules() -> Any:
    """A context in which figures are made and written."""
    import matplotlib

    return matplotlib.rc_context(RULES)


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
    rest = rest.replace(PAPER, "var(--paper)")
    # Families are those of the page.
    rest = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px sans-serif", rest)
    return f'<svg role="img" aria-label="{_attribute(name)}" {box[0] if box else ""}>{rest.strip()}'


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
