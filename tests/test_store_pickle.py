"""Stores that are pickled and copied."""

import copy
import pickle

import numpy as np
import pytest
from stores import ROWS, snapshot
from votive import EmbeddingStore, StoreError


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", ["int64", "str"])
def test_pickle(dtype: str, kind: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    store = EmbeddingStore(dtype=dtype, metric="dot", num_threads=1)
    ids = np.arange(ROWS) if kind == "int64" else [f"é{row}" for row in range(ROWS)]
    store.add_embeddings(vectors, ids, texts=[f"ü{row}" for row in range(ROWS)], metadata={"x": np.arange(ROWS) / 7})
    store.delete(ids[5:50])
    store.add_embeddings(vectors[:3], ids[:3], texts=["new"] * 3, metadata={"x": np.zeros(3)})
    for again in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store)):
        assert snapshot(again) | {"repr": ""} == snapshot(store) | {"repr": ""} | {
            "vectors": snapshot(again)["vectors"]
        }
        for found, expected in zip(again.search(queries, 20), store.search(queries, 20), strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(again.get(ids[60:70]), store.get(ids[60:70]))
        assert (again.metric, again.dtype, again.num_threads) == ("dot", dtype, 1)
        again.delete(ids[60:70])
        again.add_embeddings(vectors[:2], ids[:2], texts=["x", "y"], metadata={"x": [1.0, 2.0]})
        assert len(again) == len(store) - 10


def test_pickle_of_an_empty_store() -> None:
    again = pickle.loads(pickle.dumps(EmbeddingStore(metric="l2", max_memory_gb=3)))
    assert repr(again) == repr(EmbeddingStore(metric="l2"))
    assert pickle.loads(pickle.dumps(EmbeddingStore(dimension=7))).dimension == 7


def test_pickle_of_much_is_refused(monkeypatch: pytest.MonkeyPatch, store: EmbeddingStore) -> None:
    monkeypatch.setattr("votive._store.exchange.MOST_PICKLED", 10_000)
    with pytest.raises(StoreError, match=r"more than 0 MB; use save_to_disk\(folder\)"):
        pickle.dumps(store)
