"""Shapes of stores, and kinds of searches."""

from __future__ import annotations

from typing import NamedTuple

from votive.bench.vectors import Vectors


class Search(NamedTuple):
    """A kind of call: `queries` at once for the nearest `k`, among a `share` of the rows if that is given.

    The filter starts as a boolean array; it is `prepared` when what the store makes of it is not timed.
    """

    k: int
    queries: int = 1
    share: float | None = None
    prepared: bool = False

    def __str__(self) -> str:
        kept = "" if self.share is None else f", filter of {self.share:.0%}"
        return f"{self.queries} {'query' if self.queries == 1 else 'queries'}{kept}{', prepared' * self.prepared}"


SHAPES = {"1m": Vectors("clustered", 1_000_000, 768), "100k": Vectors("clustered", 100_000, 384)}
SHARES = (0.01, 0.5)  # of the rows, that filters keep
