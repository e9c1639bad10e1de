"""Texts and columns of metadata: what they may be, how they grow, and that they stay beside their vectors."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stores import snapshot
from votive import EmbeddingStore
from votive._store.chunked_array import ChunkedArray
from votive._store.texts import Texts, Utf8Column

TEXTS = ["", "a", "Grüße", "東京", "🕯️" * 40, "x" * 5000, "a\0b\0", "last"]


def add(store: EmbeddingStore, rows: int, **columns: Any) -> None:
    store.add_embeddings(np.ones((rows, 3)), metadata=columns)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ([True, False], "?"),
        ([1, 2], "i8"),
        ([1.5, float("nan")], "f8"),
        (["a", "long"], "<U4"),
        (["", ""], "<U1"),
        ([b"a", b"long"], "S4"),
        (("a", "b"), "<U1"),
        (range(2), "i8"),
        (np.array([1, 2], np.uint8), "u1"),
        (np.array([1, 2], ">u2"), "<u2"),
        (np.array([1, 2, 3, 4], np.float16)[::-2], "f2"),
        (np.array(["b", "aä"]), "<U2"),
        (np.array(["b", "aä"], ">U2"), "<U2"),
        (np.array(["b", "aä"], object), "<U2"),
        (np.array([True, False], object), "?"),
        (np.array([1, 2], object), "i8"),
        (np.array(["2024-01-01", "NaT"], "M8[D]"), "M8[D]"),
        (np.array([1, 2], ">M8[ms]"), "<M8[ms]"),
        ([np.datetime64("2024-01-01"), np.datetime64("2025-01-01")], "M8[D]"),
        (pd.Series([1, 2], index=[5, 6]), "i8"),
        (pd.Series(["a", "b"]), "<U1"),
        (pd.Series(["a", "b"], dtype="category"), "<U1"),
        (pd.to_datetime(pd.Series(["2024-01-01", "2024-01-02"])), None),
        (pa.array([1, 2], pa.int16()), "i2"),
        (pa.array(["a", "b"]), "<U1"),
    ],
    ids=lambda value: repr(value).replace("\n", " "),
)
def test_kinds_of_columns(given: Any, dtype: str | None) -> None:
    store = EmbeddingStore()
    add(store, 2, x=given)
    found = store.metadata["x"]
    if dtype is not None:
        assert found.dtype == np.dtype(dtype)
        assert found.dtype.isnative
    np.testing.assert_array_equal(found, np.asarray(given).astype(found.dtype))


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"year": [1, 2], "name": ["a", "b"]}),
        pa.table({"year": [1, 2], "name": ["a", "b"]}),
        pa.table({"year": pa.chunked_array([[1], [2]]), "name": pa.chunked_array([["a"], ["b"]])}),
        pa.RecordBatch.from_pydict({"year": [1, 2], "name": pa.array(["a", "b"]).dictionary_encode()}),
        {"year": [1, 2], "name": ["a", "b"]},
    ],
    ids=lambda table: type(table).__name__,
)
def test_kinds_of_tables(table: Any) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)), metadata=table)
    assert {name: values.tolist() for name, values in store.metadata.items()} == {"year": [1, 2], "name": ["a", "b"]}


def test_polars_table() -> None:
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"year": [1, 2], "day": [datetime.date(2024, 1, 1)] * 2, "flag": [True, False]})
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)), metadata=table)
    assert store.metadata["day"].dtype == "M8[D]"
    assert store.metadata["flag"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("metadata", "kind", "message"),
    [
        ({"x": [1]}, ValueError, r"metadata\['x'\]: expected 2, as many as vectors, found 1"),
        ({"x": [1, 2, 3]}, ValueError, r"metadata\['x'\]: expected 2, as many as vectors, found 3"),
        ({"x": 5}, ValueError, r"metadata\['x'\]: expected one dimension, found shape \(\)"),
        ({"x": np.ones((2, 2))}, ValueError, r"metadata\['x'\]: expected one dimension, found shape \(2, 2\)"),
        ({"x": [[1], [1, 2]]}, ValueError, r"metadata\['x'\]: expected one value for each row"),
        ({"x": [1, None]}, TypeError, r"metadata\['x'\]\[1\]: expected int, found NoneType"),
        ({"x": ["a", None]}, TypeError, r"metadata\['x'\]\[1\]: expected str, found NoneType"),
        ({"x": ["a", 1]}, TypeError, r"metadata\['x'\]\[1\]: expected str, found int"),
        ({"x": [1, "a"]}, TypeError, r"metadata\['x'\]\[1\]: expected int, found str"),
        ({"x": [b"a", "a"]}, TypeError, r"metadata\['x'\]\[1\]: expected bytes, found str"),
        ({"x": [{}, {}]}, TypeError, r"metadata\['x'\]\[0\]: expected str, found dict"),
        ({"x": [1j, 2j]}, TypeError, r"metadata\['x'\]: expected booleans.* found complex128"),
        ({"x": np.ones(2, np.longdouble)}, TypeError, r"metadata\['x'\]: expected booleans.*64 bits"),
        ({"x": np.array([1, 2], "m8[s]")}, TypeError, r"metadata\['x'\]: expected .* found timedelta64"),
        ({"x": np.ma.array([1, 2], mask=[0, 1])}, ValueError, r"metadata\['x'\]: holds masked elements"),
        ({"x": [1.0, np.ma.masked]}, ValueError, r"metadata\['x'\]: holds masked elements"),
        ({"x": ["a", "b\0"]}, ValueError, r"metadata\['x'\]: a value ends in a zero character"),
        ({"x": ["a", "\ud800"]}, ValueError, r"metadata\['x'\]: holds a lone surrogate"),
        ({"id": [1, 2]}, ValueError, r"metadata\['id'\]: the name is taken"),
        ({"text": [1, 2]}, ValueError, r"metadata\['text'\]: the name is taken"),
        ({"vector": [1, 2]}, ValueError, r"metadata\['vector'\]: the name is taken"),
        ({3: [1, 2]}, TypeError, "metadata: expected names of columns, found 3"),
        ({"": [1, 2]}, TypeError, "metadata: expected names of columns, found ''"),
        ([1, 2], TypeError, "metadata: expected a dict of arrays, a DataFrame or an Arrow table, found list"),
        (pa.table({"x": [1, None]}), TypeError, r"metadata\['x'\]\[1\]: expected a value, found null"),
        (pa.table({"x": [[1], [2]]}), TypeError, r"metadata\['x'\]: expected numbers, .* found Arrow format '\+l'"),
        (pa.array([1, 2]), TypeError, "metadata: expected an Arrow table, .* found a column of 'l'"),
        (pd.DataFrame({"x": [1, 2, 3]}), ValueError, r"metadata\['x'\]: expected 2"),
    ],
)
def test_bad_metadata_changes_nothing(metadata: Any, kind: type, message: str) -> None:
    store = EmbeddingStore()
    with pytest.raises(kind, match=message):
        store.add_embeddings(np.ones((2, 3)), metadata=metadata)
    assert (len(store), store.dimension) == (0, None)


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        (["a"], ValueError, "texts: expected 2, as many as vectors, found 1"),
        ("ab", ValueError, "texts: expected 2, as many as vectors, found 1"),
        (["a", None], TypeError, r"texts\[1\]: expected a str, found NoneType"),
        (["a", b"b"], TypeError, r"texts\[1\]: expected a str, found bytes"),
        (["a", "\udfff"], ValueError, r"texts\[1\]: holds a lone surrogate"),
        (5, TypeError, "texts: expected a str, a list or another column or iterable of str, found int"),
        (pa.array(["a", None]), TypeError, r"texts\[1\]: expected a str, found null"),
        ([["a"], ["b"]], TypeError, r"texts\[0\]: expected a str, found list"),
    ],
)
def test_bad_texts_change_nothing(texts: Any, kind: type, message: str) -> None:
    store = EmbeddingStore()
    with pytest.raises(kind, match=message):
        store.add_embeddings(np.ones((2, 3)), texts=texts)
    assert len(store) == 0


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, pd.Series, pa.array], ids=lambda kind: kind.__name__)
def test_kinds_of_texts(kind: Any) -> None:
    texts = [text for text in TEXTS if not text.endswith("\0")]
    store = EmbeddingStore()
    store.add_embeddings(np.ones((len(texts), 3)), texts=kind(texts))
    assert store.texts == texts


def test_rows_have_what_the_first_ones_have() -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)), texts=["a", "b"], metadata={"year": [1, 2], "name": ["x", "y"]})
    before = snapshot(store)
    row = np.ones(3)
    with pytest.raises(ValueError, match="texts: missing; all rows of a store have one, or none has"):
        store.add_embeddings(row, metadata={"year": [1], "name": ["x"]})
    with pytest.raises(ValueError, match=r"metadata\['year'\]: missing; all rows have the columns \['year', 'name'\]"):
        store.add_embeddings(row, texts=["a"], metadata={"name": ["x"]})
    with pytest.raises(ValueError, match=r"metadata\['month'\]: given, and rows that are in the store have none"):
        store.add_embeddings(row, texts=["a"], metadata={"name": ["x"], "year": [1], "month": [1]})
    with pytest.raises(TypeError, match=r"metadata\['year'\]: the column holds int64, found float64"):
        store.add_embeddings(row, texts=["a"], metadata={"name": ["x"], "year": [1.0]})
    with pytest.raises(TypeError, match=r"metadata\['year'\]: the column holds int64, found bool"):
        store.add_embeddings(row, texts=["a"], metadata={"name": ["x"], "year": [True]})
    with pytest.raises(TypeError, match=r"metadata\['name'\]: the column holds <U1, found int64"):
        store.add_embeddings(row, texts=["a"], metadata={"name": [1], "year": [1]})
    assert snapshot(store) == before
    store.add_embeddings(row, texts=["a"], metadata={"name": ["longer"], "year": np.array([1], np.int8)})
    assert store.metadata["name"].tolist() == ["x", "y", "longer"]
    assert store.metadata["year"].dtype == np.int64
    plain = EmbeddingStore()
    plain.add_embeddings(row)
    with pytest.raises(ValueError, match="texts: given, and rows that are in the store have none"):
        plain.add_embeddings(row, texts=["a"])


def test_what_was_given_may_change_afterwards() -> None:
    year, vectors, texts = np.array([1, 2]), np.ones((2, 3), np.float32), ["a", "b"]
    store = EmbeddingStore()
    store.add_embeddings(vectors, texts=texts, metadata={"year": year})
    year[:], vectors[:], texts[:] = 0, 0, ["x", "y"]
    assert store.metadata["year"].tolist() == [1, 2]
    assert store.get([0, 1]).tolist() == [[1, 1, 1]] * 2
    assert store.texts == ["a", "b"]


def test_texts_of_all_lengths_through_every_change() -> None:
    store = EmbeddingStore()
    ids = [str(row) for row in range(5 * len(TEXTS))]
    kept = dict(zip(ids, TEXTS * 5, strict=True))
    for start in range(0, len(ids), 7):
        part = ids[start : start + 7]
        store.add_embeddings(np.ones((len(part), 2)), part, [kept[id] for id in part])
    for deleted in (ids[3:9], ids[20:21], ids[-2:]):
        store.delete(deleted)
        for id in deleted:
            del kept[id]
        assert store.texts == list(kept.values())
        store.compact()
        assert store.texts == list(kept.values())
        assert store.get_texts(list(kept)[::-1]) == list(kept.values())[::-1]


def test_chunks_share_memory_and_are_never_copied() -> None:
    chunked = ChunkedArray.empty(np.dtype("i8"))
    before = []
    for row in range(1000):
        before.append(chunked)
        chunked = chunked.appended(np.array([row]))
    assert [chunked.slice(0, 1000).tolist(), chunked.take(np.array([999, 0, 500])).tolist()] == [
        [*range(1000)],
        [999, 0, 500],
    ]
    assert len(chunked._chunks) < 25
    assert all(earlier.slice(0, earlier.rows).tolist() == list(range(row)) for row, earlier in enumerate(before))
    first = before[20].slice(0, 1)
    assert np.shares_memory(first, chunked.slice(0, 1))
    assert not chunked.slice(10, 990).flags.writeable
    assert chunked.nbytes == 8000


def test_strings_of_chunked_arrays_may_grow() -> None:
    chunked = ChunkedArray.empty(np.dtype("<U1"))
    words = ["a", "bcd", "e", "fghijklmnop", "", "q"]
    for word in words:
        chunked = chunked.appended(np.array([word]))
    assert chunked.slice(0, 6).tolist() == words
    assert chunked.take(np.array([5, 3, 0])).tolist() == ["q", "fghijklmnop", "a"]
    assert chunked.slice(0, 2).tolist() == words[:2]


def test_texts_of_a_stream_are_named_by_their_place_in_it() -> None:
    store = EmbeddingStore()
    for bad, kind in (("\ud800", ValueError), (7, TypeError)):
        with pytest.raises(kind, match=r"texts\[4\]: "):
            store.add_embeddings(iter([np.ones((3, 2)), np.ones((2, 600_000))[:, :2]]), texts=["a"] * 4 + [bad])
    assert len(store) == 0


def test_slices_and_parts_of_texts() -> None:
    texts = Texts.empty()
    for text in TEXTS:
        texts = texts.appended(Utf8Column.read([text], "texts"))
    for start in range(len(TEXTS) + 1):
        for stop in range(start, len(TEXTS) + 1):
            # What was stored, such as a memory map, is not written to, also if nothing is appended.
            stored = Texts.of(*texts.slice(start, stop)).appended(Utf8Column.read(["", ""], "texts"))
            assert stored.take(np.arange(stored.rows)) == [*TEXTS[start:stop], "", ""]
            rows = np.arange(start, stop)
            assert Texts.of(*texts.slice(start, stop)).take(np.arange(stop - start)) == TEXTS[start:stop]
            assert texts.selected(rows).take(np.arange(stop - start)) == TEXTS[start:stop]
    assert texts.selected(np.array([0, 2, 3, 7])).take(np.arange(4)) == [TEXTS[row] for row in (0, 2, 3, 7)]
    # Far apart, with much between them that is not asked for.
    assert texts.take(np.array([7, 0, 7])) == ["last", "", "last"]
