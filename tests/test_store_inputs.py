"""Arguments that do not fit together, and streams that fail."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from stores import few_rows, snapshot
from votive import EmbeddingStore, StoreError

DIMENSION = 6
GOOD = np.ones((2, DIMENSION))


@pytest.fixture
def store() -> EmbeddingStore:
    return few_rows(DIMENSION)


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


@pytest.mark.parametrize("exact", [0, 1, None, "no", np.array([True])])
def test_bad_exact(store: EmbeddingStore, exact: Any) -> None:
    class Encoder:
        def encode(self, texts: Any) -> np.ndarray:
            return np.ones(DIMENSION)

    for each in (store, EmbeddingStore()):
        with pytest.raises(TypeError, match="exact: expected a bool, found"):
            each.search(np.ones(DIMENSION), exact=exact)
        with pytest.raises(TypeError, match="exact: expected a bool, found"):
            each.search_text("text", Encoder(), exact=exact)
    assert len(store.search(np.ones(DIMENSION), exact=np.bool_(False))[1]) == 4


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


def test_ids_texts_and_metadata_are_read_before_others_have_to_wait(store: EmbeddingStore) -> None:
    def waiting(values: list[Any], id: int) -> Iterator[Any]:
        """For another thread that changes the store."""
        other = threading.Thread(target=store.delete, args=(id,))
        other.start()
        other.join(60)
        assert not other.is_alive()
        yield from values

    store.add_embeddings(GOOD, waiting([20, 21], 3), waiting(["y", "z"], 5), {"year": [5, 6]})
    assert store.ids.tolist() == [7, 9, 20, 21]
    assert store.texts == ["c", "d", "y", "z"]


def test_stream_may_be_the_stores_own_rows(store: EmbeddingStore) -> None:
    store.add_embeddings(store.vectors, [13, 15, 17, 19], store.texts, store.metadata)
    np.testing.assert_array_equal(store.get([13, 15, 17, 19]), store.get([3, 5, 7, 9]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_queries_of_no_numbers_are_refused_whatever_the_store_holds(bad: float) -> None:
    one = EmbeddingStore()
    one.add_embeddings(np.ones((1, 2)))
    for store in (one, EmbeddingStore(dimension=2), EmbeddingStore()):
        with pytest.raises(ValueError, match="queries: row 1 has NaN or infinity"):
            store.search([[1, 2], [3, bad]])
        assert store.search([[1, 2]])[0].shape == (1, len(store))
        assert store.search([1, 2], filter=lambda rows: rows["id"] > 5)[0].shape == (0,)
