"""What may be put into a store and asked of it: every kind that is accepted, and a clear error for everything else."""

import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_store import snapshot
from votive import EmbeddingStore, StoreError

ROWS, DIMENSION = 50, 6


@pytest.fixture
def vectors() -> np.ndarray:
    """Small integers, which every type holds."""
    return np.random.default_rng(3).integers(0, 100, (ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def store(vectors: np.ndarray) -> EmbeddingStore:
    """With ids, texts and a column."""
    store = EmbeddingStore()
    store.add_embeddings(vectors[:4], [3, 5, 7, 9], ["a", "b", "c", "d"], {"year": [1, 2, 3, 4]})
    return store


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
    monkeypatch.setattr("votive._vectors.BLOCK_BYTES", 3 * DIMENSION * 4)
    monkeypatch.setattr("votive._vectors._SMALL_BYTES", 2 * DIMENSION * 4)
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


@pytest.mark.parametrize(
    ("given", "kind", "message"), [case for case in BAD_VECTORS if not isinstance(case[0], Iterator)]
)
def test_bad_queries(store: EmbeddingStore, given: Any, kind: type, message: str) -> None:
    if isinstance(given, np.ndarray) and given.shape == (0, 5):
        pytest.skip("no queries of another dimension are none of any")
    with pytest.raises(kind, match=message.replace("vectors", "queries", 1)):
        store.search(given)


def test_float16_cannot_hold_all() -> None:
    store = EmbeddingStore(dtype="float16")
    with pytest.raises(ValueError, match=r"row 1 .*65504"):
        store.add_embeddings([[1.0, 2.0], [65521.0, 1.0]])
    assert len(store) == 0
    assert store.dimension is None


BAD_IDS = [
    ([1], ValueError, "ids: expected 2, as many as vectors, found 1"),
    ([1, 2, 3], ValueError, "ids: expected 2, as many as vectors, found 3"),
    ([1, -1], ValueError, r"ids\[1\]: expected 0 or more, found -1"),
    ([1, 2.0], TypeError, r"ids\[1\]: expected an int, found float"),
    (np.array([1.0, 2.0]), TypeError, "ids: expected integers or str, found float64"),
    ([True, False], TypeError, "ids: expected integers or str, found bool"),
    (["a", "b"], TypeError, "ids: expected int64, as the store has, found str"),
    (["a", 1], TypeError, r"ids\[1\]: expected a str as before it, found int"),
    ([1, "a"], TypeError, r"ids\[1\]: expected an int, found str"),
    ([1, None], TypeError, r"ids\[1\]: expected an int, found NoneType"),
    ([None, None], TypeError, r"ids\[0\]: expected an int, found NoneType"),
    ([1, 2**63], ValueError, r"ids\[1\]: expected an int64, found 9223372036854775808"),
    (np.array([1, 2**63], np.uint64), ValueError, r"ids\[1\]: expected an int64, found 9223372036854775808"),
    ([1, 2**70], ValueError, r"ids\[1\]: expected an int64"),
    (["a", "\ud800"], ValueError, r"ids\[1\]: holds a lone surrogate"),
    (["\ud83d", "\udc00"], ValueError, r"ids\[0\]: holds a lone surrogate"),
    ([b"a", b"b"], TypeError, r"ids: expected integers or str, found \|S1"),
    (b"ab", TypeError, "ids: expected integers or str, found bytes"),
    ({1: 2}, TypeError, "ids: expected integers or str, found dict"),
    ({1, 2}, TypeError, "ids: expected an order, that of the vectors, found set"),
    (3.0, TypeError, "ids: expected integers or str, found float"),
    (np.zeros((2, 1), int), ValueError, r"ids: expected one dimension, found shape \(2, 1\)"),
    (np.array([1, 2], "M8[s]"), TypeError, "found datetime64"),
]


@pytest.mark.parametrize(("ids", "kind", "message"), BAD_IDS)
def test_bad_ids_change_nothing(store: EmbeddingStore, ids: Any, kind: type, message: str) -> None:
    before = snapshot(store)
    with pytest.raises(kind, match=message):
        store.add_embeddings(GOOD, ids, ["x", "y"], {"year": [1, 2]})
    assert snapshot(store) == before


@pytest.mark.parametrize(
    "ids",
    [
        [8, 2],
        (8, 2),
        np.array([8, 2]),
        np.array([8, 2], np.uint8),
        np.array([8, 2], ">i2"),
        np.array([8, 0, 2])[::2],
        np.array([8, 2], object),
        pd.Series([8, 2]),
        pa.array([8, 2]),
        iter([8, 2]),
        range(8, 0, -6),
        [np.int8(8), np.uint64(2)],
    ],
    ids=repr,
)
def test_kinds_of_int_ids(ids: Any) -> None:
    store = EmbeddingStore()
    found = store.add_embeddings(GOOD, ids)
    assert found.dtype == np.int64
    assert found.tolist() == store.ids.tolist() == [8, 2]


@pytest.mark.parametrize(
    "ids",
    [
        ["b", "aä"],
        ("b", "aä"),
        np.array(["b", "aä"]),
        np.array(["b", "aä"], object),
        pd.Series(["b", "aä"]),
        pd.Index(["b", "aä"]),
        pa.array(["b", "aä"]),
        iter(["b", "aä"]),
    ],
    ids=repr,
)
def test_kinds_of_str_ids(ids: Any) -> None:
    store = EmbeddingStore()
    found = store.add_embeddings(GOOD, ids)
    assert found.dtype == object
    assert found.tolist() == store.ids.tolist() == ["b", "aä"]


def test_str_ids_must_be_given(store: EmbeddingStore) -> None:
    named = EmbeddingStore()
    named.add_embeddings(GOOD, ["a", "b"])
    with pytest.raises(ValueError, match="ids: those of the store are str"):
        named.add_embeddings(GOOD)
    with pytest.raises(TypeError, match="ids: expected str, as the store has, found int64"):
        named.add_embeddings(GOOD, [1, 2])
    assert named.ids.tolist() == ["a", "b"]


def test_odd_str_ids() -> None:
    names = ["", "\0", "a\0", "a", "\U0001f600", "x" * 100_000]
    store = EmbeddingStore()
    store.add_embeddings(np.ones((6, 2)), names)
    assert store.ids.tolist() == names
    assert store.contains(names).all()


def test_last_of_equal_ids_in_a_call_wins() -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.diag([1.0, 2.0, 3.0, 4.0]), [5, 6, 5, 5])
    assert store.ids.tolist() == [6, 5]
    assert store.get(5).tolist() == [0, 0, 0, 4]


def test_largest_id() -> None:
    store = EmbeddingStore()
    store.add_embeddings(GOOD, [2**63 - 1, 0])
    assert store.search(np.ones(DIMENSION), 1)[1].tolist() == [2**63 - 1]
    with pytest.raises(ValueError, match="ids"):
        store.add_embeddings(GOOD)
    assert len(store) == 2


@pytest.mark.parametrize(
    ("k", "kind", "message"),
    [
        (0, ValueError, "k: expected 1 or more, found 0"),
        (-3, ValueError, "k: expected 1 or more, found -3"),
        (3.0, TypeError, "k: expected an int, found float"),
        (None, TypeError, "k: expected an int, found NoneType"),
        (True, TypeError, "k: expected an int, found bool"),
    ],
)
def test_bad_k(store: EmbeddingStore, k: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        store.search(np.ones(DIMENSION), k)


def test_declared_dimension() -> None:
    store = EmbeddingStore()
    with pytest.raises(ValueError, match="vectors: expected dimension 5, found 6"):
        store.add_embeddings(GOOD, dimension=5)
    assert store.dimension is None
    store.add_embeddings(GOOD, dimension=6)
    with pytest.raises(ValueError, match="dimension: the store has 6, found 5"):
        store.add_embeddings(np.ones((2, 5)), dimension=5)
    with pytest.raises(ValueError, match="dimension: expected 1 or more"):
        store.add_embeddings(GOOD, dimension=0)
    assert len(store) == 2


def test_no_rows_change_nothing(store: EmbeddingStore) -> None:
    before = snapshot(store)
    for nothing in ([], np.zeros((0, DIMENSION)), iter([]), iter([[]]), pa.array([], pa.list_(pa.float32()))):
        assert store.add_embeddings(nothing).tolist() == []
    assert snapshot(store) == before
    fresh = EmbeddingStore()
    fresh.add_embeddings(np.zeros((0, DIMENSION)))
    assert fresh.dimension is None


def test_stream_that_fails_changes_nothing(store: EmbeddingStore) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from [np.ones((300_000, DIMENSION), np.float32)] * 2
        raise OSError("the disk is gone")

    before = snapshot(store)
    plain = EmbeddingStore()
    with pytest.raises(OSError, match="the disk is gone"):
        plain.add_embeddings(failing())
    assert len(plain) == 0
    with pytest.raises(ValueError, match="ids: expected as many as vectors, found 3, and at least"):
        store.add_embeddings(iter([GOOD, GOOD]), [1, 2, 4], ["t"] * 4, {"year": range(4)})
    with pytest.raises(ValueError, match="texts: expected 4, as many as vectors, found 5"):
        store.add_embeddings(iter([GOOD, GOOD]), None, ["t"] * 5, {"year": range(4)})
    with pytest.raises(ValueError, match=r"metadata\['year'\]: expected 4, as many as vectors, found 5"):
        store.add_embeddings(iter([GOOD, GOOD]), None, ["t"] * 4, {"year": range(5)})
    assert snapshot(store) == before
    # What was written of it in memory is written over.
    store.add_embeddings(GOOD, [1, 2], ["e", "f"], {"year": [5, 6]})
    assert store.texts == ["a", "b", "c", "d", "e", "f"]
    assert store.metadata["year"].tolist() == [1, 2, 3, 4, 5, 6]


def test_what_is_read_may_not_change_the_store() -> None:
    store = EmbeddingStore()

    def greedy() -> Iterator[np.ndarray]:
        yield GOOD
        store.add_embeddings(GOOD)

    with pytest.raises(StoreError, match="what it reads for that may not change it"):
        store.add_embeddings(greedy())
    assert len(store) == 0
    store.add_embeddings(GOOD)
    # Reading is fine.
    store.add_embeddings(store.get([row]) for row in store)
    assert len(store) == 4


def test_stream_may_be_the_stores_own_rows(store: EmbeddingStore) -> None:
    store.add_embeddings(store.vectors, [13, 15, 17, 19], store.texts, store.metadata)
    np.testing.assert_array_equal(store.get([13, 15, 17, 19]), store.get([3, 5, 7, 9]))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_to_arrow_and_back(dtype: str, vectors: np.ndarray) -> None:
    store = EmbeddingStore(dtype=dtype)
    days = np.arange(ROWS).astype("M8[D]")
    names = [f"n{row}" for row in range(ROWS)]
    metadata = {"day": days, "hour": days.astype("M8[h]"), "flag": days.astype(int) % 3 == 0, "name": names}
    store.add_embeddings(vectors, names, [f"text é{row}" for row in range(ROWS)], metadata)
    for deleted in (names[10:20], names[40:]):
        table = store.to_arrow()
        assert table.column_names == ["id", "vector", "text", "day", "hour", "flag", "name"]
        assert len(table) == len(store)
        again = EmbeddingStore.from_arrow(table, dtype=dtype)
        assert again.ids.tolist() == store.ids.tolist()
        assert again.texts == store.texts
        assert snapshot(again)["metadata"] == snapshot(store)["metadata"]
        np.testing.assert_allclose(again.get(again.ids), store.get(store.ids), rtol=1e-6)
        store.delete(deleted)
    if dtype == "float32":
        chunk = table["vector"].chunk(0).flatten().to_numpy()
        assert np.shares_memory(chunk, store.vectors[0])


def test_empty_store_to_arrow() -> None:
    assert len(EmbeddingStore(dimension=3).to_arrow()) == 0
    assert len(EmbeddingStore.from_arrow(EmbeddingStore(dimension=3).to_arrow())) == 0
    assert len(EmbeddingStore().to_arrow()) == 0


def test_to_arrow_without_pyarrow(monkeypatch: pytest.MonkeyPatch, store: EmbeddingStore) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match="to_arrow needs pyarrow: pip install pyarrow"):
        store.to_arrow()


def test_from_arrow_takes_the_columns_that_are_named(vectors: np.ndarray) -> None:
    table = pa.table(
        {
            "embedding": pa.array(vectors.astype(np.float64).tolist()),
            "key": [f"k{row}" for row in range(ROWS)],
            "body": pa.array([f"b{row}" for row in range(ROWS)]).dictionary_encode(),
            "year": pa.array(range(ROWS), pa.int16()),
            "tags": [["a"]] * ROWS,
        }
    )
    for given in (table, table.to_reader(max_chunksize=7), table.combine_chunks().to_batches()[0]):
        store = EmbeddingStore.from_arrow(given, "embedding", "key", "body", ["year"], metric="l2")
        assert store.metric == "l2"
        assert store.ids.tolist() == table["key"].to_pylist()
        assert store.texts == table["body"].to_pylist()
        assert store.metadata["year"].tolist() == list(range(ROWS))
        assert store.metadata["year"].dtype == np.int16
        np.testing.assert_array_equal(store.get(store.ids), vectors)
    numbered = EmbeddingStore.from_arrow(table, "embedding", metadata=[])
    assert numbered.ids.tolist() == list(range(ROWS))
    assert numbered.texts is None


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"vectors": "x"}, ValueError, r"vectors: no column 'x' in the table; it has \['id', 'vector', 'n'\]"),
        ({"ids": "x"}, ValueError, "ids: no column 'x'"),
        ({"texts": "x"}, ValueError, "texts: no column 'x'"),
        ({"metadata": ["n", "x"]}, ValueError, r"metadata\[1\]: no column 'x'"),
        ({"vectors": "n", "metadata": []}, TypeError, "vectors: expected an Arrow fixed_size_list"),
        ({"ids": "vector"}, TypeError, "ids: expected numbers, booleans, strings or dates"),
        ({"texts": "n"}, TypeError, "texts: expected an array of str, found dtype float64"),
        ({"metadata": ["vector"]}, TypeError, r"metadata\['vector'\]"),
    ],
)
def test_from_arrow_refuses_what_is_not_there(arguments: dict, kind: type, message: str) -> None:
    table = pa.table({"id": [1, 2], "vector": GOOD.tolist(), "n": [1.0, 2.0]})
    with pytest.raises(kind, match=message):
        EmbeddingStore.from_arrow(table, **arguments)


