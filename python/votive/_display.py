"""Tables of text for terminals, and of HTML for notebooks."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from votive._cells import clipped, width

_GAP = "  "

# A main column narrower than this says nothing; one beside it does not need more than that.
_LEAST_WIDTH = 12
_MOST_WIDTH = 24

# Characters of a cell of HTML: what is longer would be most of the page.
_HTML_CELL = 400

# Numbers, with a unit or not: these columns are aligned to the right.
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?(%|[A-Za-zµ]{1,3}(/s)?))?|-|")

# Colours and the font's size are those of the page, dark or light.
_STYLE = "color:inherit;background:transparent;"


def text_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], room: int | None = None, main: str | None = None
) -> str:
    """A table of lines, without one at its end; columns of numbers are aligned to the right.

    Args:
        header: the names of the columns; () for none.
        rows: cells, each shown in one line.
        room: the columns of a terminal that a line may take; None for those of this one, or 80 where there is none.
        main: the name of a column that gets what the others leave. Those for which there is no room are named below the
            table. None to narrow the widest columns until all have room.
    """
    room = shutil.get_terminal_size((80, 24)).columns if room is None else room
    lines = [[clipped(cell, room) for cell in row] for row in rows]
    table = [[clipped(name, _MOST_WIDTH) for name in header], *lines] if header else lines
    columns = list(zip_longest(*table, fillvalue=""))
    widths = [max(map(width, column)) for column in columns]
    if main is None:
        fitted: list[int | None] = list(_narrowed(widths, room - len(_GAP) * (len(widths) - 1)))
    else:
        fitted = _around(widths, header.index(main), room)
    right = _are_numbers(lines, len(columns))
    places = [place for place, size in enumerate(fitted) if size is not None]
    shown = [
        _GAP.join(_padded(columns[place][row], fitted[place] or 0, right[place]) for place in places).rstrip()
        for row in range(len(table))
    ]
    left_out = [clipped(header[place], _MOST_WIDTH) for place, size in enumerate(fitted) if size is None]
    if left_out:
        shown.append(clipped(f"not shown: {', '.join(left_out)}", max(room, _LEAST_WIDTH)))
    return "\n".join(shown)


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table for `_repr_html_`. All text in it is escaped; lines of the caption are lines there.

    Args:
        header: the names of the columns; () for none, and then the first cell of each row is its heading.
        rows: cells, each shown in one line; what is longer than 400 characters is cut.
        caption: what stands above it.
    """
    lines = [[clipped(cell, _HTML_CELL) for cell in row] for row in rows]
    right = _are_numbers(lines, max(map(len, [header, *lines])))
    parts = [f'<table style="{_STYLE}">']
    if caption:
        shown = "<br>".join(html.escape(line) for line in caption.splitlines())
        parts.append(f'<caption style="{_STYLE}text-align:left;caption-side:top">{shown}</caption>')
    if header:
        names = (clipped(name, _HTML_CELL) for name in header)
        parts.append(f"<thead><tr>{''.join(map(_html_cell, names, right, ['th'] * len(header)))}</tr></thead>")
    parts.append("<tbody>")
    for row in lines:
        kinds = ["td" if header or place else "th" for place in range(len(row))]
        parts.append(f"<tr>{''.join(map(_html_cell, row, right, kinds))}</tr>")
    return "".join([*parts, "</tbody></table>"])


def _are_numbers(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """Of each column, whether all of its cells are numbers, dashes or empty."""
    return [all(_NUMBER.fullmatch(cell) for row in rows for cell in row[place : place + 1]) for place in range(columns)]


def _html_cell(cell: str, right: bool, kind: str) -> str:
    # Notebooks align all cells to the right.
    return f'<{kind} style="text-align:{"right" if right else "left"}">{html.escape(cell)}</{kind}>'


def _narrowed(widths: list[int], room: int) -> list[int]:
    """The widths of columns, of which the widest are narrowed until all together take no more than `room`."""
    narrowed = list(widths)
    while sum(narrowed) > room and max(narrowed) > 1:
        widest = max(narrowed)
        cut = [place for place, size in enumerate(narrowed) if size == widest]
        following = max((size for size in narrowed if size < widest), default=1)
        excess = -(-(sum(narrowed) - room) // len(cut))
        for place in cut:
            narrowed[place] = max(following, widest - excess, 1)
    return narrowed


def _around(widths: list[int], main: int, room: int) -> list[int | None]:
    """The widths of columns around the main one, which gets what they leave; None for those that have no room."""
    fitted: list[int | None] = [None] * len(widths)
    used = -len(_GAP)
    for place, size in enumerate(widths):
        needed = min(size, _LEAST_WIDTH if place == main else _MOST_WIDTH)
        if used < 0 or used + len(_GAP) + needed <= room:
            fitted[place] = needed
            used += len(_GAP) + needed
    least = fitted[main]
    if least is not None:
        fitted[main] = min(widths[main], least + max(0, room - used))
    return fitted


def _padded(cell: str, size: int, right: bool) -> str:
    cell = clipped(cell, size)
    space = " " * (size - width(cell))
    return space + cell if right else cell + space
