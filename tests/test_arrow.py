"""Strings read out of Arrow columns, whoever made them."""

import ctypes
import errno

import pandas as pd
import pyarrow as pa
import pytest
from votive._arrow import capsule, string_chunks

# Of 0, 1, 12 and 13 bytes, up to 12 of which a view holds itself; of one to four bytes per character.
TEXTS = ["", "a", "twelve bytes", "thirteen byte", "Grüße", "東京", "🕯️" * 40, "", "the last"]
STRING_TYPES = [pa.string(), pa.large_string(), pa.string_view()]
INDEX_TYPES = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


def read(column):
    return [text for chunk in string_chunks(column) for text in chunk]


@pytest.mark.parametrize("string_type", STRING_TYPES, ids=str)
def test_array(string_type):
    assert read(pa.array(TEXTS, string_type)) == TEXTS


@pytest.mark.parametrize("string_type", STRING_TYPES, ids=str)
@pytest.mark.parametrize(("start", "length"), [(0, 3), (1, 8), (5, 1), (9, 9), (13, 10), (27, 0)])
def test_slice_reads_only_itself(string_type, start, length):
    texts = TEXTS * 3
    column = pa.array([None, *texts, None], string_type).slice(1 + start, length)
    assert read(column) == texts[start : start + length]


@pytest.mark.parametrize("string_type", STRING_TYPES, ids=str)
def test_chunks_in_order(string_type):
    chunks = [pa.array(part, string_type) for part in ([], TEXTS, [], TEXTS[:1], TEXTS[2:])]
    assert read(pa.chunked_array(chunks, string_type)) == [*TEXTS, TEXTS[0], *TEXTS[2:]]


def test_lists_are_short_and_never_empty():
    texts = [str(number) for number in range(20_000)]
    column = pa.chunked_array([pa.array(texts), pa.array([], pa.string()), pa.array(texts[:5])])
    chunks = list(string_chunks(column))
    assert [len(chunk) for chunk in chunks] == [8192, 8192, 3616, 5]
    assert [text for chunk in chunks for text in chunk] == texts + texts[:5]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([], pa.string()),
        pa.array([], pa.string_view()),
        pa.array([]),
        pa.array([]).dictionary_encode(),
        pa.array(["a"]).slice(1),
        pa.array(["a"]).dictionary_encode().slice(1),
        pa.chunked_array([], pa.large_string()),
        pa.chunked_array([[]], pa.string()),
    ],
    ids=lambda column: f"{type(column).__name__}-{column.type}",
)
def test_empty(column):
    assert list(string_chunks(column)) == []


def test_nothing_but_empty_strings():
    assert read(pa.array(["", ""])) == ["", ""]
    assert read(Stream([["", ""]])) == ["", ""]


@pytest.mark.parametrize("index_type", INDEX_TYPES, ids=str)
@pytest.mark.parametrize("string_type", STRING_TYPES, ids=str)
def test_dictionary(index_type, string_type):
    words = pa.array(["skipped", None, *TEXTS], string_type).slice(2)
    rows = [8, 0, 3, 3, 6, 0]
    column = pa.DictionaryArray.from_arrays(pa.array([0, *rows], index_type), words).slice(1)
    assert read(column) == [TEXTS[row] for row in rows]


def test_dictionary_that_changes_between_chunks():
    column = pa.chunked_array([pa.array(part).dictionary_encode() for part in (["a", "b", "a"], ["c", "a"])])
    assert read(column) == ["a", "b", "a", "c", "a"]


def test_dictionary_may_hold_a_null_that_no_row_names():
    assert read(pa.DictionaryArray.from_arrays([0, 2], pa.array(["a", None, "b"]))) == ["a", "b"]


MANY = ["text"] * 20_000


@pytest.mark.parametrize(
    ("column", "position"),
    [
        (pa.array(["a", None, "b", None]), 1),
        (pa.array(["a"] * 17 + [None], pa.string_view()), 17),
        (pa.array([None, "a", "b", None, "c"]).slice(1), 2),
        (pa.array([*MANY, None, "b"], pa.large_string()), 20_000),
        (pa.chunked_array([["a", "b"], [], ["c", None]]), 3),
        (pa.array(["a", "b", None]).dictionary_encode(), 2),
        (pa.DictionaryArray.from_arrays([0, 2, 1, 1], pa.array(["a", None, "b"])), 2),
        (pa.nulls(3), 0),
        (pa.nulls(3).dictionary_encode(), 0),
    ],
    ids=["first", "view", "slice", "second piece", "chunk", "index", "dictionary", "null type", "null dictionary"],
)
def test_null_is_named_by_its_position(column, position):
    with pytest.raises(TypeError, match=rf"^sentences\[{position}\]: expected a str, found null"):
        read(column)


