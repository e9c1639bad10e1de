"""The terminal: whether there is one, its width and its colours."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

BOLD, DIM, RED, YELLOW, CYAN, RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m"


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
