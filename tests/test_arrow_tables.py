"""Vectors and tables read out of Arrow memory; strings are in test_arrow.py."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from votive._arrow import batches, speaks_arrow, vector_blocks

VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4)


def fixed(vectors: np.ndarray = VECTORS) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def read(column: object) -> list:
    return [block.tolist() for block in vector_blocks(column, "vectors")]


def values(table: object, name: str) -> list:
    found = []
    for batch in batches(table, "table"):
        found += batch.values(name, name).to_list()
    return found


def test_vectors_are_views() -> None:
    column = fixed()
    reading = vector_blocks(column, "vectors")
    block = next(reading)
    assert np.shares_memory(block, column.values.to_numpy())
    assert not block.flags.writeable


@pytest.mark.parametrize("number", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_types_of_numbers(number: str) -> None:
    vectors = VECTORS.astype(number)
    reading = vector_blocks(fixed(vectors), "vectors")
    block = next(reading)
    assert block.dtype == number
    np.testing.assert_array_equal(block, vectors)


@pytest.mark.parametrize("kind", [None, pa.list_(pa.float32()), pa.large_list(pa.float32())], ids=str)
def test_slices_and_chunks(kind: pa.DataType | None) -> None:
    column = fixed() if kind is None else pa.array(VECTORS.tolist(), kind)
    assert read(column[2:5]) == [VECTORS[2:5].tolist()]
    assert read(pa.chunked_array([column[4:], column[:0], column[1:2]])) == [
        VECTORS[4:].tolist(),
        [],
        VECTORS[1:2].tolist(),
    ]
    # Nulls beside the rows that are read.
    nulls = pa.concat_arrays([pa.array([None], column.type), column, pa.array([None], column.type)])
    assert read(nulls[1:-1]) == [VECTORS.tolist()]
    with pytest.raises(TypeError, match="vectors: row 6 is null"):
        read(nulls[1:])


def test_tensors_are_lists() -> None:
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [4]), fixed())
    assert read(tensors) == [VECTORS.tolist()]


def test_damaged_lists_are_refused() -> None:
    def lists(*offsets: int) -> pa.Array:
        return pa.Array.from_buffers(
            pa.list_(pa.float32()),
            len(offsets) - 1,
            [None, pa.py_buffer(np.array(offsets, np.int32))],
            children=[pa.array(VECTORS.ravel())],
        )

    assert read(lists(0, 4, 8)) == [VECTORS[:2].tolist()]
    for offsets in ((4, 0, 8), (0, 4, 2, 8)):
        with pytest.raises(ValueError, match="negative length"):
            read(lists(*offsets))


def test_table_of_all_kinds_of_columns() -> None:
    day = datetime.date(2024, 2, 29)
    moment = datetime.datetime(2024, 2, 29, 12, 30, 1)
    table = pa.table(
        {
            "bool": [True, False, True] * 7,
            "int": pa.array(range(21), pa.int16()),
            "float": pa.array(np.arange(21) / 2),
            "str": [f"é{row}" for row in range(21)],
            "view": pa.array([f"a long text of row {row}" for row in range(21)], pa.string_view()),
            "category": pa.array(["x", "y", "x"] * 7).dictionary_encode(),
            "date32": pa.array([day] * 21),
            "date64": pa.array([day] * 21, pa.date64()),
            **{unit: pa.array([moment] * 21, pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us")},
            "vector": pa.array([[1.0, 2.0]] * 21, pa.list_(pa.float64(), 2)),
        }
    )
    chunked = pa.concat_tables([table[:5], table[5:6], table[6:]])
    for given in (table, chunked, table.to_reader(max_chunksize=4), table.combine_chunks().to_batches()[0]):
        parts = list(table.column_names[:-1])
        found: dict[str, list] = {name: [] for name in parts}
        for batch in batches(given, "table"):
            assert batch.names == table.column_names
            for name in parts:
                part = batch.values(name, name)
                assert part.rows == len(batch)
                found[name] += part.to_list()
            assert batch.vectors("vector", "vector").tolist() == [[1.0, 2.0]] * len(batch)
        naive = [moment] * 21
        expected = {name: table[name].to_pylist() for name in parts}
        assert found == expected | {unit: naive for unit in ("s", "ms", "us")} | {
            "date64": [moment.replace(hour=0, minute=0, second=0)] * 21
        }
    for start in range(21):
        assert values(table[start:], "bool") == table["bool"].to_pylist()[start:]


def test_slice_of_structs_reads_only_itself() -> None:
    rows = [{"a": row, "b": str(row), "v": [row, row]} for row in range(10)]
    structs = pa.array(rows)[3:8]
    assert values(structs, "a") == [3, 4, 5, 6, 7]
    assert values(structs, "b") == ["3", "4", "5", "6", "7"]
    reading = batches(structs, "table")
    batch = next(reading)
    assert batch.vectors("v", "v").tolist() == [[row, row] for row in range(3, 8)]
    with pytest.raises(TypeError, match="table: holds a null row"):
        list(batches(pa.array([*rows, None]), "table"))


def test_memory_is_given_back() -> None:
    before = pa.total_allocated_bytes()
    for _ in range(2):
        table = pa.table({"vector": pa.array(VECTORS.tolist() * 1000), "name": ["text"] * 6000})
        reading = batches(table, "table")
        held = next(reading)
        held.values("name", "name")
        blocks = vector_blocks(table["vector"], "vectors")
        next(blocks)
        del table
        assert pa.total_allocated_bytes() > before
        del reading, held, blocks
        assert pa.total_allocated_bytes() == before


def test_who_speaks_arrow() -> None:
    assert speaks_arrow(pa.array([1]))
    assert speaks_arrow(pa.table({"a": [1]}))
    assert not speaks_arrow([1])
    assert not speaks_arrow(VECTORS)
