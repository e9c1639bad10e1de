"""`votive store`: what it writes and prints, what it leaves behind after a failure, and searching what it made."""

import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive
import votive.cli
from votive import EmbeddingStore
from votive.cli.store import create, rows

MODEL = str(Path(__file__).parent / "fixtures" / "bert_modules")
TEXTS = ["wax with a wick", "a port in the north", "rye bread", ""]

TABLE = "id,text,year,price,new,code,note\na,rye bread,2019,1.5,true,007,\nb,a port,,2,FALSE,12,x\n"
RECORDS = [
    {"id": 7, "text": "rye bread", "tags": ["food"], "year": 2019},
    {"id": 3, "text": "a port", "author": {"name": "Ada"}},
]

pytestmark = pytest.mark.usefixtures("here")

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed, and gives what it prints on standard output."""

    def run(*arguments: str) -> str:
        model = [] if arguments[1] in ("info", "verify", "compact") else ["--model", MODEL]
        assert votive.cli.main([*arguments, *model]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def store(run: Run) -> str:
    """A store of `TEXTS`."""
    Path("a.txt").write_text("\n".join([*TEXTS, ""]), encoding="utf-8")
    run("store", "create", "store", "a.txt")
    return "store"


def made(folder: str) -> EmbeddingStore:
    """The store in a folder, all of which is as it was written."""
    found = EmbeddingStore.open(folder)
    found.verify()
    return found


def records(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


class TestCreate:
    def test_lines(self, store: str, capsys: pytest.CaptureFixture[str]) -> None:
        found = made(store)
        assert found.texts == TEXTS
        assert found.ids.tolist() == [0, 1, 2, 3]
        assert found.metadata == {}
        np.testing.assert_array_equal(found.vectors, votive.Embedder(MODEL).encode_document(TEXTS))
        assert sorted(os.listdir()) == ["a.txt", "store"]

    def test_it_says_what_it_made(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("a.txt").write_text("one\n" + "two " * 100)
        assert votive.cli.main(["store", "create", "store", "a.txt", "--model", MODEL]) == 0
        printed, said = capsys.readouterr()
        assert printed == ""
        assert said.startswith("store: 2 rows of 48; ")
        assert said.endswith("; 1 text was cut at 48 tokens (rows 1)\n")

    def test_columns_of_a_table_have_types(self, run: Run) -> None:
        Path("a.csv").write_text(TABLE)
        run("store", "create", "store", "a.csv")
        found = made("store")
        assert found.ids.tolist() == ["a", "b"]
        assert found.get_metadata("a") == {"year": 2019, "price": 1.5, "new": True, "code": "007", "note": None}
        assert found.get_metadata("b") == {"year": None, "price": 2.0, "new": False, "code": "12", "note": "x"}

    def test_types_are_those_of_all_files(self, run: Run) -> None:
        Path("a.csv").write_text("text,year\none,2019\n")
        Path("b.tsv").write_text("text\tyear\ntwo\tunknown\n")
        run("store", "create", "store", "a.csv", "b.tsv")
        assert made("store").metadata["year"].tolist() == ["2019", "unknown"]

    def test_a_table_of_standard_input_stays_text(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TABLE.encode())))
        run("store", "create", "store", "-", "--column", "text")
        assert made("store").get_metadata("a")["year"] == "2019"

    def test_json(self, run: Run) -> None:
        Path("a.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
        run("store", "create", "store", "a.jsonl")
        found = made("store")
        assert found.ids.tolist() == [7, 3]
        assert found.get_metadata(7) == {"tags": ["food"], "year": 2019, "author": None}
        assert found.get_metadata(3) == {"tags": None, "year": None, "author": {"name": "Ada"}}

    def test_id_and_text_are_named(self, run: Run) -> None:
        Path("a.jsonl").write_text('{"nr": "x", "body": "one", "n": 1}\n{"nr": "y", "body": "two", "n": 2}\n')
        run("store", "create", "store", "a.jsonl", "--field", "body", "--id-field", "nr")
        found = made("store")
        assert (found.ids.tolist(), found.texts, list(found.metadata)) == (["x", "y"], ["one", "two"], ["n"])

    def test_no_metadata(self, run: Run) -> None:
        Path("a.csv").write_text(TABLE)
        run("store", "create", "store", "a.csv", "--no-metadata")
        assert made("store").metadata == {}

    def test_options(self, run: Run, store: str) -> None:
        options = ["--metric", "dot", "--store-dtype", "int8", "--truncate-dim", "16"]
        run("store", "create", "other", "a.txt", *options)
        found = made("other")
        assert (found.metric, found.dtype, found.dimension) == ("dot", "int8", 16)

    def test_no_texts(self, run: Run) -> None:
        Path("a.txt").touch()
        run("store", "create", "store", "a.txt")
        assert len(made("store")) == 0

    def test_an_empty_folder_is_taken(self, run: Run) -> None:
        os.mkdir("store")
        Path("a.txt").write_text("one\n")
        run("store", "create", "store", "a.txt")
        assert len(made("store")) == 1

    def test_rows_beyond_the_memory_go_to_files(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(create, "MAX_MEMORY_GB", 1e-5)
        monkeypatch.setattr(rows, "CHUNK_TEXTS", 256)
        texts = [f"text {row}" for row in range(700)]
        Path("a.jsonl").write_text("\n".join(json.dumps({"text": text, "row": row}) for row, text in enumerate(texts)))
        run("store", "create", "store", "a.jsonl")
        found = made("store")
        assert found.texts == texts
        assert found.metadata["row"].tolist() == list(range(700))

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ('{"text": "one"}\n{"text": 2}\n', "a.jsonl:2: field 'text' is a number, want a string"),
            ('{"text": "one", "id": 1}\n{"text": "two"}\n', "a.jsonl:2: no field 'id', which is to have the id"),
            ('{"text": "one", "id": 1.5}\n', "a.jsonl:1: the id 'id' is 1.5, want a whole number or text"),
            ('{"text": "one", "n": 1}\n{"text": "b", "n": "x"}\n', "a.jsonl:1 to a.jsonl:2: metadata"),
        ],
    )
    def test_records_that_are_refused_leave_nothing(
        self, content: str, complaint: str, fails: Callable[..., str]
    ) -> None:
        Path("a.jsonl").write_text(content)
        assert fails("store", "create", "store", "a.jsonl", "--model", MODEL).startswith(complaint)

    def test_tables_are_read_before_the_model(self, fails: Callable[..., str]) -> None:
        Path("a.csv").write_text("text,a,a\none,2,3\n")
        said = fails("store", "create", "store", "a.csv", "--model", "./nowhere")
        assert said == "a.csv:1: the column 'a' is there twice"

    @pytest.mark.parametrize(
        ("folder", "complaint"),
        [
            ("store", "store: is a store already; `votive store add` adds to it"),
            ("full", "full: is there already, and is no empty folder"),
            ("a.txt", "a.txt: is there already, and is no empty folder"),
            (os.path.join("missing", "store"), f"{os.path.join('missing', 'store')}: No such file or directory"),
        ],
    )
    def test_folders_that_are_not_free(
        self, folder: str, complaint: str, store: str, fails: Callable[..., str]
    ) -> None:
        os.mkdir("full")
        Path("full", "b.txt").touch()
        assert fails("store", "create", folder, "a.txt", "--model", MODEL) == complaint

    def test_a_failure_at_the_end_leaves_nothing(
        self, store: str, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_source: str, _target: str) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "rename", full)
        assert fails("store", "create", "new", "a.txt", "--model", MODEL) == "new: No space left on device"

    def test_ctrl_c_leaves_nothing(
        self, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(EmbeddingStore, "save_to_disk", interrupt)
        before = sorted(os.listdir())
        assert votive.cli.main(["store", "create", "new", "a.txt", "--model", MODEL]) == 130
        assert capsys.readouterr().err == "votive store create: interrupted\n"
        assert sorted(os.listdir()) == before


class TestAdd:
    def test_rows_are_added_and_replaced(self, capsys: pytest.CaptureFixture[str], run: Run) -> None:
        Path("a.csv").write_text(TABLE)
        run("store", "create", "store", "a.csv")
        Path("b.csv").write_text("id,text,year\nb,the port,2024\nc,a candle,2020\n")
        assert votive.cli.main(["store", "add", "store", "b.csv", "--model", MODEL]) == 0
        assert capsys.readouterr().err.startswith("store: 2 texts added, 1 of them in place of others; 3 rows; ")
        found = made("store")
        assert found.ids.tolist() == ["a", "b", "c"]
        assert found.get_texts("b") == "the port"
        assert found.metadata["year"].tolist() == [2019, 2024, 2020]

    def test_numbers_stay_text_where_the_column_is(self, run: Run) -> None:
        Path("a.csv").write_text("text,code\none,x\n")
        run("store", "create", "store", "a.csv")
        Path("b.csv").write_text("text,code\ntwo,12\n")
        run("store", "add", "store", "b.csv")
        assert made("store").metadata["code"].tolist() == ["x", "12"]

    def test_a_failure_adds_nothing(self, store: str, fails: Callable[..., str]) -> None:
        Path("b.txt").write_bytes(b"fine\n" * 300 + b"\xff\n")
        said = fails("store", "add", store, "b.txt", "--model", MODEL)
        assert said.startswith("b.txt:301: not UTF-8")
        assert made(store).texts == TEXTS

    def test_no_store(self, fails: Callable[..., str]) -> None:
        os.mkdir("empty")
        said = fails("store", "add", "empty", "a.txt")
        assert said == "empty: no store here; `votive store create` makes one"
        assert fails("store", "add", "missing", "a.txt") == "missing: No such file or directory"


class TestModel:
    """The model that made a store is taken where none is named."""

    def test_it_is_loaded_by_its_name(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("a.txt").write_text("\n".join(TEXTS))
        # A folder is found from everywhere.
        create = ["store", "create", "store", "a.txt", "--model", os.path.relpath(MODEL), "--truncate-dim", "16"]
        assert votive.cli.main(create) == 0
        os.mkdir("elsewhere")
        monkeypatch.chdir("elsewhere")
        store, texts = os.path.join("..", "store"), os.path.join("..", "a.txt")
        assert votive.cli.main(["store", "add", store, texts]) == 0
        assert made(store).texts == TEXTS[:3] * 2
        assert made(store).dimension == 16
        capsys.readouterr()
        assert votive.cli.main(["search", TEXTS[0], store, "-k", "1"]) == 0
        assert capsys.readouterr().out.endswith(f"\t0\t{TEXTS[0]}\n")

    def test_another_one_is_refused(self, store: str, fails: Callable[..., str]) -> None:
        other = ["--model", str(Path(MODEL).with_name("bert_40"))]
        for command in (["search", "q", store], ["store", "add", store, "a.txt"]):
            said = fails(*command, *other)
            assert said.startswith("embedder: the vectors of the store are of ")
            assert "--allow-other-model takes it" in said
        assert made(store).texts == TEXTS


class TestInfo:
    def test_json(self, run: Run) -> None:
        Path("a.csv").write_text(TABLE)
        run("store", "create", "store", "a.csv")
        (found,) = records(run("store", "info", "store", "--json"))
        assert found.pop("bytes") > 0
        assert found.pop("model") == dataclasses.asdict(votive.Embedder(MODEL).info)
        columns = {"year": "int64", "price": "float64", "new": "bool", "code": "str", "note": "str", "text": "str"}
        assert found == {
            "folder": "store",
            "rows": 2,
            "deleted_rows": 0,
            "dimension": 48,
            "metric": "cosine",
            "dtype": "float32",
            "generation": 1,
            "id_type": "str",
            "columns": columns,
        }

    def test_for_people(self, store: str, run: Run) -> None:
        lines = run("store", "info", store).splitlines()
        assert lines[:5] == [
            "store       store",
            "rows        4",
            "dimension   48",
            "metric      cosine",
            "dtype       float32",
        ]
        assert lines[-3:] == [f"model       {MODEL}", "columns", "  text  str"]

    def test_a_store_of_vectors(self, run: Run) -> None:
        with_vectors = EmbeddingStore()
        with_vectors.add_embeddings(np.eye(3, dtype=np.float32))
        with_vectors.save_to_disk("store")
        assert run("store", "info", "store").splitlines()[-2:] == ["model       not recorded", "columns     none"]


class TestVerify:
    def test_intact(self, store: str, run: Run) -> None:
        assert run("store", "verify", store).startswith("store: all is as it was written (")
        (found,) = records(run("store", "verify", store, "--json"))
        assert (found["folder"], found["ok"], found["error"]) == ("store", True, None)

    def test_damaged(self, store: str, capsys: pytest.CaptureFixture[str]) -> None:
        file = next(Path(store).glob("texts_bytes-*"))
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        assert votive.cli.main(["store", "verify", store, "--json"]) == 1
        printed, said = capsys.readouterr()
        (found,) = records(printed)
        assert not found["ok"]
        assert file.name in found["error"]
        assert said == f"votive store verify: {found['error']}\n"


def test_compact(store: str, run: Run) -> None:
    with EmbeddingStore.open(store, "a") as opened:
        opened.delete([1])
    assert ": 3 rows; 1 deleted rows are gone; " in run("store", "compact", store)
    (found,) = records(run("store", "info", store, "--json"))
    assert (found["rows"], found["deleted_rows"]) == (3, 0)


class TestSearch:
    @pytest.mark.parametrize("command", [["search"], ["store", "search"]], ids=" ".join)
    def test_the_nearest_rows(self, command: list[str], store: str, run: Run) -> None:
        scores, ids = made(store).search_text("a candle", votive.Embedder(MODEL), k=3)
        printed = run(*command, "a candle", store, "-k", "3")
        assert printed == "".join(f"{score:.4f}\t{id}\t{TEXTS[id]}\n" for score, id in zip(scores, ids, strict=True))
        found = records(run(*command, "a candle", store, "--top-k", "3", "--json"))
        assert [(hit["score"], hit["id"], hit["text"]) for hit in found] == [
            (score, id, TEXTS[id]) for score, id in zip(scores.tolist(), ids.tolist(), strict=True)
        ]
        assert all(list(hit) == ["rank", "score", "id", "text", "metadata"] for hit in found)

    def test_filter_and_least_score(self, run: Run) -> None:
        Path("a.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
        run("store", "create", "store", "a.jsonl")
        (found,) = records(run("search", "q", "store", "--json", "--filter", '{"year": {"$gt": 2000}}'))
        assert (found["id"], found["metadata"]) == (7, {"tags": ["food"], "year": 2019, "author": None})
        assert run("search", "q", "store", "--min-score", "1.5") == ""

    @pytest.mark.parametrize(
        ("arguments", "status", "complaint"),
        [
            (["q", "missing"], 1, "missing: No such file or directory"),
            (["q", "empty"], 1, "empty: no store here; `votive store create` makes one"),
            (["q", "store", "--filter", '{"yaer": 1}'], 1, "filter: no column 'yaer'; there are ['id', 'text']"),
            (["q", "store", "--filter", '{"text": 1}'], 1, "filter: column 'text', $eq: expected a str"),
            (["q", "store", "a.txt"], 2, "store: a store has its texts; no FILE, --field or --column goes with it"),
            (["q", "a.npy"], 2, "a.npy: is a file; give its texts, too: votive search QUERY VECTORS FILE. "),
            (["q", "a.npy", "a.txt", "--filter", "{}"], 2, "--filter is for stores, which have metadata"),
            (["store", "a query"], 2, "QUERY comes first: votive search 'a query' store"),
            (["a.npy", "a.txt", "a query"], 2, "QUERY comes first: votive search 'a query' a.npy a.txt"),
        ],
    )
    def test_what_cannot_be_done(
        self, arguments: list[str], status: int, complaint: str, store: str, fails: Callable[..., str]
    ) -> None:
        os.mkdir("empty")
        np.save("a.npy", np.ones((4, 48), np.float32))
        assert fails("search", *arguments, "--model", MODEL, status=status).startswith(complaint)
