"""Filters as dicts: compared with plain Python, row by row; what is refused, and what the messages say."""

import sys
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from core_stores import empty
from core_stores import rows as numbered_rows
from filter_columns import NUMBER_TYPES, TYPES, columns, holds, operands, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from votive._store.filter import filters as filters_of_store
from votive._store.filter import predicates
from votive._store.filter.column_index import IndexBudget
from votive._store.filter.mask_cache import MaskCache
from votive._store.table.column import Column
from votive._store.table.column_type import ColumnType

ORDERED = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]


def column(name: str, *values: Any) -> Column:
    return Column(ColumnType(name), (values_of(name, list(values)),))


def kept(filter: Any, **given: Column) -> list[int]:
    """Numbers of the rows that a filter keeps."""
    rows = next(iter(given.values())).rows
    found = predicates.mask(filter, given, rows, IndexBudget(0))
    assert found.dtype == np.bool_
    assert found.shape == (rows,)
    return np.flatnonzero(found).tolist()


@st.composite
def asked_of(draw: st.DrawFn, type: str, depth: int = 0) -> Any:
    """A value, or operators, that a column of a type may be asked for."""
    usual = operands(type if type != "null" else "int64")
    choice = draw(st.integers(0, 5))
    if choice == 0:
        return draw(usual)
    asked: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()) and type != "json":
            asked[draw(st.sampled_from(ORDERED))] = draw(usual)
        else:
            operator = draw(
                st.sampled_from(["$eq", "$ne", "$in", "$nin", "$exists", "$contains", "$not_contains", "$not"])
            )
            if operator in ("$in", "$nin"):
                asked[operator] = draw(st.lists(usual, max_size=12))
            elif operator == "$exists":
                asked[operator] = draw(st.booleans())
            elif operator == "$not":
                if depth < 3:
                    inner = draw(asked_of(type, depth + 1))
                    is_value = not isinstance(inner, dict) or not any(key.startswith("$") for key in inner)
                    asked[operator] = {"$eq": inner} if is_value else inner
            elif operator in ("$eq", "$ne") or type in ("str", "bytes"):
                asked[operator] = draw(usual)
            elif type == "json":
                asked[operator] = draw(
                    st.sampled_from(["a", 1, 1.0, True, False, 1.5, "b\\", ["a"], {"a": 1}, "", "é"])
                )
    return asked or {"$exists": True}


def asked_within() -> st.SearchStrategy[Any]:
    """What values within dicts may be asked for."""
    scalars = st.sampled_from(["ab", "b", "", "é", 7, 7.0, 1, True, 1.5, -1, ["ab"]])
    ordered = st.sampled_from(["ab", "", 7, 6.5, 2**70])
    return (
        scalars
        | st.fixed_dictionaries({"$in": st.lists(scalars, max_size=3)})
        | st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered).map(lambda pair: dict([pair]))
        | st.tuples(st.sampled_from(["$ne", "$contains", "$not_contains"]), scalars).map(lambda pair: dict([pair]))
        | st.fixed_dictionaries({"$exists": st.booleans()})
    )


@st.composite
def filters(draw: st.DrawFn, types: dict[str, str], depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0 if depth else 1, 2))):
        choice = draw(st.integers(0, 4))
        if choice < 3 or depth > 3:
            name = draw(st.sampled_from([*types, "json.a", "json.a.b", "json.c"]))
            found[name] = draw(asked_of(types[name]) if name in types else asked_within())
        elif choice == 3:
            parts = draw(st.lists(filters(types, depth + 1), min_size=1, max_size=3))
            found[draw(st.sampled_from(["$and", "$or"]))] = parts
        else:
            found["$not"] = draw(filters(types, depth + 1))
    return found


