"""Columns of every kind through Arrow, Parquet and pandas and back; nested types and damaged arrays out of Arrow."""

import ctypes
import datetime
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from votive import EmbeddingStore
from votive._arrow import capsule
from votive._store.exchange import to_batches
from votive._store.input.metadata import read, read_texts

NAN, INF = float("nan"), float("inf")
DAY = datetime.date(2024, 2, 29)
MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)
KEY = uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")

# The types of columns, and values of each.
KINDS: dict[str, list] = {
    "bool": [True, None, False],
    "int8": [np.int8(-128), None, np.int8(127)],
    "uint64": [2**64 - 1, None, 2**63 + 1],
    "int64": [-(2**63), None, 2**63 - 1],
    "float16": [np.float16(0.5), None, np.float16(NAN)],
    "float32": [np.float32(0.1), None, np.float32(INF)],
    "float64": [0.1, None, NAN],
    "days": [DAY, None, datetime.date(1, 1, 1)],
    "months": [np.datetime64("2024-02", "M"), None, np.datetime64("1969-01", "M")],
    "hours": [np.datetime64("2024-02-29T12", "h"), None, np.datetime64("1969-01-01T00", "h")],
    "seconds": [np.datetime64("2024-02-29T12:30:01", "s"), None, np.datetime64("1969-01-01T00", "s")],
    "microseconds": [MOMENT, None, datetime.datetime.min],
    "nanoseconds": [np.datetime64("2024-02-29T12:30:01.000000001", "ns"), None, np.datetime64(0, "ns")],
    "picoseconds": [np.datetime64(5000, "ps"), None, np.datetime64(0, "ps")],
    "str": ["", None, "東京 🕯️\0"],
    "str of 1 MB": ["x" * (1 << 20), None, ""],
    "bytes": [b"", None, b"\0\xff"],
    "uuid": [KEY, None, uuid.UUID(int=0)],
    "lists": [[1, 2], None, []],
    "lists of lists": [[[0.5], None, []], None, [[NAN, None]]],
    "lists of str": [["a", None, ""], None, ["東京"]],
    "dicts": [{"a": 1, "b": {"c": [True]}}, None, {"a": None, "b": None}],
    "ragged dicts": [{"a": 1}, None, {"b": 2.5, "a": [1, "x", None]}],
    "dicts in another order": [{"a": 1, "b": 2}, None, {"b": 2, "a": 1}],
    "lists of int and float": [[1, 2.0], None, [1.0, 2]],
    "lists of bool and int": [[True], None, [1]],
    "ints beyond int64": [[2**63], None, [-(2**100)]],
    "empty lists": [[], None, []],
    "empty dicts": [{}, None, {"a": {}}],
    "lists and dicts": [[1], None, {"a": 1}],
    "odd keys": [{"": 1, "a.b": 2, "é": 3}, None, {"": 1, "a.b": 2, "é": None}],
    "keys with zeros": [{"a\0b": 1}, None, {"a\0b": 2}],
    "deep": [json.loads("[" * 40 + "]" * 40), None, []],
    "null": [None, None, None],
}


def store_of(columns: dict[str, Any], rows: int, ids: Any = None, texts: Any = None) -> EmbeddingStore:
    store = EmbeddingStore()
    store.add_embeddings(np.arange(2.0 * rows).reshape(rows, 2), ids, texts, columns)
    return store


def columns_of(store: EmbeddingStore) -> dict[str, tuple[str, str]]:
    """Types and values of columns, in a form that tells 1 from 1.0 and True."""
    contents = store._state.contents
    rows = contents.core.live()
    found = {}
    for name, column in contents.columns.items():
        values = column.take(rows)
        found[name] = (values.type.name, repr(values.to_list()))
    return found


def through_parquet(table: pa.Table, folder: Path) -> pa.Table:
    pq.write_table(table, folder / "table.parquet")
    return pq.read_table(folder / "table.parquet")


# Units that Arrow has not come back in the next finer one.
FINER = {"datetime64[M]": "datetime64[D]", "datetime64[h]": "datetime64[s]", "datetime64[ps]": "datetime64[ns]"}