def test_nulls_of_a_table_are_named() -> None:
    for name, values in {"n": [1.0, None], "id": [1, None], "text": ["a", None], "flag": [True, None]}.items():
        table = pa.table({"vector": GOOD.tolist(), name: values})
        with pytest.raises(TypeError, match=r"\[1\]: expected .*, found null"):
            EmbeddingStore.from_arrow(table)


def test_from_arrow_of_other_things() -> None:
    with pytest.raises(TypeError, match="table: expected __arrow_c_stream__"):
        EmbeddingStore.from_arrow({"vector": [[1.0]]})
    with pytest.raises(TypeError, match=r"table: expected an Arrow table, .* found a column of 'l' \(int64\)"):
        EmbeddingStore.from_arrow(pa.array([1]))
    with pytest.raises(ValueError, match="table: has two columns 'a'"):
        EmbeddingStore.from_arrow(pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_from_numpy_leaves_vectors_in_their_file(dtype: str, vectors: np.ndarray, tmp_path) -> None:
    path = tmp_path / "vectors.npy"
    np.save(path, vectors.astype(dtype))
    store = EmbeddingStore.from_numpy(path, ids=[f"{row}" for row in range(ROWS)], dtype=dtype)
    memory = store.memory_usage()
    assert (memory["vectors"], memory["mapped"]) == (0, vectors.astype(dtype).nbytes)
    plain = EmbeddingStore(dtype=dtype)
    plain.add_embeddings(vectors, ids=[f"{row}" for row in range(ROWS)])
    for name in "78":
        np.testing.assert_array_equal(store.search(vectors, 10)[1], plain.search(vectors, 10)[1])
        assert snapshot(store) | {"repr": ""} == snapshot(plain) | {"repr": ""}
        for changed in (store, plain):
            changed.delete(name)
            changed.add_embeddings(vectors[:3], ["1", "x", "y"])
    with pytest.raises(StoreError, match="max_memory_gb"):
        EmbeddingStore.from_numpy(path, dtype=dtype, max_memory_gb=1e-6)


def test_from_numpy_reads_what_it_cannot_map(vectors: np.ndarray, tmp_path) -> None:
    for number, given in enumerate((vectors.astype(np.float64), np.asfortranarray(vectors), vectors.astype(">f4"))):
        path = tmp_path / f"{number}.npy"
        np.save(path, given)
        store = EmbeddingStore.from_numpy(str(path))
        assert store.memory_usage()["mapped"] == 0
        np.testing.assert_array_equal(store.get(range(ROWS)), vectors)
    np.save(tmp_path / "plain.npy", vectors)
    assert EmbeddingStore.from_numpy(tmp_path / "plain.npy", mmap=False).memory_usage()["mapped"] == 0
    assert EmbeddingStore.from_numpy(tmp_path / "plain.npy", dtype="int8").dtype == "int8"
    store = EmbeddingStore.from_numpy(vectors, texts=["t"] * ROWS, metric="dot")
    assert (store.metric, len(store), store.texts[0]) == ("dot", ROWS, "t")


def test_from_numpy_refuses_what_is_no_array(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        EmbeddingStore.from_numpy(tmp_path / "missing.npy")
    (tmp_path / "text.npy").write_text("these are no vectors")
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "several.npz", a=GOOD)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for name in ("text.npy", "empty.npy", "several.npz", "objects.npy"):
        with pytest.raises(ValueError, match=name):
            EmbeddingStore.from_numpy(tmp_path / name)
    np.save(tmp_path / "nan.npy", np.array([[1, 2], [np.nan, 1]], np.float32))
    with pytest.raises(ValueError, match="vectors: row 1 has NaN"):
        EmbeddingStore.from_numpy(tmp_path / "nan.npy")
    np.save(tmp_path / "good.npy", GOOD.astype(np.float32))
    with pytest.raises(ValueError, match="texts: expected 2, as many as vectors, found 1"):
        EmbeddingStore.from_numpy(tmp_path / "good.npy", texts=["a"])
    with pytest.raises(ValueError, match="vectors: expected dimension 3, found 6"):
        EmbeddingStore.from_numpy(tmp_path / "good.npy", dimension=3)
    with pytest.raises(ValueError, match="two rows have the id 1"):
        EmbeddingStore.from_numpy(tmp_path / "good.npy", ids=[1, 1])
