"""Tables of text for terminals, and of HTML for notebooks."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import zip_longest

_ELLIPSIS = "…"
_GAP = "  "

# Characters of a cell of HTML: what is longer would be most of the page.
_HTML_CELL = 500

# Numbers, with a unit or not: these columns are aligned to the right.
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?(%|[A-Za-zµ]{1,3}(/s)?))?|-|")

# Colours and the font's size are those of the page, dark or light.
_STYLE = "color:inherit;background:transparent;"


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """A table of lines, without one at its end; columns of numbers are aligned to the right.

    Args:
        header: the names of the columns; () for none.
        rows: cells. Line breaks and tabs become spaces, and what a terminal would obey is shown as an escape.
        width: the columns that a line may take. Where it would take more, the widest columns are cut, and end with "…".
            None for the terminal's, or 80 where there is none.
    """
    import shutil

    lines = [[_printable(cell) for cell in row] for row in rows]
    table = [list(header), *lines] if header else lines
    columns = list(zip_longest(*table, fillvalue=""))
    room = shutil.get_terminal_size((80, 24)).columns if width is None else width
    widths = _fitted([max(map(_width, column)) for column in columns], room - len(_GAP) * (len(columns) - 1))
    right = _are_numbers(lines, len(columns))
    shown = (map(_padded, row, widths, right) for row in table)
    return "\n".join(_GAP.join(cells).rstrip() for cells in shown)


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table for `_repr_html_`. All text in it is escaped; lines of the caption are lines there.

    Args:
        header: the names of the columns; () for none, and then the first cell of each row is its heading.
        rows: cells; what is longer than 500 characters is cut.
        caption: what stands above it.
    """
    lines = [list(row) for row in rows]
    right = _are_numbers(lines, max(map(len, [header, *lines])))
    parts = [f'<table style="{_STYLE}">']
    if caption:
        shown = "<br>".join(html.escape(line) for line in caption.splitlines())
        parts.append(f'<caption style="{_STYLE}text-align:left;caption-side:top">{shown}</caption>')
    if header:
        parts.append(f"<thead><tr>{''.join(map(_html_cell, header, right, ['th'] * len(header)))}</tr></thead>")
    parts.append("<tbody>")
    for row in lines:
        kinds = ["td" if header or place else "th" for place in range(len(row))]
        parts.append(f"<tr>{''.join(map(_html_cell, row, right, kinds))}</tr>")
    return "".join([*parts, "</tbody></table>"])


def _are_numbers(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """Of each column, whether all of its cells are numbers, dashes or empty."""
    return [all(_NUMBER.fullmatch(cell) for row in rows for cell in row[place : place + 1]) for place in range(columns)]


def _html_cell(cell: str, right: bool, kind: str) -> str:
    shown = cell if len(cell) <= _HTML_CELL else cell[: _HTML_CELL - 1] + _ELLIPSIS
    # Notebooks align all cells to the right.
    return f'<{kind} style="text-align:{"right" if right else "left"}">{html.escape(shown)}</{kind}>'


def _printable(cell: str) -> str:
    if cell.isprintable():
        return cell
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else repr(letter)[1:-1] for letter in cell
    )


def _width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


def _letter_width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _fitted(widths: list[int], room: int) -> list[int]:
    """The widths of columns, of which the widest are narrowed until all together take no more than `room`."""
    fitted = list(widths)
    while sum(fitted) > room and max(fitted) > 1:
        widest = max(fitted)
        cut = [place for place, size in enumerate(fitted) if size == widest]
        following = max((size for size in fitted if size < widest), default=1)
        excess = -(-(sum(fitted) - room) // len(cut))
        for place in cut:
            fitted[place] = max(following, widest - excess, 1)
    return fitted


def _padded(cell: str, size: int, right: bool) -> str:
    if _width(cell) > size:
        taken, end = 0, 0
        while taken + _letter_width(cell[end]) < size:
            taken += _letter_width(cell[end])
            end += 1
        cell = cell[:end] + _ELLIPSIS
    space = " " * (size - _width(cell))
    return space + cell if right else cell + space
