"""Vectors of every kind that is accepted, and a clear error for all others."""

import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stores import snapshot
from votive import EmbeddingStore

ROWS, DIMENSION = 50, 6


@pytest.fixture
def vectors() -> np.ndarray:
    """Small integers, which every type holds."""
    return np.random.default_rng(3).integers(0, 100, (ROWS, DIMENSION)).astype(np.float32)


def fortran(vectors: np.ndarray) -> np.ndarray:
    return np.asfortranarray(vectors)


def strided(vectors: np.ndarray) -> np.ndarray:
    wide = np.zeros((2 * ROWS, 3 * DIMENSION), np.float32)
    wide[::2, 1::3] = vectors
    return wide[::2, 1::3]


def backwards(vectors: np.ndarray) -> np.ndarray:
    return vectors[::-1].copy()[::-1]


def unaligned(vectors: np.ndarray) -> np.ndarray:
    memory = np.zeros(vectors.nbytes + 1, np.uint8)[1:]
    memory[:] = vectors.reshape(-1).view(np.uint8)
    return memory.view(np.float32).reshape(vectors.shape)


def read_only(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.copy()
    vectors.flags.writeable = False
    return vectors


def fixed_size_lists(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION)


class OnlyArrow:
    """Speaks Arrow and nothing else."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self._column.__arrow_c_array__(requested_schema)


class OnlyArray:
    """Is an array to whoever asks."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.asarray(self._vectors, dtype)


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    **{
        dtype: lambda vectors, dtype=dtype: vectors.astype(dtype)
        for dtype in ("f2", "f4", "f8", "longdouble", ">f2", ">f4", ">f8", "i1", "u1", "i2", ">i4", "i8", "u8")
    },
    "fortran": fortran,
    "strided": strided,
    "backwards": backwards,
    "unaligned": unaligned,
    "read-only": read_only,
    "lists": lambda vectors: vectors.tolist(),
    "tuples": lambda vectors: tuple(map(tuple, vectors.tolist())),
    "list of arrays": list,
    "list of array.array": lambda vectors: [array.array("f", row) for row in vectors],
    "DataFrame": pd.DataFrame,
    "__array__": OnlyArray,
    "memoryview": memoryview,
    "masked array without a mask": np.ma.array,
    "generator of blocks": lambda vectors: (vectors[start : start + 7] for start in range(0, ROWS, 7)),
    "generator of rows": lambda vectors: (row for row in vectors),
    "generator of lists": lambda vectors: (row.tolist() for row in vectors),
    "generator with empty blocks": lambda vectors: iter([[], vectors[:9], np.zeros((0, DIMENSION)), vectors[9:]]),
    "generator of kinds": lambda vectors: iter(
        [vectors[:9].astype(">f8"), fixed_size_lists(vectors[9:20]), *vectors[20:]]
    ),
    "fixed_size_list": fixed_size_lists,
    "slice of fixed_size_list": lambda vectors: fixed_size_lists(np.vstack([vectors[:3], vectors, vectors]))[
        3 : 3 + ROWS
    ],
    "chunks": lambda vectors: pa.chunked_array([fixed_size_lists(vectors[:20]), fixed_size_lists(vectors[20:])]),
    "list column": lambda vectors: pa.array(vectors.tolist()),
    "slice of list column": lambda vectors: pa.array([[1.0], *vectors.tolist(), [2.0, 3.0]])[1:-1],
    "large_list of float16": lambda vectors: pa.array(vectors.tolist(), pa.large_list(pa.float16())),
    "list of int32": lambda vectors: pa.array(vectors.astype(int).tolist(), pa.list_(pa.int32())),
    "PyCapsule alone": lambda vectors: OnlyArrow(fixed_size_lists(vectors)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_vectors(kind: str, vectors: np.ndarray) -> None:
    store = EmbeddingStore()
    assert store.add_embeddings(KINDS[kind](vectors)).tolist() == list(range(ROWS))
    np.testing.assert_array_equal(store.get(range(ROWS)), vectors)
    scores, ids = store.search(KINDS[kind](vectors), 1)
    np.testing.assert_allclose(scores, 1, rtol=1e-6)
    assert ids.shape == (ROWS, 1)


def test_memory_map(vectors: np.ndarray, tmp_path) -> None:
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    store = EmbeddingStore()
    store.add_embeddings(mapped)
    np.testing.assert_array_equal(store.get(range(ROWS)), vectors)
    assert store.memory_usage()["mapped"] == 0


def test_torch(vectors: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    store = EmbeddingStore()
    store.add_embeddings(torch.from_numpy(vectors))
    np.testing.assert_array_equal(store.get(range(ROWS)), vectors)


def test_polars(vectors: np.ndarray) -> None:
    polars = pytest.importorskip("polars")
    series = polars.Series("vector", vectors, dtype=polars.Array(polars.Float32, DIMENSION))
    store = EmbeddingStore()
    store.add_embeddings(series, ids=polars.Series([str(row) for row in range(ROWS)]))
    np.testing.assert_array_equal(store.get([str(row) for row in range(ROWS)]), vectors)


def test_one_vector_is_one_row(vectors: np.ndarray) -> None:
    store = EmbeddingStore()
    assert store.add_embeddings(vectors[0]).tolist() == [0]
    assert store.add_embeddings(vectors[1].tolist(), ids=7, texts=None).tolist() == [7]
    assert store.get(7).tolist() == vectors[1].tolist()


def test_long_conversions_come_in_blocks(monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray) -> None:
    monkeypatch.setattr("votive._store.input.vectors.BLOCK_BYTES", 3 * DIMENSION * 4)
    monkeypatch.setattr("votive._store.input.vectors._SMALL_BYTES", 2 * DIMENSION * 4)
    for kind in ("f8", "strided", "generator of blocks", "generator of rows", "generator of kinds", "list column"):
        store = EmbeddingStore()
        store.add_embeddings(KINDS[kind](vectors))
        np.testing.assert_array_equal(store.get(range(ROWS)), vectors)


def test_producer_may_use_its_memory_again(vectors: np.ndarray) -> None:
    def blocks() -> Iterator[np.ndarray]:
        memory = np.empty((5, DIMENSION), np.float32)
        for start in range(0, ROWS, 5):
            memory[:] = vectors[start : start + 5]
            yield memory

    store = EmbeddingStore()
    store.add_embeddings(blocks())
    np.testing.assert_array_equal(store.get(range(ROWS)), vectors)


GOOD = np.ones((2, DIMENSION))


MASKED = np.ma.array(GOOD, mask=np.eye(2, DIMENSION))


BAD_VECTORS = [
    (np.ones((2, 5)), ValueError, "vectors: expected dimension 6, found 5"),
    (np.ones(5), ValueError, "vectors: expected dimension 6, found 5"),
    (np.zeros((0, 5)), ValueError, "vectors: expected dimension 6, found 5"),
    (np.ones((2, 3, 6)), ValueError, r"vectors: expected 2-D .* found shape \(2, 3, 6\)"),
    (np.float32(3), ValueError, r"vectors: expected 2-D .* found shape \(\)"),
    (np.ones((2, 0)), ValueError, r"vectors: expected a dimension of 1 or more, found shape \(2, 0\)"),
    ([[1.0] * 6, [1.0] * 5], ValueError, "vectors: expected vectors of equal length"),
    ([[1.0] * 6, [1.0] * 5 + [None]], TypeError, "vectors: expected floats or integers, found object"),
    ([["1"] * 6], TypeError, "vectors: expected floats or integers, found <U1"),
    (GOOD.astype(complex), TypeError, "vectors: expected floats or integers, found complex128"),
    (GOOD.astype(bool), TypeError, "vectors: expected floats or integers, found bool"),
    (GOOD.astype(object), TypeError, "found object; np.stack makes a matrix"),
    (GOOD.astype("datetime64[s]"), TypeError, "found datetime64"),
    ([Fraction(1, 2)] * 6, TypeError, "found object"),
    ([[10**30] * 6], TypeError, "found object"),
    (pd.Series(list(GOOD)), TypeError, "found object; np.stack makes a matrix"),
    (MASKED, ValueError, "vectors: holds masked elements"),
    (list(MASKED), ValueError, "vectors: holds masked elements"),
    (iter([MASKED]), ValueError, "vectors.* holds masked elements"),
    ("vectors", TypeError, "vectors: expected an array of floats or integers, found str"),
    (b"vectors", TypeError, "found bytes"),
    ({"a": 1}, TypeError, "found dict"),
    ({1.0, 2.0}, TypeError, "found set"),
    (None, TypeError, "vectors: expected floats or integers, found object"),
    ([*GOOD[:1], [1, 1, np.nan, 1, 1, 1]], ValueError, "vectors.* row 1 "),
    ([*GOOD, [1, 1, np.inf, 1, 1, 1]], ValueError, "vectors.* row 2 "),
    (np.array([*GOOD, [1, 1, -np.inf, 1, 1, 1]], np.float32), ValueError, "vectors.* row 2 "),
    (np.array([*GOOD, [1, 1, 1, 1e39, 1, 1]]), ValueError, r"vectors: row 2 holds 1e\+39, which is beyond float32"),
    (iter([GOOD, GOOD, [[1, np.nan, 1, 1, 1, 1]]]), ValueError, "vectors.* row 4 "),
    (iter([GOOD, GOOD.astype(bool)]), TypeError, r"vectors \(from row 2 on\): expected floats .*, found bool"),
    (iter([GOOD, np.ones((2, 5))]), ValueError, "vectors: expected 6 columns, as in row 0, found 5 in row 2"),
    (iter([GOOD, 5]), ValueError, r"vectors \(from row 2 on\): expected 2-D"),
    (iter("ab"), TypeError, r"vectors \(from row 0 on\): .*found str"),
    (pa.array([1.0, 2.0]), TypeError, r"vectors: expected an Arrow fixed_size_list.*'g' \(float64\)"),
    (pa.array([["a"]]), TypeError, "vectors: expected lists of numbers, found lists of 'u'"),
    (pa.array([[1.0] * 6, [1.0] * 5]), ValueError, "vectors: row 1 has 5 elements, the rows before it 6"),
    (pa.array([[1.0] * 6, None]), TypeError, "vectors: row 1 is null"),
    (pa.array([[1.0] * 6, [1.0] * 5 + [None]]), TypeError, "vectors: row 1 holds a null"),
    (pa.array([None, [1.0] * 6], pa.list_(pa.float32(), 6)), TypeError, "vectors: row 0 is null"),
    (pa.table({"vector": [[1.0] * 6]}), TypeError, "vectors: expected one column of vectors, found an Arrow table"),
]


@pytest.mark.parametrize(("given", "kind", "message"), BAD_VECTORS)
def test_bad_vectors_change_nothing(given: Any, kind: type, message: str) -> None:
    store = EmbeddingStore()
    store.add_embeddings(GOOD)
    before = snapshot(store)
    with pytest.raises(kind, match=message):
        store.add_embeddings(given)
    assert snapshot(store) == before


# A stream can be read once, and no queries at all may have any dimension.
BAD_QUERIES = [
    case for case in BAD_VECTORS if not isinstance(case[0], Iterator) and getattr(case[0], "shape", None) != (0, 5)
]


@pytest.mark.parametrize(("given", "kind", "message"), BAD_QUERIES)
def test_bad_queries(given: Any, kind: type, message: str) -> None:
    store = EmbeddingStore()
    store.add_embeddings(GOOD)
    with pytest.raises(kind, match=message.replace("vectors", "queries", 1)):
        store.search(given)


def test_float16_cannot_hold_all() -> None:
    store = EmbeddingStore(dtype="float16")
    with pytest.raises(ValueError, match=r"row 1 .*65504"):
        store.add_embeddings([[1.0, 2.0], [65521.0, 1.0]])
    assert len(store) == 0
    assert store.dimension is None
