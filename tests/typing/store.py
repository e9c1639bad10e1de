"""A program that uses all of a store: what type checkers take its results for."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import assert_type
from votive import Embedder, EmbedderInfo, EmbeddingStore, Hit, Hits, get_backend
from votive.report import SearchReport
from votive.stats import Stats
from votive.store import Metric, MetricName, OpenMode, StoreDtype

Floats = NDArray[np.float32]


class Corpus(EmbeddingStore):
    """A user's own kind of store."""


class Hashes:
    """An embedder of a user's own."""

    def encode(self, sentences: str | list[str], show_progress_bar: bool = False) -> Floats:
        """Vectors that mean nothing."""
        texts = [sentences] if isinstance(sentences, str) else sentences
        return np.array([[hash(text) % 97, len(text)] for text in texts], np.float32)


def make(folder: Path) -> None:
    """Constructors, and what they take."""
    metric: MetricName = "euclidean"
    dtype: StoreDtype = "float16"
    store = EmbeddingStore(get_backend("cpu"), None, 1.5, metric, 3, dtype, 2, folder, False)
    assert_type(store, EmbeddingStore)
    assert_type(store.metric, Metric)
    assert_type(store.dtype, StoreDtype)
    assert_type(store.dimension, int | None)
    assert_type(store.num_threads, int)
    assert_type(Corpus.from_numpy(np.ones((2, 3)), ids=["a", "b"], metric="dot", mmap=False), Corpus)
    assert_type(Corpus.from_numpy(folder / "vectors.npy", dtype="int8"), Corpus)
    assert_type(Corpus.from_arrow(store.to_arrow(), metadata=["year"], num_threads=1), Corpus)
    assert_type(copy.copy(store), EmbeddingStore)


def blocks() -> Iterator[Floats]:
    """Vectors that come piece by piece."""
    yield np.ones((2, 3), np.float32)


def fill(store: EmbeddingStore, model: Embedder) -> None:
    """All that changes a store."""
    assert_type(store.add_embeddings(np.ones((2, 3)), ids=[1, 2], metadata={"year": [1999, 2000]}), NDArray[Any])
    mixed = {"year": [1999, None], "tags": [["a"], []], "code": np.array([1, 2]), "name": ("a", None)}
    store.add_embeddings(np.ones((2, 3)), ids=[uuid4(), uuid4()], texts=["a", None], metadata=mixed)
    store.add_embeddings(np.ones((2, 3)), metadata=[{"year": 1999, "tags": ["a"]}, None])
    store.add_embeddings([1.0, 2.0, 3.0], ids="one", texts="text", dimension=3)
    store.add_embeddings(blocks(), np.arange(2), ("a", "b"))
    assert_type(store.add_texts(["a", "b"], model, ids=[3, 4], batch_size=8, show_progress_bar=False), NDArray[Any])
    store.add_texts("c", Hashes())
    assert_type(store.delete(3), int)
    store.delete(["a", "b"])
    store.delete(store.ids[:2])
    store.compact()
    store.clear()


def of_late(rows: Mapping[str, NDArray[Any]]) -> ArrayLike:
    """A filter."""
    late: NDArray[np.bool_] = rows["year"] > 2000
    return late


def ask(store: EmbeddingStore, model: Embedder) -> None:
    """Searches."""
    scores, ids = store.search(np.ones((4, 3)), 10)
    assert_type(scores, NDArray[np.float32])
    assert_type(ids, NDArray[Any])
    store.search([1.0, 2.0], k=3, filter=of_late, exact=False)
    store.search(blocks(), filter=lambda rows: rows["id"] > 3)
    store.search(np.ones(3), filter=[True, False])
    store.search(np.ones(3), filter=np.array([True, False]))
    store.search(np.ones(3), filter=["a", "b"])
    assert_type(store.search_text("question", model, 5), tuple[NDArray[np.float32], NDArray[Any]])
    store.search_text(["a", "b"], Hashes(), filter={1, 2})
    assert_type(store.search([1.0, 2.0], None, min_score=0.5), tuple[NDArray[np.float32], NDArray[Any]])
    assert_type(store.search([[1.0, 2.0]], min_score=1), tuple[list[NDArray[np.float32]], list[NDArray[Any]]])
    assert_type(store.search(blocks(), min_score=0.5), tuple[list[NDArray[np.float32]], list[NDArray[Any]]])
    either = store.search(np.ones(3), k=None, exact=False, min_score=0.5)
    assert_type(either[0], NDArray[np.float32] | list[NDArray[np.float32]])
    assert_type(store.search_text("question", model, None, min_score=0.5), tuple[NDArray[np.float32], NDArray[Any]])
    assert_type(
        store.search_text(["a", "b"], model, min_score=0.5), tuple[list[NDArray[np.float32]], list[NDArray[Any]]]
    )
    assert_type(store.search(np.ones((4, 3)), top_k=10), tuple[NDArray[np.float32], NDArray[Any]])
    assert_type(store.search([1.0, 2.0], top_k=3, min_score=0.5), tuple[NDArray[np.float32], NDArray[Any]])
    store.search_text("question", model, top_k=3, allow_other_model=True)
    assert_type(store.last_search, SearchReport | None)
    assert_type(store.stats(), Stats)
    store.reset_stats()