def expected_of(store: EmbeddingStore) -> dict[str, tuple[str, str]]:
    found = columns_of(store)
    for name, (kind, _) in found.items():
        if kind in FINER:
            values = store._state.contents.columns[name].take(store._state.contents.core.live())
            found[name] = (FINER[kind], repr(values.data.astype(FINER[kind]).tolist()))
    return found


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_through_arrow_and_parquet(name: str, tmp_path: Path) -> None:
    store = store_of({"x": KINDS[name] * 3}, 9, texts=["a", None, ""] * 3)
    expected = expected_of(store)
    if name != "null":  # of which no row has a value, so that it has no type
        assert expected["x"][0] != "null"
    table = store.to_arrow()
    for found in (table, pa.concat_tables([table[:2], table[2:]]), table.to_reader(max_chunksize=2)):
        again = EmbeddingStore.from_arrow(found)
        assert columns_of(again) == expected
        assert again.texts == store.texts
    part = EmbeddingStore.from_arrow(table[3:7])
    assert columns_of(part)["x"] == expected_of(store_of({"x": (KINDS[name] * 3)[3:7]}, 4))["x"]
    parquet = columns_of(EmbeddingStore.from_arrow(through_parquet(table, tmp_path)))
    if expected["x"][0] == "datetime64[s]":  # which Parquet has not
        assert parquet["x"] == ("datetime64[ms]", expected["x"][1])
    else:
        assert parquet == expected
    ipc = pa.BufferOutputStream()
    with pa.ipc.new_stream(ipc, table.schema) as writer:
        writer.write_table(table)
    assert columns_of(EmbeddingStore.from_arrow(pa.ipc.open_stream(ipc.getvalue()))) == expected
    # What was deleted before is not in it.
    store.delete([0, 4])
    assert columns_of(EmbeddingStore.from_arrow(store.to_arrow())) == expected_of(store)


