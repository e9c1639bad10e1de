"""Lines for people on a terminal: their width, their colours, and what texts may not do to it."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from typing import TextIO

BOLD, DIM, CYAN, RESET = "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sees what goes to `stream`, or types what comes from it."""
    return stream is not None and not stream.closed and stream.isatty()


def has_colors() -> bool:
    """Whether standard output may be coloured: NO_COLOR (no-color.org) and dumb terminals say no."""
    # Consoles of Windows before its Terminal print the codes.
    understands = os.name == "posix" or "WT_SESSION" in os.environ
    allowed = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return is_terminal(sys.stdout) and understands and allowed


def painted(text: str, style: str) -> str:
    """`text` in a style, where standard output has colours."""
    return f"{style}{text}{RESET}" if text and has_colors() else text


def columns() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def one_line(text: str) -> str:
    """`text` with one space for all that separates words."""
    return " ".join(text.split())


def harmless(text: str) -> str:
    """`text` on one line, without the characters that a terminal takes as commands."""
    return "".join("\ufffd" if unicodedata.category(character) == "Cc" else character for character in one_line(text))


def cut(text: str, width: int) -> str:
    """As much of `text` as fits `width` columns, with an ellipsis where that is not all."""
    if len(text) <= width and text.isascii():
        return text
    used = 0
    end = None
    for place, character in enumerate(text):
        used += _columns_of(character)
        if end is None and used > width - 1:
            end = place
        if used > width:
            return text[:end].rstrip() + "…"
    return text


def width_of(text: str) -> int:
    """Columns that `text` takes."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