@settings(deadline=None, max_examples=250)
@given(st.data())
def test_rows_are_kept_as_plain_python_keeps_them(data: st.DataObject) -> None:
    rows = data.draw(st.sampled_from([0, 1, 5, 12]))
    types = {name: data.draw(st.sampled_from([*TYPES, "null"])) for name in ("a", "b")} | {"json": "json"}
    drawn = {name: data.draw(columns(rows, type)) for name, type in types.items()}
    given = {name: column for name, (column, _) in drawn.items()}
    for _ in range(4):
        filter = data.draw(filters(types))
        expected = [
            row for row in range(rows) if holds(filter, {name: (types[name], drawn[name][1][row]) for name in types})
        ]
        assert np.flatnonzero(predicates.mask(filter, given, rows, IndexBudget(0))).tolist() == expected


@pytest.mark.parametrize("type", NUMBER_TYPES)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_numbers_are_compared_exactly(type: str, data: st.DataObject) -> None:
    numbers, values = data.draw(columns(12, type))
    for operator in ORDERED:
        operand = data.draw(operands(type))
        expected = [row for row in range(12) if holds({"n": {operator: operand}}, {"n": (type, values[row])})]
        assert kept({"n": {operator: operand}}, n=numbers) == expected


def test_numbers_between_the_numbers_of_a_type() -> None:
    whole = column("uint64", 2**63, 2**63 + 1, 2**63 + 2, 0, None)
    assert kept({"n": 2**63 + 1}, n=whole) == [1]
    assert kept({"n": {"$gt": float(2**63)}}, n=whole) == [1, 2]
    assert kept({"n": {"$lt": -1}}, n=whole) == []
    assert kept({"n": {"$gte": -(10**400)}}, n=whole) == [0, 1, 2, 3]
    assert kept({"n": {"$gt": 2.5}}, n=column("int64", 2, 3)) == [1]
    assert kept({"n": {"$ne": 2.5}}, n=column("int64", 2, None)) == [0]
    assert kept({"n": {"$gte": 0.1}}, n=column("float32", 0.1, np.nextafter(np.float32(0.1), np.float32(0)))) == [0]
    assert kept({"n": 0.1}, n=column("float32", 0.1)) == []
    assert kept({"n": np.float32(0.1)}, n=column("float32", 0.1)) == [0]
    assert kept({"n": {"$lt": 2**63 + 1}}, n=column("float64", float(2**63), np.inf, -np.inf)) == [0, 2]
    assert kept({"n": {"$lte": 10**400}}, n=column("float64", np.inf, 1e308, np.nan)) == [1]


def test_nan_is_a_value_that_is_unequal_to_all() -> None:
    numbers = column("float64", np.nan, 1.0, None)
    assert kept({"n": {"$ne": 1.0}}, n=numbers) == [0]
    assert kept({"n": {"$not": {"$gt": 0}}}, n=numbers) == [0]
    assert kept({"n": {"$in": [np.nan, 1]}}, n=numbers) == [1]
    assert kept({"n": np.nan}, n=numbers) == []
    assert kept({"n": {"$not": {"$lte": np.nan}}}, n=numbers) == [0, 1]
    assert kept({"n": {"$exists": True}}, n=numbers) == [0, 1]


def test_nulls_are_seen_by_exists_alone() -> None:
    for name, value in [("int8", 1), ("str", "a"), ("json", [1]), ("bool", True), ("datetime64[s]", "2020-01-01")]:
        given = column(name, value, None)
        for operator in ("$eq", "$ne"):
            for filter in (
                {"c": {operator: value}},
                {"c": {"$not": {operator: value}}},
                {"$not": {"c": {operator: value}}},
            ):
                assert 1 not in kept(filter, c=given)
        assert kept({"c": {"$nin": []}}, c=given) == [0]
        assert kept({"$not": {"c": {"$in": []}}}, c=given) == [0]
        assert kept({"c": {"$exists": False}}, c=given) == [1]
        assert kept({"$not": {"c": {"$exists": False}}}, c=given) == [0]


