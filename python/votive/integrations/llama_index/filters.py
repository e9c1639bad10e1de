"""LlamaIndex's filters of metadata as those of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.vector_stores.types import (  # type: ignore[import-not-found, unused-ignore]
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from votive.integrations._rows import column_name

_OPERATORS = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$eq",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$in",
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.TEXT_MATCH: "$contains",
}
_NEGATIONS = (FilterOperator.NE, FilterOperator.NIN)
_JOINING = {FilterOperator.ANY: "$or", FilterOperator.ALL: "$and"}
# By the type of a column, what is empty in it besides null.
_EMPTY: dict[str, Any] = {"str": "", "json": []}


def expression(
    filters: MetadataFilters | None, types: Mapping[str, str], is_negated: bool = False
) -> dict[str, Any] | None:
    """The expression of a store that keeps what filters keep; None for all rows.

    A row without a value is kept by negations: `!=`, `nin` and the condition `not`, as LlamaIndex has it.

    Args:
        filters: None for all rows.
        types: of the store's columns, by name.
        is_negated: whether it is to keep the other rows.

    Raises:
        ValueError: an operator is not known to a store.
    """
    if filters is None or not filters.filters:
        return None
    condition = filters.condition or FilterCondition.AND
    # None of them is the same as the opposite of each.
    is_none = condition == FilterCondition.NOT
    parts = []
    for part in filters.filters:
        if isinstance(part, MetadataFilters):
            found = expression(part, types, is_negated != is_none)
        else:
            found = _predicate(part, types, is_negated != is_none)
        if found is not None:
            parts.append(found)
    if not parts:
        return None
    return {"$or" if (condition == FilterCondition.OR) != is_negated else "$and": parts}


def _predicate(given: MetadataFilter, types: Mapping[str, str], is_negated: bool) -> dict[str, Any]:
    column, operator = column_name(given.key), given.operator
    if operator == FilterOperator.IS_EMPTY:
        nothing: list[dict[str, Any]] = [{column: {"$exists": False}}]
        if types.get(column) in _EMPTY:
            nothing.append({column: {"$eq": _EMPTY[types[column]]}})
        return {"$not": {"$or": nothing}} if is_negated else {"$or": nothing}
    if operator in _JOINING:
        kept: dict[str, Any] = {_JOINING[operator]: [{column: {"$contains": value}} for value in given.value or ()]}
    elif operator in _OPERATORS:
        kept = {column: {_OPERATORS[operator]: given.value}}
    else:
        known = [str(one.value) for one in (*_OPERATORS, *_JOINING, FilterOperator.IS_EMPTY)]
        raise ValueError(f"filters: {given.key!r}: expected one of {known}, found {operator.value!r}")
    if is_negated != (operator in _NEGATIONS):
        return {"$or": [{"$not": kept}, {column: {"$exists": False}}]}
    return kept
