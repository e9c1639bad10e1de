"""Columns of a store: what users get of them, how they grow and change, and that they stay beside their vectors.

What may be given is in test_metadata_columns.py.
"""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from stores import snapshot
from votive import EmbeddingStore
from votive._store.table.column import Column
from votive._store.table.column_type import BYTES, NULL, STR, ColumnType
from votive._store.table.column_values import ColumnValues, concatenate, to_json

TEXTS = ["", "a", "Grüße", "東京", None, "🕯️" * 40, "x" * 5000, "a\0b\0", "last"]
DAY = datetime.datetime(2024, 1, 1, 12)


def add(store: EmbeddingStore, rows: int, **columns: Any) -> None:
    store.add_embeddings(np.ones((rows, 3)), metadata=columns)


def strings(values: list) -> ColumnValues:
    return ColumnValues.of_strings(values)


def integers(*values: int) -> ColumnValues:
    return ColumnValues(ColumnType("int64"), np.array(values, np.int64))


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ([True, False, None], "?", np.ma.MaskedArray),
        ([1, 2, None], "i8", np.ma.MaskedArray),
        ([1, 2, 3], "i8", np.ndarray),
        (np.array([1, 2, 3], ">u2"), "<u2", np.ndarray),
        ([1.5, float("nan"), None], "f8", np.ma.MaskedArray),
        (["a", None, "long"], "O", np.ndarray),
        ([b"a\0", None, b""], "O", np.ndarray),
        ([[1, 2], [3, 4], [5, 6]], "O", np.ndarray),
        ([{"a": [1]}, None, {}], "O", np.ndarray),
        ([None, None, None], "O", np.ndarray),
        ([DAY, None, DAY], "M8[us]", np.ndarray),
        (np.array(["2024-01-01", "NaT", "2024-01-02"], "M8[D]"), "M8[D]", np.ndarray),
        ([2**64 - 1, 0, 1], "u8", np.ndarray),
    ],
    ids=repr,
)
def test_arrays_of_columns(given: Any, dtype: str, expected: type, tmp_path: Path) -> None:
    store = EmbeddingStore()
    add(store, 3, x=given)
    store.save_to_disk(tmp_path / "store")
    wanted = given.tolist() if isinstance(given, np.ndarray) else given
    for held in (store, EmbeddingStore.open(tmp_path / "store"), EmbeddingStore.open(tmp_path / "store", mmap=False)):
        for found in (held.metadata["x"], held.get(held.ids, columns=["x"])["x"], held.get_metadata([0, 1, 2])["x"]):
            assert (found.dtype, type(found)) == (np.dtype(dtype), expected)
            np.testing.assert_equal(found.tolist(), wanted)
        assert not held.metadata["x"].flags.writeable
        one = [held.get(row, columns=["x"])["x"] for row in range(3)]
        is_null = [value is None or (isinstance(value, np.datetime64) and np.isnat(value)) for value in one]
        assert is_null == [value is None for value in wanted]
    # Which rows are asked for decides whether there are nulls.
    assert type(store.get([0], columns=["x"])["x"]) is np.ndarray


