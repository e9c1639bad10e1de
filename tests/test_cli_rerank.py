"""`votive rerank`: what it prints, and what it says when something is wrong."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import votive.cli
from bodies import INT8
from votive import Reranker
from votive.cli.model import FIRST_CHUNK

FIXTURES = Path(__file__).parent / "fixtures"
MODEL = str(FIXTURES / "bert_rerank")
QUERY = "what is a candle?"
TEXTS = ["wax with a wick", "how to sort a list", "", "wax with a wick", "light, when it burns \N{CANDLE}"]

Hits = list[tuple[int, float, str]]

pytestmark = pytest.mark.usefixtures("here")
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def ranked(texts: list[str], folder: str = MODEL, top_k: int | None = None, **options: str) -> Hits:
    """Rank, score and text, best first."""
    found = Reranker(folder, **options).rank(QUERY, texts, top_k=top_k, return_documents=True)
    return [(rank, hit["score"], hit["text"]) for rank, hit in enumerate(found, 1)]


@pytest.fixture(scope="module")
def hits() -> Hits:
    """Of `TEXTS`."""
    return ranked(TEXTS)


def rerank(*arguments: str, model: str = MODEL) -> int:
    return votive.cli.main(["rerank", "--model", model, QUERY, *arguments])


def lines(hits: Hits) -> str:
    """What is printed of them."""
    return "".join(f"{rank}\t{score:.4f}\t{text}\n" for rank, score, text in hits)


@pytest.fixture
def texts(here: Path) -> str:
    """A file of `TEXTS`."""
    Path("a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return "a.txt"


def test_all_lines_best_first(texts: str, hits: Hits, capsys: pytest.CaptureFixture[str]) -> None:
    assert rerank(texts) == 0
    printed, said = capsys.readouterr()
    assert printed == lines(hits)
    assert re.fullmatch(r"5 texts; [\d,]+ texts/s, [\d,]+ tokens/s; no text was cut\n", said)


@pytest.mark.parametrize("top_k", [1, 3, 5, 9])
def test_top_k(top_k: int, texts: str, hits: Hits, capsys: pytest.CaptureFixture[str]) -> None:
    assert rerank(texts, "--top-k", str(top_k)) == 0
    assert capsys.readouterr().out == lines(hits[:top_k])


def test_json(texts: str, hits: Hits, capsys: pytest.CaptureFixture[str]) -> None:
    assert rerank(texts, "--json") == 0
    printed = capsys.readouterr().out
    assert "\N{CANDLE}" in printed
    found = [json.loads(line) for line in printed.splitlines()]
    assert [(hit["rank"], hit["score"], hit["text"]) for hit in found] == hits
    assert all(list(hit) == ["rank", "score", "path", "line", "text"] for hit in found)
    assert all(TEXTS[hit["line"] - 1] == hit["text"] and hit["path"] == texts for hit in found)


FORMATS = {
    "jsonl": ("a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in TEXTS), []),
    "field": ("a.jsonl", "".join(json.dumps({"id": 3, "body": text}) + "\n" for text in TEXTS), ["--field", "body"]),
    "csv": ("a.csv", "text\n" + "".join(f'"{text}"\n' for text in TEXTS), []),
    "column": ("a.csv", "id,body\n" + "".join(f'3,"{text}"\n' for text in TEXTS), ["--column", "body"]),
    "tsv": ("a.tsv", "id\tbody\n" + "".join(f"3\t{text}\n" for text in TEXTS), ["--column", "body"]),
}


@pytest.mark.parametrize(("name", "content", "options"), FORMATS.values(), ids=FORMATS)
def test_formats(name: str, content: str, options: list[str], hits: Hits, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text(content, encoding="utf-8")
    assert rerank(*options, name) == 0
    assert capsys.readouterr().out == lines(hits)


@pytest.mark.parametrize("files", [[], ["-"]], ids=["no file", "-"])
@pytest.mark.parametrize("name", ["plain", "field", "column"])
def test_standard_input(
    name: str, files: list[str], hits: Hits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, content, options = FORMATS.get(name, ("", "\n".join(TEXTS), []))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert rerank(*options, *files) == 0
    assert capsys.readouterr().out == lines(hits)


def test_several_files_are_one_list(hits: Hits, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("\n".join(TEXTS[:2]), encoding="utf-8")
    Path("b.txt").write_text("\n".join(TEXTS[2:]), encoding="utf-8")
    assert rerank("a.txt", "b.txt") == 0
    assert capsys.readouterr().out == lines(hits)


def test_a_text_of_several_lines_is_printed_on_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text('text\n"one\n\ttwo"\n')
    assert rerank("a.csv") == 0
    assert capsys.readouterr().out.split("\t")[2:] == ["one two\n"]
    assert rerank("a.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["text"] == "one\n\ttwo"


def test_more_than_a_chunk(capsys: pytest.CaptureFixture[str]) -> None:
    # Equal texts are in different chunks.
    texts = [f"{row % 400} wax" for row in range(3 * FIRST_CHUNK)]
    Path("a.txt").write_text("\n".join(texts))
    assert rerank("a.txt", "--top-k", "500") == 0
    assert capsys.readouterr().out == lines(ranked(texts, top_k=500))


def test_no_texts(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").touch()
    for options in ([], ["--json"], ["--top-k", "3"]):
        assert rerank("a.txt", *options) == 0
        printed, said = capsys.readouterr()
        assert printed == ""
        assert said.startswith("0 texts; ")


def test_texts_that_were_cut_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {2, FIRST_CHUNK, FIRST_CHUNK + 3}
    long = "one two three " * 40
    Path("a.txt").write_text("\n".join(long if row in rows else f"{row}" for row in range(2 * FIRST_CHUNK)))
    assert rerank("a.txt") == 0
    assert capsys.readouterr().err.endswith("; 3 texts were cut at 64 tokens (rows 2, 256, 259)\n")


@INT8
def test_options_of_the_model(texts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rerank(texts, "--dtype", "int8", "--num-threads", "1") == 0
    assert capsys.readouterr().out == lines(ranked(TEXTS, dtype="int8"))


def test_a_causal_model(texts: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(FIXTURES / "qwen3_rerank")
    assert rerank(texts, model=model) == 0
    assert capsys.readouterr().out == lines(ranked(TEXTS, model))


FAILURES = {
    "missing file": (["missing.txt"], 1, "missing.txt: No such file or directory"),
    "folder": (["."], 1, ".: is a folder, want a file"),
    "not UTF-8": (["bad.txt"], 1, "bad.txt:2: not UTF-8 (byte 0xff at position 1 of the line)"),
    "no field": (
        ["a.jsonl", "--field", "title"],
        1,
        "a.jsonl:1: no field 'title'; it has 'body' ",
    ),
    "surrogate": (["b.jsonl"], 1, "b.jsonl:1: field 'text' holds half of a surrogate pair, which is no text"),
    "no column": (["a.csv"], 1, "a.csv:1: no column 'text'; it has 'id', 'body' (choose with --column)"),
    "field of lines": (
        ["a.txt", "--field", "b"],
        2,
        "--field is for .jsonl files and standard input",
    ),
    "both": (
        ["--field", "a", "--column", "b"],
        2,
        "standard input (-) is JSON lines with --field or CSV",
    ),
    "twice": (["-", "-"], 2, "standard input (-) can be read only once"),
    "dtype": (["a.txt", "--dtype", "int3"], 1, 'dtype: "int3" is not a type; accepted: auto, float32, '),
}


@pytest.mark.parametrize(("arguments", "status", "complaint"), FAILURES.values(), ids=FAILURES)
def test_what_cannot_be_done(
    arguments: list[str], status: int, complaint: str, texts: str, fails: Callable[..., str]
) -> None:
    Path("bad.txt").write_bytes(b"one\n\xff\n")
    Path("a.jsonl").write_text('{"body": "one"}\n')
    Path("b.jsonl").write_text('{"text": "\\ud800"}\n')
    Path("a.csv").write_text("id,body\n1,one\n")
    said = fails("rerank", "--model", MODEL, QUERY, *arguments, status=status)
    assert said.startswith(complaint)


def test_models_that_give_no_ranks(texts: str, fails: Callable[..., str]) -> None:
    labels, plain, modules = (str(FIXTURES / name) for name in ("bert_labels", "bert_plain", "bert_modules"))
    said = [fails("rerank", "--model", model, "q", texts) for model in (labels, plain, modules)]
    assert said[0] == f"{labels}: gives 3 scores for a text, want a model of one"
    assert said[1].startswith("config.json: architectures: the model has no classification head")
    assert said[2].startswith("modules.json: describes an embedding model, not a cross-encoder")


def test_a_model_that_is_nowhere(
    texts: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(Path("cache").absolute()))
    assert rerank(texts, model="example/nowhere") == 1
    asked, complaint, *places = capsys.readouterr().err.splitlines()
    assert asked == "example/nowhere is not on this machine: asking the Hugging Face Hub"
    assert complaint == 'votive rerank: model "example/nowhere" was not found:'
    assert places
    assert all(place.startswith("  - ") for place in places)


def test_the_default_is_a_cross_encoder(texts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, **_: object) -> Reranker:
        asked.append(name)
        return Reranker(MODEL)

    monkeypatch.setattr(votive, "Reranker", load)
    assert votive.cli.main(["rerank", QUERY, texts]) == 0
    assert asked == ["cross-encoder/ms-marco-MiniLM-L6-v2"]


@posix
def test_ctrl_c_while_it_reads() -> None:
    command = [sys.executable, "-m", "votive", "rerank", "--model", MODEL, QUERY]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    try:
        # More than a pipe holds: when it is written, the command reads.
        process.stdin.write(b"one\n" * 100_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, printed, said) == (130, b"", b"votive rerank: interrupted\n")