@pytest.mark.parametrize("name", [name for name, values in KINDS.items() if isinstance(values[0], list | dict)])
def test_lists_and_structs_give_back_exactly_what_was_stored(name: str) -> None:
    values = KINDS[name]
    found = store_of({"x": values}, 3).to_arrow()["x"]
    if pa.types.is_nested(found.type):
        assert repr(found.to_pylist()) == repr(values)
        assert name in {"lists", "lists of lists", "lists of str", "dicts", "empty lists", "odd keys"}
    else:
        assert repr([value and json.loads(value) for value in found.to_pylist()]) == repr(values)
    field = store_of({"x": values}, 3).to_arrow().schema.field("x")
    assert pa.types.is_nested(field.type) or field.metadata[b"ARROW:extension:name"] == b"arrow.json"


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_through_polars(name: str) -> None:
    polars = pytest.importorskip("polars")
    store = store_of({"x": KINDS[name]}, 3, ids=["a", "b", "c"])
    expected = expected_of(store)
    again = EmbeddingStore.from_arrow(polars.from_arrow(store.to_arrow()))
    found = columns_of(again)
    if expected["x"][0] == "datetime64[s]":  # which polars has not
        assert found["x"][0] == "datetime64[ms]"
        assert found["x"][1] == expected["x"][1]
    elif expected["x"][0] == "json" and found["x"][0] == "str":  # it drops extension types
        assert repr([value and json.loads(value) for value in eval(found["x"][1])]) == repr(KINDS[name])
    else:
        assert found == expected
    assert again.ids.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "name", ["bool", "int64", "uint64", "float64", "days", "microseconds", "str", "lists", "lists of str"]
)
def test_kinds_through_duckdb(name: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    store = store_of({"x": KINDS[name]}, 3)
    rows = store.to_arrow()
    assert len(rows) == 3
    again = EmbeddingStore.from_arrow(duckdb.sql("SELECT * FROM rows ORDER BY id").arrow())
    assert columns_of(again) == columns_of(store)


@pytest.mark.parametrize("types_mapper", [None, pd.ArrowDtype], ids=["numpy", "arrow"])
@pytest.mark.parametrize(
    "name", ["bool", "float64", "days", "microseconds", "str", "bytes", "lists of str", "dicts", "uint64"]
)
def test_kinds_through_pandas(name: str, types_mapper: Any) -> None:
    if types_mapper is None and name in ("uint64", "float64", "dicts"):
        pytest.skip("NumPy has no integers with nulls, and in pandas its floats' nulls are NaN")
    store = store_of({"x": KINDS[name]}, 3)
    frame = store.to_arrow().select(["x"]).to_pandas(types_mapper=types_mapper)
    again = store_of(frame, 3)
    assert columns_of(again) == columns_of(store)
    if types_mapper is not None:
        assert columns_of(store_of({"x": frame["x"]}, 3)) == columns_of(store)


def test_strings_of_all_lengths(tmp_path: Path) -> None:
    words = ["é" * (1 << length) for length in range(20)] + ["x" * (1 << 20), "", "a"]
    store = store_of({"x": words}, len(words), ids=words, texts=words)
    table = store.to_arrow()
    for found in (table, through_parquet(table, tmp_path), table[:0]):
        again = EmbeddingStore.from_arrow(found)
        assert again.ids.tolist() == (store.ids.tolist() if len(found) else [])
        assert (again.texts or []) == (words if len(found) else [])
    assert columns_of(EmbeddingStore.from_arrow(table)) == columns_of(store)


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="this pyarrow has no such extension type")
def test_uuids(tmp_path: Path) -> None:
    keys = [KEY, uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]
    table = pa.table(
        {
            "id": pa.array([key.bytes for key in keys], pa.uuid()),
            "vector": [[1.0]] * 3,
            "x": pa.array([KEY.bytes, None, b"\0" * 16], pa.uuid()),
            "raw": pa.array([key.bytes for key in keys], pa.binary(16)),
        }
    )
    for source in (table, through_parquet(table, tmp_path), table.to_reader(max_chunksize=1)):
        store = EmbeddingStore.from_arrow(source)
        assert store.ids.tolist() == [str(key) for key in keys]
        assert store.metadata["x"].tolist() == [str(KEY), None, str(uuid.UUID(int=0))]
        assert store.metadata["raw"].tolist() == [key.bytes for key in keys]
        assert EmbeddingStore.from_arrow(store.to_arrow()).ids.tolist() == store.ids.tolist()
    assert read({"x": table["x"][1:]})["x"].to_list() == [None, str(uuid.UUID(int=0))]


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda keys: np.array(keys, object), pd.Series])
def test_uuids_of_python_are_ids(kind: Any) -> None:
    keys = [KEY, uuid.UUID(int=0), uuid.UUID(int=7)]
    store = EmbeddingStore()
    store.add_embeddings(np.eye(3), ids=kind(keys))
    assert store.ids.tolist() == [str(key) for key in keys]
    assert store.get(KEY).tolist() == store.get(str(KEY)).tolist() == [1, 0, 0]
    assert store.get(kind(keys[:0:-1])).tolist() == [[0, 0, 1], [0, 1, 0]]
    store.delete([KEY, str(keys[1])])
    assert store.ids.tolist() == [str(keys[2])]
    with pytest.raises(TypeError, match=r"ids\[1\]: expected a str as before it, found int"):
        store.add_embeddings(np.ones((2, 3)), ids=[KEY, 1])


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.string(), pa.string_view(), pa.large_string()], ids=str)
def test_ids_of_arrow_columns(kind: pa.DataType) -> None:
    keys: list = [3, 1, 2] if pa.types.is_integer(kind) else ["b", "", "a"]
    for column in (
        pa.array(keys, kind),
        pa.chunked_array([keys[:1], [], keys[1:]], kind),
        pa.array([*keys, None], kind)[:3],
    ):
        store = EmbeddingStore()
        store.add_embeddings(np.eye(3), ids=column)
        assert store.ids.tolist() == keys
    for column in (pa.array([*keys, None], kind), pa.chunked_array([keys, [None]], kind)):
        with pytest.raises(TypeError, match=r"ids\[3\]: expected an int or a str, found null"):
            store.add_embeddings(np.ones((4, 3)), ids=column)
    for column, found in ((pa.array([b"a"]), "bytes"), (pa.array([[1]]), "lists"), (pa.array([0.5]), "float64")):
        with pytest.raises(TypeError, match=f"ids: expected integers or str, found {found}"):
            store.add_embeddings(np.ones((1, 3)), ids=column)


