"""Filters as dicts, as MongoDB and Chroma have them: read into a tree of predicates on columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

JUNCTIONS = ("$and", "$or")
# Those that say the opposite of another.
OPPOSITES = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
COMPARISONS = ("$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$exists", "$contains")
OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$contains", "$not_contains", "$not")

# Filters within filters. Each takes a few frames of Python's stack, of which callers have used some.
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Predicate:
    """What is asked of the values of one column.

    Attributes:
        column: its name, or a path into the dicts of a column.
        written: the operator as the filter has it.
        operator: the one of `COMPARISONS` that it is, or is the opposite of.
        operand: what values are compared with.
        is_negated: whether the opposite is asked for: of a value, never of a null.
    """

    column: str
    written: str
    operator: str
    operand: Any
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Conjunction:
    """What holds where all parts hold; everywhere where there are none."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """What holds where any part holds; nowhere where there are none."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = Predicate | Conjunction | Disjunction


def parse(given: Mapping[Any, Any]) -> Expression:
    """The tree of a filter.

    `$not` is in none of its nodes: each predicate below one is negated instead, and `$and` and `$or` are exchanged.

    Raises:
        TypeError: a part is of another type than its operator asks for; the message says which.
        ValueError: an operator is unknown, or misplaced; `$and` or `$or` has no filters; there are too many within one
            another.
    """
    return _filter(given, False, 0)


def _filter(given: Mapping[Any, Any], negated: bool, depth: int) -> Expression:
    _check_depth(depth)
    parts: list[Expression] = []
    for name, value in given.items():
        if not isinstance(name, str):
            raise TypeError(f"filter: expected names of columns, found {name!r}")
        if name in JUNCTIONS:
            found = [_filter(part, negated, depth + 1) for part in _filters(name, value)]
            parts.append(_join(found, (name == "$and") != negated))
        elif name == "$not":
            if not isinstance(value, Mapping):
                raise TypeError(f"filter: $not: expected a filter, found {type(value).__name__}")
            parts.append(_filter(value, not negated, depth + 1))
        elif name.startswith("$"):
            hint = f'; it stands within a column\'s: {{"column": {{{name!r}: ...}}}}' if name in OPERATORS else ""
            raise ValueError(f"filter: no operator {name!r} between columns; there are $and, $or and $not{hint}")
        else:
            parts.append(_column(name, value, negated, depth + 1))
    return _join(parts, not negated)


def _filters(operator: str, value: Any) -> list[Mapping[Any, Any]]:
    """The filters that `$and` or `$or` joins."""
    if isinstance(value, Mapping | str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"filter: {operator}: expected a list of filters, found {type(value).__name__}")
    filters = list(value)
    if not filters:
        raise ValueError(f"filter: {operator}: expected one filter or more, found an empty list")
    for place, part in enumerate(filters):
        if not isinstance(part, Mapping):
            raise TypeError(f"filter: {operator}[{place}]: expected a filter, found {type(part).__name__}")
    return filters


def _join(parts: list[Expression], is_conjunction: bool) -> Expression:
    if len(parts) == 1:
        return parts[0]
    return Conjunction(tuple(parts)) if is_conjunction else Disjunction(tuple(parts))


def _column(name: str, value: Any, negated: bool, depth: int) -> Expression:
    """What is asked of a column: a value to be equal to, or operators."""
    if _has_operators(name, value):
        return _operators(name, value, negated, depth)
    return Predicate(name, "$eq", "$eq", value, negated)


def _has_operators(name: str, value: Any) -> bool:
    """Whether it is a dict of operators, which a value that is a dict is not."""
    if not isinstance(value, Mapping):
        return False
    operators = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if operators and len(operators) < len(value):
        others = [key for key in value if key not in operators]
        raise ValueError(f"filter: column {name!r}: expected operators or a value, found both: {operators}, {others}")
    return bool(operators)


def _operators(name: str, given: Mapping[str, Any], negated: bool, depth: int) -> Expression:
    _check_depth(depth)
    parts: list[Expression] = []
    for operator, operand in given.items():
        if operator == "$not":
            if not _has_operators(name, operand):
                found = "an empty dict" if operand == {} else type(operand).__name__
                raise TypeError(f"filter: column {name!r}, $not: expected a dict of operators, found {found}")
            parts.append(_operators(name, operand, not negated, depth + 1))
        elif operator in OPPOSITES:
            parts.append(Predicate(name, operator, OPPOSITES[operator], operand, not negated))
        elif operator in COMPARISONS:
            parts.append(Predicate(name, operator, operator, operand, negated))
        else:
            raise ValueError(f"filter: column {name!r}: no operator {operator!r}; there are {', '.join(OPERATORS)}")
    return _join(parts, not negated)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"filter: expected at most {MAX_DEPTH} filters within one another")
