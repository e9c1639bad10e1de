"""Reading files of YAML, JSON and TOML strictly, with the line of every key.

YAML is that of 1.2, whatever PyYAML takes it for: `no` and `on` are texts, `017` is 17, `1e-3` is a number, and
`12:30:45` is a text. A key that stands twice in a mapping is an error. Tags of Python and merge keys are not read.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

# Keys and places in lists from the top of a file down to a value.
KeyPath = tuple[str | int, ...]

# An alias may stand for much: a file of some hundred bytes would fill the memory.
_MAX_VALUES = 100_000

_MAX_BYTES = 10_000_000

_SUFFIXES = (".yaml", ".yml", ".json", ".toml")

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


class ExperimentError(ValueError):
    """A file that is no experiment; the message has file, line and key, and what is accepted."""


class Place(NamedTuple):
    """Where a value stands.

    Attributes:
        source: the file, or the flag of the command line.
        line: counted from 1; None where it is not known.
        key: as it is written there.
    """

    source: str
    line: int | None
    key: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.key}" if self.key else where


@dataclass
class Document:
    """What a file says: plain values, and where each of them stands."""

    value: Any
    places: dict[KeyPath, Place] = field(default_factory=dict)


def written(path: KeyPath) -> str:
    """A path as people write it: `sweep.batch_size[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def is_readable(path: Path) -> bool:
    """Whether its name says that it is a file of these."""
    return path.suffix.lower() in _SUFFIXES


def read_file(path: Path) -> Document:
    """What a file says, with its places.

    Raises:
        ExperimentError: it is not one of YAML, JSON or TOML, or says something twice.
        OSError: it cannot be read.
    """
    if not is_readable(path):
        raise ExperimentError(f"{path}: the name of an experiment's file ends with one of {', '.join(_SUFFIXES)}")
    if path.stat().st_size > _MAX_BYTES:
        raise ExperimentError(f"{path}: has more than {_MAX_BYTES:,} bytes, so that it is no experiment")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: is not in UTF-8: {error.reason} at byte {error.start}") from None
    suffix = path.suffix.lower()
    reader = _read_json if suffix == ".json" else _read_toml if suffix == ".toml" else read_yaml
    document = reader(text, str(path))
    if document.value is None:
        raise ExperimentError(f"{path}: is empty; an experiment has keys such as model and backends")
    if not isinstance(document.value, dict):
        raise ExperimentError(f"{path}: expected keys and values, found {found(document.value)}")
    return document


def found(value: Any) -> str:
    """A value and what it is, for messages."""
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    shown = json.dumps(value, ensure_ascii=False)
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} ({kinds.get(type(value), type(value).__name__)})"


def read_yaml(text: str, source: str) -> Document:
    """What YAML says.

    Raises:
        ExperimentError: as `read_file`.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise ExperimentError(f'{source}: reading experiments needs PyYAML: pip install "votive[bench]"') from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        place = Place(source, mark.line + 1 if mark else None, "")
        hint = "; indent by spaces" if "'\\t'" in problem else ""
        raise ExperimentError(f"{place}: no YAML: {problem}{hint}") from None
    except RecursionError:
        raise ExperimentError(f"{source}: has too many levels") from None
    document = Document(None)
    if node is not None:
        document.value = _Values(yaml, source, document.places).of(node, ())
    return document


class _Values:
    """Plain values of the nodes of one file."""

    def __init__(self, yaml: Any, source: str, places: dict[KeyPath, Place]) -> None:
        self.yaml, self.source, self.places = yaml, source, places
        self.count = 0
        # Of the nodes that hold the present one: an alias may stand for what it is a part of.
        self.open: set[int] = set()

    def of(self, node: Any, path: KeyPath, line: int | None = None) -> Any:
        place = Place(self.source, line or node.start_mark.line + 1, written(path))
        self.places[path] = place
        self.count += 1
        if self.count > _MAX_VALUES or len(path) > 50:
            raise ExperimentError(f"{place}: too many values, or too many levels of them")
        if isinstance(node, self.yaml.ScalarNode):
            return self._scalar(node, place)
        if id(node) in self.open:
            raise ExperimentError(f"{place}: the alias stands for what it is a part of")
        self.open.add(id(node))
        value = (
            [self.of(each, (*path, index)) for index, each in enumerate(node.value)]
            if isinstance(node, self.yaml.SequenceNode)
            else self._mapping(node, path)
        )
        self.open.discard(id(node))
        return value

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        value: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, self.yaml.ScalarNode):
                raise ExperimentError(f"{Place(self.source, line, written(path))}: a key is a word")
            key = key_node.value
            if key in lines:
                place = Place(self.source, line, written((*path, key)))
                raise ExperimentError(f"{place}: stands there twice, in lines {lines[key]} and {line}")
            lines[key] = line
            value[key] = self.of(value_node, (*path, key), line)
        return value

    def _scalar(self, node: Any, place: Place) -> Any:
        text: str = node.value
        # Quoted, or a block of text.
        if node.style is not None:
            return text
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise ExperimentError(f"{place}: the tag {node.tag} is not read")
        return plain(text)


def plain(text: str) -> Any:
    """What a word without quotes is by YAML 1.2."""
    if _NULL.match(text):
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.match(text):
        digits = text.lstrip("+-")
        if len(digits) > 30:
            return text
        return int(text, 8 if digits[:2] == "0o" else 16 if digits[:2] == "0x" else 10)
    if _NUMBER.match(text):
        return float(text)
    if _INFINITE.match(text):
        return float(text.replace(".", ""))
    return text


def _read_json(text: str, source: str) -> Document:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ExperimentError(f"{source}: {twice}: stands there twice")
        return value

    places: dict[KeyPath, Place] = {}
    try:
        # Nearly all JSON is YAML, whose reader knows lines.
        with suppress(ExperimentError):
            places = read_yaml(text, source).places
        return Document(json.loads(text, object_pairs_hook=unique), places)
    except json.JSONDecodeError as error:
        raise ExperimentError(f"{source}:{error.lineno}: no JSON: {error.msg}") from None
    except RecursionError:
        raise ExperimentError(f"{source}: has too many levels") from None


def _read_toml(text: str, source: str) -> Document:
    try:
        import tomllib
    except ModuleNotFoundError:
        raise ExperimentError(f"{source}: reading TOML needs Python 3.11 or newer; write YAML or JSON") from None
    try:
        return Document(tomllib.loads(text), _toml_places(text, source))
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"{source}: no TOML: {error}") from None


def _toml_places(text: str, source: str) -> dict[KeyPath, Place]:
    """Of tables and keys that stand at the beginning of a line; those inside of values are theirs."""
    places: dict[KeyPath, Place] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\" -]+?)\s*\]", line):
            table = _toml_path(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            places.setdefault(table, Place(source, number, written(table)))
        elif key := re.match(r"\s*([\w.\"-]+)\s*=", line):
            path = (*table, *_toml_path(key[1]))
            places.setdefault(path, Place(source, number, written(path)))
    return places


def _toml_path(text: str) -> KeyPath:
    return tuple(part.strip().strip('"') for part in text.split("."))
