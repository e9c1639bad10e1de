"""What a terminal shows of a text in one line, and in a cell of a table, whatever the text holds."""

from __future__ import annotations

import unicodedata

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


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
