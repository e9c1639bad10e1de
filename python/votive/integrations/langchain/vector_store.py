"""A vector store for LangChain."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document  # type: ignore[import-not-found, unused-ignore]
from langchain_core.embeddings import Embeddings  # type: ignore[import-not-found, unused-ignore]
from langchain_core.runnables import run_in_executor  # type: ignore[import-not-found, unused-ignore]
from langchain_core.vectorstores import VectorStore  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray

from votive.embedder import Embedder
from votive.hits import Hit, Hits
from votive.integrations._rows import EncodedTexts, as_columns, as_ids, as_metadata, most_diverse, opened, rows_with
from votive.integrations.langchain.embeddings import VotiveEmbeddings
from votive.store import EmbeddingStore

if TYPE_CHECKING:
    from typing_extensions import Self

    from votive._store.arguments import Filter


class VotiveVectorStore(VectorStore):  # type: ignore[misc, unused-ignore]
    """A `votive.EmbeddingStore` as LangChain's vector store: exact search, in memory or in a folder.

    Each value of a document's metadata is in a column of the store, so that filters are fast. A column has values of
    one type: another one is refused when it is added. A value of None is left out of what is found, and points in time
    come back as `datetime`. A name that rows have themselves ("id", "text", "vector") is the column "metadata.id", and
    so on; filters call it so.

    Filters are those of `EmbeddingStore.search`: `{"year": {"$gte": 2020}, "topic": {"$in": ["a", "b"]}}`, ids, a
    boolean array, or a function of the columns.

    Scores are the store's: the larger the nearer, whatever its metric.

    Args:
        embedding: what embeds texts: `VotiveEmbeddings`, a `votive.Embedder`, or any other `Embeddings`.
        folder: where the store is, which is made where there is none. Each call that adds or deletes writes to it. One
            process at a time can have it open so. None for a store in memory.
        store: instead of `folder`, a store of your own, of any metric and type, whose changes you commit.

    Attributes:
        store: the `votive.EmbeddingStore`.

    Raises:
        TypeError: `embedding` embeds nothing; or `folder` and `store` were both given.
        ValueError: rows of the store have no texts.
        StoreError: another writer has the folder open.
        FileNotFoundError: the folder holds something else.
    """

    def __init__(
        self,
        embedding: Embeddings | Embedder,
        *,
        folder: str | PathLike[str] | None = None,
        store: EmbeddingStore | None = None,
    ) -> None:
        if isinstance(embedding, Embedder):
            embedding = VotiveEmbeddings(model=embedding)
        if not isinstance(embedding, Embeddings):
            raise TypeError(
                "embedding: expected VotiveEmbeddings, a votive.Embedder or other Embeddings of LangChain, found "
                f"{type(embedding).__name__}"
            )
        self._embedding = embedding
        self.store = opened(folder, store)
        self._commits = folder is not None

    @property
    def embeddings(self) -> Embeddings:
        """What embeds texts."""
        return self._embedding

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Embedder,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        folder: str | PathLike[str] | None = None,
        store: EmbeddingStore | None = None,
    ) -> Self:
        """A vector store to which texts were added. The arguments are those of the class and of `add_texts`."""
        new = cls(embedding, folder=folder, store=store)
        new.add_texts(texts, metadatas, ids=ids)
        return new

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Embedder,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        folder: str | PathLike[str] | None = None,
        store: EmbeddingStore | None = None,
    ) -> Self:
        """`from_texts` for asyncio."""
        new = cls(embedding, folder=folder, store=store)
        await new.aadd_texts(texts, metadatas, ids=ids)
        return new

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Adds texts, all of them or, after an error, none. Those with an id that is there replace what it has.

        Args:
            texts: the texts.
            metadatas: a dict for each.
            ids: one for each; where it is None, a new one is made.
            batch_size: as for `Embedder.encode`; other `Embeddings` take none.

        Returns:
            The ids, in the order of the texts.

        Raises:
            ValueError: there are not as many metadatas or ids as texts.
            TypeError: a value has another type than others of its name.
            StoreError: the store has vectors of another model.
        """
        texts = list(texts)
        if not texts:
            return []
        if isinstance(self._embedding, VotiveEmbeddings):
            vectors = self._embedding._encoded_documents(texts, **_batches_of(batch_size))
        else:
            vectors = np.asarray(self._embedding.embed_documents(texts), np.float32)
        return self._add(texts, vectors, metadatas, ids)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """`add_texts` for asyncio."""
        texts = list(texts)
        if not texts:
            return []
        if isinstance(self._embedding, VotiveEmbeddings):
            vectors = await self._embedding._aencoded_documents(texts, **_batches_of(batch_size))
        else:
            vectors = np.asarray(await self._embedding.aembed_documents(texts), np.float32)
        return await run_in_executor(None, self._add, texts, vectors, metadatas, ids)

    def _add(
        self,
        texts: list[str],
        vectors: NDArray[Any],
        metadatas: list[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
    ) -> list[str]:
        if ids is not None and len(ids) != len(texts):
            raise ValueError(f"ids: expected one for each of the {len(texts)} texts, found {len(ids)}")
        if metadatas is not None and len(metadatas) != len(texts):
            raise ValueError(f"metadatas: expected one for each of the {len(texts)} texts, found {len(metadatas)}")
        keys = [id or str(uuid.uuid4()) for id in ids or [None] * len(texts)]
        metadata = None if metadatas is None else [as_columns(entry) for entry in metadatas]
        self.store.add_texts(texts, EncodedTexts(vectors, self._embedding), ids=keys, metadata=metadata)
        self._commit()
        return keys

    def delete(self, ids: list[str] | None = None, *, filter: Filter | None = None) -> bool:
        """Deletes documents: those with ids, of which some may be missing, or those that a filter keeps; or else all.

        Returns:
            True.

        Raises:
            TypeError: both `ids` and `filter` were given.
        """
        if ids is not None and filter is not None:
            raise TypeError("ids, filter: expected one of them, or none for all documents, found both")
        if ids is None and filter is None:
            self.store.clear()
        elif len(self.store):
            self.store.delete(filter=as_ids(self.store, ids or ()) if filter is None else filter)
        self._commit()
        return True

    def _commit(self) -> None:
        if self._commits:
            self.store.commit()

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with ids, in their order; those that are missing are left out."""
        # Rows of one state, whatever other threads do.
        rows = copy.copy(self.store)
        found = [id for id in as_ids(rows, ids) if id in rows]
        return [_document(*row) for row in rows_with(rows, found)]

    def similarity_search(self, query: str, k: int = 4, *, filter: Filter | None = None) -> list[Document]:
        """The `k` documents that are nearest to a query, the best first."""
        return _documents(self._hits(query, self._encoded(query), k, filter))

    async def asimilarity_search(self, query: str, k: int = 4, *, filter: Filter | None = None) -> list[Document]:
        """`similarity_search` for asyncio."""
        vector = await self._aencoded(query)
        return _documents(await run_in_executor(None, self._hits, query, vector, k, filter))

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """`similarity_search` with scores: cosines where the store was not made for another metric."""
        return _scored(self._hits(query, self._encoded(query), k, filter))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """`similarity_search_with_score` for asyncio."""
        vector = await self._aencoded(query)
        return _scored(await run_in_executor(None, self._hits, query, vector, k, filter))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None
    ) -> list[Document]:
        """The `k` documents that are nearest to a vector, the best first."""
        return _documents(self._hits(None, np.asarray(embedding, np.float32), k, filter))

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """`similarity_search_by_vector` with scores."""
        return _scored(self._hits(None, np.asarray(embedding, np.float32), k, filter))

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """What makes scores of a metric relevances from 0 to 1, for vectors of length 1 where it depends on that."""
        metric, bits = self.store.metric, self.store.dimension or 1
        if metric == "l2":
            return lambda score: _within_one(self._euclidean_relevance_score_fn(-score))
        if metric == "hamming":
            return lambda score: 1 + score / bits
        return _within_one

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, *, filter: Filter | None = None
    ) -> list[Document]:
        """Of the `fetch_k` documents that are nearest to a query, `k` that differ.

        Args:
            query: the query.
            k: how many.
            fetch_k: of how many they are chosen.
            lambda_mult: from 0, for those that differ most, to 1, for those that are nearest.
            filter: as for the class.

        Returns:
            The documents, in the order in which they are chosen.

        Raises:
            ValueError: `lambda_mult` is not within 0 and 1, or the store has bits, of which no cosine is known.
        """
        return self._diverse(query, self._encoded(query), k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, *, filter: Filter | None = None
    ) -> list[Document]:
        """`max_marginal_relevance_search` for asyncio."""
        vector = await self._aencoded(query)
        return await run_in_executor(None, self._diverse, query, vector, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
    ) -> list[Document]:
        """`max_marginal_relevance_search` for a vector."""
        return self._diverse(None, np.asarray(embedding, np.float32), k, fetch_k, lambda_mult, filter)

    def _diverse(
        self,
        query: str | None,
        vector: NDArray[Any],
        k: int,
        fetch_k: int,
        lambda_mult: float,
        filter: Filter | None,
    ) -> list[Document]:
        # Hits and their vectors of one state, whatever other threads do.
        rows = copy.copy(self.store)
        hits = self._hits(query, vector, max(k, fetch_k), filter, rows)
        return _documents(most_diverse(rows, hits, vector, k, lambda_mult, "lambda_mult"))

    def _encoded(self, query: str) -> NDArray[Any]:
        if isinstance(self._embedding, VotiveEmbeddings):
            return self._embedding._encoded_query(query)
        return np.asarray(self._embedding.embed_query(query), np.float32)

    async def _aencoded(self, query: str) -> NDArray[Any]:
        if isinstance(self._embedding, VotiveEmbeddings):
            return await self._embedding._aencoded_query(query)
        return np.asarray(await self._embedding.aembed_query(query), np.float32)

    def _hits(
        self,
        query: str | None,
        vector: NDArray[Any],
        k: int,
        filter: Filter | None,
        rows: EmbeddingStore | None = None,
    ) -> Hits:
        """The hits of a query, with a look at whose vectors the store has, or of a vector alone."""
        rows = self.store if rows is None else rows
        # A store without rows has no column that a filter could name.
        filter = filter if len(rows) else None
        if query is None:
            return rows.query(vector, k=k, filter=filter)
        return rows.query(query, EncodedTexts(vector, self._embedding), k, filter=filter)


def _document(id: Any, text: str | None, values: Mapping[str, Any]) -> Document:
    return Document(id=str(id), page_content=text or "", metadata=as_metadata(values))


def _documents(hits: Iterable[Hit]) -> list[Document]:
    return [_document(hit.id, hit.text, hit.metadata) for hit in hits]


def _scored(hits: Hits) -> list[tuple[Document, float]]:
    return [(_document(hit.id, hit.text, hit.metadata), hit.score) for hit in hits]


def _within_one(score: float) -> float:
    return min(max(score, 0.0), 1.0)


def _batches_of(size: int | None) -> dict[str, Any]:
    return {} if size is None else {"batch_size": size}
