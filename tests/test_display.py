"""Tables of text and of HTML, and what objects show in a notebook."""

import html
import re

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, EmbeddingStore, Reranker
from votive._display import html_table, text_table

TAGS = re.compile(r"</?(table|caption|thead|tbody|tr|th|td|br)( style=\"[a-z:;-]*\")?>")


def cells(table: str) -> list[list[str]]:
    """The text of a table of HTML, row by row, all of whose markup is known."""
    assert not re.search("[<>]", TAGS.sub("", table))
    rows = re.findall("<tr>(.*?)</tr>", table, re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


class TestTextTable:
    def test_numbers_are_at_the_right(self) -> None:
        rows = [("a", "1", "1.5 MB", "-"), ("bcd", "1,024", "-2e-05", "12%")]
        assert text_table(("name", "n", "size", "share"), rows, 80) == (
            "name      n    size  share\na         1  1.5 MB      -\nbcd   1,024  -2e-05    12%"
        )

    @pytest.mark.parametrize(("header", "rows", "table"), [((), [], ""), (("a", "b"), [], "a  b"), ((), [("x",)], "x")])
    def test_there_may_be_nothing(self, header: tuple[str, ...], rows: list[tuple[str, ...]], table: str) -> None:
        assert text_table(header, rows, 80) == table

    @pytest.mark.parametrize(("width", "cut"), [(9, 3), (10, 3), (25, 2), (40, 2), (79, 1)])
    def test_the_widest_columns_are_cut(self, width: int, cut: int) -> None:
        rows = [("0.5", "word " * 20, "x" * 30), ("12", "short", "y")]
        lines = text_table(("score", "text", "other"), rows, width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[1].count("…") == cut
        # Room is not left unused, but for what does not go into equal parts.
        assert max(map(len, lines)) >= width - 2

    def test_wide_letters_take_two_columns_and_marks_none(self) -> None:
        assert text_table((), [("日本", "x"), ("abc", "y"), ("e\u0301", "z")], 80) == "日本  x\nabc   y\ne\u0301     z"
        assert text_table((), [("日本語",)], 5) == "日本…"
        assert text_table((), [("日本語",)], 4) == "日…"

    def test_nothing_reaches_the_terminal_but_text(self) -> None:
        table = text_table((), [("a\nb\tc", "\x1b[31mred", "\u202eturned", "\ud800")], 80)
        assert table == "a b c  [31mred  turned"

    def test_the_width_is_the_terminals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "20")
        assert len(text_table((), [("x" * 50,)])) == 20


class TestHtmlTable:
    def test_all_text_is_escaped(self) -> None:
        evil = "<script>alert(\"1\" & '2')</script>"
        table = html_table((evil,), [(evil,)], f"{evil}\n{evil}")
        assert cells(table) == [[evil], [evil]]
        assert table.count(html.escape(evil)) == 4
        assert table.count("<br>") == 1

    def test_alignment_is_said(self) -> None:
        table = html_table(("name", "n"), [("a", "1"), ("b", "2")])
        assert re.findall("text-align:([a-z]+)", table) == ["left", "right"] * 3

    def test_without_a_header_the_first_cells_are_headings(self) -> None:
        table = html_table((), [("a", "1")])
        assert "<thead>" not in table
        assert re.search("<th[^>]*>a</th><td[^>]*>1</td>", table)

    def test_long_cells_are_cut(self) -> None:
        ((cell,),) = cells(html_table((), [("x" * 10_000,)]))
        assert cell == "x" * 399 + "…"

    def test_colours_are_the_pages(self) -> None:
        table = html_table(("a",), [("b",)], "c")
        assert set(re.findall("(?:color|background):([a-z]+)", table)) == {"inherit", "transparent"}


class TestNotebooks:
    def test_a_model(self, folder: str) -> None:
        model = Embedder(folder, prompts={"<b>": "x: "}, num_threads=2)
        shown = dict(cells(model._repr_html_() or ""))
        assert shown["Embedder"] == shown["folder"] == folder
        assert shown["device"].startswith(f"{model.device}, {model.dtype}, ")
        assert shown["device"].endswith(", 2 threads")
        assert (shown["dimension"], shown["max_seq_length"]) == ("48", "48")
        assert "'<b>'" in shown["prompts"]
        model.close()
        # Notebooks then show the repr.
        assert model._repr_html_() is None

    def test_a_reranker(self) -> None:
        shown = dict(cells(Reranker(FIXTURES / "bert_rerank")._repr_html_() or ""))
        assert (shown["num_labels"], shown["activation_fn"], shown["prompts"]) == ("1", "sigmoid", "none")

    def test_a_store(self, tmp_path: object) -> None:
        store = EmbeddingStore(metric="dot")
        assert dict(cells(store._repr_html_()))["columns"] == "none"
        store.add_embeddings(np.eye(3), texts=["a", "b", "c"], metadata={"<i>": [1, 2, 3]})
        store.save_to_disk(f"{tmp_path}/s")
        shown = dict(cells(EmbeddingStore.open(f"{tmp_path}/s")._repr_html_()))
        assert shown["EmbeddingStore"] == "3 rows"
        assert (shown["dimension"], shown["metric"], shown["dtype"]) == ("3", "dot", "float32")
        assert sorted(shown["columns"].split(", ")) == ["<i>: int64", "text: str"]
        assert shown["folder"].endswith("s")

    def test_statistics(self, folder: str) -> None:
        model = Embedder(folder)
        model.encode(["a", "b"])
        stats = model.stats()
        rows = cells(stats._repr_html_())
        assert rows[0] == ["", "mean", "p50", "p95", "p99"]
        assert [row[0] for row in rows[1:]] == ["queue wait, ms", "latency, ms", "texts a pass", "tokens a pass"]
        assert "1 calls, 2 texts, " in stats._repr_html_()
        assert all(" ".join(row).strip() in re.sub(" +", " ", repr(stats)) for row in rows)

    def test_a_search(self) -> None:
        store = EmbeddingStore()
        store.add_embeddings(np.eye(3))
        store.search([1, 0, 0], k=1)
        assert re.fullmatch(
            r"SearchReport\(queries=1, rows=3, rescored=\d+, bytes_read=\d+, closed_early=\d, seconds=\d\.\d{6}\)",
            repr(store.last_search),
        )
