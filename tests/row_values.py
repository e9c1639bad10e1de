"""Rows for tests that compare a store with a dict of them: what columns may hold, and which rows a filter keeps."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
from votive import EmbeddingStore

# Values of one row by the names of their columns; what it lacks is null.
Row = Mapping[str, Any]

_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)

# What there is in each column, besides None.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": _WORDS | st.sampled_from(["long " * 20, "a\0", ""]),
    "integer": st.integers(-4, 4) | st.sampled_from([2**40, -(2**63)]),
    "unsigned": st.integers(0, 3) | st.sampled_from([2**63, 2**64 - 1]),
    # Integers, to which floats come later, or which come to floats.
    "number": st.one_of(st.integers(-4, 4), st.sampled_from([0.5, -2.5, 1e300, 2**53, float("inf")])),
    "flag": st.booleans(),
    "name": _WORDS | st.sampled_from(["x" * 90, "東京"]),
    "raw": st.binary(max_size=4),
    "time": st.datetimes(datetime.datetime(1960, 1, 1), datetime.datetime(1960, 1, 2)),
    "tags": st.lists(st.none() | st.integers(0, 3) | _WORDS, max_size=3),
    "author": st.dictionaries(st.sampled_from(["age", "at"]), st.integers(0, 3) | _WORDS.map(lambda word: [word])),
}
METADATA = [name for name in VALUES if name != "text"]
_ORDERED = ["integer", "unsigned", "number", "name", "time", "text"]

records = st.fixed_dictionaries({}, optional={name: st.none() | VALUES[name] for name in METADATA})
texts = st.none() | VALUES["text"]


@st.composite
def predicates(draw: st.DrawFn, names: Sequence[str]) -> dict[str, Any]:
    """Filters that ask for a value in one of some columns."""
    name = draw(st.sampled_from(names))
    if draw(st.integers(0, 4)) == 0:
        return {name: {"$exists": draw(st.booleans())}}
    if name == "tags":
        return {name: {draw(st.sampled_from(["$contains", "$not_contains"])): draw(st.integers(0, 3) | _WORDS)}}
    if name == "author":
        return {"author.age": {draw(st.sampled_from(["$eq", "$ne"])): draw(st.integers(0, 3))}}
    operators = ["$eq", "$ne", "$in", "$nin"]
    operators += ["$gt", "$gte", "$lt", "$lte"] * (name in _ORDERED)
    operators += ["$contains", "$not_contains"] * (name in ("text", "name"))
    operator = draw(st.sampled_from(operators))
    if operator in ("$in", "$nin"):
        return {name: {operator: draw(st.lists(VALUES[name], max_size=3))}}
    return {name: {operator: draw(VALUES[name])}}


def filters(names: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Filters as dicts that ask for what is in some columns."""
    return st.recursive(
        predicates(names),
        lambda parts: st.one_of(
            st.builds(lambda both: {"$and": both}, st.lists(parts, min_size=1, max_size=2)),
            st.builds(lambda either: {"$or": either}, st.lists(parts, min_size=1, max_size=2)),
            st.builds(lambda part: {"$not": part}, parts),
        ),
        max_leaves=3,
    )


def keeps(given: Mapping[str, Any], row: Row) -> bool:
    """Whether a filter keeps a row."""
    return _holds(given, row) is True


def _holds(given: Mapping[str, Any], row: Row) -> bool | None:
    """None where it asks for a null."""
    [(name, asked)] = given.items()
    if name == "$and":
        found = [_holds(part, row) for part in asked]
        return False if False in found else None if None in found else True
    if name == "$or":
        found = [_holds(part, row) for part in asked]
        return True if True in found else None if None in found else False
    if name == "$not":
        part = _holds(asked, row)
        return None if part is None else not part
    value: Any = row.get(name)
    if name == "author.age":
        value = (row.get("author") or {}).get("age")
    [(operator, operand)] = asked.items()
    if operator == "$exists":
        return (value is not None) == operand
    return None if value is None else _compares(operator, value, operand)


def _compares(operator: str, value: Any, operand: Any) -> bool:
    answers = {
        "$eq": lambda: value == operand,
        "$ne": lambda: value != operand,
        "$in": lambda: value in operand,
        "$nin": lambda: value not in operand,
        "$gt": lambda: value > operand,
        "$gte": lambda: value >= operand,
        "$lt": lambda: value < operand,
        "$lte": lambda: value <= operand,
        "$contains": lambda: operand in value,
        "$not_contains": lambda: operand not in value,
    }
    return bool(answers[operator]())


def known_columns(store: EmbeddingStore) -> list[str]:
    """The columns that a filter may name."""
    return [name for name in VALUES if name in store.metadata or (name == "text" and store.texts is not None)]


def assert_holds(store: EmbeddingStore, rows: Mapping[Any, Row]) -> None:
    """The store holds these rows, in this order."""
    ids = list(rows)
    assert (len(store), store.count()) == (len(rows), len(rows))
    assert store.ids.tolist() == list(store) == ids
    known = known_columns(store)
    every = store.metadata | ({} if store.texts is None else {"text": np.array([*store.texts, None], object)[:-1]})
    assert set(every) == set(known)
    backwards = store.get(ids[::-1], columns=known)
    for name in VALUES:
        expected = [row.get(name) for row in rows.values()]
        if name in every:
            assert every[name].tolist() == expected, name
            assert backwards[name].tolist() == expected[::-1], name
        else:
            assert not any(value is not None for value in expected), name
    if ids:
        assert store.get().tolist() == [row["vector"] for row in rows.values()]
        assert store.get(ids[::-1]).tolist() == [row["vector"] for row in rows.values()][::-1]
