"""What may be encoded, and what is refused, with its position."""

from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bodies import same
from votive import Embedder, TruncationWarning

TEXTS = ["one text", "", "a second one, which is longer", "naïve 漢字 \U0001f56f", "x"]

COLUMNS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "keys of a dict": lambda texts: dict.fromkeys(texts).keys(),
    "values of a dict": lambda texts: dict(enumerate(texts)).values(),
    "NumPy str": lambda texts: np.array(texts, dtype=str),
    "NumPy object": lambda texts: np.array(texts, dtype=object),
    "NumPy, every other": lambda texts: np.repeat(np.array(texts, dtype=object), 2)[::2],
    "list of NumPy's str": lambda texts: list(np.array(texts, dtype=str)),
    "pandas object": lambda texts: pd.Series(texts, dtype=object),
    "pandas string": lambda texts: pd.Series(texts, dtype="string"),
    "pandas str": lambda texts: pd.Series(texts, dtype="str"),
    "pandas Arrow": lambda texts: pd.Series(texts, dtype=pd.ArrowDtype(pa.string())),
    "pandas category": lambda texts: pd.Series(texts, dtype="category"),
    "pandas with another index": lambda texts: pd.Series(texts, index=range(7, 7 + len(texts))),
    "pandas Index": pd.Index,
    "pandas column": lambda texts: pd.DataFrame({"text": texts})["text"],
    "pyarrow": pa.array,
    "pyarrow large": lambda texts: pa.array(texts, pa.large_string()),
    "pyarrow view": lambda texts: pa.array(texts, pa.string_view()),
    "pyarrow chunked": lambda texts: pa.chunked_array([texts[:2], texts[2:]]),
    "pyarrow dictionary": lambda texts: pa.array(texts).dictionary_encode(),
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "map": lambda texts: map(str, texts),
}
if hasattr(np.dtypes, "StringDType"):
    COLUMNS["NumPy StringDType"] = lambda texts: np.array(texts, dtype=np.dtypes.StringDType())


class Alive(str):
    """A text that is counted while it is in memory."""

    __slots__ = ()
    now: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __new__(cls, text: str) -> "Alive":
        Alive.now += 1
        Alive.most = max(Alive.most, Alive.now)
        return super().__new__(cls, text)

    def __del__(self) -> None:
        Alive.now -= 1


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    """Each text alone."""
    return np.stack([model.encode(text) for text in TEXTS])


def test_one_str_gives_one_vector(model: Embedder, expected: np.ndarray) -> None:
    vector = model.encode(TEXTS[2])
    assert (vector.shape, vector.dtype) == ((48,), np.float32)
    assert same(vector, expected[2])
    assert same(model.encode(np.str_(TEXTS[2])), expected[2])


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_columns_and_streams(column: Callable[[list[str]], Any], model: Embedder, expected: np.ndarray) -> None:
    vectors = model.encode(column(TEXTS))
    assert vectors.dtype == np.float32
    assert same(vectors, expected)
    assert model.last_report is not None
    assert model.last_report.texts == len(TEXTS)


def test_all_that_a_column_must_do_is_speak_arrow(model: Embedder, expected: np.ndarray) -> None:
    column = SimpleNamespace(__arrow_c_array__=pa.array(TEXTS).__arrow_c_array__)
    assert same(model.encode(column), expected)


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_other_results_take_the_same_inputs(column: Callable[[list[str]], Any], model: Embedder) -> None:
    lengths = [len(row["input_ids"]) for row in model.tokenize(column(TEXTS))]
    rows = model.encode(column(TEXTS), output_value="token_embeddings")
    assert [row.shape for row in rows] == [(length, 48) for length in lengths]


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_no_texts(column: Callable[[list[str]], Any], model: Embedder) -> None:
    vectors = model.encode(column([]))
    assert (vectors.shape, vectors.dtype) == ((0, 48), np.float32)
    assert model.encode(column([]), truncate_dim=5, normalize_embeddings=True).shape == (0, 5)
    assert model.encode(column([]), precision="ubinary").shape == (0, 6)
    assert model.encode(column([]), output_value=None) == []
    assert model.tokenize(column([])) == []


def test_a_stream_is_read_in_pieces(model: Embedder) -> None:
    Alive.most = Alive.now
    before = Alive.now
    count = 30_000
    vectors = model.encode(Alive(f"text {row % 7}") for row in range(count))
    assert Alive.most - before < 10_000
    assert Alive.now == before
    rows = model.encode([f"text {row}" for row in range(7)])
    assert same(vectors, rows[np.arange(count) % 7])


def test_a_stream_longer_than_a_piece_names_the_position_in_the_whole(model: Embedder) -> None:
    def texts(bad: object) -> Iterator[Any]:
        yield from ["text"] * 5_000
        yield bad

    with pytest.raises(TypeError, match=r"sentences\[5000\].*NoneType"):
        model.encode(texts(None))
    with pytest.raises(ValueError, match=r"sentences\[5000\].*surrogate"):
        model.encode(texts("\udc80"))


NO_TEXTS: dict[str, tuple[object, str]] = {
    "None": (None, "NoneType"),
    "int": (3, "int"),
    "float": (float("nan"), "float"),
    "bytes": (b"text", "bytes"),
    "list": (["text"], "list"),
    "tuple": (("query", "text"), "tuple"),
    "dict": ({"text": "text"}, "dict"),
    "missing value of pandas": (pd.NA, "NAType"),
}


