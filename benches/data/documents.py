"""Documents to store: ids, vectors, texts and six columns with nulls. The same in every run, made batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from votive.bench.vectors import SEED, Vectors

BATCH = 10_000  # rows
CHARACTERS = 500  # of a text
NULLS = 0.02  # of each column's values
TOPICS = tuple("abcdefghijklmnopqrst")
TAGS = tuple(f"tag-{number}" for number in range(50))
MAX_TAGS = 3  # of a row
YEARS = (2001, 2025)  # the first and the last
PRICES = 1000.0  # are below this, in cents
FIRST_DAY = np.datetime64("2015-01-01", "s")
SECONDS = 10 * 365 * 24 * 3600  # after the first day
COLUMNS = ("topic", "year", "price", "flag", "published", "tags")

WORDS = 2000  # that texts are made of
BODY = 1 << 20  # characters that texts are cut out of
ACCENTED = 50  # every so many words has a letter beyond ASCII
# Odd, so that no two rows have one id; ids that count up would be sorted already.
ID_FACTOR = 0x9E3779B97F4A7C15F39CC0605CEDC835

Column = tuple[np.ndarray, np.ndarray]
"""Values, and which of them are there; those of the others mean nothing."""


class Batch(NamedTuple):
    """Rows. `columns` has a list for each of `COLUMNS`: None for nulls, datetimes without a zone, lists of tags."""

    ids: list[str]
    vectors: np.ndarray
    texts: list[str]
    columns: dict[str, list[Any]]

    @property
    def size(self) -> int:
        """Bytes of what is in it: UTF-8 of strings, 8 of a number or a point in time, 1 of a boolean."""
        words = [topic for topic in self.columns["topic"] if topic]
        words += [tag for tags in self.columns["tags"] if tags for tag in tags]
        strings = sum(len("".join(each).encode()) for each in (self.ids, self.texts, words))
        return self.vectors.nbytes + strings + (8 + 8 + 1 + 8) * len(self.ids)


class Documents(NamedTuple):
    """So many rows, vectors of so many elements."""

    rows: int
    dimension: int

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.dimension}"

    def batches(self) -> Iterator[Batch]:
        """All rows, `BATCH` at once."""
        return map(self.batch, range(0, self.rows, BATCH))

    def batch(self, start: int) -> Batch:
        """Those from `start`, a multiple of `BATCH`."""
        count = min(BATCH, self.rows - start)
        columns = {name: _listed(*column) for name, column in self._columns(start).items()}
        ids = [self.id(row) for row in range(start, start + count)]
        return Batch(ids, self.vectors(start), _texts(start, count), columns)

    def vectors(self, start: int) -> np.ndarray:
        """Unit vectors of the batch, `[rows, dimension]` float32."""
        return self._vectors().block(start)

    def queries(self, count: int) -> np.ndarray:
        """Unit vectors, drawn like the rows; none is one of them."""
        return self._vectors().queries(count)

    def id(self, row: int) -> str:
        """The row's, written as a UUID, which is what every store takes."""
        digits = f"{(row + 1) * ID_FACTOR % (1 << 128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def mask(self, name: str, start: int) -> np.ndarray:
        """Which rows of the batch one of `FILTERS` keeps."""
        return FILTERS[name](self._columns(start))

    def _vectors(self) -> Vectors:
        return Vectors("clustered", self.rows, self.dimension)

    def _columns(self, start: int) -> dict[str, Column]:
        count = min(BATCH, self.rows - start)
        random = np.random.default_rng([SEED, 4, start])
        tags = np.empty(count, object)
        drawn = np.array(TAGS, object)[random.integers(len(TAGS), size=(count, MAX_TAGS))].tolist()
        tags[:] = [each[:some] for each, some in zip(drawn, random.integers(1, MAX_TAGS + 1, count), strict=True)]
        values = {
            "topic": np.array(TOPICS, object)[random.integers(len(TOPICS), size=count)],
            "year": random.integers(YEARS[0], YEARS[1] + 1, count),
            "price": np.floor(random.random(count) * PRICES * 100) / 100,
            "flag": random.random(count) < 0.5,
            "published": FIRST_DAY + random.integers(SECONDS, size=count).astype("timedelta64[s]"),
            "tags": tags,
        }
        return {name: (values[name], random.random(count) >= NULLS) for name in COLUMNS}


def _two_columns(columns: dict[str, Column]) -> np.ndarray:
    (years, has_year), (topics, has_topic) = columns["year"], columns["topic"]
    return has_year & (years > 2020) & has_topic & (topics == "a")


def _low_price(columns: dict[str, Column]) -> np.ndarray:
    prices, has_price = columns["price"]
    return has_price & (prices < PRICES / 100)


TWO_COLUMNS = "year > 2020 and topic = a"
LOW_PRICE = "price < 10"
FILTERS: dict[str, Callable[[dict[str, Column]], np.ndarray]] = {TWO_COLUMNS: _two_columns, LOW_PRICE: _low_price}
"""What they keep of a batch, by what they say: 1 % of the rows each. `peers.documents` says how stores are asked."""


def _listed(values: np.ndarray, there: np.ndarray) -> list[Any]:
    listed: list[Any] = values.tolist()
    for row in np.flatnonzero(~there):
        listed[row] = None
    return listed


def _texts(start: int, count: int) -> list[str]:
    """Each begins with the row's number, so that no two are alike."""
    body = _body()
    places = np.random.default_rng([SEED, 5, start]).integers(len(body) - CHARACTERS, size=count).tolist()
    return [f"{row} {body[place : place + CHARACTERS]}"[:CHARACTERS] for row, place in enumerate(places, start)]


@cache
def _body() -> str:
    """Words of random letters, short ones and a few words often, as in languages."""
    random = np.random.default_rng([SEED, 6])
    letters = np.array(list("eeeeaaaiiooutttnnnssshhrrrdlcmfgpwyb"))
    words = ["".join(random.choice(letters, length)) for length in 2 + random.poisson(3, WORDS)]
    words[ACCENTED::ACCENTED] = [f"{word}é" for word in words[ACCENTED::ACCENTED]]
    ranks = random.zipf(1.3, BODY // 4) % WORDS
    return " ".join(words[rank] for rank in ranks.tolist())[:BODY]