STRUCTS = [{"a": 1, "b": ["x", None]}, None, {"a": None, "b": []}, {"a": 3, "b": None}]
NESTED = [
    pa.array([[1, None], None, [], [2, 3]], pa.list_(pa.int8())),
    pa.array([[1, None], None, [], [2, 3]], pa.large_list(pa.uint64())),
    pa.array([[1, None], None, [3, 4], [2, 3]], pa.list_(pa.float32(), 2)),
    pa.array([[], None, [], []], pa.list_(pa.float32(), 0)),
    pa.array([[True, None], None, [], [False]]),
    pa.array([["a", None], None, [], ["東京"]], pa.list_(pa.string_view())),
    pa.array([["a", None], None, [], ["東京"]], pa.list_(pa.large_string())),
    pa.array([[None], None, [], [None, None]], pa.list_(pa.null())),
    pa.array([[[1], None, []], None, [], [[2, 3], [4]]]),
    pa.array(STRUCTS),
    pa.array([{"a": [{"b": 1}]}, None, {"a": []}, {"a": None}]),
    pa.array([{}, None, {}, {}], pa.struct([])),
    pa.array([["a"], None, [], ["b", "a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
]
if hasattr(pa, "list_view"):
    NESTED += [
        pa.array([[1, None], None, [], [2, 3]], pa.list_view(pa.int64())),
        pa.array([["a", None], None, [], ["b"]], pa.large_list_view(pa.string())),
        pa.ListViewArray.from_arrays([3, 0, 1, 0], [1, 2, 3, 0], pa.array(["a", "b", "c", "d"])),
    ]


@pytest.mark.parametrize("array", NESTED, ids=lambda array: str(array.type))
def test_nested_types(array: pa.Array) -> None:
    values = array.to_pylist()
    more = pa.concat_arrays([array, array])
    for start in range(4):
        for stop in range(start, 5):
            for column in (array[start:stop], more[start + 4 : stop + 4], pa.chunked_array([array[start:stop]])):
                found = read({"x": column})["x"]
                assert found.type.name == "json"
                assert repr(found.to_list()) == repr(values[start:stop])
    table = pa.table({"x": pa.chunked_array([array[:1], array[:0], array[1:]])})
    assert repr(read(table)["x"].to_list()) == repr(values)
    # As a field of rows that are a slice of a struct.
    rows = pa.StructArray.from_arrays([array], ["x"])[1:]
    assert repr(read(rows)["x"].to_list()) == repr(values[1:])


def test_maps_are_dicts() -> None:
    kind = pa.map_(pa.string(), pa.list_(pa.int64()))
    array = pa.array([[("a", [1]), ("b", None)], None, [], [("c", [])]], kind)
    expected = [{"a": [1], "b": None}, None, {}, {"c": []}]
    assert read({"x": array})["x"].to_list() == expected
    assert read({"x": array[1:]})["x"].to_list() == expected[1:]
    with pytest.raises(
        ValueError, match=r"metadata\['x'\]\[1\]: expected a map with each key once, found \['a', 'a'\]"
    ):
        read({"x": pa.array([[], [("a", [1]), ("a", [2])]], kind)})
    with pytest.raises(TypeError, match=r"metadata\['x'\]: expected a map with keys of str, found 'l' \(int64\)"):
        read({"x": pa.array([[(1, 2)]], pa.map_(pa.int64(), pa.int64()))})


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, None], pa.int16()),
        pa.array([0.5, NAN, None]),
        pa.array([True, False, None]),
        pa.array(["a", "東京", None]),
        pa.array(["a" * 13, "b", None], pa.string_view()),
        pa.array([b"a", b"\xff", None]),
        pa.array([b"ab", b"cd", None], pa.binary(2)),
        pa.array([DAY, datetime.date(1, 1, 1), None]),
        pa.array([MOMENT, MOMENT, None], pa.timestamp("us", "Europe/Berlin")),
        pa.array([[1], [], None]),
        pa.array([{"a": 1}, {"a": None}, None]),
        pa.nulls(3),
    ],
    ids=lambda values: str(values.type),
)
def test_dictionaries_of_anything(values: pa.Array) -> None:
    plain = read({"x": values})["x"].to_list()
    for index in (pa.int8(), pa.uint64()):
        # Null by the index, and by the dictionary.
        column = pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 2, 1], index), values)
        for first in range(6):
            expected = [plain[1], None, plain[0], plain[2], plain[1]][first:]
            found = read({"x": column[first:]})["x"]
            assert repr(found.to_list()) == repr(expected)
    many = pa.concat_arrays([values] * 100)
    few = pa.DictionaryArray.from_arrays(pa.array([299, 0, None, 0], pa.int32()), many)
    assert repr(read({"x": few})["x"].to_list()) == repr([plain[2], plain[0], None, plain[0]])
    assert read({"x": few[2:3]})["x"].to_list() == [None]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)], ids=str)