def test_rows_may_have_other_columns_than_those_before(tmp_path: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)), texts=["a", "b"], metadata={"year": [1, 2], "name": ["x", "y"]})
    store.save_to_disk(tmp_path / "store")
    with EmbeddingStore.open(tmp_path / "store", "a") as opened:
        for held in (store, opened):
            held.add_embeddings(np.ones(3))
            held.add_embeddings(np.ones((2, 3)), metadata=[{"month": 5}, {"year": 2.5, "flag": None}])
            held.add_embeddings(np.ones(3), texts="z")
            assert held.texts == ["a", "b", None, None, None, "z"]
            metadata = {name: values.tolist() for name, values in held.metadata.items()}
            assert metadata == {
                "year": [1, 2, None, None, 2.5, None],
                "name": ["x", "y", None, None, None, None],
                "month": [None, None, None, 5, None, None],
                "flag": [None] * 6,
            }
            assert list(metadata) == ["year", "name", "month", "flag"]
    assert snapshot(EmbeddingStore.open(tmp_path / "store")) | {"repr": ""} == snapshot(store) | {"repr": ""}
    plain = EmbeddingStore()
    plain.add_embeddings(np.ones(3))
    assert (plain.texts, plain.metadata) == (None, {})
    plain.add_embeddings(np.ones(3), texts=["a"], metadata={"flag": [True]})
    assert (plain.texts, plain.metadata["flag"].tolist()) == ([None, "a"], [None, True])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"metadata": {"year": [1, "a"]}}, TypeError, r"metadata\['year'\]\[1\]: expected int or None"),
        (
            {"metadata": {"year": [None, "a"]}},
            TypeError,
            r"metadata\['year'\]\[1\]: expected int64 or None, as the column holds, found str",
        ),
        ({"metadata": {"year": [True, False]}}, TypeError, r"metadata\['year'\]\[0\]: expected int64 .* found bool"),
        ({"metadata": {"name": [None, [1]]}}, TypeError, r"\['name'\]\[1\]: expected str .* found lists and dicts"),
        ({"metadata": {"name": ["a", "\ud800"]}}, ValueError, r"metadata\['name'\]\[1\]: holds a lone surrogate"),
        ({"metadata": {"new": [1]}}, ValueError, r"metadata\['new'\]: expected 2, as many as vectors, found 1"),
        ({"metadata": [{"new": 1}]}, ValueError, "metadata.*: expected 2, as many as vectors, found 1"),
        ({"metadata": {"text": [1, 2]}}, ValueError, r"metadata\['text'\]: the name is taken"),
        ({"texts": ["a"]}, ValueError, "texts: expected 2, as many as vectors, found 1"),
        ({"texts": "ab"}, ValueError, "texts: expected 2, as many as vectors, found 1"),
        ({"texts": ["a", 1]}, TypeError, r"texts\[1\]: expected a str or None, found int"),
    ],
)
def test_refused_columns_change_nothing(arguments: dict, kind: type, message: str) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)), texts=["a", "b"], metadata={"year": [1, 2], "name": ["x", "y"]})
    before = snapshot(store)
    with pytest.raises(kind, match=message):
        store.add_embeddings(np.ones((2, 3)), **arguments)
    # Of rows in several blocks too, of which the first would do.
    with pytest.raises(kind):
        store.add_embeddings(iter([np.ones((1, 3)), np.ones((1, 3))]), **arguments)
    assert snapshot(store) == before
    empty = EmbeddingStore()
    if "as the column" not in message and "int64" not in message and "lists" not in message:
        with pytest.raises(kind, match=message):
            empty.add_embeddings(np.ones((2, 3)), **arguments)
        assert (len(empty), empty.dimension, empty.texts, empty.metadata) == (0, None, None, {})


def test_texts_of_all_lengths_through_every_change() -> None:
    store = EmbeddingStore()
    ids = [str(row) for row in range(5 * len(TEXTS))]
    kept = dict(zip(ids, TEXTS * 5, strict=True))
    for start in range(0, len(ids), 7):
        part = ids[start : start + 7]
        given = [kept[id] for id in part]
        store.add_embeddings(np.ones((len(part), 2)), part, given, {"same": given, "raw": [b"\0"] * len(part)})
    for number, deleted in enumerate((ids[3:9], ids[20:21], ids[-2:])):
        store.delete(deleted)
        for id in deleted:
            del kept[id]
        changed = [*kept][number::5]
        store.update(changed, texts=TEXTS[: len(changed)], metadata={"same": TEXTS[: len(changed)]})
        kept |= zip(changed, TEXTS[: len(changed)], strict=False)
        for _ in range(2):
            assert store.texts == store.metadata["same"].tolist() == list(kept.values())
            assert store.get_texts(list(kept)[::-1]) == list(kept.values())[::-1]
            store.compact()
        assert store.metadata["raw"].tolist() == [b"\0"] * len(kept)


def test_texts_of_a_stream_are_named_by_their_place_in_it() -> None:
    store = EmbeddingStore()
    for bad, kind in (("\ud800", ValueError), (7, TypeError)):
        with pytest.raises(kind, match=r"texts\[4\]: "):
            store.add_embeddings(iter([np.ones((3, 2)), np.ones((2, 600_000))[:, :2]]), texts=["a"] * 4 + [bad])
    assert len(store) == 0


