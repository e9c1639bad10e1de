"""Columns of random values for tests of filters, and a filter evaluated in plain Python, value by value."""

import json
import operator as operators
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import strategies as st
from votive._store.table.column import Column
from votive._store.table.column_type import NULL, ColumnType
from votive._store.table.column_values import ColumnValues, to_json

# Few values, so that many are equal.
TEXTS = ["", "a", "ab", "abab", "b", "é", "aé\x00", "\U0001f600", "z" * 40]
WHOLE = [0, 1, -1, 2, 7, 127, 2**24 + 1, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63 + 1, 2**64 - 1]
FLOATS = [0.0, -0.0, 0.1, 0.5, 1.0, 2.5, -1.5, 1e300, float(2**53), float(2**63), np.inf, -np.inf, np.nan]
JSON_VALUES: list[Any] = [[], ["a"], ["a", 1], [True], [1.5, None, "b\\"], {}, {"a": 1}, {"a": {"b": "ab"}}]
JSON_VALUES += [
    {"a": None},
    {"a": True},
    {"a": ["ab"]},
    {"a": {"b": 7}},
    [["a"], {"a": 1}],
    {"a": {"b": "é"}, "c": 1.5},
]
EPOCH = datetime(1970, 1, 1)
MOMENTS = [
    EPOCH,
    datetime(2020, 5, 17, 8, 30, 0, 250),
    datetime(2020, 5, 17),
    datetime(1969, 12, 31, 23),
    datetime(2500, 1, 1),
]
NUMBER_TYPES = ["int8", "int64", "uint64", "uint16", "float16", "float32", "float64"]
TYPES = [
    *NUMBER_TYPES,
    "bool",
    "str",
    "bytes",
    "json",
    "datetime64[D]",
    "datetime64[ns]",
    "datetime64[M]",
    "datetime64[25s]",
]


def values_of(name: str, values: list[Any]) -> ColumnValues:
    """Values of a type, None for null, as a chunk has them."""
    type = ColumnType(name)
    if type == NULL:
        return ColumnValues.nulls(NULL, len(values))
    if name == "str":
        return ColumnValues.of_strings(values)
    if name == "bytes":
        return ColumnValues.of_bytes(type, values)
    if name == "json":
        return to_json(values)
    valid = np.array([value is not None for value in values], bool)
    if name.startswith("datetime"):
        data = np.array(["NaT" if value is None else value for value in values], name)
        return ColumnValues(type, data, None, None if valid.all() else valid)
    data = np.array([0 if value is None else value for value in values], name)
    return ColumnValues(type, data, None, None if valid.all() else valid)


def elements(name: str) -> st.SearchStrategy[Any]:
    """Values that a column of a type may hold."""
    if name in ("int8", "int64", "uint64", "uint16"):
        range_ = np.iinfo(name)
        return st.sampled_from([value for value in WHOLE if range_.min <= value <= range_.max])
    if name.startswith("float"):
        with np.errstate(over="ignore"):
            return st.sampled_from([float(np.dtype(name).type(value)) for value in FLOATS])
    if name == "bool":
        return st.booleans()
    if name == "bytes":
        return st.sampled_from([text.encode() for text in TEXTS])
    if name == "json":
        return st.sampled_from(JSON_VALUES)
    if name == "str":
        return st.sampled_from(TEXTS)
    latest = datetime(2262, 1, 1) if "ns" in name else datetime(9999, 1, 1)
    return st.sampled_from([np.datetime64(moment).astype(name) for moment in MOMENTS if moment < latest])


def operands(name: str) -> st.SearchStrategy[Any]:
    """What values of a type may be compared with."""
    if name in NUMBER_TYPES:
        scalars = [np.int8(7), np.uint64(2**63 + 1), np.float32(0.1), np.float16(2.5), 10**400, -(10**400), 2**64]
        return st.sampled_from([*WHOLE, *FLOATS, *scalars])
    if name == "bool":
        return st.sampled_from([True, False, np.True_])
    if name == "bytes":
        return st.sampled_from([text.encode() for text in TEXTS] + [b"\xff"])
    if name == "json":
        return st.sampled_from(JSON_VALUES)
    if name == "str":
        return st.sampled_from([*TEXTS, "ba", "B", np.str_("ab")])
    zone = timezone(timedelta(hours=2))
    others: list[Any] = [date(2020, 5, 17), datetime(2020, 5, 17, 2, tzinfo=zone), "2020-05-17T08:30:00.00025Z"]
    others += [
        "2020-05-17 02:00+02:00",
        "2020",
        np.datetime64("2020-05", "M"),
        np.datetime64(1, "ns"),
        np.datetime64(-1, "as"),
    ]
    return st.sampled_from([*MOMENTS, *others])


