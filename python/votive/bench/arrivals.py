"""When the requests of an open load are due."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate, count, repeat
from typing import NamedTuple


class Arrivals(NamedTuple):
    """A schedule: even gaps ("constant"), or random ones that follow the Gamma distribution ("poisson").

    Attributes:
        kind: as the experiment's.
        seed: of random gaps.
        burstiness: the shape of the distribution. The mean gap is the same for all; its coefficient of variation is one
            through the root of the shape. So 1 is a Poisson process, less comes in bursts, more is nearly even.
    """

    kind: str
    seed: int
    burstiness: float = 1.0

    def instants(self, rate: float) -> Iterator[float]:
        """Seconds from the beginning at which requests are due, so many a second in the mean, without end."""
        if self.kind == "constant":
            return (number / rate for number in count())
        chance = random.Random(self.seed)
        shape = self.burstiness
        return accumulate(chance.gammavariate(shape, 1 / (rate * shape)) for _ in repeat(None))
