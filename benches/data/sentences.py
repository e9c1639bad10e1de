"""Short real texts in great number: sentences of docstrings and comments in all Python sources that are installed."""

from __future__ import annotations

import ast
import random
import re
import sys
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benches import ROOT
from benches.data.corpus import digest

SHORTEST, LONGEST = 25, 200  # characters
WORDS = 4  # or more
SEED = 20


def read(count: int) -> list[str]:
    """So many sentences, no two alike in letters, in random order; fewer where fewer are installed."""
    found: dict[str, str] = {}
    for file in _sources():
        for sentence in _sentences(file):
            found.setdefault(re.sub(r"\W+", " ", sentence).casefold(), sentence)
        if len(found) > 1.5 * count:  # so that they come from many packages, and reading ends
            break
    sentences = sorted(found.values())
    random.Random(SEED).shuffle(sentences)
    return sentences[:count]


def name(sentences: list[str]) -> str:
    """Of a file about these."""
    return f"sentences-{len(sentences)}-{digest(sentences)}"


def _sources() -> list[Path]:
    """All of them but the repository's, in random order: the files of one package are alike."""
    folders = [
        Path(folder) for folder in sys.path if folder and Path(folder).is_dir() and Path(folder).resolve() != ROOT
    ]
    files = sorted({file for folder in folders for file in folder.rglob("*.py")})
    random.Random(SEED).shuffle(files)
    return files


def _sentences(file: Path) -> Iterator[str]:
    try:
        source = file.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the sources of others say about themselves
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented))
    for text in chain(docstrings, _comments(source)):
        for paragraph in re.split(r"\n\s*\n", text):
            yield from filter(_is_prose, re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())))


def _is_prose(sentence: str) -> bool:
    if not SHORTEST <= len(sentence) <= LONGEST or sentence.count(" ") < WORDS - 1:
        return False
    return len(re.findall(r"[\w\s]", sentence)) > 0.85 * len(sentence)  # else it is code


def _comments(source: str) -> Iterator[str]:
    """Comments on consecutive lines as one text."""
    for block in re.finditer(r"(?:^[ \t]*#.*\n)+", source, re.MULTILINE):
        yield re.sub(r"^[ \t]*[#:! ]*", "", block[0], flags=re.MULTILINE)
