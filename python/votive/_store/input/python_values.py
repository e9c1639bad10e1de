"""Columns of Python objects, in the type that holds all of them."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from votive._store.input.json_values import from_lists_and_dicts
from votive._store.input.value_kinds import ACCEPTED, Label, is_array, kind_of, shown
from votive._store.table.column_type import BYTES, NULL, ColumnType, first_inexact
from votive._store.table.column_values import Bools, ColumnValues

# Classes of values, and the kind of each.
Classes = dict[type, str]

_INT64_MIN, _INT64_MAX, _UINT64_MAX = -(2**63), 2**63 - 1, 2**64 - 1
_NUMBERS = {"int", "float"}
_TIMES = {"datetime", "date"}
_NONE = type(None)
_EPOCH = datetime.date(1970, 1, 1)


def from_objects(values: Sequence[Any], label: Label, *, nan_is_null: bool = False) -> ColumnValues:
    """Values of one kind, or null: see `value_kinds.kind_of`.

    Args:
        values: one for each row.
        label: what messages call them.
        nan_is_null: whether a float that is no number is null among others than numbers, as pandas has it.

    Raises:
        TypeError: a value is of no kind that is accepted, or of another than those before it.
        ValueError: no type holds all of the values; the message says where.
    """
    classes = _classes(values, label)
    if any(is_array(cls) for cls in classes if cls is not _NONE and classes[cls] != "null"):
        # What is an array of no dimension is the value in it.
        values = [_element(value) for value in values]
        classes = _classes(values, label)
    kinds = set(classes.values())
    if nan_is_null and "float" in kinds and not kinds <= {*_NUMBERS, "null"}:
        values = [None if value != value else value for value in _without_missing(values, classes)]
        classes = _classes(values, label)
    values = _without_missing(values, classes)
    classes = {cls: kind for cls, kind in classes.items() if kind != "null"}
    kinds = set(classes.values())
    if not kinds:
        return ColumnValues.nulls(NULL, len(values))
    if kinds == {"str"}:
        return from_strings(_plain_strings(values, classes), label)
    if kinds == {"bytes"}:
        return ColumnValues.of_bytes(BYTES, values)
    if kinds == {"list or dict"}:
        return from_lists_and_dicts(values, label)
    if kinds == {"bool"}:
        valid, held = _filled(values, False)
        return ColumnValues(ColumnType("bool"), np.array(held, np.bool_), None, valid)
    if kinds <= _NUMBERS:
        return _numbers(values, classes, label)
    if kinds <= _TIMES:
        return _times(values, classes, label)
    _refuse_mixture(values, classes, label)


def from_strings(values: Sequence[str | None], label: Label) -> ColumnValues:
    """Plain str, or None for null.

    Raises:
        ValueError: one holds a lone surrogate; the message says which.
    """
    try:
        return ColumnValues.of_strings(values)
    except UnicodeEncodeError:
        for row, value in enumerate(values):
            if value is not None and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError(f"{label.row(row)}: holds a lone surrogate, which is no text") from None
        raise


def _classes(values: Sequence[Any], label: Label) -> Classes:
    """The classes of values and their kinds."""
    found: Classes = {}
    for cls in set(map(type, values)):
        kind = kind_of(cls)
        if kind is None:
            row = next(row for row, value in enumerate(values) if kind_of(type(value)) is None)
            raise TypeError(f"{label.row(row)}: expected {ACCEPTED}, found {type(values[row]).__name__}")
        found[cls] = kind
    return found


def _without_missing(values: Sequence[Any], classes: Classes) -> Sequence[Any]:
    """The same with None for every null."""
    missing = {cls for cls, kind in classes.items() if kind == "null" and cls is not _NONE}
    return [None if type(value) in missing else value for value in values] if missing else values


def _element(value: Any) -> Any:
    if kind_of(type(value)) == "null" or not is_array(type(value)):
        return value
    array = np.ma.asanyarray(value)
    return array if array.ndim else array[()]


def _plain_strings(values: Sequence[Any], classes: Classes) -> Sequence[str | None]:
    if set(classes) == {str}:
        return values
    # A class of its own may have other methods.
    return [
        value if value is None else str(value) if isinstance(value, uuid.UUID) else str.__str__(value)
        for value in values
    ]


def _filled(values: Sequence[Any], placeholder: Any) -> tuple[Bools | None, Sequence[Any]]:
    """Where there are values, None for everywhere; and the values, with another in place of None."""
    if None not in values:
        return None, values
    valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
    return valid, [placeholder if value is None else value for value in values]


def _numbers(values: Sequence[Any], classes: Classes, label: Label) -> ColumnValues:
    valid, held = _filled(values, 0)
    kinds = set(classes.values())
    dtype = None
    if all(issubclass(cls, np.generic) for cls in classes):
        dtype = np.dtype(np.result_type(*(np.dtype(cls) for cls in classes)).name)
    if kinds == {"int"}:
        if dtype is None or dtype.kind == "f":  # of int64 and uint64 NumPy makes floats
            held = held if set(classes) == {int} else [int(value) for value in held]
            return _integers(held, valid, label)
    else:
        dtype = dtype or np.dtype(np.float64)
        if "int" in kinds:
            _refuse_inexact(held, dtype, label)
    return ColumnValues(ColumnType(dtype.name), np.array(held, dtype), None, valid)


def _integers(values: Sequence[int], valid: Bools | None, label: Label) -> ColumnValues:
    """Integers of 64 bits, unsigned where one needs it."""
    try:
        return ColumnValues(ColumnType("int64"), np.array(values, np.int64), None, valid)
    except OverflowError:
        pass
    for row, value in enumerate(values):
        if not _INT64_MIN <= value <= _UINT64_MAX:
            raise ValueError(f"{label.row(row)}: expected an int of 64 bits, found {shown(value)}; str holds any")
    if min(values) < 0:
        row = next(row for row, value in enumerate(values) if value > _INT64_MAX)
        raise ValueError(
            f"{label.row(row)}: {values[row]} is beyond int64, and the column has negative ints, which uint64 has not; "
            f"expected all of them in one of both"
        )
    return ColumnValues(ColumnType("uint64"), np.array(values, np.uint64), None, valid)


def _refuse_inexact(values: Sequence[Any], dtype: np.dtype[Any], label: Label) -> None:
    """Accepts integers that a type of floats holds."""
    for row, value in enumerate(values):
        if isinstance(value, float | np.floating):
            continue
        number = int(value)
        try:
            is_exact = int(dtype.type(number)) == number
        except (OverflowError, ValueError):
            is_exact = False
        if not is_exact:
            raise ValueError(
                f"{label.row(row)}: the column has floats, and {dtype} does not hold {shown(number)}; expected ints "
                f"alone, or floats"
            )


def _times(values: Sequence[Any], classes: Classes, label: Label) -> ColumnValues:
    """Points in time in UTC, in the coarsest unit that holds all: days of dates, microseconds of datetimes."""
    if set(classes.values()) == {"date"}:
        valid, held = _filled(values, _EPOCH)
        days = np.fromiter(map(datetime.date.toordinal, held), np.int64, len(held)) - _EPOCH.toordinal()
        return from_times(days.view("M8[D]"), valid)
    if set(classes) == {datetime.datetime} and {value.tzinfo for value in values if value is not None} == {None}:
        return from_times(np.array(values, "M8[us]"))
    stamps = []
    naive = aware = None
    for row, value in enumerate(values):
        stamp = value
        if isinstance(value, np.datetime64):
            stamp = None if np.isnat(value) else value
        elif isinstance(value, datetime.datetime):
            if value.tzinfo is not None and value.utcoffset() is not None:
                aware = row if aware is None else aware
                stamps.append(_in_utc(value, label, row))
                continue
            stamp = value.to_datetime64() if hasattr(value, "to_datetime64") else value.replace(tzinfo=None)
        if stamp is not None and naive is None:
            naive = row
        stamps.append(stamp)
    if naive is not None and aware is not None:
        row = max(naive, aware)
        found, others = ("no", "have one") if row == naive else ("a", "have none")
        raise ValueError(
            f"{label.row(row)}: a point in time with {found} time zone, and those before it {others}; expected all of "
            "them with one, or none"
        )
    if naive is None and aware is None:  # of NumPy, all of them NaT
        return ColumnValues.nulls(NULL, len(values))
    if not any(isinstance(stamp, np.datetime64) for stamp in stamps):
        return from_times(np.array(stamps, "M8[us]"))
    return from_times(_in_one_unit(stamps, label))


def from_times(data: NDArray[np.datetime64], valid: Bools | None = None) -> ColumnValues:
    """Points in time of any unit, of which NaT are null, and those that are not valid."""
    if valid is not None:
        data[~valid] = np.datetime64("NaT")
    is_null = np.isnat(data)
    if np.datetime_data(data.dtype)[0] == "generic":  # of which only NaT is a point in time
        return ColumnValues.nulls(NULL, len(data))
    return ColumnValues(ColumnType(data.dtype.name), data, None, ~is_null if is_null.any() else None)


def _in_utc(value: datetime.datetime, label: Label, row: int) -> Any:
    if hasattr(value, "to_datetime64"):  # of pandas, which has other units
        return value.to_datetime64()
    try:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f"{label.row(row)}: {value} is before the year 1 or after 9999 in UTC") from None


def _in_one_unit(stamps: list[Any], label: Label) -> NDArray[np.datetime64]:
    """Points in time of several units in one that holds all."""
    units = [stamp.dtype if isinstance(stamp, np.datetime64) else _unit(stamp) for stamp in stamps]
    present = set(units) - {None}
    try:
        dtype = np.result_type(*present)
        found = np.full(len(stamps), "NaT", dtype)
        for unit in present:
            rows = [row for row, own in enumerate(units) if own == unit]
            part = np.array([stamps[row] for row in rows], unit)
            wrong = first_inexact(part, ColumnType(dtype.name))
            if wrong is not None:
                raise ValueError(f"{label.row(rows[wrong])}: {dtype} does not hold {part[wrong]}; give all in one unit")
            found[rows] = part
    except OverflowError:
        names = ", ".join(sorted(map(str, present)))
        raise ValueError(f"{label.column}: no unit holds points in time of all of {names}; give all in one") from None
    return found


def _unit(stamp: Any) -> np.dtype[Any] | None:
    if stamp is None:
        return None
    return np.dtype("M8[us]" if isinstance(stamp, datetime.datetime) else "M8[D]")


def _refuse_mixture(values: Sequence[Any], classes: Classes, label: Label) -> NoReturn:
    kinds = [classes.get(type(value)) for value in values]
    first = next(row for row, kind in enumerate(kinds) if kind is not None)
    same = next((group for group in (_NUMBERS, _TIMES) if kinds[first] in group), {kinds[first]})
    row = next(row for row, kind in enumerate(kinds) if kind is not None and kind not in same)
    hint = ""
    if "float" in (kinds[first], kinds[row]):
        other = values[row] if kinds[row] == "float" else values[first]
        hint = "; a missing value is None, not NaN" if other != other else ""
    raise TypeError(
        f"{label.row(row)}: expected {kinds[first]} or None, as {label.row(first)}, found {type(values[row]).__name__}"
        f"{hint}"
    )
