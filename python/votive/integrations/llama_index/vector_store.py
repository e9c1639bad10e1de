"""A vector store for LlamaIndex."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr  # type: ignore[import-not-found, unused-ignore]
from llama_index.core.schema import BaseNode, MetadataMode, TextNode  # type: ignore[import-not-found, unused-ignore]
from llama_index.core.vector_stores.types import (  # type: ignore[import-not-found, unused-ignore]
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import (  # type: ignore[import-not-found, unused-ignore]
    metadata_dict_to_node,
    node_to_metadata_dict,
)

from votive.integrations._rows import as_columns, as_ids, as_metadata, column_types, most_diverse, opened, rows_with
from votive.integrations.llama_index.filters import expression
from votive.store import EmbeddingStore

# Of how many times as many nodes those that differ are chosen.
_MMR_PREFETCH_FACTOR = 4.0


class VotiveVectorStore(BasePydanticVectorStore):  # type: ignore[misc, unused-ignore]
    """A `votive.EmbeddingStore` as LlamaIndex's vector store: exact search, in memory or in a folder.

    It keeps the nodes themselves, so that `VectorStoreIndex.from_vector_store` needs nothing else. Each value of a
    node's metadata is in a column of the store, so that filters are fast. A column has values of one type: another one
    is refused when it is added. The names "id", "text" and "vector" of metadata are the columns "metadata.id" and so
    on; LlamaIndex's filters name them as metadata does.

    Args:
        folder: where the store is, which is made where there is none. Each call that adds or deletes writes to it. One
            process at a time can have it open so. None for a store in memory.
        store: instead of `folder`, a store of your own, of any metric and type, whose changes you commit, or `persist`.

    Raises:
        TypeError: `folder` and `store` were both given.
        ValueError: rows of the store have no texts.
        StoreError: another writer has the folder open.
        FileNotFoundError: the folder holds something else.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    _store: EmbeddingStore = PrivateAttr()
    _commits: bool = PrivateAttr()

    def __init__(self, folder: str | PathLike[str] | None = None, *, store: EmbeddingStore | None = None) -> None:
        super().__init__(stores_text=True)
        self._store = opened(folder, store)
        self._commits = folder is not None

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex writes down of it."""
        return "VotiveVectorStore"

    @property
    def client(self) -> EmbeddingStore:
        """The `votive.EmbeddingStore`."""
        return self._store

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Adds nodes with embeddings, all of them or, after an error, none. Those that are there are replaced.

        Returns:
            Their ids.

        Raises:
            ValueError: a node has no embedding.
            TypeError: a value has another type than others of its name; or there are further arguments.
        """
        _refuse_others(add_kwargs)
        if not nodes:
            return []
        ids = [node.node_id for node in nodes]
        self._store.add_embeddings(
            np.array([node.get_embedding() for node in nodes], np.float32),
            ids=ids,
            texts=[node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
            metadata=[as_columns(node_to_metadata_dict(node, remove_text=True)) for node in nodes],
        )
        self._commit()
        return ids

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document, of which there may be none."""
        _refuse_others(delete_kwargs)
        if len(self._store):
            self._store.delete(filter={"ref_doc_id": ref_doc_id})
        self._commit()

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Deletes nodes with ids, of which some may be missing, that filters keep. One of both must be given.

        Raises:
            ValueError: neither says which; `clear` deletes all nodes.
        """
        _refuse_others(delete_kwargs)
        kept = self._filter(node_ids, filters)
        if kept is None:
            raise ValueError("node_ids, filters: expected one of them, found none; clear() deletes all nodes")
        if len(self._store):
            self._store.delete(filter=kept)
        self._commit()

    def clear(self) -> None:
        """Deletes all nodes."""
        self._store.clear()
        self._commit()

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """The nodes with ids, of which some may be missing, that filters keep; all for None. Without embeddings."""
        # Rows of one state, whatever other threads do.
        rows = copy.copy(self._store)
        if not len(rows):
            return []
        found = rows.get(filter=self._filter(node_ids, filters), columns=["id"])["id"].tolist()
        return [_node(*row) for row in rows_with(rows, found)]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that are nearest to a query, the best first, with their scores: the larger the nearer.

        Args:
            query: of the mode "default", or "mmr" for maximal marginal relevance.
            kwargs: of mode "mmr": `mmr_threshold`, from 0 for nodes that differ most to 1 for those that are nearest,
                0.5 if neither this nor the query says; and of how many nodes they are chosen: `mmr_prefetch_k`, or
                `mmr_prefetch_factor` times as many as are asked for, which is 4.

        Raises:
            ValueError: another mode, or an operator of a filter that a store has not; or the query has no embedding.
            KeyError: a filter names metadata that no node has.
        """
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise ValueError(f"mode: expected 'default' or 'mmr', found {query.mode.value!r}")
        if query.query_embedding is None:
            raise ValueError("query_embedding: expected an embedding, found None")
        k, relevance = query.similarity_top_k, None
        if query.mode == VectorStoreQueryMode.MMR:
            given = kwargs.pop("mmr_threshold", query.mmr_threshold)
            relevance = 0.5 if given is None else given
            factor = kwargs.pop("mmr_prefetch_factor", _MMR_PREFETCH_FACTOR)
            k = max(k, kwargs.pop("mmr_prefetch_k", None) or int(k * factor))
        _refuse_others(kwargs)
        # Hits and their vectors of one state, whatever other threads do.
        rows = self._store if relevance is None else copy.copy(self._store)
        vector = np.array(query.query_embedding, np.float32)
        # LlamaIndex gives no ids as an empty list where it does not know them.
        kept = self._filter(query.node_ids or None, query.filters, query.doc_ids or None) if len(rows) else None
        hits: Any = rows.query(vector, k=k, filter=kept)
        if relevance is not None:
            hits = most_diverse(rows, hits, vector, query.similarity_top_k, relevance, "mmr_threshold")
        return VectorStoreQueryResult(
            nodes=[_node(hit.id, hit.text, hit.metadata) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[str(hit.id) for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """`add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """`delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """`delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """`clear` in a thread."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """`get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """`query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Commits the store to its own folder, wherever LlamaIndex would write it.

        Raises:
            StoreError: the store is in memory, or open for reading alone.
        """
        self._store.commit()

    def _commit(self) -> None:
        if self._commits:
            self._store.commit()

    def _filter(
        self, node_ids: list[str] | None, filters: MetadataFilters | None, doc_ids: list[str] | None = None
    ) -> Mapping[str, Any] | None:
        """The filter of a store that keeps nodes of documents with ids that filters keep; None for all."""
        parts: list[Mapping[str, Any]] = []
        if node_ids is not None:
            parts.append({"id": {"$in": as_ids(self._store, node_ids)}})
        if doc_ids is not None:
            parts.append({"ref_doc_id": {"$in": doc_ids}})
        if (found := expression(filters, column_types(self._store))) is not None:
            parts.append(found)
        return {"$and": parts} if parts else None


def _node(id: Any, text: str | None, values: Mapping[str, Any]) -> BaseNode:
    """The node that a row was made of; of a row that was not added here, a new one."""
    if values.get("_node_content") is None:
        return TextNode(id_=str(id), text=text or "", metadata=as_metadata(values))
    return metadata_dict_to_node(dict(values), text=text)


def _refuse_others(options: Mapping[str, Any]) -> None:
    if options:
        raise TypeError(f"expected no further arguments, found {', '.join(options)}")