def test_bytes(kind: pa.DataType) -> None:
    values = [b"ab", None, b"\xff\0", b"\0\0"] + ([] if kind == pa.binary(2) else [b"", b"x" * 5000])
    array = pa.array(values, kind)
    for start in range(len(values)):
        found = read({"x": array[start:]})["x"]
        assert (found.type.name, found.to_list()) == ("bytes", values[start:])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps(unit: str) -> None:
    moment = MOMENT.replace(microsecond=0)
    plain = read({"x": pa.array([moment, None], pa.timestamp(unit))})["x"]
    assert plain.type.name == f"datetime64[{unit}]"
    assert plain.data.astype("M8[us]").tolist() == [moment, None]
    least = pa.array([-(2**63), 0], pa.int64()).cast(pa.timestamp(unit), safe=False)  # which NumPy has not
    assert read({"x": least})["x"].valid.tolist() == [False, True]
    zoned = pa.array([moment.replace(tzinfo=datetime.timezone.utc), None], pa.timestamp(unit, "Asia/Tokyo"))
    assert read({"x": zoned})["x"].data.astype("M8[us]").tolist() == [moment, None]


def test_what_stands_under_a_null_is_not_read() -> None:
    valid = pa.py_buffer(b"\x05")  # of three rows the middle one is null
    offsets = pa.py_buffer(np.array([0, 1, 3, 4], np.int32))
    strings = pa.Array.from_buffers(pa.string(), 3, [valid, offsets, pa.py_buffer(b"a\xff\xffb")])
    found = read({"x": strings})["x"]
    assert found.to_list() == ["a", None, "b"]
    assert found.data.tobytes() == b"ab"
    lists = pa.Array.from_buffers(pa.list_(pa.string()), 3, [valid, offsets], children=[pa.array(["a", "?", "?", "b"])])
    assert read({"x": lists})["x"].to_list() == [["a"], None, ["b"]]
    numbers = pa.Array.from_buffers(pa.int64(), 3, [valid, pa.py_buffer(np.array([1, 7, 2]))])
    assert read({"x": numbers})["x"].data.tolist() == [1, 0, 2]
    wild = pa.py_buffer(np.array([0, 1, 2**30, -5], np.int64))
    views = pa.Array.from_buffers(pa.int64(), 3, [valid, wild])
    column = pa.DictionaryArray.from_arrays(views, pa.array(["a", "b"]), safe=False)
    with pytest.raises(ValueError, match=r"metadata\['x'\]\[2\]: value \d+ of an Arrow dictionary of 2"):
        read({"x": pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "b"]), safe=False)})
    assert read({"x": column[:2]})["x"].to_list() == ["a", None]


def json_array(values: list) -> Any:
    field = pa.field("x", pa.string(), metadata={"ARROW:extension:name": "arrow.json", "other": "é", "": ""})
    return pa.table([pa.array(values)], pa.schema([field]))


def test_strings_of_json() -> None:
    found = read(json_array(['[1, {"a": null}]', None, "{}", "null"]))["x"]
    assert (found.type.name, found.to_list()) == ("json", [[1, {"a": None}], None, {}, None])
    with pytest.raises(ValueError, match=r"metadata\['x'\]\[1\]: expected JSON, for the column's type is arrow.json"):
        read(json_array(["[]", "[1"]))
    with pytest.raises(
        TypeError, match=r"metadata\['x'\]\[0\]: expected lists and dicts in a column of arrow.json, .* int"
    ):
        read(json_array(["5"]))
    with pytest.raises(ValueError, match=r"metadata\['x'\]\[0\]: "):
        read(json_array(["[" * 100_000]))
    assert read({"x": json_array(["[]"])["x"]})["x"].type.name == "str"  # the field is not a part of the column


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (pa.array([[DAY]]), r"'tdD' \(date32\); cast them to strings"),
        (pa.array([{"a": [MOMENT]}]), r"'tsu:' \(timestamp\); cast them to strings"),
        (pa.array([[b"a"]]), r"'z' \(binary\); cast them to strings"),
        (pa.array([[datetime.timedelta(1)]]), r"'tDu' \(duration\)"),
        (pa.ListArray.from_arrays([0, 1], pa.array([DAY]).dictionary_encode()), "a dictionary of 'tdD'"),
        (pa.array([], pa.month_day_nano_interval()), r"'tin' \(interval\)"),
        (pa.array([datetime.timedelta(1)]).dictionary_encode(), "a dictionary of 'tDu'"),
        (pa.RunEndEncodedArray.from_arrays([2], pa.array(["a"])), r"'\+r' \(run-end encoded\)"),
        (pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]), r"'\+us:0' \(union\)"),
    ],
    ids=lambda value: str(value.type) if hasattr(value, "type") else "",
)
def test_other_types_are_refused_by_name(array: pa.Array, found: str) -> None:
    with pytest.raises(TypeError, match=rf"^metadata\['x'\]: expected .*, found {found}"):
        read({"x": array})