def test_points_in_time() -> None:
    days = column("datetime64[ms]", "2020-05-17T00:00", "2020-05-17T00:00:00.001", None, "1969-12-31")
    assert kept({"day": {"$lte": "2020-05-17"}}, day=days) == [0, 3]
    assert kept({"day": "2020-05-17T02:00+02:00"}, day=days) == [0]
    assert kept({"day": pd.Timestamp("2020-05-17 02:00", tz="Europe/Paris")}, day=days) == [0]
    assert kept({"day": {"$gt": np.datetime64("2020-05-17T00:00:00.000999999", "ns")}}, day=days) == [1]
    assert kept({"day": {"$lt": datetime(2500, 1, 1)}}, day=column("datetime64[ns]", "2200-01-01")) == [0]
    assert kept({"day": {"$gt": "0001-01-01"}}, day=column("datetime64[as]", "1970-01-01T00:00:01")) == [0]
    for text in ("yesterday", "20200517", "2020-05-17Z", "2020-13-01", "NaT", "", "2020-05-17T00:00:00+99:99:99"):
        with pytest.raises(ValueError, match=r"^filter: column 'day', \$eq: "):
            kept({"day": text}, day=days)


def test_texts_and_ids() -> None:
    id = UUID("12345678-1234-5678-1234-567812345678")
    texts = column("str", "Ångström", "a", None, str(id), "")
    assert kept({"text": {"$contains": "ngs"}}, text=texts) == [0]
    assert kept({"text": {"$contains": ""}}, text=texts) == [0, 1, 3, 4]
    assert kept({"text": {"$not_contains": "a"}}, text=texts) == [0, 3, 4]
    assert kept({"text": {"$in": [id, "a"]}}, text=texts) == [1, 3]
    assert kept({"text": id}, text=texts) == [3]
    assert kept({"text": {"$gt": "z"}}, text=texts) == [0]


def test_lists_and_dicts() -> None:
    tags = column("json", ["a", "b"], ["\\a"], [], None, {"a": "x"}, [1, True])
    assert kept({"tags": {"$contains": "a"}}, tags=tags) == [0]
    assert kept({"tags": {"$contains": "\\a"}}, tags=tags) == [1]
    assert kept({"tags": {"$contains": 1.0}}, tags=tags) == [5]
    assert kept({"tags": {"$not_contains": "a"}}, tags=tags) == [1, 2, 4, 5]
    assert kept({"tags": []}, tags=tags) == [2]
    assert kept({"tags": {"$in": [("a", "b"), {"a": "x"}]}}, tags=tags) == [0, 4]
    assert kept({"tags.a": "x"}, tags=tags) == [4]
    assert kept({"tags.a": {"$exists": False}}, tags=tags) == [0, 1, 2, 3, 5]
    other = column("int8", *range(6))
    assert kept({"tags.a": 3}, **{"tags": tags, "tags.a": other}) == [3]


def test_a_part_that_few_rows_are_left_for_looks_at_these_alone() -> None:
    rows = 4000
    numbers = column("int64", *[row if row % 7 else None for row in range(rows)])
    texts = column("str", *[f"text {row % 50}" if row % 11 else None for row in range(rows)])
    tags = column("json", *[[row % 5] for row in range(rows)])
    filter = {"n": {"$lt": 200}, "$or": [{"text": {"$contains": "9"}}, {"tags": {"$contains": 3}}]}
    expected = [row for row in range(200) if row % 7 and ((row % 11 and "9" in f"text {row % 50}") or row % 5 == 3)]
    assert kept(filter, n=numbers, text=texts, tags=tags) == expected
    for negated in ({"$not": filter}, {"$or": [{"n": {"$gte": 100}}, {"tags": {"$contains": 1}}]}):
        types = {"n": "int64", "text": "str", "tags": "json"}
        given = {"n": numbers, "text": texts, "tags": tags}
        values = {name: column.slice(0, rows).to_list() for name, column in given.items()}
        assert kept(negated, **given) == [
            row for row in range(rows) if holds(negated, {name: (types[name], values[name][row]) for name in types})
        ]


