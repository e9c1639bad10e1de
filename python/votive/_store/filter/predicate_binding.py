"""What a predicate of a filter tests in a column of a type, or why it tests nothing there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np

from votive._arguments import check_text
from votive._store.filter.column_predicates import ByteTest, Existence, Nothing, NumberTest, Test
from votive._store.filter.filter_expression import Predicate
from votive._store.filter.json_predicates import JsonPredicate, to_json_operand
from votive._store.filter.operands import attoseconds
from votive._store.table.column_type import BYTES, JSON, NULL, STR, ColumnType

_ORDERS = ("$gt", "$gte", "$lt", "$lte")


def test_of(predicate: Predicate, type: ColumnType, path: tuple[str, ...]) -> Test:
    """The test of a predicate in a column.

    Args:
        predicate: as the filter has it.
        type: of the values.
        path: keys of dicts within dicts, to what is compared; none for the whole value.

    Raises:
        TypeError: values of the type are not compared with the operand so; the message says with what they are.
        ValueError: an operand is no date, or no text.
    """
    operator, given, is_negated = predicate.operator, predicate.operand, predicate.is_negated
    label = f"filter: column {predicate.column!r}, {predicate.written}"
    if operator == "$exists":
        if not isinstance(given, bool | np.bool_):
            raise TypeError(f"{label}: expected a bool, found {_describe(given)}")
        return Existence(path, bool(given) != is_negated)
    operands = _read_all(given, type, path, label) if operator == "$in" else [_read(given, type, path, label)]
    if type == NULL:
        return Nothing()
    if type == JSON:
        _check_json(operator, operands, path, label)
        return JsonPredicate(path, operator, operands, is_negated)
    if operator == "$contains" and not type.is_variable:
        raise TypeError(f"{label}: looks into str, bytes and lists, and the column holds {type}")
    operator = "$in" if operator == "$eq" else operator
    if type.is_variable:
        return ByteTest(operator, operands, is_negated)
    return NumberTest(operator, operands, is_negated)


def _read_all(given: Any, type: ColumnType, path: tuple[str, ...], label: str) -> list[Any]:
    """The operands of `$in`."""
    if isinstance(given, str | bytes | bytearray | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"{label}: expected a list of values, found {_describe(given)}")
    if isinstance(given, np.ndarray) and given.ndim != 1:
        raise TypeError(f"{label}: expected a list of values, found an array of shape {given.shape}")
    return [_read(operand, type, path, f"{label}[{place}]") for place, operand in enumerate(given)]


def _read(operand: Any, type: ColumnType, path: tuple[str, ...], label: str) -> Any:
    """An operand as the test of a column compares with it."""
    if _is_null(operand):
        raise TypeError(f'{label}: nothing is equal to {operand}; {{"$exists": False}} finds rows without a value')
    if type == NULL:
        return operand
    try:
        found, expected = _converted(operand, type)
    except (TypeError, ValueError) as error:
        raise error.__class__(f"{label}: {error}") from None
    if found is None:
        hint = "; operators are written with $, as '$gt'" if isinstance(operand, Mapping) else ""
        raise TypeError(f"{label}: expected {expected}, as the column holds {type}, found {_describe(operand)}{hint}")
    return found


def _converted(operand: Any, type: ColumnType) -> tuple[Any, str]:
    """An operand in a type's own terms, None where it has none; and what is expected there."""
    if type == JSON:
        return to_json_operand(operand), ""
    if type == STR:
        if isinstance(operand, UUID):
            operand = str(operand)
        return (check_text("a str", operand).encode() if isinstance(operand, str) else None), "a str"
    if type == BYTES:
        return (bytes(operand) if isinstance(operand, bytes | bytearray | memoryview) else None), "bytes"
    if type.dtype.kind == "b":
        return (int(operand) if isinstance(operand, bool | np.bool_) else None), "a bool"
    if type.dtype.kind == "M":
        found = attoseconds(operand) if _may_be_time(operand) else None
        return found, "a datetime, a date, a datetime64 or a str of ISO 8601"
    return _number(operand), "a number"


def _number(operand: Any) -> int | float | None:
    if isinstance(operand, bool | np.bool_ | np.timedelta64):
        return None
    if isinstance(operand, int | np.integer):
        return int(operand)
    if isinstance(operand, float) or (isinstance(operand, np.floating) and operand.dtype.itemsize <= 8):
        return float(operand)
    return None


def _may_be_time(operand: Any) -> bool:
    return isinstance(operand, str | date | np.datetime64) or hasattr(operand, "to_datetime64")


def _is_null(operand: Any) -> bool:
    """Whether it is None, or what other libraries have for that."""
    if operand is None or isinstance(operand, np.datetime64 | np.timedelta64):
        return operand is None or bool(np.isnat(operand))
    return type(operand).__name__ in ("NAType", "NaTType")


def _check_json(operator: str, operands: list[Any], path: tuple[str, ...], label: str) -> None:
    """Accepts operands that what is in the column may be compared with."""
    if operator in _ORDERS:
        if not path:
            raise TypeError(f"{label}: lists and dicts, which the column holds, have no order")
        [operand] = operands
        if isinstance(operand, bool | list | dict):
            raise TypeError(f"{label}: expected a number or a str, found {_describe(operand)}")
    elif operator != "$contains" and not path:
        for operand in operands:
            if not isinstance(operand, list | dict):
                hint = "$contains looks into lists, and 'column.key' into dicts"
                found = _describe(operand)
                raise TypeError(f"{label}: expected a list or dict, as the column holds them, found {found}; {hint}")


def _describe(operand: Any) -> str:
    return type(operand).__name__
