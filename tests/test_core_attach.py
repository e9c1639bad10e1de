"""`_core.Store.attach`: rows whose memory is NumPy's."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_stores import DTYPES, empty, filled, ints, parts, read_only, rows
from numpy.typing import NDArray
from votive import CorruptStoreError, StoreError


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("names", [False, True])
def test_a_store_is_made_of_mapped_files(tmp_path: Path, dtype: str, names: bool) -> None:
    store = filled(500, 70, dtype, [f"name {i}" for i in range(500)] if names else None).without(ints(5, 499))
    [(_, vectors, codes, bounds, _)] = store.segments()
    coarse = None if dtype == "int8" else store.coarse_codes(vectors)
    mapped: Any = []
    for name, array in [("vectors", vectors), ("codes", codes), ("bounds", bounds), ("coarse", coarse)]:
        if array is not None:
            np.save(tmp_path / f"{name}.npy", array)
        mapped.append(None if array is None else np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    opened = empty(70, dtype).attach(*mapped, store.id_slice(0, 500), store.deleted())
    assert (len(opened), opened.rows, list(opened.ids())) == (498, 500, list(store.ids()))
    assert opened.memory["mapped"] == sum(array.nbytes for array in mapped if array is not None)
    assert opened.memory["vectors"] == opened.memory["codes"] == 0
    np.testing.assert_array_equal(opened.take(opened.live()), store.take(store.live()))
    if dtype != "int8":
        assert np.shares_memory(opened.vectors()[0], mapped[0])
        anew = empty(70, dtype).attach(mapped[0], None, None, None, store.id_slice(0, 500))
        for found, expected in zip(anew.segments()[0][2:], [codes, bounds, None], strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(opened.segments()[0][4], coarse)
    view, expected = opened.vectors()[-1], store.vectors()[-1].copy()
    more, _ = opened.add(rows(3, 70), ["a", "b", "c"] if names else None, 3, 0)
    assert len(more) == 501
    del opened, more, mapped
    gc.collect()
    np.testing.assert_array_equal(view, expected)


def test_deleted_rows_are_attached() -> None:
    *arrays, _ = parts(filled(4))
    store = empty().attach(*arrays, ints(1, 2, 1, 3), ints(0, 3)).attach(None, None, None, None, ints(4, 5))
    store = store.attach(*arrays, ints(3, 4, 6, 7), ints(0, 3, 9))
    assert (store.rows, len(store)) == (10, 5)
    np.testing.assert_array_equal(store.deleted(), [0, 3, 4, 5, 9])
    np.testing.assert_array_equal(store.find(ints(1, 2, 3, 4, 5, 6, 7)), [2, 1, 6, 7, -1, 8, -1])
    assert [first for first, *_ in store.segments()] == [0, 6]


@pytest.mark.parametrize(
    ("part", "replaced", "message"),
    [
        (0, lambda vectors: read_only(vectors[:9].copy()), r"vectors: expected .*\(10, 20\) of float32"),
        (0, lambda vectors: read_only(vectors.astype(np.float16)), "vectors: expected .*float16"),
        (0, lambda vectors: read_only(vectors.astype(">f4")), "vectors: expected .*>f4"),
        (0, lambda vectors: vectors.copy(), "one that can be written"),
        (0, lambda vectors: read_only(np.asfortranarray(vectors)), "one that is not contiguous"),
        (0, lambda vectors: vectors[0], "vectors: expected"),
        (0, lambda vectors: vectors.tolist(), "found <class 'list'>"),
        (0, lambda _: None, "vectors: found none"),
        (1, lambda codes: read_only(codes[:, :20].copy()), r"codes: expected .*\(10, 64\)"),
        (1, lambda codes: read_only(codes.astype(np.uint8)), "codes: expected"),
        (1, lambda _: None, "one of them is missing"),
        (2, lambda bounds: read_only(bounds[:, :5].copy()), r"bounds: expected .*\(10, 6\)"),
        (3, lambda coarse: read_only(coarse[:, :40].copy()), r"coarse: expected .*\(10, 48\)"),
        (4, lambda ids: ids[:9], r"vectors: expected .*\(9, 20\)"),
        (4, lambda ids: ids.astype(np.float64), "ids: expected an int64 array, or offsets and bytes"),
        (4, lambda _: (ints(0, 2), np.zeros(1, np.uint8)), "ids: offsets go from 0 to the 1 bytes"),
        (4, lambda _: (ints(0, -2, 1), np.zeros(1, np.uint8)), "-2"),
        (4, lambda _: (ints(0, 1), np.full(1, 255, np.uint8)), "ids: bytes are no UTF-8"),
    ],
)
def test_arrays_that_do_not_fit_are_not_attached(part: int, replaced: Callable[[Any], object], message: str) -> None:
    arrays = parts(filled(10))
    arrays[part] = replaced(arrays[part])
    with pytest.raises(StoreError, match=message) as error:
        empty().attach(*arrays)
    assert error.type is StoreError
    assert error.value.argument in {"vectors", "codes", "bounds", "coarse", "ids"}
    assert StoreError("of Python's").argument is None


@pytest.mark.parametrize(
    ("ids", "deleted", "message"),
    [
        (ints(*range(9), 3), None, "two rows have the id 3"),
        (ints(*range(9), 3), ints(19), "two rows have the id 3"),
        (ints(*range(100, 109), 7), None, "two rows have the id 7"),
        (ints(*range(-1, 9)), None, "-1"),
        (ints(*range(100, 110)), ints(13, 12), "deleted rows do not ascend"),
    ],
)
def test_ids_that_contradict_each_other_are_corrupt(
    ids: NDArray[np.int64], deleted: NDArray[np.int64] | None, message: str
) -> None:
    *arrays, _ = parts(filled(10))
    with pytest.raises(CorruptStoreError, match=message):
        filled(10).attach(*arrays, ids, deleted)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("column", [0, 1, 2, 3, 5])
def test_bounds_that_cannot_be_are_corrupt(column: int, bad: float) -> None:
    vectors, codes, bounds, coarse, ids = parts(filled(10))
    bounds = bounds.copy()
    bounds[7, column] = bad
    with pytest.raises(CorruptStoreError, match="bounds: row 7") as error:
        empty().attach(vectors, codes, read_only(bounds), coarse, ids)
    assert (error.value.argument, error.value.row) == ("bounds", 7)
    assert str(error.value) == f"bounds: {error.value.reason}"


def test_vectors_that_cannot_be_encoded_are_corrupt() -> None:
    vectors = rows(10)
    vectors[4, 3] = np.nan
    with pytest.raises(CorruptStoreError, match="vectors: row 4 has NaN"):
        empty().attach(read_only(vectors), None, None, None, np.arange(10))


def test_coarse_codes_come_with_codes() -> None:
    vectors, codes, bounds, coarse, ids = parts(filled(10))
    with pytest.raises(StoreError, match="coarse: coarse codes come with codes and bounds"):
        empty().attach(vectors, None, None, coarse, ids)
    _, codes, bounds, none, ids = parts(filled(10, dtype="int8"))
    assert none is None
    with pytest.raises(StoreError, match="coarse: found coarse codes, where a store of int8 has none"):
        empty(dtype="int8").attach(None, codes, bounds, coarse, ids)
