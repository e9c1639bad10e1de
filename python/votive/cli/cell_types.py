"""What the cells of a table are: text, unless all of a column are numbers, or true and false."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

# Neither has leading zeros: those are of numbers that are names, such as postal codes.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}

# The first that all cells of a column are.
_KINDS: dict[str, tuple[Callable[[str], bool], Callable[[str], Any]]] = {
    "boolean": (lambda cell: cell.lower() in _BOOLEANS, lambda cell: _BOOLEANS[cell.lower()]),
    "integer": (lambda cell: _INTEGER.fullmatch(cell) is not None, int),
    "number": (lambda cell: _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell)), float),
}


class CellTypes:
    """The types of the columns of tables by their names, from all of their rows."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts` are columns that stay text."""
        self._texts = frozenset(texts)
        self._kinds: dict[str, list[str]] = {}

    def count(self, row: dict[str, str]) -> None:
        """Looks at a row."""
        for name, cell in row.items():
            kinds = self._kinds.setdefault(name, [] if name in self._texts else list(_KINDS))
            if kinds and cell:
                self._kinds[name] = [kind for kind in kinds if _KINDS[kind][0](cell)]

    def values(self, row: dict[str, str]) -> dict[str, Any]:
        """A row with the values of its cells; an empty one is None."""
        return {name: self._value(name, cell) for name, cell in row.items()}

    def _value(self, name: str, cell: str) -> Any:
        kinds = self._kinds.get(name)
        if not cell:
            return None
        return _KINDS[kinds[0]][1](cell) if kinds else cell