def test_structs_with_two_fields_of_a_name_are_refused() -> None:
    array = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    with pytest.raises(ValueError, match=r"metadata\['x'\]: has two fields 'a'"):
        read({"x": array})


class Exported:
    """An array of a library whose numbers were changed on the way."""

    def __init__(self, array: pa.Array, change: Callable[[capsule.Schema, capsule.Array], Any]) -> None:
        self.array, self.change = array, change

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        schema_capsule, array_capsule = self.array.__arrow_c_array__()
        schema = capsule.Schema.from_address(capsule._capsule_pointer(schema_capsule, b"arrow_schema"))
        array = capsule.Array.from_address(capsule._capsule_pointer(array_capsule, b"arrow_array"))
        # What pyarrow releases must be as it made it.
        self.schema, self.copy = type(schema).from_buffer_copy(schema), type(array).from_buffer_copy(array)
        self.kept = self.change(self.schema, self.copy)
        self.capsules = schema_capsule, array_capsule
        new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
            ("PyCapsule_New", ctypes.pythonapi)
        )
        return (
            new(ctypes.addressof(self.schema), b"arrow_schema", None),
            new(ctypes.addressof(self.copy), b"arrow_array", None),
        )


ARRAYS = [
    pa.array([1, None]),
    pa.array([True, None]),
    pa.array(["a", None]),
    pa.array(["a" * 20, None], pa.string_view()),
    pa.array([b"ab", None], pa.binary(2)),
    pa.array([DAY, None]),
    pa.array([[1], None]),
    pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
    pa.array([{"a": 1}, None]),
    pa.array(["a", None]).dictionary_encode(),
    pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
]


def set_field(name: str, value: int) -> Callable[[Any, Any], None]:
    return lambda schema, array: setattr(array, name, value)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
@pytest.mark.parametrize(
    "change",
    [
        set_field("length", -1),
        set_field("offset", -1),
        set_field("n_buffers", -1),
        set_field("n_buffers", 0),
        set_field("n_children", 7),
        set_field("n_children", -1),
        lambda schema, array: setattr(array, "buffers", None),
    ],
    ids=["length", "offset", "negative buffers", "no buffers", "children", "negative children", "no pointers"],
)
def test_damaged_counts_are_refused(array: pa.Array, change: Any) -> None:
    with pytest.raises(ValueError, match=r"metadata\['x'\]"):
        read({"x": Exported(array, change)})


def with_buffer(which: int, *numbers: int) -> Callable[[Any, Any], Any]:
    """Other numbers in a buffer, or none at all."""

    def change(schema: Any, array: Any) -> Any:
        held = (ctypes.c_int32 * len(numbers))(*numbers)
        addresses = [array.buffers[place] for place in range(array.n_buffers)]
        addresses[which] = ctypes.addressof(held) if numbers else None
        kept = (ctypes.c_void_p * len(addresses))(*addresses)
        array.buffers = ctypes.cast(kept, ctypes.POINTER(ctypes.c_void_p))
        return kept, held

    return change


@pytest.mark.parametrize("array", [array for array in ARRAYS if array.type.num_buffers > 1], ids=lambda a: str(a.type))
def test_missing_buffers_are_refused(array: pa.Array) -> None:
    if pa.types.is_fixed_size_list(array.type) or pa.types.is_struct(array.type):
        pytest.skip("it has none but the one of nulls")
    with pytest.raises(ValueError, match="an Arrow array that is damaged: it has no buffer 1"):
        read({"x": Exported(array, with_buffer(1))})


