"""Kinds of Python values that columns of metadata are made of, and what messages call them."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Any, NamedTuple

import numpy as np

ACCEPTED = "bool, int, float, str, bytes, datetime, date, UUID, a list, a dict or None"


class Label(NamedTuple):
    """What messages call a column and its rows.

    Attributes:
        column: the whole.
        first: number of its first row; None of a single value, which is called as the whole.
    """

    column: str
    first: int | None = 0

    def row(self, row: int) -> str:
        """One of its rows."""
        return self.column if self.first is None else f"{self.column}[{self.first + row}]"

    def after(self, rows: int) -> Label:
        """The label of the rows after some."""
        return self if self.first is None else Label(self.column, self.first + rows)


def kind_of(type: type) -> str | None:
    """The kind of the values of a class, as messages call it; None of a class whose values no column holds.

    One of "null", "bool", "int", "float", "str", "bytes", "datetime", "date" and "list or dict".
    """
    if is_missing(type):
        return "null"
    # Before integers, which NumPy counts durations among.
    if issubclass(type, enum.Enum | np.timedelta64):
        return None
    if issubclass(type, np.longdouble):
        return "float" if np.dtype(type).itemsize <= 8 else None
    kind = next((kind for classes, kind in _KINDS if issubclass(type, classes)), None)
    return "list or dict" if kind is None and is_array(type) else kind


def is_missing(type: type) -> bool:
    """Whether the values of a class are null: None, a masked element, and what pandas has for missing values."""
    if type in (_NONE, np.ma.core.MaskedConstant):
        return True
    return type.__name__ in ("NAType", "NaTType") and type.__module__.partition(".")[0] == "pandas"


def is_array(type: type) -> bool:
    """Whether NumPy makes an array of the values of a class."""
    return hasattr(type, "__array__") and not issubclass(type, np.generic)


def shown(value: int) -> str:
    """An int as messages show it, however long."""
    return str(value) if value.bit_length() <= 128 else f"an int of {value.bit_length()} bits"


_NONE = type(None)
# In this order: a bool is an int, and a datetime is a date.
_KINDS: tuple[tuple[Any, str], ...] = (
    ((bool, np.bool_), "bool"),
    ((int, np.integer), "int"),
    ((float, np.floating), "float"),
    ((str, uuid.UUID), "str"),
    (bytes, "bytes"),
    ((datetime.datetime, np.datetime64), "datetime"),
    (datetime.date, "date"),
    ((list, tuple, dict), "list or dict"),
)
