"""What the command line does on a terminal and away from one: colours, widths, progress, what it waits for."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import votive.cli
from votive import Embedder
from votive._progress import Progress, watched_by
from votive.cli.hits import Hit, print_hits, print_json

MODEL = str(Path(__file__).parent / "fixtures" / "bert_modules")

LONG_PLACE = Hit(-1.0, "a/path/that/leaves/no/room/for/texts/" + "x" * 40, "text", {"path": "p", "line": 12})
HITS = [
    Hit(0.875, "notes.txt:3", "one\ntwo \x1b[31mred " + "long " * 40, {"path": "notes.txt", "line": 3}),
    Hit(0.5, "7", None, {"id": 7}, {"year": 2024, "none": None, "tags": ["a"]}),
]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Has standard output be a terminal of so many columns; gives what it shows of hits."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def show(columns: int, found: list[Hit] = HITS) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        print_hits(found, as_json=False)
        return capsys.readouterr().out.splitlines()

    return show


class TestHits:
    @pytest.mark.parametrize("columns", [40, 80, 200])
    def test_on_a_terminal_they_fit(
        self, columns: int, screen: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        for found in (HITS, [*HITS, LONG_PLACE]):
            lines = screen(columns, found)
            assert max(map(len, lines)) <= columns
            assert "\x1b" not in "".join(lines)

    def test_texts_stand_in_a_column(self, screen: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        assert screen(60) == [
            "  1  0.8750  notes.txt:3  one two [31mred long long long lo…",
            "  2  0.5000  7",
            "     year=2024, tags=['a']",
        ]

    def test_below_long_places(self, screen: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        assert screen(40, [HITS[1], LONG_PLACE]) == [
            "  1   0.5000  7",
            "     year=2024, tags=['a']",
            "  2  -1.0000  a/path/that/leaves/no/roo…",
            "     text",
        ]

    @pytest.mark.skipif(os.name != "posix", reason="colours of other consoles")
    def test_colors(self, screen: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        assert screen(80)[0].startswith("\x1b[2m  1\x1b[0m  \x1b[1m0.8750\x1b[0m  \x1b[36mnotes.txt:3\x1b[0m  one")
        for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                assert "\x1b" not in "".join(screen(80))

    def test_elsewhere_they_are_whole(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_hits(HITS, as_json=False)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "0.8750\tnotes.txt:3\tone two [31mred " + " ".join(["long"] * 40)
        assert lines[1] == "0.5000\t7\t"

    def test_json(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        metadata = {
            "day": np.datetime64("2024-05-01", "D"),
            "number": np.float32(0.5),
            "nan": float("nan"),
            "bytes": b"\x01\xff",
            "list": [1, {"a": None}],
            "surrogate": "\ud800",
        }
        print_hits([Hit(0.5, "7", "caf\u00e9 \N{CANDLE}", {"id": 7}, metadata)], as_json=True)
        printed = capsysbinary.readouterr().out
        assert "caf\u00e9 \N{CANDLE}".encode() in printed
        assert json.loads(printed) == {
            "rank": 1,
            "score": 0.5,
            "id": 7,
            "text": "caf\u00e9 \N{CANDLE}",
            "metadata": {
                "day": "2024-05-01",
                "number": 0.5,
                "nan": None,
                "bytes": "01ff",
                "list": [1, {"a": None}],
                "surrogate": "\ud800",
            },
        }

    def test_json_is_utf8_whatever_the_terminal_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        out = io.TextIOWrapper(io.BytesIO(), "ascii")
        monkeypatch.setattr(sys, "stdout", out)
        print("before")
        print_json({"a": "\u00e9"})
        assert out.buffer.getvalue() == 'before\n{"a": "\u00e9"}\n'.encode()  # type: ignore[attr-defined]


class TestStandardInput:
    @pytest.mark.usefixtures("here")
    def test_a_terminal_is_told_what_is_waited_for(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        typed = io.TextIOWrapper(io.BytesIO(b"one\n"))
        monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", typed)
        assert votive.cli.main(["encode", "-", "-o", "v.npy", "--model", MODEL]) == 0
        first = capsys.readouterr().err.splitlines()[0]
        assert first.startswith("reading texts from the terminal, one a line; end with Ctrl-")


class TestStandardOutput:
    @pytest.fixture
    def texts(self, here: Path) -> list[str]:
        """Lines of a file."""
        texts = [f"text {row}" for row in range(300)]
        Path("a.txt").write_text("\n".join(texts))
        return texts

    def encode(self) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "votive", "encode", "a.txt", "-o", "-", "--model", MODEL]
        return subprocess.run(command, capture_output=True, timeout=120, check=False)

    def test_a_pipe_gets_an_array(self, texts: list[str]) -> None:
        done = self.encode()
        assert done.returncode == 0, done.stderr
        stream = io.BytesIO(done.stdout)
        np.testing.assert_array_equal(np.lib.format.read_array(stream), Embedder(MODEL).encode(texts))
        assert stream.read() == b""
        assert done.stderr.startswith(b"standard output: 300 x 48 float32; ")
        assert os.listdir() == ["a.txt"]

    def test_after_a_failure_nothing_comes(self, texts: list[str]) -> None:
        Path("a.txt").write_bytes(b"one\n" * 300 + b"\xff\n")
        done = self.encode()
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"votive encode: a.txt:301: not UTF-8")

    def test_a_terminal_is_refused(self, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        said = io.StringIO()
        monkeypatch.setattr(sys, "stderr", said)
        assert votive.cli.main(["encode", "a.txt", "-o", "-", "--model", MODEL]) == 2
        assert "standard output is a terminal" in said.getvalue()


def test_a_watcher_sees_what_is_done_within_a_call(model: Embedder) -> None:
    seen: list[int] = []
    with watched_by(seen.append):
        model.encode([f"{row} " * 10 for row in range(100)], show_progress_bar=False)
    assert seen == sorted(seen)
    assert all(done <= 100 for done in seen)
    with watched_by(seen.append), Progress(False, None) as progress:
        progress(2)
        progress.next_call(3)
        progress(1)
    assert seen[-2:] == [2, 4]


def test_complaints_keep_their_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise ValueError("first\n- second\n\n- third\n")

    monkeypatch.setattr("votive.cli.devices.print_json", refuse)
    assert votive.cli.main(["devices", "--json"]) == 1
    assert capsys.readouterr().err == "votive devices: first\n  - second\n  - third\n"
