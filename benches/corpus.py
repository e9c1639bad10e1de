"""Real texts in sets by length: the documentation topics and docstrings that Python carries, counted in MiniLM tokens.

The same Python gives the same texts; another version gives other ones, so a result names its corpus by digest.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from votive.demo_corpus import documents


class Kind(NamedTuple):
    """A set: how many texts, and of how many tokens, special ones included."""

    texts: int
    shortest: int
    longest: int


KINDS = {"short": Kind(600, 10, 50), "medium": Kind(300, 100, 300), "long": Kind(60, 500, 1000)}
SETS = (*KINDS, "mixed")
CALIBRATION_TEXTS = 300
SEED = 20


class Corpus(NamedTuple):
    """Items, which are texts or pairs of them, with their token counts before the model cuts them.

    `calibration`: items of no set. `digest`: twelve hexadecimal digits that change with any item of any set.
    """

    sets: dict[str, list[Any]]
    calibration: list[Any]
    tokens: dict[Any, int]
    digest: str


def read(tokenizer_file: Path) -> Corpus:
    """The texts as the tokenizer at `tokenizer_file` counts them.

    The sets are short, medium, long, and mixed, which is all of these in random order.

    Raises `ValueError` where this Python carries too few texts for a set.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = dict(_counted(tokenizer, [document.text for document in documents()]))
    longest = max(kind.longest for kind in KINDS.values())
    pieces = [piece for text, count in counts.items() if count > longest for piece in _pieces(tokenizer, text)]
    counts.update(_counted(tokenizer, pieces))

    random_order = random.Random(SEED)
    sets = {}
    for name, kind in KINDS.items():
        candidates = [text for text, count in counts.items() if kind.shortest <= count <= kind.longest]
        if len(candidates) < kind.texts:
            raise ValueError(f"{name}: this Python carries {len(candidates)} texts of that length, not {kind.texts}")
        sets[name] = random_order.sample(candidates, kind.texts)
    mixed = [text for texts in sets.values() for text in texts]
    random_order.shuffle(mixed)
    sets["mixed"] = mixed

    used = set(mixed)
    rest = [text for text, count in counts.items() if count <= longest and text not in used]
    return Corpus(sets, random_order.sample(rest, CALIBRATION_TEXTS), counts, digest(mixed))


def digest(texts: list[str]) -> str:
    """As `Corpus` has it."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _counted(tokenizer: Tokenizer, texts: list[str]) -> Iterator[tuple[str, int]]:
    return zip(texts, (len(encoding.ids) for encoding in tokenizer.encode_batch(texts)), strict=True)


def _pieces(tokenizer: Tokenizer, text: str) -> Iterator[str]:
    """Consecutive paragraphs, joined until they make a long text."""
    piece, length = [], 0
    for paragraph, count in _counted(tokenizer, re.split(r"\n\s*\n", text)):
        piece.append(paragraph)
        length += count
        if length >= KINDS["long"].shortest * 1.2:  # each paragraph was counted with special tokens of its own
            yield "\n\n".join(piece)
            piece, length = [], 0
