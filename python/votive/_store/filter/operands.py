"""What values of a column are compared with, in the type of the column and to the bit.

Algorithm: numbers x of a type are compared with an exact v, which the type need not have, through the greatest number f
of the type that is at most v:

    v = f:  as it is
    v > f:  x > v and x >= v are x > f;  x < v and x <= v are x <= f;  no x is v
    there is no f:  x > v and x >= v hold for all x, and the others for none

Why it is right: no x is between f and v, whichever the type. So 2.5 is compared with integers as 2 is, 2**63 + 1 with
floats as 2**63, and 0.1 with float32 as the number below it, and neither side is ever rounded.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

# Attoseconds of the units that have one length.
_UNITS = {"as": 1, "fs": 10**3, "ps": 10**6, "ns": 10**9, "us": 10**12, "ms": 10**15, "s": 10**18}
_UNITS |= {"m": 60 * 10**18, "h": 3600 * 10**18, "D": 86400 * 10**18, "W": 7 * 86400 * 10**18}
_ISO = re.compile(
    r"(\d{4}(?:-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,18})?)?)?)?)?)?)"
    r"(?: ?(Z|[+-]\d\d(?::?\d\d)?))?",
    re.ASCII,
)
# Days from 1970 that NumPy has calendars for.
_MAX_DAYS = 10**12


class Floor(NamedTuple):
    """The greatest number of a type that is at most a given one.

    Attributes:
        number: as Python has it, of points in time the count of their unit; None where there is none.
        is_equal: whether it is the given one.
    """

    number: int | float | None
    is_equal: bool


def floor_of(operand: int | float, dtype: np.dtype[Any]) -> Floor:
    """The floor of an exact number among the values of a type; of points in time one of attoseconds from 1970 on.

    Args:
        operand: not NaN.
        dtype: of booleans, numbers or points in time.
    """
    if dtype.kind == "M":
        return _time_floor(int(operand), dtype)
    if dtype.kind == "f":
        return _float_floor(operand, dtype)
    if dtype.kind == "b":
        return _integer_floor(operand, 0, 1)
    return _integer_floor(operand, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _integer_floor(operand: int | float, least: int, greatest: int) -> Floor:
    if operand < least:
        return Floor(None, False)
    if operand > greatest:
        return Floor(greatest, False)
    floor = math.floor(operand)
    return Floor(floor, floor == operand)


def _float_floor(operand: int | float, dtype: np.dtype[Any]) -> Floor:
    infinity = dtype.type(math.inf)
    with np.errstate(over="ignore"):
        try:
            near = dtype.type(float(operand))
        except OverflowError:
            near = infinity if operand > 0 else -infinity
        # Python compares a float with an int exactly.
        while float(near) > operand:
            near = np.nextafter(near, -infinity)
        while float(above := np.nextafter(near, infinity)) <= operand and above != near:
            near = above
    return Floor(float(near), float(near) == operand)


def _time_floor(operand: int, dtype: np.dtype[Any]) -> Floor:
    # The least int64 is NaT.
    least, greatest = -(2**63) + 1, 2**63 - 1
    unit, count = np.datetime_data(dtype)
    if unit in _UNITS:
        floor, rest = divmod(operand, _UNITS[unit] * count)
        if floor < least:
            return Floor(None, False)
        return Floor(min(floor, greatest), not rest and floor <= greatest)
    if unit == "generic":
        return Floor(None, False)
    days, rest = divmod(operand, _UNITS["D"])
    if abs(days) > _MAX_DAYS:
        return Floor(None if days < 0 else greatest, False)
    day = np.datetime64(days, "D")
    value = day.astype(dtype)
    return Floor(int(value.astype(np.int64)), not rest and bool(value.astype("datetime64[D]") == day))


def attoseconds(operand: Any) -> int | None:
    """A point in time as a whole number of attoseconds from 1970 on; None where it is none, or a null.

    Args:
        operand: a datetime, of UTC where it has no zone; a date; a `numpy.datetime64` or what has `to_datetime64`, as
            pandas' have; or a str as ISO 8601 has it.

    Raises:
        ValueError: a str is no point in time.
    """
    if isinstance(operand, str):
        return _of_iso(operand)
    if hasattr(operand, "to_datetime64"):
        operand = operand.to_datetime64()
    if isinstance(operand, np.datetime64):
        return _of_datetime64(operand)
    if isinstance(operand, datetime):
        moment = operand.replace(tzinfo=None) - datetime(1970, 1, 1) - (operand.utcoffset() or timedelta(0))
        return moment // timedelta(microseconds=1) * _UNITS["us"]
    if isinstance(operand, date):
        return (operand - date(1970, 1, 1)).days * _UNITS["D"]
    return None


def _of_datetime64(operand: np.datetime64) -> int | None:
    unit, count = np.datetime_data(operand.dtype)
    if np.isnat(operand) or unit == "generic":
        return None
    if unit in _UNITS:
        return int(operand.astype(np.int64)) * _UNITS[unit] * count
    return int(operand.astype("datetime64[D]").astype(np.int64)) * _UNITS["D"]


def _of_iso(text: str) -> int:
    found = _ISO.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no date or time of ISO 8601")
    moment, zone = found.groups()
    # A zone belongs to a time, not to a date.
    if zone is not None and ":" not in moment:
        raise ValueError(f"{text!r} has a zone without hours and minutes")
    minutes = 0
    if zone not in (None, "Z"):
        minutes = int(zone[1:3]) * 60 + (int(zone[-2:]) if len(zone) > 3 else 0)
        minutes = minutes if zone[0] == "+" else -minutes
    seconds = _of_datetime64(np.datetime64(moment.replace(" ", "T")))
    assert seconds is not None, "digits are no NaT"
    return seconds - minutes * _UNITS["m"]
