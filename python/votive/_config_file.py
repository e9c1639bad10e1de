"""Reading files of YAML, JSON and TOML strictly, with the line of every key: of a server's settings, and experiments.

YAML is that of 1.2, whatever PyYAML takes it for: `no` and `on` are texts, `1e-3` is a number, and `12:30:45` is a
text. What could be meant by another version is an error: a key that stands twice, `017`, merge keys and tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from votive._hints import did_you_mean

# Keys and places in lists from the top of a file down to a value.
KeyPath = tuple[str | int, ...]

# An alias may stand for much: a file of some hundred bytes would fill the memory.
_MAX_VALUES = 100_000

_MAX_BYTES = 10_000_000

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
# To YAML 1.1 it is octal.
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+\Z")
_INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


class ConfigError(ValueError):
    """A file, a flag or a variable that cannot be; the message names it, with line and key, and what is accepted."""


class Place(NamedTuple):
    """Where a value stands.

    Attributes:
        source: the file, or what else it comes from: the command line, the environment.
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
    """What a file says.

    Attributes:
        source: the file, or what else it comes from.
        value: plain values; a file that is empty has no keys.
        places: of the values; one without a place has that of what holds it.
    """

    source: str
    value: Any
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def get(self, path: KeyPath) -> Any:
        """The value; None where there is none."""
        value: Any = self.value
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def place(self, path: KeyPath) -> Place:
        """Where the value stood, or what holds it, with the key as it is written there."""
        if path in self.places:
            return self.places[path]
        for length in range(len(path) - 1, -1, -1):
            if path[:length] in self.places:
                held = self.places[path[:length]]
                rest = written(path[length:])
                dot = "." if held.key and not rest.startswith("[") else ""
                return held._replace(key=f"{held.key}{dot}{rest}")
        return Place(self.source, None, written(path))


def written(path: KeyPath) -> str:
    """A path as people write it: `sweep.batch_size[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read_file(path: Path) -> Document:
    """What a file says, with its places. One whose name ends neither with `.json` nor with `.toml` is YAML.

    Raises:
        ConfigError: it is none of them, has no keys and values, or says something twice.
        OSError: it cannot be read.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError(f"{path}: has more than {_MAX_BYTES:,} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not in UTF-8: {error.reason} at byte {error.start}") from None
    suffix = path.suffix.lower()
    reader = _read_json if suffix == ".json" else _read_toml if suffix == ".toml" else read_yaml
    document = reader(text, str(path))
    if document.value is None:
        document.value = {}
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}: expected keys and values, found {found(document.value)}")
    return document


def check_key(place: Place, key: str, known: Iterable[str]) -> None:
    """Refuses a key, which stands there, that is none of `known`, and says which one was meant."""
    known = sorted(known)
    if key not in known:
        raise ConfigError(f"{place}: unknown key{did_you_mean(key, known) or '; accepted: ' + ', '.join(known)}")


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
        ConfigError: as `read_file`.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise ConfigError(f"{source}: reading YAML needs PyYAML: pip install pyyaml, or write JSON") from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        place = Place(source, mark.line + 1 if mark else None, "")
        hint = "; indent by spaces" if "'\\t'" in problem else ""
        raise ConfigError(f"{place}: no YAML: {problem}{hint}") from None
    except RecursionError:
        raise ConfigError(f"{source}: has too many levels") from None
    document = Document(source, None)
    if node is not None:
        document.value = _Values(yaml, loader, source, document.places).of(node, ())
    return document


class _Values:
    """Plain values of the nodes of one file."""

    def __init__(self, yaml: Any, loader: Any, source: str, places: dict[KeyPath, Place]) -> None:
        self.yaml, self.loader, self.source, self.places = yaml, loader, source, places
        self.count = 0
        # Of the nodes that hold the present one: an alias may stand for what it is a part of.
        self.open: set[int] = set()

    def of(self, node: Any, path: KeyPath, line: int | None = None) -> Any:
        place = Place(self.source, line or node.start_mark.line + 1, written(path))
        self.places[path] = place
        self.count += 1
        if self.count > _MAX_VALUES or len(path) > 50:
            raise ConfigError(f"{place}: too many values, or too many levels of them")
        # Whether it is written without quotes, and with: what is left is a tag that the file gives.
        implicit = (node.style is None, node.style is not None) if isinstance(node, self.yaml.ScalarNode) else True
        if node.tag != self.loader.resolve(type(node), node.value, implicit):
            raise ConfigError(f"{place}: the tag {node.tag} is not read; quote what is a text, and write no tag")
        if isinstance(node, self.yaml.ScalarNode):
            # In quotes, or a block of text.
            return node.value if node.style is not None else self._plain(node.value, place)
        if id(node) in self.open:
            raise ConfigError(f"{place}: the alias stands for what it is a part of")
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
                raise ConfigError(f"{Place(self.source, line, written(path))}: a key is a word")
            key = key_node.value
            if key == "<<" and key_node.style is None:
                place = Place(self.source, line, written(path))
                raise ConfigError(f"{place}: merge keys are not read; write the keys out in place of `<<`")
            if key in lines:
                place = Place(self.source, line, written((*path, key)))
                raise ConfigError(f"{place}: stands there twice, in lines {lines[key]} and {line}")
            lines[key] = line
            value[key] = self.of(value_node, (*path, key), line)
        return value

    def _plain(self, text: str, place: Place) -> Any:
        if _LEADING_ZERO.match(text):
            number = re.sub(r"0+(?=[0-9])", "", text, count=1)
            raise ConfigError(f'{place}: {text} is octal to some; write {number} for the number, "{text}" for the text')
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
            raise ConfigError(f"{source}: {twice}: stands there twice")
        return value

    places: dict[KeyPath, Place] = {}
    try:
        # Nearly all JSON is YAML, whose reader knows lines.
        with suppress(ConfigError):
            places = read_yaml(text, source).places
        return Document(source, json.loads(text, object_pairs_hook=unique), places)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}: no JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{source}: has too many levels") from None


def _read_toml(text: str, source: str) -> Document:
    try:
        import tomllib
    except ModuleNotFoundError:
        raise ConfigError(f"{source}: reading TOML needs Python 3.11 or newer; write YAML or JSON") from None
    try:
        return Document(source, tomllib.loads(text), _toml_places(text, source))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: no TOML: {error}") from None


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
