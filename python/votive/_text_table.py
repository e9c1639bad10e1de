"""Tables of text for a terminal, whatever the texts hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

# Between columns.
_GAP = "  "
# A column narrower than this says nothing; one of metadata does not need more than that.
_LEAST_WIDTH = 12
_MOST_WIDTH = 24

# What has no width of its own, and what turns or breaks the line that it is in.
_ZERO_WIDTH = {"Mn", "Me", "Cf"}
_BREAKING = {"Cc", "Cs", "Zl", "Zp"}
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """A text in which line ends, control characters and marks of direction are spaces, and one stands for many."""
    plain = "".join(
        " " if unicodedata.category(letter) in _BREAKING or letter in _TURNING else letter for letter in text
    )
    return " ".join(plain.split())


def width(text: str) -> int:
    """Columns of a terminal that a text takes: two for wide letters, as of Chinese, and none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(map(_letter_width, text))


def clipped(text: str, most: int) -> str:
    """As much of a text in one line as fits into so many columns, with "…" for what is left out."""
    # Not all of a long one is looked at; marks without a width come with letters that have one.
    start = text[: 8 * most + 64]
    line = one_line(start)
    if len(start) == len(text) and width(line) <= most:
        return line
    kept, columns = [], 1
    for letter in line:
        columns += _letter_width(letter)
        if columns > most:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + "…"


def text_table(cells: Mapping[str, Sequence[str]], widest: str, columns: int) -> str:
    """A table that is no wider than so many columns, where that leaves each column enough to say something.

    Args:
        cells: the columns, by their heads, the most important first.
        widest: head of the column that gets what the others leave.
        columns: of the terminal.

    Returns:
        Lines without an end. Columns for which there is no room are named below the table.
    """
    lines = {
        head: [clipped(head, _MOST_WIDTH), *(clipped(cell, columns) for cell in column)]
        for head, column in cells.items()
    }
    widths = {
        head: max(map(width, column)) if head == widest else min(_MOST_WIDTH, max(map(width, column)))
        for head, column in lines.items()
    }
    shown: list[str] = []
    used = 0
    for head in lines:
        needed = min(widths[head], _LEAST_WIDTH) if head == widest else widths[head]
        if shown and used + len(_GAP) + needed > columns:
            continue
        used += needed + (len(_GAP) if shown else 0)
        shown.append(head)
    if widest in shown:
        widths[widest] = min(widths[widest], min(widths[widest], _LEAST_WIDTH) + max(0, columns - used))
    rows = [
        _GAP.join(_padded(lines[head][row], widths[head]) for head in shown).rstrip()
        for row in range(len(lines[shown[0]]))
    ]
    left_out = [clipped(head, _MOST_WIDTH) for head in lines if head not in shown]
    if left_out:
        rows.append(clipped(f"not shown: {', '.join(left_out)}", max(columns, _LEAST_WIDTH)))
    return "\n".join(rows)


def _padded(cell: str, columns: int) -> str:
    cell = clipped(cell, columns)
    return cell + " " * (columns - width(cell))


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
