"""Columns of metadata as callers give them: every kind of column and table, nulls, and what is refused."""

import collections
import datetime
import decimal
import enum
import json
import tracemalloc
import types
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from votive import EmbeddingStore
from votive._store.input.metadata import read, read_texts, read_values

UTC = datetime.timezone.utc
DAY = datetime.date(2024, 2, 29)
MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)
AWARE = MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
KEY = uuid.UUID(int=5)
BIG = 2**63 + 1
NAN = float("nan")


class Shared:
    """An array that other libraries can have by DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Arrayed:
    """What NumPy makes an array of."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


class Word(str):
    """A str whose own methods say something else."""

    def __str__(self) -> str:
        return "other"

    def __len__(self) -> int:
        return 99

    def encode(self, *args: Any) -> bytes:
        return b"other"


class Date(datetime.date):
    """A date of another library."""


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


def column(values: Any) -> tuple[str, list]:
    """The type of a column, and its values as Python has them."""
    found = read({"x": values})["x"]
    if found.valid is not None:
        assert found.valid.dtype == bool
        assert found.valid.shape == (found.rows,)
        nulls = ~found.valid
        if found.offsets is not None:
            assert not np.diff(found.offsets)[nulls].any()
        elif found.data.dtype.kind == "M":
            assert np.isnat(found.data[nulls]).all()
    if found.offsets is not None:
        assert found.offsets.dtype == np.int64
        assert found.data.dtype == np.uint8
    elif found.type.name != "null":
        assert found.data.dtype == found.type.dtype
        assert found.data.dtype.isnative
    return found.type.name, found.to_list()


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ([True, None, np.True_], "bool", [True, None, True]),
        ([1, None, -(2**63)], "int64", [1, None, -(2**63)]),
        ([BIG, BIG + 1, 17], "uint64", [BIG, BIG + 1, 17]),
        ([BIG, None, 0], "uint64", [BIG, None, 0]),
        ([np.uint64(BIG), 17], "uint64", [BIG, 17]),
        ([np.uint64(BIG), np.int64(17)], "uint64", [BIG, 17]),
        ([np.int8(1), None, np.int8(-1)], "int8", [1, None, -1]),
        ([np.int8(1), np.int16(300)], "int16", [1, 300]),
        ([1.5, None, NAN], "float64", [1.5, None, NAN]),
        ([1, 2.5, None], "float64", [1.0, 2.5, None]),
        ([2**53, 0.5, 2**80], "float64", [2.0**53, 0.5, 2.0**80]),
        ([np.float32(0.5), np.float32(1.5)], "float32", [0.5, 1.5]),
        ([np.float16(0.5), None], "float16", [0.5, None]),
        ([np.float32(0.5), 1.1], "float64", [0.5, 1.1]),
        (["a", None, "東京 🕯️", "", "a\0"], "str", ["a", None, "東京 🕯️", "", "a\0"]),
        ([KEY, "a", None], "str", [str(KEY), "a", None]),
        ([Word("a"), None, np.str_("b")], "str", ["a", None, "b"]),
        ([b"a\0\xff", None, b""], "bytes", [b"a\0\xff", None, b""]),
        ([DAY, None], "datetime64[D]", [DAY, None]),
        ([Date(2024, 2, 29), DAY], "datetime64[D]", [DAY, DAY]),
        ([MOMENT, None], "datetime64[us]", [MOMENT, None]),
        ([DAY, MOMENT, None], "datetime64[us]", [datetime.datetime(2024, 2, 29), MOMENT, None]),
        ([AWARE, None, MOMENT.replace(tzinfo=UTC)], "datetime64[us]", [MOMENT.replace(hour=10), None, MOMENT]),
        (
            [datetime.datetime.min, datetime.datetime.max],
            "datetime64[us]",
            [datetime.datetime.min, datetime.datetime.max],
        ),
        ([datetime.date.min, datetime.date.max], "datetime64[D]", [datetime.date.min, datetime.date.max]),
        (
            [pd.Timestamp("2024-02-29").as_unit("s"), pd.NaT],
            "datetime64[s]",
            [datetime.datetime(2024, 2, 29), None],
        ),
        ([pd.Timestamp(AWARE), AWARE], "datetime64[us]", [MOMENT.replace(hour=10)] * 2),
        (
            [np.datetime64("2024", "Y"), np.datetime64("2024-02-29", "D"), None, np.datetime64("NaT")],
            "datetime64[D]",
            [datetime.date(2024, 1, 1), DAY, None, None],
        ),
        (
            [np.datetime64("2024-02-29T12:30:01.000005"), DAY],
            "datetime64[us]",
            [MOMENT, datetime.datetime(2024, 2, 29)],
        ),
        ([[1, 2.5, None, True, "a", NAN], None, []], "json", [[1, 2.5, None, True, "a", NAN], None, []]),
        ([{"a": {"b": [()]}}, {}], "json", [{"a": {"b": [[]]}}, {}]),
        ([np.array([1, 2], np.int8), np.array([[0.5], [NAN]]), (1, 2)], "json", [[1, 2], [[0.5], [NAN]], [1, 2]]),
        (
            [[np.int8(1), np.float32(0.5), np.bool_(True), np.str_("s"), np.array([1])]],
            "json",
            [[1, 0.5, True, "s", [1]]],
        ),
        ([[2**100, -0.0, float("inf")]], "json", [[2**100, -0.0, float("inf")]]),
        ([collections.OrderedDict(b=1, a=2), collections.defaultdict(int, c=3)], "json", [{"b": 1, "a": 2}, {"c": 3}]),
        ([[pd.NA, None]], "json", [[None, None]]),
        ([None, None], "null", [None, None]),
        ([pd.NA, None, pd.NaT, np.ma.masked, np.datetime64("NaT")], "null", [None] * 5),
        ([], "null", []),
        ([np.array(3, np.int16), np.array(4, np.int16)], "int16", [3, 4]),
        ([1.0, np.ma.masked], "float64", [1.0, None]),
        (("a", None), "str", ["a", None]),
        (range(3), "int64", [0, 1, 2]),
        ((word for word in "ab"), "str", ["a", "b"]),
        (collections.deque([1, None]), "int64", [1, None]),
        ({"k": 1, "l": 2}.values(), "int64", [1, 2]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_python_values(given: Any, kind: str, expected: list) -> None:
    found = column(given)
    assert found[0] == kind
    assert json.dumps(found[1], default=repr) == json.dumps(expected, default=repr)


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (np.array([1, 2], np.uint8), "uint8", [1, 2]),
        (np.array([1, 2], ">u2"), "uint16", [1, 2]),
        (np.array([1, 2, 3, 4], np.float16)[::-2], "float16", [4.0, 2.0]),
        (np.array([BIG], np.uint64), "uint64", [BIG]),
        (np.array([1.5, NAN]), "float64", [1.5, NAN]),
        (np.array([True, False])[::-1], "bool", [False, True]),
        (np.array(["b", "aä", "東京"])[::-1], "str", ["東京", "aä", "b"]),
        (np.array(["b", "aä"], ">U2"), "str", ["b", "aä"]),
        (np.array([b"b", b"\xff"]), "bytes", [b"b", b"\xff"]),
        (np.array([], "U7"), "str", []),
        (np.array([], "S7"), "bytes", []),
        (np.array([], np.float32), "float32", []),
        (np.array([], object), "null", []),
        (np.array(["b", None, NAN], object)[:2], "str", ["b", None]),
        (np.array([True, False], object), "bool", [True, False]),
        (np.array([[1], None], object), "json", [[1], None]),
        (np.array(["2024-02-29", "NaT"], "M8[D]"), "datetime64[D]", [DAY, None]),
        (
            np.array([1, 2], ">M8[25s]"),
            "datetime64[25s]",
            [datetime.datetime(1970, 1, 1, 0, 0, 25), datetime.datetime(1970, 1, 1, 0, 0, 50)],
        ),
        (np.array(["NaT"], "M8"), "null", [None]),
        (np.ma.array([1, 2], mask=[0, 1]), "int64", [1, None]),
        (np.ma.array([1, 2], mask=[0, 0]), "int64", [1, 2]),
        (np.ma.array(["a", "bc"], mask=[1, 0]), "str", [None, "bc"]),
        (np.ma.array([b"a", b"bc"], mask=[1, 0]), "bytes", [None, b"bc"]),
        (np.ma.array(["a", 5], mask=[0, 1], dtype=object), "str", ["a", None]),
        (np.ma.array(["2024-02-29", "2024-02-28"], mask=[0, 1], dtype="M8[D]"), "datetime64[D]", [DAY, None]),
        (np.rec.array([(1,)], dtype=[("f", "i4")])["f"], "int32", [1]),
        (Shared(np.array([1, 2], np.int16)), "int16", [1, 2]),
        (Shared(np.array([0.5], np.float16)), "float16", [0.5]),
        (Arrayed(np.array(["a", "b"])), "str", ["a", "b"]),
        (memoryview(np.array([1, 2], np.int32)), "int64", [1, 2]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_arrays(given: Any, kind: str, expected: list) -> None:
    assert repr(column(given)) == repr((kind, expected))


@pytest.mark.skipif(
    not hasattr(getattr(np, "dtypes", None), "StringDType"), reason="NumPy 1 has no strings of variable length"
)
@pytest.mark.parametrize("options", [{}, {"na_object": None}, {"na_object": NAN}, {"na_object": pd.NA}], ids=str)
def test_numpy_strings_of_variable_length(options: dict) -> None:
    dtype = np.dtypes.StringDType(**options)
    words = ["a", "東京", "", "x" * 1000]
    assert column(np.array(words, dtype)) == ("str", words)
    if options:
        assert column(np.array([*words, options["na_object"]], dtype)) == ("str", [*words, None])
        assert read_texts(np.array([*words, options["na_object"]], dtype)).to_list() == [*words, None]


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (pd.Series([1, 2], index=[5, 6]), "int64", [1, 2]),
        (pd.Series([1, None], dtype="Int64"), "int64", [1, None]),
        (pd.Series([BIG, None], dtype="UInt64"), "uint64", [BIG, None]),
        (pd.Series([1, None], dtype="Int8"), "int8", [1, None]),
        (pd.Series([0.5, None], dtype="Float32"), "float32", [0.5, None]),
        (pd.Series([True, None], dtype="boolean"), "bool", [True, None]),
        (pd.Series([1.5, None]), "float64", [1.5, NAN]),
        (pd.Series(["a", None]), "str", ["a", None]),
        (pd.Series(["a", NAN, None, pd.NA], dtype=object), "str", ["a", None, None, None]),
        (pd.Series([1, None, pd.NA], dtype=object), "int64", [1, None, None]),
        (pd.Series([1, NAN], dtype=object), "float64", [1.0, NAN]),
        (pd.Series([[1], NAN, {"a": 1}]), "json", [[1], None, {"a": 1}]),
        (pd.Series(["a", None], dtype="string"), "str", ["a", None]),
        (pd.Series(["a", None], dtype="string[pyarrow]"), "str", ["a", None]),
        (pd.Series(["a", None], dtype=pd.ArrowDtype(pa.string())), "str", ["a", None]),
        (pd.Series([[1, None], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "json", [[1, None], None]),
        (pd.Series([BIG, None], dtype=pd.ArrowDtype(pa.uint64())), "uint64", [BIG, None]),
        (pd.Series(["b", None, "a", "b"], dtype="category"), "str", ["b", None, "a", "b"]),
        (pd.Series([2, None, 1], dtype="category"), "int64", [2, None, 1]),
        (pd.Series([AWARE, None], dtype="category"), "datetime64[us]", [MOMENT.replace(hour=10), None]),
        (pd.Series([None, None], dtype="category"), "null", [None, None]),
        (pd.Series([], dtype="category"), "null", []),
        (pd.Series([MOMENT, None]).astype("M8[us]"), "datetime64[us]", [MOMENT, None]),
        (
            pd.Series([MOMENT, None]).dt.tz_localize("Europe/Berlin").dt.as_unit("us"),
            "datetime64[us]",
            [MOMENT.replace(hour=11), None],
        ),
        (pd.DatetimeIndex([MOMENT]).as_unit("us"), "datetime64[us]", [MOMENT]),
        (pd.Series([DAY, None]), "datetime64[D]", [DAY, None]),
        (pd.Series([b"a", None]), "bytes", [b"a", None]),
        (pd.Series([1, 0, 0], dtype="Sparse[int64]"), "int64", [1, 0, 0]),
        (pd.Series([KEY, None]), "str", [str(KEY), None]),
        (pd.Index(["a", "b"]), "str", ["a", "b"]),
        (pd.array([1, None], dtype="Int64"), "int64", [1, None]),
        (pd.Categorical(["a", None]), "str", ["a", None]),
    ],
    ids=lambda value: repr(value).replace("\n", " ")[:60],
)
def test_pandas(given: Any, kind: str, expected: list) -> None:
    assert repr(column(given)) == repr((kind, expected))


ROWS = [{"year": 1, "name": "a"}, None, {"tags": ["x"], "year": 2.5}, {}, {"name": None}]
COLUMNS = {
    "year": ("float64", [1.0, None, 2.5, None, None]),
    "name": ("str", ["a", None, None, None, None]),
    "tags": ("json", [None, None, ["x"], None, None]),
}


@pytest.mark.parametrize("kind", [list, tuple, iter], ids=lambda kind: kind.__name__)
def test_mappings_for_rows(kind: Any) -> None:
    found = read(kind(ROWS), 5)
    assert list(found) == list(COLUMNS)
    assert {name: (values.type.name, values.to_list()) for name, values in found.items()} == COLUMNS


@pytest.mark.parametrize(
    "table",
    [
        {"year": [1, None], "name": ["a", "b"]},
        types.MappingProxyType({"year": [1, None], "name": ["a", "b"]}),
        [{"year": 1, "name": "a"}, {"name": "b"}],
        [types.MappingProxyType({"year": 1, "name": "a"}), {"name": "b"}],
        pd.DataFrame({"year": pd.array([1, None], "Int64"), "name": ["a", "b"]}),
        pa.table({"year": [1, None], "name": ["a", "b"]}),
        pa.table({"year": pa.chunked_array([[1], [None]]), "name": pa.chunked_array([["a"], ["b"]])}),
        pa.RecordBatch.from_pydict({"year": [1, None], "name": pa.array(["a", "b"]).dictionary_encode()}),
        pa.table({"year": [1, None], "name": ["a", "b"]}).to_reader(max_chunksize=1),
    ],
    ids=lambda table: type(table).__name__,
)
def test_tables(table: Any) -> None:
    found = {name: (values.type.name, values.to_list()) for name, values in read(table, 2).items()}
    assert found == {"year": ("int64", [1, None]), "name": ("str", ["a", "b"])}


def test_tables_of_no_rows_or_columns() -> None:
    assert read([], 0) == read([None, {}], 2) == read({}, 3) == read(pa.table({}), None) == {}
    assert column(pa.table({"x": pa.array([], pa.int8())})["x"]) == ("int8", [])
    assert read(pa.table({"x": pa.array([], pa.string())})) == {}  # of which there is no chunk


ACCEPTED = "expected bool, int, float, str, bytes, datetime, date, UUID, a list, a dict or None"
INSIDE = "expected None, bool, int, float, str, a list or a dict in a list or a dict"


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ([BIG, -1], ValueError, rf"x'\]\[0\]: {BIG} is beyond int64, and the column has negative ints"),
        ([0, 2**64], ValueError, rf"x'\]\[1\]: expected an int of 64 bits, found {2**64}; str holds any"),
        ([0, -(2**63) - 1], ValueError, r"x'\]\[1\]: expected an int of 64 bits"),
        ([1.5, 2**53 + 1], ValueError, r"x'\]\[1\]: the column has floats, and float64 does not hold 9007199254740993"),
        ([1, "a"], TypeError, r"x'\]\[1\]: expected int or None, as metadata\['x'\]\[0\], found str"),
        ([None, "a", 1], TypeError, r"x'\]\[2\]: expected str or None, as metadata\['x'\]\[1\], found int"),
        ([True, 1], TypeError, r"x'\]\[1\]: expected bool or None, as metadata\['x'\]\[0\], found int"),
        ([1, 2.5, True], TypeError, r"x'\]\[2\]: expected int or None, .*found bool"),
        (["a", NAN], TypeError, r"x'\]\[1\]: expected str or None, .*found float; a missing value is None, not NaN"),
        ([b"a", "a"], TypeError, r"x'\]\[1\]: expected bytes or None, .*found str"),
        ([[1], 1], TypeError, r"x'\]\[1\]: expected list or dict or None, .*found int"),
        ([DAY, "2024"], TypeError, r"x'\]\[1\]: expected date or None, .*found str"),
        ([1, decimal.Decimal(1)], TypeError, rf"x'\]\[1\]: {ACCEPTED}, found Decimal"),
        ([1j], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found complex"),
        ([np.complex64(1)], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found complex64"),
        ([datetime.timedelta(1)], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found timedelta"),
        ([np.timedelta64(1, "s")], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found timedelta64"),
        ([datetime.time(1)], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found time"),
        ([None, Color.RED], TypeError, rf"x'\]\[1\]: {ACCEPTED}, found Color"),
        ([Size.SMALL], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found Size"),
        ([{1}], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found set"),
        ([object()], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found object"),
        ([bytearray(b"a")], TypeError, rf"x'\]\[0\]: {ACCEPTED}, found bytearray"),
        ([MOMENT, AWARE], ValueError, r"x'\]\[1\]: .* with a time zone, and those before it have none"),
        ([None, AWARE, MOMENT], ValueError, r"x'\]\[2\]: .* with no time zone, and those before it have one"),
        ([AWARE, DAY], ValueError, r"x'\]\[1\]: a point in time with no time zone"),
        (
            [datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))],
            ValueError,
            r"x'\]\[0\]: .* is before the year 1 or after 9999 in UTC",
        ),
        (
            [np.datetime64("2024", "as"), np.datetime64("2024", "Y")],
            ValueError,
            "no unit holds points in time of all of",
        ),
        (
            [np.datetime64(10**10, "Y"), np.datetime64(1, "D"), np.datetime64(1, "ns")],
            ValueError,
            r"x'\]\[0\]: datetime64\[ns\] does not hold",
        ),
        ([{1: 2}], TypeError, r"x'\]\[0\]: expected keys of str, found int"),
        ([[], {"a": [{None: 2}]}], TypeError, r"x'\]\[1\]\['a'\]\[0\]: expected keys of str, found NoneType"),
        ([{Color.RED: 2}], TypeError, r"x'\]\[0\]: expected keys of str, found Color"),
        ([[1, DAY]], TypeError, rf"x'\]\[0\]\[1\]: {INSIDE}, found date; give its isoformat\(\)"),
        ([{"a": [MOMENT]}], TypeError, rf"x'\]\[0\]\['a'\]\[0\]: {INSIDE}, found datetime; give its isoformat\(\)"),
        ([[KEY]], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found UUID; give its str"),
        ([[{1}]], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found set; give a sorted list"),
        ([[b"a"]], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found bytes; give its hex\(\) or base64"),
        ([[Size.SMALL]], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found Size; give its value"),
        ([[decimal.Decimal(1)]], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found Decimal"),
        ([[1j]], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found complex"),
        ([np.array(["2024"], "M8[D]")], TypeError, rf"x'\]\[0\]\[0\]: {INSIDE}, found date"),
        ([["a"], ["\ud800"]], ValueError, r"x'\]\[1\]: holds a lone surrogate, which is no text"),
        ([{"\ud800": 1}], ValueError, r"x'\]\[0\]: holds a lone surrogate, which is no text"),
        (["a", "\ud800"], ValueError, r"x'\]\[1\]: holds a lone surrogate, which is no text"),
        (np.array(["a", "\udfff"]), ValueError, r"x'\]\[1\]: holds a lone surrogate, which is no text"),
        (np.array(["a", "\udfff"], object), ValueError, r"x'\]\[1\]: holds a lone surrogate, which is no text"),
        (np.ones((2, 2)), ValueError, r"x'\]: expected one dimension, found shape \(2, 2\); \.tolist\(\)"),
        (np.array(5), ValueError, r"x'\]: expected one dimension, found shape \(\)"),
        (np.int64(5), ValueError, r"x'\]: expected one dimension, found shape \(\)"),
        (np.ones(2, np.complex64), TypeError, r"x'\]: expected booleans, .* found complex64"),
        (np.ones(2, np.longdouble), TypeError, r"x'\]: expected booleans, .*64 bits.*found"),
        (np.array([1, 2], "m8[s]"), TypeError, r"x'\]: expected .* found timedelta64\[s\]"),
        (np.zeros(2, [("a", int)]), TypeError, r"x'\]: expected .* found \[\('a'"),
        (pd.DataFrame({"a": [1]}), ValueError, r"x'\]: expected one dimension, found shape \(1, 1\)"),
        (pd.Series(pd.period_range("2024", periods=2, freq="D")), TypeError, rf"x'\]\[0\]: {ACCEPTED}, found Period"),
        (pd.Series(pd.to_timedelta([1], unit="s")), TypeError, r"x'\]: expected .* found timedelta64"),
        (
            5,
            TypeError,
            r"x'\]: expected a column, which is a list or an array of one value for each row, found int; ",
        ),
        (None, TypeError, r"x'\]: expected a column, .* found NoneType"),
        ("abc", TypeError, r"x'\]: expected a column, .* found str"),
        (b"abc", TypeError, r"x'\]: expected a column, .* found bytes"),
        ({1, 2}, TypeError, r"x'\]: expected a column, .* found set"),
        ({1: 2}, TypeError, r"x'\]: expected a column, .* found dict"),
        (pa.array([decimal.Decimal(1)]), TypeError, r"x'\]: expected numbers, .* found 'd:1,0' \(decimal\)"),
        (pa.array([datetime.timedelta(1)]), TypeError, r"x'\]: expected numbers, .* found 'tDu' \(duration\)"),
        (pa.array([datetime.time(1)]), TypeError, r"x'\]: expected numbers, .* found 'ttu' \(time\)"),
        (
            pa.array([[DAY]]),
            TypeError,
            r"x'\]: expected .* in lists or structs, found 'tdD' \(date32\); cast them to strings",
        ),
        (pa.table({"a": [1]}), ValueError, r"x'\]: expected one dimension, found shape \(1, 1\)"),
    ],
    ids=lambda value: repr(value).replace("\n", " ")[:60],
)
def test_refused_columns(given: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        read({"x": given})
    assert type(caught.value) is kind
    assert str(caught.value).startswith("metadata['x']")


@pytest.mark.parametrize(
    ("metadata", "kind", "message"),
    [
        ({"id": [1, 2]}, ValueError, r"metadata\['id'\]: the name is taken"),
        ({"text": [1, 2]}, ValueError, r"metadata\['text'\]: the name is taken"),
        ([{"vector": 1}], ValueError, r"metadata\['vector'\]: the name is taken"),
        (pa.table({"id": [1]}), ValueError, r"metadata\['id'\]: the name is taken"),
        ({3: [1, 2]}, TypeError, "metadata: expected names of columns, found 3"),
        ([{3: 1}], TypeError, "metadata: expected names of columns, found 3"),
        ({"": [1, 2]}, TypeError, "metadata: expected names of columns, found ''"),
        ([{}, 1], TypeError, r"metadata\[1\]: expected a mapping of names to values or None, found int"),
        ([{"x": 1}, {"x": "a"}], TypeError, r"metadata\['x'\]\[1\]: expected int or None"),
        ([{}], ValueError, "metadata: expected 2, as many as vectors, found 1"),
        (5, TypeError, "metadata: expected a mapping of names to columns, a DataFrame, an Arrow table, or a list of"),
        ("ab", TypeError, "metadata: expected a mapping .* found str"),
        ({1, 2}, TypeError, "metadata: expected a mapping .* found set"),
        (np.ones(2), TypeError, "metadata: expected a mapping .* found ndarray"),
        (pa.array([1, 2]), TypeError, "metadata: expected an Arrow table, .* found a column of 'l'"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refused_tables(metadata: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        read(metadata, 2)


def test_integers_of_thousands_of_digits_are_refused() -> None:
    for values, message in (
        ([0, 10**10000], "expected an int of 64 bits, found an int of 33220 bits; str holds any"),
        ([0.5, 2**2000], "the column has floats, and float64 does not hold an int of 2001 bits"),
        ([[], [10**5000]], "Exceeds the limit"),
    ):
        with pytest.raises(ValueError, match=rf"metadata\['x'\]\[1\]: {message}"):
            read({"x": values})


def test_nesting_is_bounded() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert column([deep]) == ("json", [deep])
    for value in ([deep], {"a": deep}):
        with pytest.raises(ValueError, match=r"x'\]\[0\]: expected at most 100 lists and dicts in each other"):
            read({"x": [value]})
    circular: list = []
    circular.append(circular)
    with pytest.raises(ValueError, match=r"x'\]\[1\]: expected at most 100 lists and dicts in each other"):
        read({"x": [[], circular]})


def test_what_numpy_cannot_have_is_refused_by_name() -> None:
    class Elsewhere:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise RuntimeError("it is on another device")

    with pytest.raises(TypeError, match=r"metadata\['x'\]: expected an array .* Elsewhere; it is on another device"):
        read({"x": Elsewhere()})


def test_values_of_one_row() -> None:
    given = {
        "a": [1, 2],
        "b": None,
        "c": "s",
        "d": DAY,
        "e": np.float32(0.5),
        "f": np.array([1.5]),
        "g": {"h": (1,)},
        "i": KEY,
    }
    found = {name: (values.type.name, values.to_list()) for name, values in read_values(given, "metadata").items()}
    assert found == {
        "a": ("json", [[1, 2]]),
        "b": ("null", [None]),
        "c": ("str", ["s"]),
        "d": ("datetime64[D]", [DAY]),
        "e": ("float32", [0.5]),
        "f": ("json", [[1.5]]),
        "g": ("json", [{"h": [1]}]),
        "i": ("str", [str(KEY)]),
    }
    for given, kind, message in (
        ({"x": 1j}, TypeError, rf"metadata\['x'\]: {ACCEPTED}, found complex"),
        ({"x": 2**64}, ValueError, r"metadata\['x'\]: expected an int of 64 bits"),
        ({"x": {"a": DAY}}, TypeError, rf"metadata\['x'\]\['a'\]: {INSIDE}, found date"),
        ({"id": 1}, ValueError, r"metadata\['id'\]: the name is taken"),
        ([1], TypeError, "metadata: expected a mapping of names to values, found list"),
    ):
        with pytest.raises(kind, match=f"^{message}"):
            read_values(given, "metadata")


TEXTS = ["", "a", None, "Grüße", "東京", "x" * 5000, "a\0b", None, "last"]


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        iter,
        lambda texts: np.array(texts, object),
        lambda texts: np.ma.array(
            ["" if text is None else text for text in texts], mask=[text is None for text in texts]
        ),
        pd.Series,
        lambda texts: pd.Series(texts, dtype=object),
        lambda texts: pd.Series(texts, dtype="string[pyarrow]"),
        lambda texts: pd.Series(texts, dtype="category"),
        pa.array,
        lambda texts: pa.array(texts, pa.string_view()),
        lambda texts: pa.array(texts).dictionary_encode(),
        lambda texts: pa.chunked_array([texts[:4], [], texts[4:]], pa.large_string()),
    ],
)
def test_texts(kind: Any) -> None:
    found = read_texts(kind(TEXTS), "texts")
    assert (found.type.name, found.to_list()) == ("str", TEXTS)


def test_texts_that_are_one_or_none() -> None:
    assert read_texts("ab").to_list() == ["ab"]
    for nothing in ([], [None, None], pa.nulls(2), np.array([], "U3"), pd.Series([None, None], dtype=object)):
        found = read_texts(nothing)
        assert found.type.name == "str"
        assert found.to_list() == [None] * len(nothing)
    assert read_texts([Word("a")]).to_list() == ["a"]


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        (["a", 1], TypeError, r"texts\[1\]: expected a str or None, found int"),
        (["a", b"b"], TypeError, r"texts\[1\]: expected a str or None, found bytes"),
        (["a", NAN], TypeError, r"texts\[1\]: expected a str or None, found float"),
        (["a", "\udfff"], ValueError, r"texts\[1\]: holds a lone surrogate"),
        (np.array(["a", "\udfff"]), ValueError, r"texts\[1\]: holds a lone surrogate"),
        (5, TypeError, "texts: expected a str, a list or another column or iterable of str, found int"),
        ({"a": "b"}, TypeError, "texts: expected a str, a list .* found dict"),
        ([["a"], ["b"]], TypeError, r"texts\[0\]: expected a str or None, found list"),
        (np.array([1, 2]), TypeError, "texts: expected an array of str, found dtype int64"),
        (np.array([["a"]]), TypeError, "texts: expected one column of str, found ndarray of 2 dimensions"),
        (pd.Series([1, 2]), TypeError, r"texts\[0\]: expected a str or None, found int"),
        (pa.array([1, 2]), TypeError, "texts: expected Arrow format 'u'"),
        (pd.DataFrame({"a": ["b"]}), TypeError, "texts: "),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refused_texts(texts: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        read_texts(texts)
    if "[1]" in message:
        with pytest.raises(kind, match=r"texts\[8\]"):
            read_texts(texts, "texts", 7)


def test_what_was_given_may_change_afterwards() -> None:
    numbers, words, lists = np.array([1, 2]), ["a", "b"], [[1], [2]]
    arrow = pa.array([1, 2])
    found = read({"n": numbers, "w": words, "l": lists, "m": np.array([1, 2], ">i4"), "a": arrow})
    numbers[:], words[:] = 0, ["", ""]
    lists[0].append(2)
    assert not np.shares_memory(found["a"].data, arrow.to_numpy())
    assert [values.to_list() for values in found.values()] == [[1, 2], ["a", "b"], [[1], [2]], [1, 2], [1, 2]]


def test_one_long_string_takes_no_more_than_its_length() -> None:
    words = ["short"] * 20_000
    words[7] = "x" * 20_000
    fixed = np.array(words[:200])  # of 16 MB
    tracemalloc.start()
    found = read({"x": words, "y": pd.Series(words)})
    assert found["x"].to_list() == found["y"].to_list() == words
    assert read({"x": fixed})["x"].to_list() == words[:200]
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()


def test_arrays_of_fixed_width_are_read_in_pieces() -> None:
    words = [f"{row}é" for row in range(70_000)]
    assert column(np.array(words)) == ("str", words)
    encoded = [word.encode() for word in words]
    assert column(np.array(encoded)) == ("bytes", encoded)
    words[69_999] = "\udfff"
    with pytest.raises(ValueError, match=r"x'\]\[69999\]: holds a lone surrogate"):
        read({"x": np.array(words)})


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(
    st.lists(st.none() | st.lists(NESTED) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), NESTED))
)
def test_lists_and_dicts_come_back_as_they_were(values: list) -> None:
    kind, found = column(values)
    assert kind == ("json" if any(value is not None for value in values) else "null")
    assert repr(found) == repr(values)


@given(st.lists(st.none() | st.integers(-(2**64), 2**65)))
def test_integers_come_back_or_are_refused(values: list) -> None:
    held = [value for value in values if value is not None]
    fits = not held or (min(held) >= -(2**63) and max(held) < 2**63) or (min(held) >= 0 and max(held) < 2**64)
    if fits:
        assert column(values)[1] == values
    else:
        with pytest.raises(ValueError, match=r"metadata\['x'\]\["):
            column(values)


def test_a_pandas_column_of_nan_alone_is_null_beside_any_type() -> None:
    store = EmbeddingStore()
    for part in ({"a": ["x", "y"]}, {"a": [float("nan")] * 2}, {"a": [None, "z"]}):
        store.add_embeddings(np.ones((2, 3)), metadata=pd.DataFrame(part))
    assert store.metadata["a"].tolist() == ["x", "y", None, None, None, "z"]
    store.add_embeddings(np.ones((2, 3)), metadata=pd.DataFrame({"b": [1.5, float("nan")], "a": ["u", "v"]}))
    assert np.isnan(store.metadata["b"][-1])