def test_an_empty_filter_keeps_all_rows() -> None:
    numbers = column("int8", 1, None)
    assert kept({}, n=numbers) == [0, 1]
    assert kept({"$not": {}}, n=numbers) == []
    assert kept({"$and": [{}, {"n": 1}]}, n=numbers) == [0]


COLUMNS = {
    "year": column("int64", 1),
    "topic": column("str", "a"),
    "tags": column("json", ["a"]),
    "open": column("bool", True),
    "day": column("datetime64[D]", "2020-01-01"),
    "raw": column("bytes", b"a"),
    "empty": Column.nulls(1),
}


@pytest.mark.parametrize(
    ("filter", "error", "message"),
    [
        ({"yaer": 1}, KeyError, r"no column 'yaer'; there are \['year', .*\]; did you mean 'year'\?"),
        ({"topic.name": 1}, KeyError, "no column 'topic.name', and column 'topic' holds str, no dicts to look into"),
        ({"year": {"$like": 1}}, ValueError, r"column 'year': no operator '\$like'; there are \$eq, "),
        ({"year": {"$and": [1]}}, ValueError, r"column 'year': no operator '\$and'"),
        ({"$nor": []}, ValueError, r"no operator '\$nor' between columns; there are \$and, \$or and \$not"),
        ({"$gt": 1}, ValueError, r"it stands within a column's"),
        ({"$or": []}, ValueError, r"\$or: expected one filter or more, found an empty list"),
        ({"$or": {}}, TypeError, r"\$or: expected a list of filters, found dict"),
        ({"$and": [{}, 1]}, TypeError, r"\$and\[1\]: expected a filter, found int"),
        ({"$not": [1]}, TypeError, r"\$not: expected a filter, found list"),
        ({"year": {"$not": 1}}, TypeError, r"column 'year', \$not: expected a dict of operators, found int"),
        ({"year": {"$not": {}}}, TypeError, "found an empty dict"),
        ({"year": {"$gt": 1, "x": 2}}, ValueError, r"column 'year': expected operators or a value, found both"),
        ({1: 2}, TypeError, "expected names of columns, found 1"),
        ({"year": "1"}, TypeError, r"column 'year', \$eq: expected a number, as the column holds int64, found str"),
        ({"year": True}, TypeError, "expected a number, .* found bool"),
        ({"year": {"$gt": {}}}, TypeError, "found dict"),
        ({"year": {"$gt": 1j}}, TypeError, "found complex"),
        ({"year": np.array([1])}, TypeError, "found ndarray"),
        ({"year": {"$in": 1}}, TypeError, r"\$in: expected a list of values, found int"),
        ({"topic": {"$in": "ab"}}, TypeError, r"\$in: expected a list of values, found str"),
        ({"year": {"$nin": [1, "2"]}}, TypeError, r"column 'year', \$nin\[1\]: expected a number"),
        (
            {"year": {"$contains": 1}},
            TypeError,
            r"\$contains: looks into str, bytes and lists, and the column holds int64",
        ),
        ({"year": {"$exists": 1}}, TypeError, r"\$exists: expected a bool, found int"),
        ({"year": None}, TypeError, r"nothing is equal to None; \{\"\$exists\": False\} finds rows without a value"),
        ({"empty": {"$in": [None]}}, TypeError, r"\$in\[0\]: nothing is equal to None"),
        ({"year": pd.NA}, TypeError, "nothing is equal to <NA>"),
        ({"day": pd.NaT}, TypeError, "nothing is equal to NaT"),
        ({"day": np.datetime64("NaT")}, TypeError, "nothing is equal to NaT"),
        ({"topic": 1}, TypeError, "expected a str, as the column holds str, found int"),
        ({"topic": "\ud800"}, ValueError, "holds a lone surrogate, which is no text"),
        ({"topic": {"$gt": b"a"}}, TypeError, "found bytes"),
        ({"open": 1}, TypeError, "expected a bool, as the column holds bool, found int"),
        ({"day": 2020}, TypeError, "expected a datetime, a date, a datetime64 or a str of ISO 8601"),
        ({"raw": "a"}, TypeError, "expected bytes, as the column holds bytes, found str"),
        ({"tags": "a"}, TypeError, r"expected a list or dict, .* found str; \$contains looks into lists"),
        ({"tags": {"$gt": []}}, TypeError, "lists and dicts, which the column holds, have no order"),
        ({"tags.a": {"$gt": []}}, TypeError, "expected a number or a str, found list"),
        ({"tags.a": object()}, TypeError, "expected what JSON holds, found object"),
    ],
)
def test_what_is_no_filter_is_refused(filter: Any, error: type[Exception], message: str) -> None:
    for whole in (filter, {"$or": [{"year": 1}, filter]}, {"year": 7, "$not": {"$and": [filter]}}):
        with pytest.raises(error, match=message) as raised:
            predicates.mask(whole, COLUMNS, 1, IndexBudget(0))
        assert "filter: " in str(raised.value)