def test_what_stands_before_a_null_is_read():
    chunks = string_chunks(pa.chunked_array([["a", "b"], [None]]))
    assert next(chunks) == ["a", "b"]
    with pytest.raises(TypeError, match=r"sentences\[2\]"):
        next(chunks)


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([1, 2]), "'l' (int64)"),
        (pa.array([1.5]), "'g' (float64)"),
        (pa.array([True]), "'b' (bool)"),
        (pa.array([b"a"]), "'z' (binary)"),
        (pa.array([["a"]]), "'+l' (list)"),
        (pa.array([b"abc"], pa.binary(3)), "'w:3' (fixed_size_binary)"),
        (pa.array([1, 2]).dictionary_encode(), "a dictionary of 'l' (int64)"),
        (pa.chunked_array([], pa.timestamp("s")), "'tss:' (timestamp)"),
    ],
    ids=lambda value: str(value.type) if hasattr(value, "type") else "",
)
def test_other_types_are_refused_by_name(column, found):
    with pytest.raises(TypeError, match=r"expected Arrow format 'u' \(utf8\)") as caught:
        read(column)
    assert str(caught.value).endswith(f"found {found}")


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"text": ["a"]}),
        pa.record_batch({"text": ["a"]}),
        pa.array([{"text": "a"}]),
        pd.DataFrame({"text": ["a"]}),
    ],
    ids=lambda table: type(table).__name__,
)
def test_table_is_refused(table):
    with pytest.raises(TypeError, match="pass its column"):
        read(table)


def test_what_speaks_no_arrow_is_refused():
    with pytest.raises(TypeError, match="expected __arrow_c_stream__ or __arrow_c_array__, found list"):
        read(["a"])


@pytest.mark.parametrize("string_type", [pa.string(), pa.large_string()], ids=str)
def test_invalid_utf8_is_named_by_its_position(string_type):
    binary_type = pa.binary() if string_type == pa.string() else pa.large_binary()
    column = pa.array([b"fine", b"ok \xff", b"\xed\xa0\x80"], binary_type).view(string_type)
    with pytest.raises(ValueError, match=r"^sentences\[1\]: not valid UTF-8, invalid start byte at byte 3"):
        read(column)
    with pytest.raises(ValueError, match=r"^sentences\[0\]: not valid UTF-8"):
        read(column.slice(2))


def test_damaged_array_is_refused():
    backwards = pa.py_buffer(b"".join(offset.to_bytes(4, "little") for offset in (0, 3, 1)))
    with pytest.raises(ValueError, match=r"^sentences\[1\]: negative length"):
        read(pa.StringArray.from_buffers(2, backwards, pa.py_buffer(b"abc")))
    beyond = pa.DictionaryArray.from_arrays(pa.array([0, 2]), pa.array(["a", "b"]), safe=False)
    with pytest.raises(ValueError, match=r"^sentences\[1\]: value 2 of an Arrow dictionary of 2"):
        read(beyond)
    view = b"".join(number.to_bytes(4, "little") for number in (13, 0, 1, 0))
    no_such_buffer = pa.Array.from_buffers(pa.string_view(), 1, [None, pa.py_buffer(view), pa.py_buffer(bytes(13))])
    with pytest.raises(ValueError, match="a view into Arrow data buffer 1 of 1"):
        read(no_such_buffer)


@pytest.mark.parametrize(
    "dtype", ["object", "str", "string[pyarrow]", pd.ArrowDtype(pa.string_view()), "category"], ids=str
)
def test_pandas(dtype):
    series = pd.Series([*TEXTS, *TEXTS], dtype=dtype)
    assert read(series) == TEXTS * 2
    assert read(series[3:5]) == TEXTS[3:5]


def test_pandas_missing_value():
    with pytest.raises(TypeError, match=r"sentences\[1\]: expected a str, found null"):
        read(pd.Series(["a", None], dtype="string[pyarrow]"))


def test_polars():
    polars = pytest.importorskip("polars")
    series = polars.Series("text", TEXTS)
    assert read(series) == TEXTS
    assert read(series[3:5]) == TEXTS[3:5]
    assert read(polars.concat([series, series], rechunk=False)) == TEXTS * 2
    assert read(series.cast(polars.Categorical)) == TEXTS