@st.composite
def columns(draw: st.DrawFn, rows: int, name: str | None = None) -> tuple[Column, list[Any]]:
    """A column in chunks and patches, and its values."""
    name = draw(st.sampled_from([*TYPES, "null"])) if name is None else name
    element = st.none() if name == "null" else st.none() | elements(name)
    values = draw(st.lists(element, min_size=rows, max_size=rows))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
    chunks = []
    for start, stop in zip([0, *cuts], [*cuts, rows], strict=True):
        part = values[start:stop]
        as_null = draw(st.booleans()) and all(value is None for value in part)
        chunk = values_of("null" if as_null else name, part)
        if name not in ("null", "json") and not as_null and draw(st.booleans()):
            # A part of a longer one.
            others = draw(st.lists(element, min_size=1, max_size=3))
            chunk = values_of(name, others + part)[len(others) :]
        chunks.append(chunk)
    column = Column(ColumnType(name), tuple(chunks))
    for _ in range(draw(st.integers(0, 3))):
        changed = np.array(sorted(draw(st.sets(st.integers(0, rows - 1))))) if rows else np.empty(0)
        new = draw(st.lists(element, min_size=len(changed), max_size=len(changed)))
        column = column.patched(changed.astype(np.int64), values_of(name, new), ColumnType(name))
        for row, value in zip(changed.tolist(), new, strict=True):
            values[row] = value
    return column, values


def plain(value: Any) -> Any:
    """A value that Python compares exactly with others of its kind."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, datetime):
        value = value if value.tzinfo is None else value.astimezone(timezone.utc).replace(tzinfo=None)
        return Fraction((value - EPOCH) // timedelta(microseconds=1), 10**6)
    if isinstance(value, date):
        return Fraction((value - EPOCH.date()).days * 86400)
    if isinstance(value, np.datetime64):
        unit, count = np.datetime_data(value.dtype)
        if unit in ("M", "Y"):
            return plain(value.astype("datetime64[D]").item())
        seconds = {"as": Fraction(1, 10**18), "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "s": 1, "D": 86400}
        return int(value.astype(np.int64)) * count * Fraction(seconds[unit])
    return str(value) if isinstance(value, str) else value


def is_same(left: Any, right: Any) -> bool:
    """Whether JSON has the same text for both, but for numbers."""
    number = lambda value: isinstance(value, int | float) and not isinstance(value, bool)  # noqa: E731
    if number(left) and number(right):
        return bool(left == right)
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operators.gt,
    "$gte": operators.ge,
    "$lt": operators.lt,
    "$lte": operators.le,
}


def compares(value: Any, operator: str, operand: Any, name: str) -> bool:
    """Whether a predicate holds for a value that is no null."""
    if operator == "$in":
        return any(compares(value, "$eq", one, name) for one in operand)
    if operator == "$contains":
        if isinstance(value, list):
            return any(is_same(element, operand) for element in value)
        return (
            type(value) is type(plain(operand)) and plain(operand) in value if isinstance(value, str | bytes) else False
        )
    if name == "json" and operator == "$eq":
        return is_same(value, operand)
    if name == "json" and (isinstance(value, bool | list | dict) or isinstance(value, str) != isinstance(operand, str)):
        return False
    if name.startswith("datetime") and isinstance(operand, str):
        operand = {"2020": date(2020, 1, 1), "2020-05-17 02:00+02:00": date(2020, 5, 17)}.get(operand, MOMENTS[1])
    value, operand = plain(value), plain(operand)
    return bool(value == operand) if operator == "$eq" else ORDERS[operator](value, operand)


def holds(given: dict[str, Any], row: dict[str, tuple[str, Any]]) -> bool | None:
    """Whether a filter keeps a row; None where it is unknown, for a null is in question.

    Args:
        given: the filter.
        row: type and value of each column.
    """
    found: list[bool | None] = []
    for name, asked in given.items():
        if name in ("$and", "$or"):
            found.append((conjunction if name == "$and" else disjunction)([holds(part, row) for part in asked]))
        elif name == "$not":
            found.append(opposite(holds(asked, row)))
        else:
            type, value = row[name] if name in row else row[name.split(".")[0]]
            for key in name.split(".")[1:] if name not in row else ():
                value = value.get(key) if isinstance(value, dict) else None
            is_operators = isinstance(asked, dict) and any(key.startswith("$") for key in asked)
            found.append(column_holds(value, asked if is_operators else {"$eq": asked}, type))
    return conjunction(found)


def column_holds(value: Any, asked: dict[str, Any], type: str) -> bool | None:
    found: list[bool | None] = []
    for operator, operand in asked.items():
        if operator == "$exists":
            found.append((value is not None) == operand)
        elif operator == "$not":
            found.append(opposite(column_holds(value, operand, type)))
        elif value is None:
            found.append(None)
        elif operator in ("$ne", "$nin", "$not_contains"):
            positive = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}[operator]
            found.append(not compares(value, positive, operand, type))
        else:
            found.append(compares(value, operator, operand, type))
    return conjunction(found)


def conjunction(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def disjunction(parts: list[bool | None]) -> bool | None:
    return True if True in parts else None if None in parts else False


def opposite(part: bool | None) -> bool | None:
    return None if part is None else not part