def test_damaged_offsets_are_refused() -> None:
    def lists(kind: pa.DataType, *offsets: int) -> pa.Array:
        memory = pa.py_buffer(np.array(offsets, np.int32))
        return pa.Array.from_buffers(kind, len(offsets) - 1, [None, memory], children=[pa.array([1, 2, 3])])

    for offsets, message in (((0, 3, 1), r"metadata\['x'\]\[1\]: negative length"),):
        with pytest.raises(ValueError, match=message):
            read({"x": lists(pa.list_(pa.int64()), *offsets)})

    def shorten(schema: Any, array: Any) -> None:
        array.children[0].contents.length = 2

    with pytest.raises(ValueError, match=r"metadata\['x'\]: an Arrow array of 'l' \(int64\) that is damaged: 2 rows"):
        read({"x": Exported(lists(pa.list_(pa.int64()), 0, 1, 3), shorten)})
    for array in (pa.array(["a", "b"]), pa.array([b"a", b"b"]), pa.array([[1], [2]])):
        with pytest.raises(ValueError, match=r"metadata\['x'\]\[0\]: negative length"):
            read({"x": Exported(array, with_buffer(1, -3, 1, 2))})
    structs = pa.StructArray.from_arrays([pa.array([1, 2])], ["a"])
    with pytest.raises(ValueError, match=r"metadata\['x'\]: an Arrow array .* that is damaged: 2 rows"):
        read({"x": Exported(structs, set_field("length", 3))})
    fixed = pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))
    with pytest.raises(ValueError, match=r"metadata\['x'\]: an Arrow array .* that is damaged: 4 rows"):
        read({"x": Exported(fixed, set_field("length", 3))})
    for view, message in (
        ((-1, 0, 0, 0), r"\[0\]: negative length"),
        ((13, 0, 1, 0), r"\[0\]: a view into Arrow data buffer 1 of 1"),
        ((13, 0, -1, 0), r"\[0\]: a view into Arrow data buffer -1 of 1"),
        ((13, 0, 0, 1), r"\[0\]: a view beyond the end of Arrow data buffer 0"),
        ((2**31 - 1, 0, 0, 0), r"\[0\]: a view beyond the end of Arrow data buffer 0"),
    ):
        memory = pa.py_buffer(np.array(view, np.int32))
        array = pa.Array.from_buffers(pa.string_view(), 1, [None, memory, pa.py_buffer(bytes(13))])
        with pytest.raises(ValueError, match=rf"metadata\['x'\]{message}"):
            read({"x": array})


def test_damaged_schemas_are_refused() -> None:
    def metadata(*numbers: int) -> Callable[[Any, Any], Any]:
        def change(schema: Any, array: Any) -> Any:
            kept = (ctypes.c_int32 * len(numbers))(*numbers)
            schema.metadata = ctypes.addressof(kept)
            return kept

        return change

    for numbers in ((-1,), (1, -5), (1, 0, -2)):
        with pytest.raises(ValueError, match="the metadata of an Arrow schema is damaged"):
            read({"x": Exported(ARRAYS[0], metadata(*numbers))})
    assert read({"x": Exported(ARRAYS[0], metadata(0))})["x"].to_list() == [1, None]
    for field, value in (("format", None), ("n_children", -1)):
        with pytest.raises(ValueError, match="an Arrow schema that is damaged"):
            read({"x": Exported(ARRAYS[0], lambda schema, array, f=field, v=value: setattr(schema, f, v))})


