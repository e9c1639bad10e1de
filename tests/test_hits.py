"""What a query found, as it is shown and passed on."""

import copy
import datetime
import os
import pickle
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from votive import EmbeddingStore, Hit, Hits
from votive._cells import clipped, one_line, width

HITS = Hits(
    [
        Hit(7, 0.9, "the cat sits\n\ton the mat", {"year": 2001, "score": None}),
        Hit(3, 0.25, None, {"year": None, "score": 0.5}),
        Hit(9, -1.5, "<script>alert('&')</script>", {"year": 1999, "score": 2.0}),
    ]
)


def sized(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns, 24)))


def test_hits_are_a_sequence() -> None:
    assert isinstance(HITS, Sequence)
    assert len(HITS) == 3
    assert [hit.id for hit in HITS] == [7, 3, 9]
    assert HITS[-1].metadata == {"year": 1999, "score": 2.0}
    assert HITS[1] in HITS
    assert HITS.index(HITS[1]) == 1
    assert isinstance(HITS[:2], Hits)
    assert HITS[:2] == Hits([HITS[0], HITS[1]])
    assert HITS[::-1].ids.tolist() == [9, 3, 7]
    assert not HITS[:0]
    with pytest.raises(IndexError):
        HITS[3]
    assert list(HITS) != HITS


def test_columns_of_hits() -> None:
    assert HITS.ids.dtype == np.int64
    assert HITS.ids.tolist() == [7, 3, 9]
    assert HITS.scores.dtype == np.float32
    assert HITS.scores.tolist() == pytest.approx([0.9, 0.25, -1.5])
    assert HITS.texts == [hit.text for hit in HITS]
    named = Hits([Hit("a", 1.0), Hit("b", 0.5)])
    assert named.ids.dtype == object
    assert named.ids.tolist() == ["a", "b"]
    nothing = Hits()
    assert (nothing.ids.tolist(), nothing.scores.tolist(), nothing.texts) == ([], [], [])


def test_a_hit_is_a_value() -> None:
    hit = Hit(7, 0.5, "a text", {"year": 2001})
    assert hit == Hit(7, 0.5, "a text", {"year": 2001})
    assert hash(hit) == hash(Hit(7, 0.5, "a text", {"year": 2001}))
    assert hit != Hit(7, 0.5, "a text", {"year": 2002})
    with pytest.raises(AttributeError):
        hit.score = 1.0  # type: ignore[misc]
    for same in (copy.copy(HITS), copy.deepcopy(HITS), pickle.loads(pickle.dumps(HITS))):
        assert same == HITS
        assert hash(same) == hash(HITS)


def test_the_repr_of_a_hit_is_one_short_line() -> None:
    assert repr(Hit(7, 0.123456, "a text")) == "Hit(id=7, score=0.1235, text='a text')"
    assert repr(Hit("ä", 1.0)) == "Hit(id='ä', score=1.0000)"
    shown = repr(Hit(7, 0.5, "many\nlines " * 1000, {"tags": ["long"] * 1000}))
    assert "\n" not in shown
    assert len(shown) < 200
    assert shown.count("…") == 2


# In a terminal


def test_a_table_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, 80)
    assert repr(HITS).splitlines() == [
        "id    score  text                         year  metadata.score",
        " 7   0.9000  the cat sits on the mat      2001",
        " 3   0.2500                                                0.5",
        " 9  -1.5000  <script>alert('&')</script>  1999             2.0",
    ]
    assert str(HITS) == repr(HITS)


@pytest.mark.parametrize("columns", [30, 40, 55, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, columns)
    texts = ["plain words " * 50, "中文字符" * 40, "é" * 200, "\N{COMBINING ACUTE ACCENT}e" * 90, "🙂" * 90, "short"]
    metadata = {"a long name of a column, longer than most": "value " * 30, "year": 2001, "zh": "宽" * 30}
    shown = repr(Hits([Hit(row, 0.5, text, metadata) for row, text in enumerate(texts)]))
    lines = shown.splitlines()
    assert max(map(width, lines)) <= columns
    assert "…" in shown
    # What there is no room for is named, once.
    assert ("not shown: " in shown) == (columns < 200)
    # The column after the texts begins at the same place in each line.
    if columns == 200:
        places = {width(line[: line.index("2001")]) for line in lines if "2001" in line}
        assert len(places) == 1


def test_texts_are_shown_only_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, 80)
    assert repr(Hits([Hit("a", 1.0), Hit("bb", 0.5)])).splitlines() == ["id   score", "a   1.0000", "bb  0.5000"]


def test_of_many_hits_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, 80)
    many = Hits(Hit(row, 1.0, f"text {row}") for row in range(1000))
    assert len(repr(many).splitlines()) == 52
    assert repr(many).endswith("… and 950 more")
    assert "… and 950 more" in many._repr_html_()
    assert "text 50" not in many._repr_html_()
    assert "more" not in repr(many[:50])


