"""Pairs of a query and a passage, from the texts that Python carries, as corpora of `corpus`.

Queries are its shortest texts; passages are cut out of the longer ones to lengths drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from corpus import SEED, Corpus, digest
from tokenizers import Tokenizer
from votive.demo_corpus import documents

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


def read(tokenizer_file: Path, shape: Shape) -> Corpus:
    """The pairs, cut and counted by the tokenizer at `tokenizer_file`.

    The sets are "pairs" and "question", whose documents of one query follow each other. No passage comes twice.
    Token counts are those of the two texts with the special tokens of a pair.

    Raises `ValueError` where this Python carries too few texts.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    random_order = random.Random(SEED)
    texts = [document.text for document in documents()]
    random_order.shuffle(texts)
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    queries = iter([text for text, count in zip(texts, counts, strict=True) if count in QUERY_TOKENS])
    passages = _passages(tokenizer, texts, shape, random_order)
    try:
        pairs = [(next(queries), next(passages)) for _ in range(shape.pairs)]
        asked = [next(queries) for _ in range(shape.questions)]
        question = [(query, next(passages)) for query in asked for _ in range(DOCUMENTS)]
        calibration = [(next(queries), next(passages)) for _ in range(CALIBRATION_PAIRS if pairs else 0)]
    except StopIteration:
        raise ValueError(f"this Python carries too few texts for {shape}") from None
    sets = {name: each for name, each in (("pairs", pairs), ("question", question)) if each}
    measured = pairs + question
    tokens = (len(encoding.ids) for encoding in tokenizer.encode_batch(measured))
    return Corpus(sets, calibration, dict(zip(measured, tokens, strict=True)), digest([*sum(measured, ())]))


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
