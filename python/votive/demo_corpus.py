"""A corpus that every Python carries: its documentation topics and the standard library's docstrings.

Sources are parsed, not imported, so reading them runs none of their code. The order is fixed: the same Python gives
the same texts. Used by `votive demo` and the benchmarks.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# Not the library's own documentation: its tests, programs that come with it, what is installed into it, data, and
# packages that left it in newer versions.
SKIPPED_FOLDERS = {"__pycache__", "_bundled", "dist-packages", "distutils", "idle_test", "idlelib", "lib2to3"}
SKIPPED_FOLDERS |= {"pydoc_data", "site-packages", "test", "tests", "turtledemo"}
# Modules in C, whose docstrings are in no source. Importing these has no effect beyond their names.
C_MODULES = ("array", "builtins", "cmath", "errno", "gc", "itertools", "math", "sys", "time", "unicodedata", "zlib")

# Shorter docstrings ("See above.") answer no question.
MIN_PASSAGE_CHARACTERS = 40
# About 250 tokens: what a small embedding model reads at once.
PASSAGE_CHARACTERS = 1000


class Document(NamedTuple):
    """A text and where it stands: `topic if`, `json.dumps`, `str.split`."""

    source: str
    text: str


def documents() -> Iterator[Document]:
    """Topics and docstrings, whole, each text once; from 40 to tens of thousands of characters.

    Raises `FileNotFoundError` for a Python that carries no sources of its library.
    """
    seen: set[str] = set()
    for document in _everything():
        if len(document.text) >= MIN_PASSAGE_CHARACTERS and document.text not in seen:
            seen.add(document.text)
            yield document


def passages(whole: Iterable[Document] | None = None) -> Iterator[Document]:
    """`whole` (default: `documents()`) cut between paragraphs to at most 1,000 characters where paragraphs allow.

    Each passage begins with its source, which a docstring rarely repeats. What several topics share comes once.
    """
    seen: set[str] = set()
    for document in documents() if whole is None else whole:
        for part in _split(document.text):
            if part not in seen:
                seen.add(part)
                yield Document(document.source, f"{document.source}: {part}")


def _everything() -> Iterator[Document]:
    yield from _topics()
    for name in C_MODULES:
        yield from _docstrings_of_c_module(name)
    library = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path.relative_to(library) for path in library.rglob("*.py"))
    if not paths:
        raise FileNotFoundError(f"{library}: this Python carries no sources of its standard library")
    for path in paths:
        if SKIPPED_FOLDERS.isdisjoint(path.parts):
            yield from _docstrings_of_source(library / path, _module_name(path))


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave the topics out
        return
    for name in sorted(topics):
        yield Document(f"topic {name}", topics[name].strip())


def _docstrings_of_c_module(name: str) -> Iterator[Document]:
    try:
        module = importlib.import_module(name)
    except ImportError:  # zlib, for one, is optional
        return
    prefix = "" if name == "builtins" else f"{name}."
    yield from _docstring(name, module)
    for member, value in sorted(vars(module).items()):
        if member.startswith("_"):
            continue
        if inspect.isclass(value):
            yield from _docstring(prefix + member, value)
            for method, function in sorted(vars(value).items()):
                if not method.startswith("_"):
                    yield from _docstring(f"{prefix}{member}.{method}", function)
        elif inspect.isbuiltin(value):
            yield from _docstring(prefix + member, value)


def _docstring(source: str, owner: object) -> Iterator[Document]:
    text = getattr(owner, "__doc__", None)
    if isinstance(text, str):
        yield Document(source, inspect.cleandoc(text))


def _docstrings_of_source(path: Path, module: str) -> Iterator[Document]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in other people's string literals
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # a template or a broken file is no documentation
            return
    yield from _walk(tree, module)


def _walk(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[Document]:
    text = ast.get_docstring(node)
    if text:
        yield Document(name, text)
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and child.name[0] != "_":
                yield from _walk(child, f"{name}.{child.name}")


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _split(text: str) -> Iterator[str]:
    part = ""
    for paragraph in re.split(r"\n\s*\n", text):
        if part and len(part) + len(paragraph) > PASSAGE_CHARACTERS:
            yield part
            part = ""
        part = f"{part}\n\n{paragraph}" if part else paragraph
    yield part