def test_no_hits_say_so() -> None:
    assert repr(Hits()) == "Hits: no hits"
    assert "no hits" in Hits()._repr_html_()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\n\tb\x1b[31mc\x07\x00d", "a b [31mc d"),
        ("  a   b  ", "a b"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("a\u202eb\u2066c\u200fd", "a b c d"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("e\u0301", "e\u0301"),
        ("", ""),
    ],
)
def test_a_text_becomes_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3),
        ("中文", 4),
        ("e\u0301", 1),
        ("🙂", 2),
        ("ﾊ", 1),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", 2),
        ("é", 1),
        ("", 0),
    ],
)
def test_columns_that_a_text_takes(text: str, columns: int) -> None:
    assert width(text) == columns


def test_what_is_clipped_fits() -> None:
    assert clipped("abcdef", 6) == "abcdef"
    assert clipped("abcdefg", 6) == "abcde…"
    assert clipped("abc defg", 5) == "abc…"
    assert clipped("中文字", 4) == "中…"
    assert clipped("a" * 10**6, 10) == "aaaaaaaaa…"
    # Behind that many spaces nothing is looked for.
    assert clipped("a" + " " * 10**6 + "b", 10) == "a…"


# In a notebook


def test_html_is_escaped() -> None:
    evil = '<img src=x onerror="alert(1)">'
    shown = Hits([Hit(evil, 0.5, f"{evil}\n&amp; more", {evil: evil, "tags": [evil]})])._repr_html_()
    assert "<img" not in shown
    assert "onerror=&quot;alert(1)&quot;" in shown
    assert "&amp;amp; more" in shown
    assert "&#x27;" in shown  # of the list of tags
    tags = set(re.findall(r"<(/?\w+)", shown))
    names = {"table", "thead", "tbody", "tr", "th", "td"}
    assert tags == names | {f"/{name}" for name in names}


def test_long_texts_are_cut_in_html() -> None:
    shown = Hits([Hit(1, 0.5, "word " * 100_000)])._repr_html_()
    assert len(shown) < 2000
    assert "…" in shown
    assert "\n" not in Hits([Hit(1, 0.5, "a\nb")])._repr_html_()


# As tables


def test_hits_to_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = HITS.to_pandas()
    assert list(frame) == ["id", "score", "text", "year", "metadata.score"]
    assert frame["id"].tolist() == [7, 3, 9]
    assert frame["score"].dtype == np.float32
    assert frame["text"].tolist()[::2] == HITS.texts[::2]
    assert frame["text"].isna().tolist() == [False, True, False]
    assert frame["year"].isna().tolist() == [False, True, False]
    assert list(Hits().to_pandas()) == ["id", "score", "text"]
    assert isinstance(frame, pandas.DataFrame)


def test_hits_to_arrow() -> None:
    pytest.importorskip("pyarrow")
    table = HITS.to_arrow()
    assert table.column_names == ["id", "score", "text", "year", "metadata.score"]
    assert [str(type) for type in table.schema.types] == ["int64", "float", "large_string", "int64", "double"]
    assert table["year"].to_pylist() == [2001, None, 1999]
    assert table["text"].to_pylist() == HITS.texts
    assert Hits().to_arrow().column_names == ["id", "score", "text"]


def test_columns_of_every_type_to_arrow() -> None:
    pytest.importorskip("pyarrow")
    metadata: dict[str, Any] = {
        "flag": [True, None],
        "name": ["a", None],
        "raw": [b"\xff", None],
        "tags": [["a"], None],
        "odd": [{"a": 1}, [2]],
        "day": np.array(["2020-01-02", "NaT"], "M8[D]"),
        "hour": np.array(["2020-01-02T03", "NaT"], "M8[h]"),
        "exact": np.array([0.5, 0.25], np.float16),
    }
    store = EmbeddingStore()
    store.add_embeddings(np.eye(2), ids=["x", "y"], metadata=metadata)
    hits = store.query([1.0, 0.5])
    assert hits[0].metadata["day"] == np.datetime64("2020-01-02")
    assert hits[1].metadata == dict.fromkeys(metadata) | {"odd": [2], "exact": 0.25}
    table, stored = hits.to_arrow(), store.to_arrow()
    assert table["id"].to_pylist() == ["x", "y"]
    for name in metadata:
        if name != "exact":  # of Python's floats
            assert table.schema.field(name) == stored.schema.field(name), name
        assert table[name].to_pylist() == stored[name].to_pylist(), name
    assert table["day"].to_pylist()[0] == datetime.date(2020, 1, 2)


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow")])
def test_a_package_that_is_missing_is_named(package: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *_: object) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("votive.hits.import_module", missing)
    with pytest.raises(ImportError, match=rf"^{method} needs {package}: pip install {package}$"):
        getattr(HITS, method)()