def find(store: EmbeddingStore, model: Embedder) -> None:
    """Hits."""
    hits = store.query("question", model, 5)
    assert_type(hits, Hits)
    assert_type(store.query("question", Hashes(), top_k=3, filter={"year": 2020}, min_score=0.5), Hits)
    assert_type(store.query(["a", "b"], model, k=None, min_score=0.5, allow_other_model=True), list[Hits])
    assert_type(store.query([1.0, 2.0]), Hits)
    assert_type(store.query([[1.0, 2.0]], k=3, exact=False), list[Hits])
    store.query(np.ones(3), rescore_multiplier=4).to_pandas()
    assert_type(hits[0], Hit)
    assert_type(hits[:3], Hits)
    assert_type(hits[0].id, int | str)
    assert_type(hits[0].score, float)
    assert_type(hits[0].text, str | None)
    assert_type(hits[0].metadata, dict[str, Any])
    assert_type(hits.ids, NDArray[Any])
    assert_type(hits.scores, NDArray[np.float32])
    assert_type(hits.texts, list[str | None])
    assert_type([hit.score for hit in hits], list[float])
    assert_type(store.embedder_info, EmbedderInfo | None)
    assert_type(model.info, EmbedderInfo)
    assert_type(model.info.revision, str | None)


def read(store: EmbeddingStore) -> None:
    """What a store shows of its rows: of one id one value, of several a column."""
    assert_type(store.get(3), NDArray[Any])
    assert_type(store.get([3, 4]), NDArray[Any])
    assert_type(store.get([3], columns=["id", "text"]), dict[str, Any])
    assert_type(store.get(filter={"year": {"$gt": 2020}}, limit=3, offset=2), NDArray[Any])
    assert_type(store.count({"year": 2020}), int)
    assert_type(store.get_texts("a"), str | None)
    assert_type(store.get_texts(np.int64(3)), str | None)
    assert_type(store.get_texts(["a", "b"]), list[str | None])
    assert_type(store.get_texts(store.ids), list[Any])
    assert_type(store.get_texts([[1, 2], [3]]), list[list[str | None]])
    assert_type(store.get_texts([store.ids]), list[list[str | None]])
    assert_type(store.get_metadata(3), dict[str, Any])
    assert_type(store.get_metadata([3]), dict[str, NDArray[Any]])
    assert_type(store.contains(3), bool)
    assert_type(store.contains([3, 4]), NDArray[np.bool_])
    assert_type(3 in store, bool)
    assert_type(len(store), int)
    assert_type(list(store), list[int | str])
    assert_type(store.ids, NDArray[Any])
    assert_type(store.texts, list[str | None] | None)
    assert_type(store.metadata, dict[str, NDArray[Any]])
    assert_type(store.vectors, NDArray[Any] | list[NDArray[Any]])
    assert_type(store.memory_usage(), dict[str, int])


def keep(store: EmbeddingStore, folder: Path, mode: OpenMode) -> None:
    """Folders."""
    store.save_to_disk(folder)
    assert_type(EmbeddingStore.load_from_disk(folder), EmbeddingStore)
    assert_type(Corpus.load_from_disk(str(folder), mmap=False), Corpus)
    store.load_from_disk(folder, False)
    assert_type(Corpus.open(folder, mode), Corpus)
    with Corpus.open(folder, "a", mmap=True, max_memory_gb=None, spill_to=str(folder)) as opened:
        assert_type(opened, Corpus)
        opened.commit()
        opened.verify()
        opened.close()
