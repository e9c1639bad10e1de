"""Filters as Chroma has them keep the rows that Chroma keeps, where that is installed."""

import random
import warnings
from typing import Any

import numpy as np
import pytest
from filter_columns import values_of
from votive._store.filter import predicates
from votive._store.filter.column_index import IndexBudget
from votive._store.table.column import Column
from votive._store.table.column_type import ColumnType

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    chromadb = pytest.importorskip("chromadb")

ROWS = 60
VALUES: dict[str, list[Any]] = {
    "year": [2020, 2021, 2022, -1],
    "score": [0.5, 1.0, -2.25],
    "topic": ["a", "b", "ab", "é"],
    "open": [True, False],
    "tags": [["a"], ["b", "ab"], ["é"]],
}
TYPES = {"year": "int64", "score": "float64", "topic": "str", "open": "bool", "tags": "json"}
# What Chroma keeps rows without a value for, and votive does not.
NEGATIVE = ("$ne", "$nin", "$not_contains")


def random_filter(choose: random.Random, depth: int = 0) -> dict[str, Any]:
    """A filter that Chroma accepts: one key in each dict."""
    if depth < 3 and choose.random() < 0.5:
        parts = [random_filter(choose, depth + 1) for _ in range(choose.randint(2, 3))]
        return {choose.choice(["$and", "$or"]): parts}
    name = choose.choice(list(VALUES))
    if name == "tags":
        return {name: {choose.choice(["$contains", "$not_contains"]): choose.choice(["a", "b", "é", "c"])}}
    value = choose.choice(VALUES[name])
    operators = ["$eq", "$ne", "$in", "$nin", ""] + ["$gt", "$gte", "$lt", "$lte"] * (name in ("year", "score"))
    operator = choose.choice(operators)
    if operator in ("$in", "$nin"):
        return {name: {operator: choose.sample(VALUES[name], choose.randint(1, 2))}}
    return {name: {operator: value} if operator else value}


def with_nulls(filter: dict[str, Any]) -> dict[str, Any]:
    """A filter that keeps what Chroma keeps: rows without a value, too, where it says what a value is not."""
    [(name, asked)] = filter.items()
    if name in ("$and", "$or"):
        return {name: [with_nulls(part) for part in asked]}
    if isinstance(asked, dict) and any(operator in NEGATIVE for operator in asked):
        return {"$or": [filter, {name: {"$exists": False}}]}
    return filter


def test_filters_of_chroma_keep_the_same_rows() -> None:
    choose = random.Random(3)
    rows = [
        {name: choose.choice(values) for name, values in VALUES.items() if choose.random() < 0.8} for _ in range(ROWS)
    ]
    texts = [f"text {choose.choice(['apple', 'Apple', 'pear'])} {row}" for row in range(ROWS)]
    collection = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False)).create_collection("filters")
    collection.add(
        ids=[str(row) for row in range(ROWS)],
        embeddings=np.eye(2, dtype=np.float32)[np.zeros(ROWS, int)],
        metadatas=[row or None for row in rows],
        documents=texts,
    )
    columns = {
        name: Column(ColumnType(type), (values_of(type, [row.get(name) for row in rows]),))
        for name, type in TYPES.items()
    }
    columns["text"] = Column(ColumnType("str"), (values_of("str", texts),))

    def kept(filter: dict[str, Any]) -> list[int]:
        return np.flatnonzero(predicates.mask(filter, columns, ROWS, IndexBudget(0))).tolist()

    for _ in range(300):
        filter = random_filter(choose)
        expected = sorted(map(int, collection.get(where=filter)["ids"]))
        assert kept(with_nulls(filter)) == expected, filter
    for asked in ({"$contains": "apple"}, {"$not_contains": "apple"}, {"$contains": "7"}):
        assert kept({"text": asked}) == sorted(map(int, collection.get(where_document=asked)["ids"]))
