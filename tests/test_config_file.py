"""Reading YAML, JSON and TOML: what they say, with lines, and what is refused."""

import sys

import pytest
from votive._config_file import ConfigError, Place, check_key, read_file, read_yaml


def test_yaml_is_that_of_1_2():
    pytest.importorskip("yaml")
    text = "a: no\nb: 1e-3\nc: 0o17\nd: 12:30:45\ne: [on, 'x', \"5\", true]\nf: ~\ng: 0x1f\nh: '017'\ni: 0\nj: 0.5"
    assert read_yaml(text, "x").value == {
        "a": "no", "b": 0.001, "c": 15, "d": "12:30:45", "e": ["on", "x", "5", True], "f": None, "g": 31, "h": "017",
        "i": 0, "j": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "x:3: a: stands there twice, in lines 1 and 3"),
        ("a: [1\n", "x:2: no YAML: "),
        ("a:\n\tb: 1\n", "x:2: no YAML: found character '\\t' that cannot start any token; indent by spaces"),
        ("a: \0\n", "x: no YAML: "),
        ("a: &x [*x]\n", "x:1: a[0]: the alias stands for what it is a part of"),
        ("a:\n- -017\n", 'x:2: a[0]: -017 is octal to some; write -17 for the number, "-017" for the text'),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "x:3: c: merge keys are not read; write the keys out in place of `<<`"),
        ("a: !!str 5\n", "x:1: a: the tag tag:yaml.org,2002:str is not read"),
        ("a: !!python/object/apply:os.system ['true']\n", "x:1: a: the tag tag:yaml.org,2002:python/object/apply:"),
        ("a: !!set {b}\n", "x:1: a: the tag tag:yaml.org,2002:set is not read"),
        ("? [1]\n: 2\n", "x:1: a key is a word"),
        ("a: " + "[" * 60 + "]" * 60, "x:1: a" + "[0]" * 50 + ": too many values, or too many levels of them"),
    ],
)
def test_what_is_no_yaml_is_refused(text, said):
    pytest.importorskip("yaml")
    with pytest.raises(ConfigError) as told:
        read_yaml(text, "x")
    assert str(told.value).startswith(said)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "a:\n  b: [1, x]\n"),
        ("a.conf", "a:\n  b: [1, x]\n"),
        ("a.json", '{"a":\n  {"b": [1, "x"]}}'),
        ("a.toml", '[a]\nb = [1, "x"]\n'),
    ],
)
def test_places_of_values(name, text, tmp_path):
    pytest.importorskip("yaml")
    if name.endswith("toml"):
        pytest.importorskip("tomllib")
    path = tmp_path / name
    path.write_text(text)
    document = read_file(path)
    assert document.value == {"a": {"b": [1, "x"]}}
    assert document.get(("a", "b", 1)) == "x"
    assert document.get(("a", "c", 1)) is None
    assert document.place(("a", "b", 1)) == Place(str(path), 2, "a.b[1]")
    assert str(document.place(("a", "b", 0, "c"))) == f"{path}:2: a.b[0].c"
    assert document.place(("d",)).key == "d"


def test_json_needs_no_other_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    document = read_file(path)
    assert document.value == {"a": 1}
    assert document.place(("a",)) == Place(str(path), None, "a")
    with pytest.raises(ConfigError, match="x: reading YAML needs PyYAML: pip install pyyaml, or write JSON"):
        read_yaml("a: 1", "x")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'{"a": 1, "a": 2}', ": a: stands there twice"),
        ("a.json", b'{"a": 1\n', ":2: no JSON: "),
        ("a.json", b"[1]", ": expected keys and values, found a list"),
        ("a.json", b'"x"', ': expected keys and values, found "x" (text)'),
        ("a.json", b'{"a": "\xff"}', ": is not in UTF-8: invalid start byte at byte 7"),
        ("a.json", b" " * 10_000_001, ": has more than 10,000,000 bytes"),
        pytest.param("a.toml", b"a = ", ": no TOML: "),
    ],
)
def test_files_that_cannot_be(name, content, said, tmp_path):
    if name.endswith("toml"):
        pytest.importorskip("tomllib")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as told:
        read_file(path)
    assert str(told.value).startswith(f"{path}{said}")


def test_a_file_without_a_word_has_no_keys(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "a.yaml"
    path.write_text("# nothing yet\n")
    assert read_file(path).value == {}


def test_unknown_keys_are_told_with_the_one_that_is_meant():
    place = Place("x", 3, "batchsize")
    check_key(place, "b", ["a", "b"])
    with pytest.raises(ConfigError, match=r"^x:3: batchsize: unknown key; did you mean 'batch_size'\?$"):
        check_key(place, "batchsize", ["threads", "batch_size"])
    with pytest.raises(ConfigError, match=r"^x:3: batchsize: unknown key; accepted: a, b$"):
        check_key(place, "batchsize", ["b", "a"])
