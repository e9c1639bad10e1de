"""Indexes of columns: filters keep the same rows with them as without; and when they are built."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from filter_columns import NUMBER_TYPES, TYPES, elements, operands, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from votive import _core
from votive._store.filter import column_index, predicates
from votive._store.filter.column_index import IndexBudget, drop_indexes, index_bytes
from votive._store.table.column import Column
from votive._store.table.column_type import ColumnType

ROWS = 20_000
UNLIMITED = float("inf")


def random_words(random: np.random.Generator, distinct: int, nulls: float = 0.0) -> list[Any]:
    """Words that begin alike, of which some are far more frequent than others."""
    words = [f"https://a.example/{'x' * (i % 7)}{i * 7919 % 1000:x}" for i in range(distinct)] + ["", "é", "\U0001f600"]
    places = np.minimum(random.geometric(min(1.0, 5 / distinct), ROWS), len(words)) - 1
    return [None if random.random() < nulls else words[place] for place in places]


def kept(filter: Any, column: Column, budget: float) -> np.ndarray:
    return predicates.mask(filter, {"c": column}, column.rows, IndexBudget(budget))


def check(column: Column, filters: list[Any]) -> None:
    """Compares what filters keep with and without indexes."""
    expected = []
    for filter in filters:
        drop_indexes(column)
        expected.append(kept(filter, column, 0))
    assert index_bytes(column) == 0
    drop_indexes(column)
    for _ in range(column_index.MIN_COMPARISONS):
        kept(filters[0], column, UNLIMITED)
    for filter, rows in zip(filters, expected, strict=True):
        np.testing.assert_array_equal(kept(filter, column, UNLIMITED), rows, err_msg=str(filter))


def comparisons(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += [{"c": {operator: value}} for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")]
        found.append({"c": {"$not": {"$gt": value}}})
    return [*found, {"c": {"$in": values}}, {"c": {"$nin": values[1:]}}, {"c": {"$in": []}}, {"c": {"$nin": []}}]


@pytest.mark.parametrize("distinct", [1, 50, 250, 252, 260, 2000, 15_000])
@pytest.mark.parametrize("type", ["str", "bytes"])
def test_texts(distinct: int, type: str) -> None:
    random = np.random.default_rng(distinct)
    values = random_words(random, distinct, nulls=0.1)
    encode: Callable[[str], Any] = str.encode if type == "bytes" else str
    values = [None if value is None else encode(value) for value in values]
    column = Column(ColumnType(type), (values_of(type, values),))
    asked = [value for value in values[:9] if value is not None]
    asked += [encode(text) for text in ("", "https", "https://a.example/", "https://a.example/x1", "z", "\U0010ffff")]
    parts = [{"c": {operator: value}} for value in asked for operator in ("$contains", "$not_contains")]
    check(column, [*comparisons(asked), *parts, {"c": {"$exists": True}}, {"c": {"$exists": False}}])
    assert index_bytes(column) > ROWS


@pytest.mark.parametrize("type", [*NUMBER_TYPES, "datetime64[s]"])
def test_numbers(type: str) -> None:
    random = np.random.default_rng(5)
    for distinct in (3, 200, 10**6):
        numbers = random.integers(0, distinct, ROWS)
        limit = np.iinfo(type).max if type in ("int8", "uint16") else 10**6
        data: Any = np.minimum(numbers, limit)
        if type.startswith("float"):
            data = (data / 70).astype(type)
            data[::50] = np.nan
            data[1::500] = -np.inf
        data = data.astype(type)
        if type.startswith("datetime"):
            data[::50] = "NaT"
        values = values_of(type, [None if row % 10 == 3 else value for row, value in enumerate(data)])
        column = Column(ColumnType(type), (values,))
        asked = [value for value in data[2:9].tolist() if value == value and value is not None]
        if type.startswith("datetime"):
            asked += ["1969-01-01", "3000-01-01", np.datetime64(10**9 + 1, "ns")]
        else:
            asked += [-(10**30), 10**30, 2.5, -np.inf, np.nan]
        check(column, comparisons(asked))


def test_lists_and_dicts() -> None:
    tags = [[f"t{row % 20}", row % 3] if row % 11 else None for row in range(ROWS)]
    column = Column(ColumnType("json"), (values_of("json", tags),))
    filters = [
        {"c": {operator: value}} for operator in ("$contains", "$not_contains") for value in ("t7", 2, 2.0, True)
    ]
    check(column, [*filters, {"c": ["t7", 1]}, {"c": {"$ne": ["t7", 1]}}])
    assert index_bytes(column) > ROWS
    dicts = [{"a": None if row % 5 else row % 40, "b": {"c": row % 3 == 0}} for row in range(ROWS)]
    column = Column(
        ColumnType("json"), (values_of("json", [value if row % 7 else None for row, value in enumerate(dicts)]),)
    )
    filters = [
        {"c.a": {"$gt": 5}},
        {"c.a": {"$not": {"$gt": 5}}},
        {"c.a": {"$exists": True}},
        {"c.a": {"$exists": False}},
    ]
    check(column, [*filters, {"c.b.c": True}, {"c.b.c": {"$ne": True}}, {"c.b": {"$exists": False}}, {"c.x": 1}])


def test_values_that_a_sample_lacks_get_bins_of_their_own() -> None:
    words = ["b"] * ROWS
    for place, word in enumerate(("a", "bb", "c", "b\0")):
        words[4099 * (place + 1) - 3] = word
    column = Column(ColumnType("str"), (values_of("str", words),))
    for word in ("a", "bb", "b", "c", "", "b\0"):
        for _ in range(column_index.MIN_COMPARISONS):
            assert kept({"c": word}, column, UNLIMITED).tolist() == [other == word for other in words]
    index = column.chunks[0].index
    assert index is not None
    assert index.bins is not None
    assert index.bins.is_single[index.bins.counts[: len(index.bins.is_single)] > 0].all()


def test_an_index_is_built_at_the_fourth_comparison_within_the_budget() -> None:
    random = np.random.default_rng(1)
    column = Column(ColumnType("str"), (values_of("str", random_words(random, 100)),))
    filter = {"c": {"$gt": "https://a.example/x"}}
    expected = kept(filter, column, 0)
    budget = IndexBudget(ROWS // 2)
    for _ in range(9):
        np.testing.assert_array_equal(predicates.mask(filter, {"c": column}, ROWS, budget), expected)
        assert index_bytes(column) == 0
    assert budget.left == ROWS // 2
    drop_indexes(column)
    budget = IndexBudget(10**6)
    for count in range(1, 6):
        np.testing.assert_array_equal(predicates.mask(filter, {"c": column}, ROWS, budget), expected)
        assert (index_bytes(column) > 0) == (count >= column_index.MIN_COMPARISONS)
    assert index_bytes(column) == 10**6 - budget.left
    # What is appended has an index of its own, and what is changed is tested by itself.
    more = column.appended(values_of("str", ["z"]), column.type).patched(
        np.array([3]), values_of("str", [None]), column.type
    )
    assert more.chunks[0] is column.chunks[0]
    expected[3] = False
    assert kept(filter, more, 0).tolist() == [*expected, True]


def test_long_texts_and_short_columns_have_no_index() -> None:
    for values in (["text " * 60] * ROWS, ["a"] * 1000):
        column = Column(ColumnType("str"), (values_of("str", values),))
        for _ in range(9):
            assert kept({"c": {"$contains": "a"}}, column, UNLIMITED).sum() == values.count("a")
            assert kept({"c": "a"}, column, UNLIMITED).sum() == values.count("a")
        assert index_bytes(column) == 0


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_values_of_any_type(data: st.DataObject) -> None:
    type = data.draw(st.sampled_from([type for type in TYPES if type != "json"]))
    some = data.draw(st.lists(st.none() | elements(type), min_size=1, max_size=8))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    values = values_of(type, [some[place] for place in random.integers(0, len(some), ROWS)])
    column = Column(ColumnType(type), (values,))
    check(column, comparisons(data.draw(st.lists(operands(type), min_size=1, max_size=4))))


def test_the_core_refuses_what_are_no_bins() -> None:
    offsets, data = np.array([0, 1, 2]), np.frombuffer(b"ab", np.uint8)
    hostile = [[0, 5, 2], [-1, 0, 1], [0, 2, 1], [2**62, 2**62, 2**63 - 1]]
    for bad in map(np.array, hostile):
        rows = np.arange(2)
        for call in (
            lambda bad=bad: _core.compare_bytes("less", bad, data, b"a"),
            lambda bad=bad: _core.contain_bytes(bad, data, b"a"),
            lambda bad=bad: _core.are_bytes_in(bad, data, offsets, data),
            lambda bad=bad: _core.are_bytes_in(offsets, data, bad, data),
            lambda bad=bad, rows=rows: _core.take_bytes(bad, data, rows),
            lambda bad=bad: _core.bin_bytes(bad, data, offsets, data),
            lambda bad=bad: _core.bin_bytes(offsets, data, bad, data),
        ):
            with pytest.raises(ValueError, match=r"offsets: value [01] goes from .* of 2 bytes"):
                call()
    for rows in ([2], [-1]):
        with pytest.raises(ValueError, match=f"rows: {rows[0]} is not one of 2 values"):
            _core.take_bytes(offsets, data, np.array(rows))
    with pytest.raises(ValueError, match="expected one more than values"):
        _core.compare_bytes("equal", np.empty(0, np.int64), data, b"a")
    with pytest.raises(ValueError, match="comparison"):
        _core.compare_bytes("above", offsets, data, b"a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="offsets: expected a contiguous array"):
        _core.contain_bytes(np.arange(6)[::2], data, b"a")
    numbers = np.arange(4.0)
    with pytest.raises(TypeError, match="values: expected an array of"):
        _core.bin_numbers(numbers.astype(np.int8), numbers)
    with pytest.raises(TypeError, match="bounds: expected an array of the type of the values"):
        _core.bin_numbers(numbers, numbers.astype(np.float32))
    for bounds in ([], [1.0, 1.0], [np.nan], np.arange(254.0)):
        if len(bounds) != 1:
            with pytest.raises(ValueError, match="bounds: "):
                _core.bin_numbers(numbers, np.array(bounds, np.float64))
    with pytest.raises(ValueError, match="selected: expected 256 numbers, found 3"):
        _core.select_codes(np.zeros(3, np.uint8), np.zeros(3, np.uint8))