def test_memory_is_given_back():
    before = pa.total_allocated_bytes()
    texts = [f"text {number}" for number in range(20_000)]
    for string_type in (*STRING_TYPES, pa.dictionary(pa.int32(), pa.string())):
        # A slice is exported without a copy, and lives as long as anything that was exported from it.
        column = pa.array([*texts, None], string_type)
        assert read(column.slice(0, 20_000)) == texts
        with pytest.raises(TypeError, match="found null"):
            read(column)
        chunked = pa.chunked_array([column, column])
        chunks = string_chunks(chunked)
        next(chunks)
        assert pa.total_allocated_bytes() > before
        del chunks, chunked, column
        assert pa.total_allocated_bytes() == before


class Stream:
    """A producer of one utf8 array per list of `parts` that notes each release; `failing` names what fails."""

    def __init__(self, parts=(["a", "bc"], ["d"]), arrow_format=b"u", failing=None, code=0, reason=None):
        self.parts, self.arrow_format = list(parts), arrow_format
        self.failing, self.code, self.reason = failing, code, reason
        self.released = []
        give_address = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)  # a callback cannot return a char*
        types = dict(capsule.Stream._fields_)
        self.stream = capsule.Stream(
            types["get_schema"](self.get_schema),
            types["get_next"](self.get_next),
            ctypes.cast(give_address(self.get_last_error), types["get_last_error"]),
        )
        release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self.release_schema = release(lambda _: self.released.append("schema"))
        self.release_array = release(lambda _: self.released.append("array"))

    def __arrow_c_stream__(self, requested_schema=None):
        prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        new_capsule = prototype(("PyCapsule_New", ctypes.pythonapi))
        return new_capsule(ctypes.addressof(self.stream), b"arrow_array_stream", None)

    def get_schema(self, stream, address):
        if self.failing == "get_schema":
            return self.code
        schema = capsule.Schema.from_address(address)
        schema.format, schema.release = self.arrow_format, self.release_schema
        return 0

    def get_next(self, stream, address):
        if not self.parts:
            return self.code if self.failing == "get_next" else 0
        texts = self.parts.pop(0)
        ends = [len("".join(texts[:count])) for count in range(len(texts) + 1)]
        self.offsets = (ctypes.c_int32 * len(ends))(*ends)
        self.data = ctypes.create_string_buffer("".join(texts).encode())
        data_address = ctypes.addressof(self.data) if ends[-1] else None
        self.buffers = (ctypes.c_void_p * 3)(None, ctypes.addressof(self.offsets), data_address)
        array = capsule.Array.from_address(address)
        array.length, array.null_count, array.n_buffers = len(texts), -1, 3  # -1: not counted
        array.buffers = ctypes.cast(self.buffers, ctypes.POINTER(ctypes.c_void_p))
        array.release = self.release_array
        return 0

    def get_last_error(self, stream):
        return self.reason and ctypes.cast(self.reason, ctypes.c_void_p).value


def test_stream_is_released_piece_by_piece():
    stream = Stream()
    chunks = string_chunks(stream)
    assert next(chunks) == ["a", "bc"]
    assert stream.released == ["schema"]
    assert next(chunks) == ["d"]
    assert stream.released == ["schema", "array"]
    assert list(chunks) == []
    assert stream.released == ["schema", "array", "array"]


def test_abandoned_stream_is_released():
    stream = Stream()
    chunks = string_chunks(stream)
    next(chunks)
    del chunks
    assert stream.released == ["schema", "array"]


def test_refused_stream_is_released():
    stream = Stream(arrow_format=b"l")
    with pytest.raises(TypeError, match="int64"):
        read(stream)
    assert stream.released == ["schema"]


@pytest.mark.parametrize(("failing", "released"), [("get_schema", []), ("get_next", ["schema", "array", "array"])])
@pytest.mark.parametrize(
    ("code", "reason", "kind", "message"),
    [
        (errno.EINVAL, b"block 7 is no Arrow", ValueError, "^block 7 is no Arrow$"),
        (errno.EIO, b"the disk is gone", OSError, rf"^\[Errno {errno.EIO}\] the disk is gone$"),
        (errno.EIO, None, OSError, "the Arrow stream failed and gave no reason"),
    ],
)
def test_failure_of_the_stream_is_raised(failing, released, code, reason, kind, message):
    stream = Stream(failing=failing, code=code, reason=reason)
    with pytest.raises(kind, match=message):
        read(stream)
    assert stream.released == released