def test_chunks_share_memory_and_are_seldom_copied() -> None:
    column = Column.nulls(0)
    before = []
    for row in range(1000):
        before.append(column)
        column = column.appended(integers(row), ColumnType("int64"))
    assert column.slice(0, 1000).to_list() == [*range(1000)]
    assert column.take(np.array([999, 0, 500])).to_list() == [999, 0, 500]
    assert len(column.chunks) < 25
    assert all(earlier.slice(0, earlier.rows).to_list() == list(range(row)) for row, earlier in enumerate(before))
    whole = Column(ColumnType("int64"), (integers(*range(100)),))
    more = whole.appended(integers(1), ColumnType("int64"))
    assert np.shares_memory(whole.slice(0, 1).data, more.slice(0, 1).data)
    assert column.nbytes == 8000


def test_patches_leave_what_was_there() -> None:
    rows, kind = 500, ColumnType("int64")
    column = Column(kind, (integers(*range(rows)),))
    before, expected = [], [*range(rows)]
    for number in range(300):
        before.append((column, list(expected)))
        changed = np.unique([number % 7, (number * 31) % rows])
        column = column.patched(changed, integers(*(changed + 1000 * number)), kind)
        for row in changed.tolist():
            expected[row] = row + 1000 * number
    assert len(column.patches) < 25
    for held, values in (*before[::10], (column, expected)):
        assert held.slice(0, rows).to_list() == values
        assert held.slice(3, 40).to_list() == values[3:40]
        assert held.take(np.array([40, 0, 499])).to_list() == [values[40], values[0], values[499]]
        assert [int(held.value(row)) for row in (0, 31, 499)] == [values[0], values[31], values[499]]
        assert held.selected(np.arange(0, rows, 3)).slice(0, 167).to_list() == values[::3]


def test_columns_of_no_type_become_any() -> None:
    for values in (strings(["b"]), integers(5), to_json([[1]])):
        column = Column.nulls(2).appended(values, values.type)
        assert column.slice(0, 3).to_list() == [None, None, *values.to_list()]
        column = Column.nulls(3).patched(np.array([1]), values, values.type)
        assert column.slice(0, 3).to_list() == [None, *values.to_list(), None]
        column = column.appended(ColumnValues.nulls(NULL, 2), values.type)
        column = column.patched(np.array([1]), ColumnValues.nulls(NULL, 1), values.type)
        assert column.slice(0, 5).to_list() == [None] * 5
        assert column.type == values.type


def test_slices_and_parts_of_values() -> None:
    values = strings(TEXTS)
    for start in range(len(TEXTS) + 1):
        for stop in range(start, len(TEXTS) + 1):
            part, rows = values[start:stop], np.arange(start, stop)
            assert part.to_list() == part.trimmed().to_list() == values.take(rows).to_list() == TEXTS[start:stop]
            assert part.to_numpy().tolist() == TEXTS[start:stop]
            assert concatenate(STR, [part, strings(["", None]), part]).to_list() == [
                *TEXTS[start:stop],
                "",
                None,
                *TEXTS[start:stop],
            ]
            assert part.trimmed().data.nbytes == sum(len((text or "").encode()) for text in TEXTS[start:stop])
    # Far apart, and twice, with much between them that is not asked for.
    assert values.take(np.array([8, 0, 8])).to_list() == ["last", "", "last"]
    assert ColumnValues.of_bytes(BYTES, [b"\0", None, b""])[1:].to_list() == [None, b""]


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.float64(), pa.string(), pa.timestamp("ns"), pa.list_(pa.int8())], ids=str
)
@pytest.mark.parametrize("values", [[2**60 + 1, 2], ["a", None], [b"a", b"b"], [[1], None], [DAY, DAY], [True, False]])
def test_nulls_of_any_type_fit_every_column(values: list, kind: pa.DataType) -> None:
    store = EmbeddingStore()
    add(store, 2, x=values)
    dtype = store.metadata["x"].dtype
    nulls = pa.table({"x": pa.nulls(2, kind)})
    store.add_embeddings(np.ones((2, 3)), metadata=nulls)
    assert store.metadata["x"].tolist() == [*values, None, None]
    store.update([1, 2], metadata=nulls)
    assert store.metadata["x"].tolist() == [values[0], None, None, None]
    assert store.metadata["x"].dtype == dtype
