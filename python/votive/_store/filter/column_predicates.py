"""Tests of the values of a column: for which of them a predicate of a filter holds. It does for no null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._store.filter.json_predicates import JsonPredicate
from votive._store.filter.operands import floor_of
from votive._store.table.column_type import BYTES, NULL
from votive._store.table.column_values import Bools, ColumnValues

MIN_INT64 = np.iinfo(np.int64).min
# Operands that are compared with each value one after the other; more are sorted and searched.
_MAX_COMPARED = 8
_SEARCHED_ROWS = 1 << 18

_ORDERS: dict[str, Any] = {"$gt": np.greater, "$gte": np.greater_equal, "$lt": np.less, "$lte": np.less_equal}
# Of each operator a comparison, and whether it is the opposite.
_BYTE_COMPARISONS: dict[str, tuple[bool, Literal["equal", "less", "less_or_equal"]]] = {
    "$in": (False, "equal"),
    "$lt": (False, "less"),
    "$lte": (False, "less_or_equal"),
    "$gt": (True, "less_or_equal"),
    "$gte": (True, "less"),
}


class Test(Protocol):
    """What tells of values of a column, of any type that they may have in it, for which of them a predicate holds."""

    @property
    def cost(self) -> int:
        """How it compares with other tests by what a value takes."""

    def __call__(self, values: ColumnValues) -> Bools:
        """A boolean for each value."""


class Nothing:
    """Of values of which all are null."""

    cost = 0

    def __call__(self, values: ColumnValues) -> Bools:
        return np.zeros(values.rows, np.bool_)


class Existence:
    """Whether there is a value, or whether there is none.

    Attributes:
        path: keys of dicts within dicts, to what is looked for; none for the whole value.
        expected: whether it should be there.
    """

    def __init__(self, path: tuple[str, ...], expected: bool) -> None:
        self.path = path
        self.expected = expected
        self.cost = 3 if path else 0

    def __call__(self, values: ColumnValues) -> Bools:
        found = JsonPredicate(self.path, "$exists", [], False)(values) if self.path else present(values)
        return found if self.expected else ~found


class NumberTest:
    """Comparison of numbers, booleans or points in time.

    Attributes:
        operator: "$in" for equality, too; else "$gt", "$gte", "$lt" or "$lte".
        operands: exact numbers; points in time as attoseconds from 1970 on.
        is_negated: whether it is the opposite that is to hold.
    """

    cost = 0

    def __init__(self, operator: str, operands: Sequence[int | float], is_negated: bool) -> None:
        self.operator = operator
        self.operands = operands
        self.is_negated = is_negated
        self._in_types: dict[np.dtype[Any], tuple[str, NDArray[Any]]] = {}

    def __call__(self, values: ColumnValues) -> Bools:
        if values.type == NULL:
            return np.zeros(values.rows, np.bool_)
        operator, operands = self.in_type(values.data.dtype)
        found = _compare(numbers_of(values), operator, operands)
        if self.is_negated:
            np.logical_not(found, out=found)
        # NaT is below all others.
        if values.data.dtype.kind == "M" and (self.is_negated or operator in ("$lt", "$lte") or not len(operands)):
            found &= present(values)
        elif values.valid is not None:
            found &= values.valid
        return found

    def in_type(self, dtype: np.dtype[Any]) -> tuple[str, NDArray[Any]]:
        """The same comparison for values of a type: the operator, and operands ascending, as `numbers_of` has them.

        "$in" with no operand holds for no value, and "$gte" or "$lte" with none for each that is not NaN.
        """
        if dtype not in self._in_types:
            self._in_types[dtype] = self._find_in_type(dtype)
        return self._in_types[dtype]

    def _find_in_type(self, dtype: np.dtype[Any]) -> tuple[str, NDArray[Any]]:
        stored = _stored_dtype(dtype)
        # What is NaN is equal to nothing, and nothing is above or below it.
        floors = [floor_of(operand, dtype) for operand in self.operands if operand == operand]
        if self.operator == "$in" or not floors:
            return "$in", np.unique(np.array([floor.number for floor in floors if floor.is_equal], stored))
        [floor] = floors
        if floor.number is None:
            # All are above.
            return ("$gte", np.empty(0, stored)) if self.operator in ("$gt", "$gte") else ("$in", np.empty(0, stored))
        operator = self.operator
        if not floor.is_equal:
            operator = "$gt" if operator in ("$gt", "$gte") else "$lte"
        return operator, np.array([floor.number], stored)


class JointTest:
    """Several comparisons of the same values, of which all are to hold.

    Attributes:
        tests: `NumberTest` or `ByteTest`, one or more.
    """

    def __init__(self, tests: Sequence[Test]) -> None:
        self.tests = tests
        self.cost = max(test.cost for test in tests)

    def __call__(self, values: ColumnValues) -> Bools:
        found = self.tests[0](values)
        for test in self.tests[1:]:
            found &= test(values)
        return found


class ByteTest:
    """Comparison of str or bytes in the order of bytes, which is that of characters; and whether one is in another.

    Attributes:
        operator: "$in" for equality, too; else "$gt", "$gte", "$lt", "$lte" or "$contains".
        operands: as they are stored.
        is_negated: whether it is the opposite that is to hold.
    """

    def __init__(self, operator: str, operands: Sequence[bytes], is_negated: bool) -> None:
        self.operator = operator
        self.operands = operands
        self.is_negated = is_negated
        self.cost = 2 if operator == "$contains" else 1
        self._values = ColumnValues.of_bytes(BYTES, operands) if len(operands) > 1 else None

    def __call__(self, values: ColumnValues) -> Bools:
        if values.offsets is None:
            return np.zeros(values.rows, np.bool_)
        opposite, found = self._compare(values.offsets, values.data)
        if opposite != self.is_negated:
            np.logical_not(found, out=found)
        if values.valid is not None:
            found &= values.valid
        return found

    def _compare(self, offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> tuple[bool, Bools]:
        """Whether the opposite was found, and what."""
        if self.operator == "$in" and len(self.operands) != 1:
            wanted = self._values
            if wanted is None:
                return False, np.zeros(len(offsets) - 1, np.bool_)
            assert wanted.offsets is not None, "bytes have offsets"
            return False, _core.are_bytes_in(offsets, data, wanted.offsets, wanted.data).view(np.bool_)
        [operand] = self.operands
        if self.operator == "$contains":
            return False, _core.contain_bytes(offsets, data, operand).view(np.bool_)
        opposite, comparison = _BYTE_COMPARISONS[self.operator]
        return opposite, _core.compare_bytes(comparison, offsets, data, operand).view(np.bool_)


def present(values: ColumnValues) -> Bools:
    """Which values are no nulls."""
    if values.type == NULL:
        return np.zeros(values.rows, np.bool_)
    if values.data.dtype.kind == "M":
        found = numbers_of(values) != MIN_INT64
        return found if values.valid is None else found & values.valid
    return np.ones(values.rows, np.bool_) if values.valid is None else np.array(values.valid)


def numbers_of(values: ColumnValues) -> NDArray[Any]:
    """Values of a type that is not variable; points in time as int64, of which NaT is the least, booleans as uint8."""
    data = values.data
    return np.asarray(data).view(_stored_dtype(data.dtype))


def _stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype({"M": np.int64, "b": np.uint8}.get(dtype.kind, dtype))


def _compare(data: NDArray[Any], operator: str, operands: NDArray[Any]) -> Bools:
    if operator == "$in":
        return _is_in(data, operands)
    if not len(operands):
        # All but NaN.
        return data == data
    compared: Bools = _ORDERS[operator](data, operands[0])
    return compared


def _is_in(data: NDArray[Any], operands: NDArray[Any]) -> Bools:
    found = np.zeros(len(data), np.bool_)
    if len(operands) <= _MAX_COMPARED:
        for operand in operands:
            found |= data == operand
        return found
    for start in range(0, len(data), _SEARCHED_ROWS):
        part = data[start : start + _SEARCHED_ROWS]
        places = np.searchsorted(operands, part)
        # Above all operands; NaN, too.
        places[places == len(operands)] = 0
        found[start : start + _SEARCHED_ROWS] = operands[places] == part
    return found
