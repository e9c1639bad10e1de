"""Vectors to search among. The same seed gives the same vectors, anew in every process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np

from votive._cpus import usable_cpus
from votive.bench.experiment import Data

CLUSTERS = 1000
NOISE = 0.5  # of each element, where those of a centre have a standard deviation of 1: two rows of a cluster are at .8
BLOCK = 10_000  # rows
SEED = 20


class Vectors(NamedTuple):
    """Unit vectors, float32: "clustered", normal noise around normal centres, or "uniform", anywhere on the sphere."""

    kind: str
    rows: int
    dimension: int
    seed: int = SEED

    @classmethod
    def of(cls, data: Data) -> Vectors:
        """Those that an experiment searches among."""
        return cls("clustered", data.vectors, data.dimension, data.seed)

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.dimension}"

    def array(self) -> np.ndarray:
        """`[rows, dimension]`, made once in a process, by all CPUs."""
        return _array(self)

    def block(self, start: int) -> np.ndarray:
        """The rows of `array` from `start`, a multiple of `BLOCK`, made alone: `BLOCK` of them, or what is left."""
        rows = np.empty((min(BLOCK, self.rows - start), self.dimension), np.float32)
        _fill(rows, self, np.random.default_rng([self.seed, 3, start]))
        return rows

    def queries(self, count: int) -> np.ndarray:
        """`[count, dimension]`, drawn like the rows; none is one of them."""
        queries = np.empty((count, self.dimension), np.float32)
        _fill(queries, self, np.random.default_rng([self.seed, 1, 0]))
        return queries

    def mask(self, share: float) -> np.ndarray:
        """A boolean array over the rows that keeps this share of them, drawn at random."""
        mask = np.zeros(self.rows, bool)
        mask[np.random.default_rng([self.seed, 2]).choice(self.rows, round(share * self.rows), replace=False)] = True
        return mask


@cache
def _array(vectors: Vectors) -> np.ndarray:
    array = np.empty((vectors.rows, vectors.dimension), np.float32)

    def fill(start: int) -> None:
        _fill(array[start : start + BLOCK], vectors, np.random.default_rng([vectors.seed, 3, start]))

    with ThreadPoolExecutor(usable_cpus()) as pool:
        list(pool.map(fill, range(0, vectors.rows, BLOCK)))
    return array


def _fill(rows: np.ndarray, vectors: Vectors, random: np.random.Generator) -> None:
    random.standard_normal(out=rows, dtype=np.float32)
    if vectors.kind == "clustered":
        rows *= np.float32(NOISE)
        rows += _centres(vectors.dimension, vectors.seed)[random.integers(CLUSTERS, size=len(rows))]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)


@cache
def _centres(dimension: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((CLUSTERS, dimension), dtype=np.float32)
