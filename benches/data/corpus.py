"""Real texts in sets by length, and pairs of them: the documentation topics and docstrings that Python carries.

The same Python gives the same texts; another version gives other ones, so a result names its corpus by digest.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from votive.bench.data import LENGTHS, counted_documents
from votive.demo_corpus import documents

TEXTS = {"short": 600, "medium": 300, "long": 60}
CALIBRATION_TEXTS = 300
SEED = 20

QUERY_TOKENS = range(10, 16)
DOCUMENTS = 20  # of each question
CALIBRATION_PAIRS = 300


class Shape(NamedTuple):
    """`pairs` that are all of different queries, `questions` of 20 documents each; tokens of a passage."""

    pairs: int
    questions: int
    shortest: int
    longest: int


# With a query and three special tokens 100 to 250 in all; and 150 without what a decoder is asked around them.
SHAPES = {"minilm": Shape(384, 10, 85, 232), "qwen3": Shape(0, 1, 130, 170)}


class Corpus(NamedTuple):
    """Items, which are texts or pairs of them, with their token counts before the model cuts them.

    `calibration`: items of no set. `digest`: twelve hexadecimal digits that change with any item of any set.
    """

    sets: dict[str, list[Any]]
    calibration: list[Any]
    tokens: dict[Any, int]
    digest: str


def texts(tokenizer_file: Path) -> Corpus:
    """The texts as the tokenizer at `tokenizer_file` counts them.

    The sets are short, medium, long, and mixed, which is all of these in random order.

    Raises `ValueError` where this Python carries too few texts for a set.
    """
    tokenizer = _tokenizer(tokenizer_file)
    counts = counted_documents(lambda texts: [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)])
    longest = LENGTHS["long"].longest

    random_order = random.Random(SEED)
    sets = {}
    for name, number in TEXTS.items():
        candidates = [text for text, count in counts.items() if count in LENGTHS[name]]
        if len(candidates) < number:
            raise ValueError(f"{name}: this Python carries {len(candidates)} texts of that length, not {number}")
        sets[name] = random_order.sample(candidates, number)
    mixed = [text for texts in sets.values() for text in texts]
    random_order.shuffle(mixed)
    sets["mixed"] = mixed

    used = set(mixed)
    rest = [text for text, count in counts.items() if count <= longest and text not in used]
    return Corpus(sets, random_order.sample(rest, CALIBRATION_TEXTS), counts, digest(mixed))


def pairs(tokenizer_file: Path, shape: Shape) -> Corpus:
    """Pairs of a query and a passage, cut and counted by the tokenizer at `tokenizer_file`.

    Queries are the shortest texts; passages are cut out of the longer ones to lengths drawn at random.
    The sets are "pairs" and "question", whose documents of one query follow each other. No passage comes twice.
    Token counts are those of the two texts with the special tokens of a pair.

    Raises `ValueError` where this Python carries too few texts.
    """
    tokenizer = _tokenizer(tokenizer_file)
    random_order = random.Random(SEED)
    documented = [document.text for document in documents()]
    random_order.shuffle(documented)
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch(documented, add_special_tokens=False)]
    queries = iter([text for text, count in zip(documented, counts, strict=True) if count in QUERY_TOKENS])
    passages = _passages(tokenizer, documented, shape, random_order)
    try:
        different = [(next(queries), next(passages)) for _ in range(shape.pairs)]
        asked = [next(queries) for _ in range(shape.questions)]
        question = [(query, next(passages)) for query in asked for _ in range(DOCUMENTS)]
        calibration = [(next(queries), next(passages)) for _ in range(CALIBRATION_PAIRS if different else 0)]
    except StopIteration:
        raise ValueError(f"this Python carries too few texts for {shape}") from None
    sets = {name: each for name, each in (("pairs", different), ("question", question)) if each}
    measured = different + question
    tokens = (len(encoding.ids) for encoding in tokenizer.encode_batch(measured))
    return Corpus(sets, calibration, dict(zip(measured, tokens, strict=True)), digest([*sum(measured, ())]))


def digest(texts: list[str]) -> str:
    """As `Corpus` has it."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _tokenizer(file: Path) -> Tokenizer:
    """It neither cuts nor pads."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _passages(tokenizer: Tokenizer, texts: list[str], shape: Shape, random_order: random.Random) -> Iterator[str]:
    """Parts of the texts that follow each other; a text that is too short for the next length drawn is left out."""
    length = random_order.randint(shape.shortest, shape.longest)
    for text in texts:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        start = 0
        while start + length <= len(offsets):
            yield text[offsets[start][0] : offsets[start + length - 1][1]]
            start += length
            length = random_order.randint(shape.shortest, shape.longest)
