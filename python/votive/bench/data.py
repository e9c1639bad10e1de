"""What is computed: texts in sets by length, queries with documents, and query vectors.

Texts are the documentation that every Python carries, or those of a file. No request has a text of another one, unless
the experiment says `repeat`: a set that was read to its end begins again with numbered texts, which no cache knows.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from votive.bench.experiment import Data
from votive.bench.load import Work
from votive.bench.vectors import Vectors

Count = Callable[[list[str]], list[int]]
"""Tokens of each text, special ones included."""


class Length(NamedTuple):
    """Tokens of the texts of a set."""

    shortest: int
    longest: int

    def __contains__(self, tokens: object) -> bool:
        return isinstance(tokens, int) and self.shortest <= tokens <= self.longest


LENGTHS = {"short": Length(10, 50), "medium": Length(100, 300), "long": Length(500, 1000)}
MIXED = "mixed"
FILE = "file"

# A number and a colon before a text.
NUMBER_TOKENS = 2
# Of joining texts at random, for each that is wanted.
TRIES = 100
# A set of queries that are searched for.
SEARCHES = 4096


class Items(msgspec.Struct, kw_only=True):
    """What the requests of a set of texts take in turn.

    Attributes:
        task: as the experiment's.
        values: texts; or query vectors, float32 each.
        tokens: of each text; () where nobody can count them.
        queries: of rerank, with the `query_tokens` of each.
        repeat: begin again with the same texts.
    """

    task: str
    values: list[Any]
    tokens: list[int] = []
    queries: list[str] = []
    query_tokens: list[int] = []
    repeat: bool = False

    def work(self, number: int, size: int) -> Work:
        """Of the request of this number: so many texts, query vectors, or documents of one query."""
        places = range(number * size, (number + 1) * size)
        values = [self._value(place) for place in places]
        tokens = sum(self.tokens[place % len(self.values)] for place in places) if self.tokens else 0
        if self.tokens and not self.repeat:
            tokens += NUMBER_TOKENS * sum(place >= len(self.values) for place in places)
        if self.task != "rerank":
            return Work(values, size, tokens)
        asked = number % len(self.queries)
        tokens += size * self.query_tokens[asked] if self.tokens else 0
        return Work([(self.queries[asked], values)], size, tokens)

    def everything(self) -> Work:
        """All of it, in one request; of rerank, all documents for one query."""
        return self.work(0, len(self.values))

    def first(self, count: int) -> list[Any]:
        """What backends are compared by: so many texts or query vectors; of rerank, queries with 20 texts each."""
        if self.task != "rerank":
            return self.values[:count]
        asked = max(1, min(count, len(self.values)) // 20)
        return [
            (self.queries[number % len(self.queries)], self.values[number * 20 : (number + 1) * 20])
            for number in range(asked)
        ]

    def _value(self, place: int) -> Any:
        turn, place = divmod(place, len(self.values))
        value = self.values[place]
        return value if turn == 0 or self.repeat or not isinstance(value, str) else f"{turn}: {value}"


def items(task: str, data: Data, name: str, count: Count | None) -> Items:
    """Those of the set of this name.

    Args:
        task: what is computed.
        data: as the experiment says.
        name: of the set.
        count: by the model's tokenizer; None where there is none, so that words stand for tokens.

    Raises:
        FileNotFoundError, ValueError: the file of the texts is not there, or holds no texts.
    """
    if task == "search":
        return Items(task=task, values=list(Vectors.of(data).queries(SEARCHES)), repeat=data.repeat)
    counted = count or words
    if data.file is None:
        chosen = _made(data, name, counted_documents(counted))
    else:
        chosen = from_file(Path(data.file), data.field)[: data.count]
    tokens = counted(chosen)
    found = Items(task=task, values=chosen, tokens=tokens if count else [], repeat=data.repeat)
    if task == "rerank":
        # Questions are short whatever is read for them.
        found.queries = _made(data, "short", counted_documents(counted))[:64]
        found.query_tokens = counted(found.queries) if count else []
    return found


def words(texts: list[str]) -> list[int]:
    """What stands for the tokens of texts where no tokenizer counts them: words and signs, and two special ones."""
    return [2 + len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def model_tokens(folder: Path) -> Count | None:
    """A function that counts as the model in the folder does; None where votive cannot load it."""
    from votive import Embedder, Reranker, VotiveError, inspect_model

    try:
        kind = {"embedder": Embedder, "reranker": Reranker}[inspect_model(folder).kind]
        model = kind(folder, device="cpu")
    except (VotiveError, OSError, ValueError):
        return None

    def count(texts: list[str]) -> list[int]:
        # All of a text, also where the model reads only its beginning.
        each = model._model.tokenize(texts, prompt="", max_length=1 << 30)
        return [len(text["input_ids"]) for text in each]

    return count


def from_file(path: Path, field: str) -> list[str]:
    """The texts of a file: a line each, or the field of each line of a file of JSON lines; empty ones left out."""
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text: Any = line.strip()
        if path.suffix in (".jsonl", ".ndjson") and text:
            try:
                text = json.loads(text)[field]
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{path}, line {number}: no JSON object with a {field!r} (data.field)") from None
            if not isinstance(text, str):
                raise ValueError(f"{path}, line {number}: {field!r} is no text, but {type(text).__name__}")
        if text:
            texts.append(text)
    if not texts:
        raise ValueError(f"{path}: no texts in it")
    return texts


@cache
def counted_documents(count: Count) -> dict[str, int]:
    """What Python documents, with tokens: whole, and cut between paragraphs where that is longer than all sets want."""
    from votive.demo_corpus import documents

    texts = [document.text for document in documents()]
    counts = dict(zip(texts, count(texts), strict=True))
    longest = LENGTHS["long"].longest
    pieces = [piece for text, tokens in counts.items() if tokens > longest for piece in _pieces(count, text)]
    counts.update(zip(pieces, count(pieces), strict=True))
    return counts


def _pieces(count: Count, text: str) -> list[str]:
    """Consecutive paragraphs, joined until they make a long text."""
    pieces: list[str] = []
    piece: list[str] = []
    length = 0
    paragraphs = re.split(r"\n\s*\n", text)
    for paragraph, tokens in zip(paragraphs, count(paragraphs), strict=True):
        piece.append(paragraph)
        length += tokens
        if length >= LENGTHS["long"].shortest * 1.2:  # each paragraph was counted with special tokens of its own
            pieces.append("\n\n".join(piece))
            piece, length = [], 0
    return pieces


def _made(data: Data, name: str, counts: dict[str, int]) -> list[str]:
    """The set of this name: documents of that length in random order, then some that are joined of shorter ones."""
    if name == MIXED:
        share = msgspec.structs.replace(data, count=-(-data.count // len(LENGTHS)))
        mixed = [text for part in LENGTHS for text in _made(share, part, counts)]
        random.Random(data.seed).shuffle(mixed)
        return mixed[: data.count]
    chance = random.Random(f"{data.seed} {name}")
    length = LENGTHS[name]
    chosen = [text for text, tokens in counts.items() if tokens in length]
    chance.shuffle(chosen)
    chosen = chosen[: data.count]
    shorter = [text for text, tokens in counts.items() if tokens <= length.longest // 2]
    seen = set(chosen)
    tries = 0
    while len(chosen) < data.count:
        tries += 1
        if not shorter or tries > TRIES * data.count:
            raise ValueError(
                f"{name}: this Python carries {len(chosen)} texts of {length.shortest} to {length.longest} tokens, not "
                f"{data.count}: set data.count to less, or data.file to a file with texts"
            )
        parts_of_one: list[str] = []
        tokens = 0
        while tokens < length.shortest:
            parts_of_one.append(chance.choice(shorter))
            tokens += counts[parts_of_one[-1]]
        text = "\n\n".join(parts_of_one)
        # Without the special tokens of each part it may be too short by some.
        if tokens - 2 * len(parts_of_one) >= length.shortest and tokens <= length.longest and text not in seen:
            seen.add(text)
            chosen.append(text)
    return chosen
