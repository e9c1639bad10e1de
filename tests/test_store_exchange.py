"""Stores to and from Arrow tables and NumPy files."""

import numpy as np
import pyarrow as pa
import pytest
from stores import snapshot
from votive import EmbeddingStore, StoreError

ROWS, DIMENSION = 50, 6
GOOD = np.ones((2, DIMENSION))


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
        ({"ids": "vector"}, TypeError, "ids: expected integers or str, found lists"),
        ({"texts": "n"}, TypeError, "texts: expected a column of strings, found float64"),
        ({"metadata": ["vector"]}, ValueError, r"metadata\['vector'\]: the name is taken"),
    ],
)
def test_from_arrow_refuses_what_is_not_there(arguments: dict, kind: type, message: str) -> None:
    table = pa.table({"id": [1, 2], "vector": GOOD.tolist(), "n": [1.0, 2.0]})
    with pytest.raises(kind, match=message):
        EmbeddingStore.from_arrow(table, **arguments)


def test_nulls_of_a_table() -> None:
    columns = {"n": [1.0, None], "text": ["a", None], "flag": [True, None]}
    store = EmbeddingStore.from_arrow(pa.table({"vector": GOOD.tolist(), **columns}))
    assert store.texts == ["a", None]
    assert store.metadata["n"].tolist() == [1.0, None]
    assert store.metadata["flag"].tolist() == [True, None]
    table = pa.table({"vector": GOOD.tolist() * 2, "id": [0, 1, 2, None]})
    for given in (table, pa.concat_tables([table[:3], table[3:]])):
        with pytest.raises(TypeError, match=r"ids\[3\]: expected an int or a str, found null"):
            EmbeddingStore.from_arrow(given)


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


def test_rows_are_iterated_as_record_batches() -> None:
    pa = pytest.importorskip("pyarrow")
    store = EmbeddingStore()
    vectors = np.random.default_rng(0).standard_normal((10, 3), np.float32)
    store.add_embeddings(
        vectors, texts=["a", None] * 5, metadata=[{"n": row, "tags": ["x"] * row} for row in range(10)]
    )
    store.delete(4)
    batches = store.iter_batches(4)
    store.delete([0, 1])  # they are as they were
    found = list(batches)
    assert [batch.num_rows for batch in found] == [4, 4, 1]
    assert pa.Table.from_batches(found)["id"].to_pylist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    few = pa.Table.from_batches(list(store.iter_batches(2, filter={"n": {"$gt": 6}}, columns=["tags", "vector", "id"])))
    assert few.column_names == ["tags", "vector", "id"]
    assert few["id"].to_pylist() == [7, 8, 9]
    assert few["tags"].to_pylist() == [["x"] * 7, ["x"] * 8, ["x"] * 9]
    np.testing.assert_array_equal(np.stack(few["vector"].to_numpy(zero_copy_only=False)), vectors[7:])
    assert (
        list(EmbeddingStore().iter_batches()) == []
        or pa.Table.from_batches(EmbeddingStore().iter_batches()).num_rows == 0
    )
    for arguments, kind, message in [
        ({"batch_size": 0}, ValueError, "batch_size: expected 1 or more"),
        ({"columns": "id"}, TypeError, "columns: expected a list of names, found the str 'id'"),
        ({"columns": ["m"]}, ValueError, r"columns: no column 'm'; there are \['id', 'vector', 'text', 'n', 'tags'\]"),
        ({"filter": {"m": 1}}, Exception, "m"),
    ]:
        with pytest.raises(kind, match=message):
            store.iter_batches(**arguments)
