"""Filters as dicts: which rows of columns they keep.

Logic has three values, as SQL's: a predicate on a null does not hold, nor does its opposite. `parse` leaves no `$not`
but at predicates, so that a row is kept or not, and nulls need nothing beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from votive._hints import did_you_mean
from votive._store.filter.chunk_bins import is_comparison
from votive._store.filter.column_index import IndexBudget, evaluate
from votive._store.filter.column_predicates import JointTest, Test
from votive._store.filter.filter_expression import Conjunction, Expression, Predicate, parse
from votive._store.filter.predicate_binding import test_of
from votive._store.table.column import Column
from votive._store.table.column_type import JSON, NULL
from votive._store.table.column_values import Bools, Rows

# Where parts before it leave less than one row of so many to a part, it looks at these alone.
MIN_ROWS_PER_LEFT = 16


def mask(given: Mapping[Any, Any], columns: Mapping[str, Column], rows: int, budget: IndexBudget) -> Bools:
    """The rows that a filter keeps, by number `[rows]`.

    Args:
        given: see `filter_expression.parse`.
        columns: metadata, "id", and "text" where there are texts, of `rows` values each.
        rows: how many there are.
        budget: memory for indexes that make the next filters faster.

    Raises:
        KeyError: there is no such column.
        TypeError: an operator does not compare values of the column with its operand.
        ValueError: it is no filter: see `filter_expression.parse`; or an operand is no date or no text.
        CorruptStoreError: values are in a file that is damaged.
    """
    try:
        # All of it is checked before any of it is evaluated.
        return _bind(parse(given), columns, budget).evaluate(rows, None)
    except RecursionError:
        raise ValueError("filter: filters or values within one another are too deep for the stack") from None


class _BoundPredicate:
    """A predicate and the column that it is about."""

    def __init__(self, column: Column, test: Test, budget: IndexBudget) -> None:
        self.column = column
        self.test = test
        self._budget = budget

    @property
    def cost(self) -> int:
        return self.test.cost

    def joined(self, others: Iterable[_BoundPredicate]) -> _BoundPredicate:
        """Itself and others about the same column, as one."""
        return _BoundPredicate(self.column, JointTest([self.test, *(other.test for other in others)]), self._budget)

    def evaluate(self, rows: int, among: Rows | None) -> Bools:
        column = self.column.verified()
        if among is not None:
            return column.reading(lambda: self.test(column.take(among)))
        return column.reading(self._of_all)

    def _of_all(self) -> Bools:
        parts = [evaluate(chunk, self.test, self._budget) for chunk in self.column.chunks]
        found = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.bool_), *parts])
        for patch in self.column.patches:
            found[patch.rows] = self.test(patch.values)
        return found


class _BoundJunction:
    """Parts of which all are to hold, or any."""

    def __init__(self, is_conjunction: bool, parts: Iterable[_Bound]) -> None:
        self._is_conjunction = is_conjunction
        self._parts = sorted(_joined(parts) if is_conjunction else parts, key=lambda part: part.cost)

    @property
    def cost(self) -> int:
        return max((part.cost for part in self._parts), default=0)

    def evaluate(self, rows: int, among: Rows | None) -> Bools:
        if not self._parts:
            return np.full(rows if among is None else len(among), self._is_conjunction)
        found = self._parts[0].evaluate(rows, among)
        for part in self._parts[1:]:
            # To find the rows that a part decides on takes longer than to compare numbers of all.
            places = self._places_left(found) if part.cost else None
            if places is not None:
                found[places] = part.evaluate(rows, places if among is None else among[places])
            elif self._is_conjunction:
                found &= part.evaluate(rows, among)
            else:
                found |= part.evaluate(rows, among)
        return found

    def _places_left(self, found: Bools) -> Rows | None:
        """Places that the parts so far leave to the others; None where they are many."""
        kept = np.count_nonzero(found)
        left = kept if self._is_conjunction else len(found) - kept
        return np.flatnonzero(found == self._is_conjunction) if left * MIN_ROWS_PER_LEFT < len(found) else None


def _joined(parts: Iterable[_Bound]) -> list[_Bound]:
    """Parts of a conjunction, of which comparisons of the same column, as with the ends of a range, are one."""
    found: list[_Bound] = []
    same: dict[int, list[_BoundPredicate]] = {}
    for part in parts:
        if isinstance(part, _BoundPredicate) and is_comparison(part.test):
            same.setdefault(id(part.column), []).append(part)
        else:
            found.append(part)
    return [*found, *(first.joined(others) if others else first for first, *others in same.values())]


_Bound: TypeAlias = _BoundPredicate | _BoundJunction


def _bind(expression: Expression, columns: Mapping[str, Column], budget: IndexBudget) -> _Bound:
    if isinstance(expression, Predicate):
        name, path = _resolve(expression.column, columns)
        column = columns[name]
        return _BoundPredicate(column, test_of(expression, column.type, path), budget)
    return _BoundJunction(
        isinstance(expression, Conjunction), [_bind(part, columns, budget) for part in expression.parts]
    )


def _resolve(name: str, columns: Mapping[str, Column]) -> tuple[str, tuple[str, ...]]:
    """The column that a name is of, and the path within its dicts."""
    if name in columns:
        return name, ()
    keys = name.split(".")
    for count in range(len(keys) - 1, 0, -1):
        column = ".".join(keys[:count])
        if column in columns:
            if columns[column].type in (JSON, NULL):
                return column, tuple(keys[count:])
            held = columns[column].type
            raise KeyError(f"filter: no column {name!r}, and column {column!r} holds {held}, no dicts to look into")
    raise KeyError(f"filter: no column {name!r}; there are {list(columns)}{did_you_mean(name, columns)}")