def test_filters_that_are_too_deep() -> None:
    depth = 200
    filter: dict[str, Any] = {"year": 1}
    asked: dict[str, Any] = {"$eq": 1}
    for _ in range(depth):
        filter, asked = {"$or": [filter]}, {"$not": asked}
    looped: dict[str, Any] = {}
    looped["$and"] = [looped]
    for deep in (filter, {"year": asked}, looped):
        with pytest.raises(ValueError, match="at most 100 filters within one another"):
            predicates.mask(deep, COLUMNS, 1, IndexBudget(0))
    operand: Any = "a"
    for _ in range(5 * sys.getrecursionlimit()):
        operand = [operand]
    with pytest.raises(ValueError, match="too deep"):
        predicates.mask({"tags": operand}, COLUMNS, 1, IndexBudget(0))

    def call_deeper() -> None:
        predicates.mask({"$or": [{"$and": [{"year": 1}]}]}, COLUMNS, 1, IndexBudget(0))
        call_deeper()

    with pytest.raises(ValueError, match="too deep for the stack"):
        call_deeper()


BUDGET: Any = SimpleNamespace(free_bytes=lambda _: 0)


class StoredRows:
    """What filters ask of the contents of a store."""

    def __init__(self, deleted: list[int], **columns: Column) -> None:
        self.masks = MaskCache()
        rows = next(iter(columns.values())).rows
        core, _ = empty().add(numbered_rows(rows), np.arange(rows) * 10, rows, 0)
        self.core = core.without(np.array(deleted, np.int64))
        self.columns = columns

    def __len__(self) -> int:
        return len(self.core)

    def live(self) -> np.ndarray:
        return self.core.live()

    def ids(self) -> Any:
        return self.core.ids()

    def column(self, name: str) -> np.ndarray:
        return self.columns[name].to_numpy(self.live())


def test_dicts_and_functions_of_columns_as_filters_of_a_store() -> None:
    stored: Any = StoredRows(
        [1, 4], year=column("int64", 2020, 2021, None, 2023, 2024, 2019), text=column("str", *"abcabc")
    )

    def rows(filter: Any) -> list[int] | None:
        found = filters_of_store.mask(filter, stored, BUDGET)
        return None if found is None else np.flatnonzero(found).tolist()

    assert rows({}) is None
    assert rows({"year": {"$gte": 2020}}) == [0, 3]
    assert rows({"id": {"$in": [0, 10, 50]}}) == [0, 5]
    assert rows({"id": {"$gt": 20}, "text": {"$ne": "a"}}) == [5]
    # A comparison with a null is masked, and neither true nor false.
    assert rows(lambda columns: columns["year"] != 2020) == [3, 5]
    assert rows(lambda columns: columns["text"] == "a") == [0, 3]
    for filter in ({"yaer": 1}, lambda columns: columns["yaer"] == 1):
        with pytest.raises(KeyError, match=r"no column 'yaer'; there are \['id', 'year', 'text'\]"):
            rows(filter)
