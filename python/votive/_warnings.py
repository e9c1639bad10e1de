"""Warnings that point at the user's line."""

from __future__ import annotations

import os
import sys

_FOLDER = os.path.join(os.path.dirname(__file__), "")


def caller_stacklevel() -> int:
    """The `stacklevel` for `warnings.warn` in the calling function that names the first caller outside of votive."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOLDER):
        level, frame = level + 1, frame.f_back
    return level
