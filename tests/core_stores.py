"""Small core stores, and what to fill them with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from votive._core import Store

DTYPES = ["float32", "float16", "int8"]
Floats = NDArray[np.float32]


def rows(n: int, dimension: int = 20, seed: int = 0) -> Floats:
    """Vectors that every type keeps as they are: integers up to 127, which each row has."""
    vectors = np.random.default_rng(seed).integers(-127, 128, (n, dimension)).astype(np.float32)
    vectors[:, 0] = 127
    return vectors


def empty(dimension: int = 20, dtype: str = "float32", metric: str = "dot", num_threads: int | None = 2) -> Store:
    return Store(dimension, metric, dtype, "auto", num_threads)


def filled(n: int, dimension: int = 20, dtype: str = "float32", ids: Any = None) -> Store:
    return empty(dimension, dtype).add(rows(n, dimension), ids, n, 0)[0]


def ints(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def parts(store: Store) -> list[Any]:
    """What `attach` takes, of a store of one segment."""
    [(_, vectors, codes, bounds, _)] = store.segments()
    coarse = None if store.dtype == "int8" else read_only(store.coarse_codes(vectors))
    return [vectors, codes, bounds, coarse, store.id_slice(0, store.rows)]