def test_batches_of_some_rows() -> None:
    columns = {
        name: (values * 7)[:20] for name, values in KINDS.items() if name not in ("months", "hours", "picoseconds")
    }
    store = store_of(columns, 20, ids=[f"k{row}" for row in range(20)], texts=["a", None] * 10)
    store.add_embeddings(np.ones((3, 2)), ids=["x", "y", "z"])
    store.delete(["k1", "k7", "y"])
    contents = store._state.contents
    table = store.to_arrow()
    for batch_rows in (1, 7, 100):
        batches = list(to_batches(contents, None, None, batch_rows))
        assert [len(batch) for batch in batches[:-1]] == [batch_rows] * (len(batches) - 1)
        assert len({batch.schema for batch in batches}) == 1
        assert pa.Table.from_batches(batches).to_pylist().__repr__() == table.to_pylist().__repr__()
    rows = np.array([5, 3, 19, 3])
    [batch] = to_batches(contents, ["text", "dicts", "id"], rows, 10)
    assert batch.schema.names == ["text", "dicts", "id"]
    assert batch["id"].to_pylist() == ["k5", "k3", "k19", "k3"]
    assert batch["dicts"].to_pylist() == [KINDS["dicts"][row % 3] for row in rows]
    assert batch["text"].to_pylist() == [["a", None][row % 2] for row in rows]
    with pytest.raises(ValueError, match=r"columns: no column 'nothing'; there are \['id', 'vector', 'text', 'bool'"):
        to_batches(contents, ["nothing"], None, 10)
    assert list(to_batches(EmbeddingStore(dimension=3)._state.contents, None, None, 10)) == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_batches_hold_the_vectors(dtype: str) -> None:
    store = EmbeddingStore(dtype=dtype)
    vectors = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    store.add_embeddings(vectors[:6])
    store.add_embeddings(vectors[6:])
    batches = list(to_batches(store._state.contents, ["vector"], None, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    found = np.concatenate([batch["vector"].flatten().to_numpy().reshape(-1, 4) for batch in batches])
    assert found.dtype == (np.float16 if dtype == "float16" else np.float32)
    np.testing.assert_array_equal(found, store.get(np.arange(10)))


def test_points_in_time_that_arrow_has_not_are_refused() -> None:
    for values in ([np.datetime64(1, "ps")], [np.datetime64(10**9, "Y")], [np.datetime64(2**40, "D")]):
        store = store_of({"x": values}, 1)
        with pytest.raises(ValueError, match=r"metadata\['x'\]: .* is no point in time that Arrow holds in its unit"):
            store.to_arrow()


def test_arrow_arrays_keep_what_they_show() -> None:
    store = store_of({"n": np.arange(1000.0), "s": [f"{row}" for row in range(1000)]}, 1000)
    table = store.to_arrow()
    del store
    assert table["n"].to_pylist() == list(range(1000))
    assert table["s"].to_pylist() == [f"{row}" for row in range(1000)]


TYPES = st.sampled_from(
    [
        (pa.int8(), st.integers(-128, 127)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float32(), st.floats(width=32)),
        (pa.bool_(), st.booleans()),
        (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        (pa.large_string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        (pa.string_view(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        (pa.null(), st.none()),
    ]
)


def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Types made of others, each with a strategy for its values."""

    def struct(fields: list) -> tuple:
        names = [f"f{place}" for place in range(len(fields))]
        values = {name: st.none() | values for name, (_, values) in zip(names, fields, strict=True)}
        kinds = [pa.field(name, kind) for name, (kind, _) in zip(names, fields, strict=True)]
        return pa.struct(kinds), st.fixed_dictionaries(values)

    def lists(of: tuple) -> st.SearchStrategy:
        kind, values = of
        some = st.lists(st.none() | values, max_size=3)
        pair = st.lists(st.none() | values, min_size=2, max_size=2)
        return st.sampled_from([(pa.list_(kind), some), (pa.large_list(kind), some), (pa.list_(kind, 2), pair)])

    return inner.flatmap(lists) | st.lists(inner, max_size=3).map(struct)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_nested_types(data: st.DataObject) -> None:
    kind, values = data.draw(containers(st.recursive(TYPES, containers, max_leaves=5)))
    rows = data.draw(st.lists(st.none() | values, max_size=6))
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    array = pa.array(rows, kind)[start:stop]
    found = read({"x": array})["x"]
    assert found.type.name == "json"
    assert repr(found.to_list()) == repr(array.to_pylist())


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LEAVES = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | WORDS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
SHAPED = st.lists(st.lists(st.integers(-5, 5) | st.none(), max_size=3) | st.none(), min_size=1, max_size=5)
RECORDS = st.lists(
    st.none() | st.fixed_dictionaries({"a": st.floats() | st.none(), "b": st.lists(WORDS, max_size=2)}),
    min_size=1,
    max_size=5,
)
RANDOM = st.lists(
    st.none() | st.lists(VALUES, max_size=3) | st.dictionaries(WORDS, VALUES, max_size=3), min_size=1, max_size=5
)


@settings(max_examples=200, deadline=None)
@given(SHAPED | RECORDS | RANDOM)
def test_random_lists_and_dicts_through_arrow(values: list) -> None:
    store = store_of({"x": values}, len(values))
    table = store.to_arrow()
    assert columns_of(EmbeddingStore.from_arrow(table)) == columns_of(store)
    found = table["x"]
    if pa.types.is_nested(found.type):
        assert repr(found.to_pylist()) == repr(values)


@settings(max_examples=50, deadline=None)
@given(SHAPED | RECORDS | RANDOM)
def test_random_lists_and_dicts_through_parquet(tmp_path_factory: pytest.TempPathFactory, values: list) -> None:
    store = store_of({"x": values}, len(values))
    table = through_parquet(store.to_arrow(), tmp_path_factory.mktemp("parquet"))
    assert columns_of(EmbeddingStore.from_arrow(table)) == columns_of(store)


def test_texts_with_nulls_of_every_string_type() -> None:
    words = ["a", None, "twelve bytes", "thirteen byte", "", None, "東京"]
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        column = pa.array(words, kind)
        for start in range(len(words)):
            assert read_texts(column[start:]).to_list() == words[start:]
        table = pa.table({"vector": [[1.0]] * 7, "text": column})
        assert EmbeddingStore.from_arrow(table).texts == words
