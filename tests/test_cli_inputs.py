"""The texts that `votive encode` and `votive search` read: formats, places, and refusals that name file and line."""

from pathlib import Path

import pytest
from votive.cli.failure import CommandFailed
from votive.cli.inputs import TextInputs
from votive.cli.model import FIRST_CHUNK, growing_chunks


def refusal(path):
    with pytest.raises(CommandFailed) as caught:
        list(TextInputs([path]))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.txt", b"one\n\ntwo\r\nthree", {}, [("one", 1), ("", 2), ("two", 3), ("three", 4)]),
        ("bom.txt", b"\xef\xbb\xbfone\n", {}, [("one", 1)]),
        ("separators.txt", "a\u2028b\x0cc\rd\n".encode(), {}, [("a\u2028b\x0cc\rd", 1)]),
        ("empty.txt", b"", {}, []),
        ("a.jsonl", b'{"text": "one"}\n\n{"x": 1, "text": "t\\u00e9"}', {}, [("one", 1), ("té", 3)]),
        ("b.jsonl", b'{"body": "one\\ntwo"}\n', {"field": "body"}, [("one\ntwo", 1)]),
        ("a.csv", b'id,text\n1,"one, ""two""\nthree"\n\n2,four\n', {}, [('one, "two"\nthree', 2), ("four", 5)]),
        ("a.tsv", b"body\tid\none, two\t1\r\n", {"column": "body"}, [("one, two", 2)]),
        ("A.CSV", b"text\n" + b"x" * 200_000 + b"\n", {}, [("x" * 200_000, 2)]),
    ],
)
def test_formats(name, content, options, expected, here):
    Path(name).write_bytes(content)
    inputs = TextInputs([name], **options)
    assert list(inputs) == [(text, name, line, {}) for text, line in expected]
    assert inputs.fraction_read() == (1.0 if content else None)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", b"one\ntwo \xff\n", "a.txt:2: not UTF-8 (byte 0xff at position 5 of the line)"),
        ("utf16.txt", "one".encode("utf-16"), "utf16.txt:1: not UTF-8 (byte 0xff at position 1 of the line)"),
        ("a.jsonl", b'{"text": "one"}\n{"text": \n', "a.jsonl:2: not JSON (Expecting value at column 1)"),
        ("a.jsonl", b'["one"]\n', "a.jsonl:1: want a JSON object, got a list"),
        ("a.jsonl", b'{"text": null}\n', "a.jsonl:1: field 'text' is null, want a string"),
        ("a.jsonl", b'{"body": "one"}\n', "a.jsonl:1: no field 'text'; it has 'body' (choose with --field)"),
        ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl:1: field 'text' holds half of a surrogate pair, which is no text"),
        ("a.csv", b"", "a.csv: empty, want a header line with a column 'text'"),
        ("a.csv", b"id,body\n", "a.csv:1: no column 'text'; it has 'id', 'body' (choose with --column)"),
        ("a.csv", b"id,text\n1,one\n2\n", "a.csv:3: row of 1, but the header has 2 columns"),
        ("a.csv", b'id,text\n1,one\n2,"two\n3,three\n', "a.csv:3: not a valid row (unexpected end of data)"),
        ("a.tsv", b"text\none\ntwo\tthree\n", "a.tsv:3: row of 2, but the header has 1 columns"),
    ],
)
def test_unreadable_line_is_named(name, content, complaint, here):
    Path(name).write_bytes(content)
    assert refusal(name) == complaint


def test_json_nested_too_deeply_is_named(here):
    Path("a.jsonl").write_text('{"text": ' + "[" * 200_000)
    assert refusal("a.jsonl").startswith("a.jsonl:1: not usable JSON (")


def test_endless_line_is_refused(here, monkeypatch):
    monkeypatch.setattr("votive.cli.inputs.MAX_LINE_BYTES", 1 << 20)
    Path("a.txt").write_bytes(b"\n" + b"x" * (2 << 20))
    assert refusal("a.txt") == "a.txt:2: line is longer than 1 MiB"


def test_stream_is_not_read_ahead():
    read = []
    chunks = growing_chunks((read.append(row) or "text" for row in range(10**6)), len)
    assert len(next(chunks)) == len(read) == FIRST_CHUNK
    assert len(next(chunks)) == 2 * FIRST_CHUNK
    assert len(read) == 3 * FIRST_CHUNK


def test_chunks_of_long_texts_are_bounded_in_characters():
    chunks = growing_chunks(("x" * (1 << 20) for _ in range(40)), len)
    assert [len(chunk) for chunk in chunks] == [16, 16, 8]
