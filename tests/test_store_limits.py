"""The limit of memory that a store keeps, and the files that what exceeds it goes to."""

import contextlib

import numpy as np
import pytest
from stores import DIMENSION, ROWS, snapshot
from votive import EmbeddingStore, StoreError


def test_limit_of_memory_is_kept(vectors: np.ndarray) -> None:
    store = EmbeddingStore(max_memory_gb=0.0003)
    store.add_embeddings(vectors)
    before, used = snapshot(store), store.memory_usage()["total"]
    pattern = r"1000 rows of dimension 40 need \S+ GB beside the \S+ GB in use, more than the limit of 0\.0003 GB"
    many = np.ones((1000, DIMENSION), np.float32)
    for given in (many, many.astype(np.float64), np.broadcast_to(np.float32(1), many.shape)):
        with pytest.raises(StoreError, match=pattern):
            store.add_embeddings(given)
    with pytest.raises(StoreError, match="max_memory_gb"):
        store.add_embeddings(iter([many[:200]] * 200))
    assert snapshot(store) == before
    assert store.memory_usage()["total"] == used
    unlimited = EmbeddingStore(max_memory_gb=None)
    unlimited.add_embeddings(many)
    assert len(unlimited) == 1000


def test_limit_counts_texts_and_metadata() -> None:
    store = EmbeddingStore(max_memory_gb=0.002)
    with pytest.raises(StoreError, match="max_memory_gb"):
        store.add_embeddings(np.ones((100, 2)), texts=["x" * 30_000] * 100)
    with pytest.raises(StoreError, match="max_memory_gb"):
        store.add_embeddings(np.ones((100, 2)), metadata={"long": np.full(100, "x" * 30_000)})
    assert len(store) == 0


def test_limit_holds_for_compact_and_says_what_it_would_free(vectors: np.ndarray) -> None:
    store = EmbeddingStore(max_memory_gb=0.00014)
    store.add_embeddings(vectors)
    store.delete(range(10))
    with pytest.raises(StoreError, match=r"10 rows are deleted, and compact\(\) gives their memory back"):
        store.add_embeddings(vectors)
    with pytest.raises(StoreError, match="290 rows"):
        store.compact()
    store.delete(range(10, 200))
    store.compact()
    assert len(store) == 100


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_what_exceeds_the_limit_goes_to_files(
    dtype: str, tmp_path, monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray, queries: np.ndarray
) -> None:
    monkeypatch.setattr("votive._store.spill.SPILL_BYTES", 100 * DIMENSION * 4)
    spilling = EmbeddingStore(max_memory_gb=0.00001, spill_to=tmp_path, dtype=dtype)
    plain = EmbeddingStore(dtype=dtype)
    for store in (spilling, plain):
        assert store.add_embeddings(vectors, texts=[f"{row}" for row in range(ROWS)]).tolist() == list(range(ROWS))
        blocks = iter([vectors[:130], vectors[:7], vectors[:30]])
        store.add_embeddings(blocks, ids=[*range(5, 172)], texts=[f"new {row}" for row in range(167)])
        # Within what is written at once, and over several of them.
        store.add_embeddings(vectors[:250], ids=[7] * 120 + [*range(400, 530)], texts=["seven"] * 250)
        store.delete(range(20, 40))
        store.add_embeddings(vectors[:2], texts=["a", "b"])
    for _ in range(2):
        assert spilling.memory_usage()["mapped"] > spilling.memory_usage()["total"]
        assert snapshot(spilling) | {"repr": ""} == snapshot(plain) | {"repr": ""}
        for found, expected in zip(spilling.search(queries, 50), plain.search(queries, 50), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert list(tmp_path.iterdir()) == []
        spilling.compact()
        assert isinstance(spilling.vectors, np.ndarray)
    for store in (spilling, plain):
        store.delete(store.ids)
        store.compact()
        assert store.add_embeddings(vectors).tolist() == list(range(532, 532 + ROWS))


def test_failed_spill_changes_nothing(tmp_path, vectors: np.ndarray) -> None:
    store = EmbeddingStore(max_memory_gb=0.00001, spill_to=tmp_path)
    store.add_embeddings(vectors)
    before = snapshot(store)
    with pytest.raises(ValueError, match="row 301"):
        store.add_embeddings(iter([vectors, [[1.0] * DIMENSION, [np.nan] * DIMENSION]]))
    assert snapshot(store) == before
    with pytest.raises(NotADirectoryError, match="spill_to"):
        EmbeddingStore(spill_to=tmp_path / "missing")


@pytest.mark.parametrize("length", [1, 20, 90, 300])
def test_ids_are_counted_before_they_are_built(length: int) -> None:
    for ids in ([f"{row:05}" + "x" * length for row in range(20_000)], np.random.default_rng(0).permutation(20_000)):
        store = EmbeddingStore(max_memory_gb=0.001)
        with contextlib.suppress(StoreError):
            for start in range(0, len(ids), 500):
                store.add_embeddings(np.ones((500, 2)), ids=ids[start : start + 500])
        assert len(store) < len(ids)
        assert 0 < store.memory_usage()["total"] <= 10**6
        with pytest.raises(StoreError, match="max_memory_gb"):
            EmbeddingStore(max_memory_gb=0.001).add_embeddings(np.ones((len(ids), 2)), ids=ids)
