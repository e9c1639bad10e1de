"""Predicates on lists and dicts, and on what is within dicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import numpy as np

from votive import _core
from votive._arguments import check_text
from votive._store.table.column_values import Bools, ColumnValues

# Rows that are decoded at once.
_DECODED_ROWS = 1 << 16

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda value, operand: value > operand,
    "$gte": lambda value, operand: value >= operand,
    "$lt": lambda value, operand: value < operand,
    "$lte": lambda value, operand: value <= operand,
}


class JsonPredicate:
    """A predicate on the values of a column of lists and dicts.

    Values of different types are unequal, and neither is below the other: 1 is no True, and no "1".

    Attributes:
        path: keys of dicts within dicts, to what is compared; none for the whole value.
        operator: see `filter_expression.COMPARISONS`.
        operands: as JSON has them; several for `$in`.
    """

    cost = 3

    def __init__(self, path: tuple[str, ...], operator: str, operands: list[Any], is_negated: bool) -> None:
        self.path = path
        self.operator = operator
        self.operands = operands
        self.is_negated = is_negated

    def __call__(self, values: ColumnValues) -> Bools:
        """Which values it holds for; for nulls it does not."""
        found = np.zeros(values.rows, np.bool_)
        candidates = None if self.is_negated else self._candidates(values)
        for start in range(0, values.rows if candidates is None else len(candidates), _DECODED_ROWS):
            part = slice(start, start + _DECODED_ROWS)
            rows = part if candidates is None else candidates[part]
            decoded = (values[part] if candidates is None else values.take(candidates[part])).to_list()
            found[rows] = [self._holds(value) for value in decoded]
        return found

    def _candidates(self, values: ColumnValues) -> Any:
        """Rows that may hold a str, which is within their bytes unless these have escapes; None for all."""
        if self.operator not in ("$eq", "$in", "$contains") or not all(isinstance(text, str) for text in self.operands):
            return None
        if len(self.operands) != 1 or values.offsets is None:
            return None
        [text] = self.operands
        encoded = json.dumps(text, ensure_ascii=False).encode()
        # A part of a str has no quotes.
        encoded = encoded[1:-1] if self.operator == "$contains" and self.path else encoded
        found = _core.contain_bytes(values.offsets, values.data, encoded)
        return np.flatnonzero(found | _core.contain_bytes(values.offsets, values.data, b"\\"))

    def _holds(self, value: Any) -> bool:
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        return value is not None and self._matches(value) != self.is_negated

    def _matches(self, value: Any) -> bool:
        if self.operator == "$exists":
            return True
        if self.operator in ("$eq", "$in"):
            return any(_is_same(value, operand) for operand in self.operands)
        [operand] = self.operands
        if self.operator == "$contains":
            if isinstance(value, str):
                return isinstance(operand, str) and operand in value
            return isinstance(value, list) and any(_is_same(element, operand) for element in value)
        if isinstance(value, str) != isinstance(operand, str) or isinstance(value, bool | list | dict):
            return False
        return _ORDERS[self.operator](value, operand)


def _is_same(left: Any, right: Any) -> bool:
    """Whether two values of JSON are equal, none of which is a bool where the other is a number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    return bool(left == right)


def to_json_operand(operand: Any) -> Any:
    """An operand as JSON has it: a UUID as str, tuples as lists, NumPy's numbers as Python's.

    Raises:
        TypeError: JSON has no such value.
        ValueError: a str is no text.
    """
    if isinstance(operand, np.generic):
        operand = operand.item()
    if operand is None or isinstance(operand, bool | int | float):
        return operand
    if isinstance(operand, UUID):
        return str(operand)
    if isinstance(operand, str):
        return check_text("a str", operand)
    if isinstance(operand, list | tuple):
        return [to_json_operand(element) for element in operand]
    if isinstance(operand, Mapping) and all(isinstance(key, str) for key in operand):
        return {key: to_json_operand(value) for key, value in operand.items()}
    raise TypeError(f"expected what JSON holds, found {type(operand).__name__}")