@pytest.mark.parametrize(("bad", "kind"), NO_TEXTS.values(), ids=NO_TEXTS.keys())
def test_what_is_no_text_is_named_with_its_position(bad: object, kind: str, model: Embedder) -> None:
    texts = ["good", "good", bad, "good", bad]
    for sentences in (texts, tuple(texts), iter(texts), deque(texts), pd.Series(texts, dtype=object)):
        with pytest.raises(TypeError, match=rf"^sentences\[2\]: expected a str, found {kind}$"):
            model.encode(sentences)
    for call in (model.tokenize, lambda texts: model.encode(texts, output_value=None)):
        with pytest.raises(TypeError, match=rf"^sentences\[2\]: expected a str, found {kind}$"):
            call(texts)


MISSING: dict[str, Any] = {
    "pandas object": pd.Series(["a", None, "b"], dtype=object),
    "pandas object with NaN": pd.Series(["a", np.nan, "b"], dtype=object),
    "pandas string": pd.Series(["a", pd.NA, "b"], dtype="string"),
    "pandas str": pd.Series(["a", None, "b"], dtype="str"),
    "pandas Arrow": pd.Series(["a", None, "b"], dtype=pd.ArrowDtype(pa.string())),
    "pandas category": pd.Series(["a", None, "b"], dtype="category"),
    "pyarrow": pa.array(["a", None, "b"]),
    "pyarrow chunked": pa.chunked_array([["a"], [None, "b"]]),
    "pyarrow dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "NumPy object": np.array(["a", None, "b"], dtype=object),
}
if hasattr(np.dtypes, "StringDType"):
    MISSING["NumPy StringDType"] = np.array(["a", None, "b"], dtype=np.dtypes.StringDType(na_object=None))


@pytest.mark.parametrize("column", MISSING.values(), ids=MISSING.keys())
def test_a_missing_value_is_named_with_its_position(column: Any, model: Embedder) -> None:
    with pytest.raises(TypeError, match=r"^sentences\[1\]: expected a str, found"):
        model.encode(column)


NO_COLUMNS: dict[str, tuple[Any, str]] = {
    "None": (None, "NoneType"),
    "int": (7, "int"),
    "bytes": (b"text", "bytes"),
    "bytearray": (bytearray(b"text"), "bytearray"),
    "dict": ({"text": 1}, "dict"),
    "set": ({"text"}, "set"),
    "frozenset": (frozenset({"text"}), "frozenset"),
    "object": (SimpleNamespace(), "SimpleNamespace"),
    "class": (str, "type"),
    "DataFrame": (pd.DataFrame({"a": ["text"]}), "DataFrame of 2 dimensions"),
    "pyarrow table": (pa.table({"a": ["text"]}), "pass its column"),
    "NumPy matrix": (np.array([["text"]]), "ndarray of 2 dimensions"),
    "NumPy scalar array": (np.array("text"), "ndarray of 0 dimensions"),
    "NumPy numbers": (np.zeros(3), "dtype float64"),
    "NumPy bytes": (np.array([b"text"]), r"dtype \|S4"),
    "pyarrow numbers": (pa.array([1, 2]), "int64"),
    "pyarrow bytes": (pa.array([b"text"]), "binary"),
}


@pytest.mark.parametrize(("bad", "found"), NO_COLUMNS.values(), ids=NO_COLUMNS.keys())
def test_what_is_no_column_is_refused(bad: Any, found: str, model: Embedder) -> None:
    for call in (model.encode, model.encode_query, model.tokenize):
        with pytest.raises(TypeError, match=rf"^sentences: expected .*{found}"):
            call(bad)


def test_numbers_from_pandas_are_no_texts(model: Embedder) -> None:
    with pytest.raises(TypeError, match=r"^sentences\[0\]: expected a str, found int"):
        model.encode(pd.Series([1, 2]))
    with pytest.raises(TypeError, match=r"^sentences\[0\]: expected a str, found int"):
        model.encode(range(3))


@pytest.mark.parametrize("bad", ["\ud83d", "before \udcff after"])
def test_a_lone_surrogate_is_named_with_its_position(bad: str, model: Embedder, expected: np.ndarray) -> None:
    for sentences, position in ((bad, 0), (["a", bad], 1), (iter(["a", "b", bad]), 2)):
        with pytest.raises(ValueError, match=rf"^sentences\[{position}\]: .*lone surrogate"):
            model.encode(sentences)
    with pytest.raises(ValueError, match=r"^sentences\[1\]: .*lone surrogate"):
        model.tokenize(["a", bad])
    assert same(model.encode(TEXTS), expected)


def test_nul_is_a_character_like_others(model: Embedder) -> None:
    # BERT's normalizer drops it.
    assert same(model.encode("one\0 text\0"), model.encode("one text"))
    assert same(model.encode("\0"), model.encode(""))
    assert same(model.encode(["a\0", "b"])[1], model.encode("b"))


def test_a_text_of_megabytes_is_cut(model: Embedder) -> None:
    text = "one two three " * 360_000  # 5 MB
    with pytest.warns(TruncationWarning, match="1 of 3 texts"):
        vectors = model.encode(["short", text, "short"])
    with pytest.warns(TruncationWarning):
        assert same(vectors[1], model.encode(text[:2_000]))
    assert same(vectors[0], model.encode("short"))
    with pytest.warns(TruncationWarning):
        model.encode([text])
    report = model.last_report
    assert report is not None
    assert (report.texts, report.tokens, report.truncated) == (1, 48, [0])


def test_a_word_of_megabytes_is_one_unknown_token(model: Embedder) -> None:
    assert len(model.tokenize("a" * 1_000_000)["input_ids"]) == 3
