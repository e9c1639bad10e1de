"""The stores that hold documents: how each is asked for the same, by what its own documentation shows.

Nothing of a store is imported before it is made.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benches.data.documents import COLUMNS, LOW_PRICE, TWO_COLUMNS, Batch

COLLECTION = "documents"
UPDATED = "year"  # the column whose values are changed

# Calls that are timed; a search with a filter has the filter's name behind it.
OPEN, OPEN_AND_SEARCH = "open", "open + first search"
GET, SEARCH, COUNT = "get text and columns by id", "search", "count a filter"
UPDATE, COMMIT = "update of one value", "its commit"
DELETE, DELETE_COMMIT = "delete by a filter of 1 %", "the delete's commit"
FILTERED, MASKED = "in turns with the mask", "mask given ready"


class DocumentStore(ABC):
    """A store in a folder of its own. Filters are named as in `data.documents`."""

    note = ""  # what a reader of the table must know

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def create(self) -> None:
        """An empty store, where there is none."""

    def create_on_disk(self) -> None:
        """An empty store whose rows are on disk after `add` and `commit`."""
        self.create()

    @abstractmethod
    def prepare(self, batch: Batch) -> Any:
        """The rows as the store takes them, which is not timed."""

    @abstractmethod
    def add(self, prepared: Any) -> None:
        """Take rows; ids are new."""

    def finish(self) -> None:
        """Save, or build indexes, once after the last row. Raises `NotImplementedError` where nothing is left to do."""
        raise NotImplementedError

    @abstractmethod
    def open(self, writable: bool = True) -> None:
        """The store in the folder."""

    @abstractmethod
    def get(self, id: str) -> Any:
        """Text and columns of a row."""

    @abstractmethod
    def update(self, id: str, year: int) -> None:
        """Change one value of one row."""

    def commit(self) -> None:
        """Have on disk what was changed. Raises `NotImplementedError` where it is there already."""
        raise NotImplementedError

    @abstractmethod
    def search(self, query: np.ndarray, k: int, filter: str | None = None) -> list[str]:
        """Ids of the nearest, the best first."""

    @abstractmethod
    def count(self, filter: str) -> int:
        """Rows that a filter keeps."""

    @abstractmethod
    def delete(self, filter: str) -> None:
        """Delete them."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the folder."""


class Votive(DocumentStore):
    """votive's EmbeddingStore, metadata as lists or as an Arrow table."""

    filters: ClassVar = {TWO_COLUMNS: {"year": {"$gt": 2020}, "topic": "a"}, LOW_PRICE: {"price": {"$lt": 10}}}

    def __init__(self, folder: Path, arrow: bool = False) -> None:
        super().__init__(folder)
        from votive import EmbeddingStore

        self.kind = EmbeddingStore
        self.pyarrow = None
        if arrow:
            import pyarrow

            self.pyarrow = pyarrow

    def create(self) -> None:
        self.store = self.kind(metric="dot")

    def create_on_disk(self) -> None:
        self.create()
        self.finish()
        self.open()

    def prepare(self, batch: Batch) -> Any:
        if self.pyarrow is None:
            return batch.vectors, batch.ids, batch.texts, batch.columns
        ids, texts = self.pyarrow.array(batch.ids), self.pyarrow.array(batch.texts)
        return batch.vectors, ids, texts, self.pyarrow.table(batch.columns)

    def add(self, prepared: Any) -> None:
        vectors, ids, texts, metadata = prepared
        self.store.add_embeddings(vectors, ids=ids, texts=texts, metadata=metadata)

    def finish(self) -> None:
        self.store.save_to_disk(self.folder)

    def open(self, writable: bool = True) -> None:
        self.store = self.kind.open(self.folder, "a" if writable else "r")

    def get(self, id: str) -> Any:
        return self.store.get([id], columns=["text", *COLUMNS])

    def update(self, id: str, year: int) -> None:
        self.store.update([id], metadata={UPDATED: [year]})

    def commit(self) -> None:
        self.store.commit()

    def search(self, query: np.ndarray, k: int, filter: str | np.ndarray | None = None) -> list[str]:
        asked = self.filters[filter] if isinstance(filter, str) else filter
        return self.store.search(query, k, filter=asked)[1].tolist()

    def count(self, filter: str) -> int:
        return self.store.count(self.filters[filter])

    def delete(self, filter: str) -> None:
        self.store.delete(filter=self.filters[filter])

    def close(self) -> None:
        self.store.close()


class LanceDb(DocumentStore):
    """A LanceDB table without an index of its vectors, so that its search is exact; ids and filters have indexes."""

    note = "no index of vectors, so exact; indexes of ids and filtered columns; never waits for the disk (no fsync)"
    filters: ClassVar = {TWO_COLUMNS: "year > 2020 AND topic = 'a'", LOW_PRICE: "price < 10"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ.setdefault("LANCE_LOG", "error")
        import lancedb
        import pyarrow

        self.lancedb, self.pyarrow = lancedb, pyarrow

    def create(self) -> None:
        self.table: Any = None  # the first rows say which columns there are

    def prepare(self, batch: Batch) -> Any:
        arrow = self.pyarrow
        elements = arrow.array(batch.vectors.reshape(-1))
        vectors = arrow.FixedSizeListArray.from_arrays(elements, batch.vectors.shape[1])
        types = {
            "topic": arrow.string(),
            "year": arrow.int64(),
            "price": arrow.float64(),
            "flag": arrow.bool_(),
            "published": arrow.timestamp("us"),
            "tags": arrow.list_(arrow.string()),
        }
        columns = {name: arrow.array(batch.columns[name], type) for name, type in types.items()}
        return arrow.table({"id": batch.ids, "vector": vectors, "text": batch.texts, **columns})

    def add(self, prepared: Any) -> None:
        if self.table is None:
            self.table = self.lancedb.connect(self.folder).create_table(COLLECTION, prepared)
        else:
            self.table.add(prepared)

    def finish(self) -> None:
        for column, kind in (("id", "BTREE"), ("year", "BTREE"), ("price", "BTREE"), ("topic", "BITMAP")):
            self.table.create_scalar_index(column, index_type=kind)

    def open(self, writable: bool = True) -> None:
        self.table = self.lancedb.connect(self.folder).open_table(COLLECTION)

    def get(self, id: str) -> Any:
        return self.table.search().where(f"id = '{id}'").select(["text", *COLUMNS]).limit(1).to_list()[0]

    def update(self, id: str, year: int) -> None:
        self.table.update(where=f"id = '{id}'", values={UPDATED: year})

    def search(self, query: np.ndarray, k: int, filter: str | None = None) -> list[str]:
        asked = self.table.search(query).distance_type("dot").select(["id", "_distance"]).limit(k)
        if filter is not None:
            asked = asked.where(self.filters[filter], prefilter=True)
        return asked.to_arrow()["id"].to_pylist()

    def count(self, filter: str) -> int:
        return self.table.count_rows(self.filters[filter])

    def delete(self, filter: str) -> None:
        self.table.delete(self.filters[filter])

    def close(self) -> None:
        self.table = None


class Chroma(DocumentStore):
    """A Chroma collection in a persistent client, with its defaults but the inner product."""

    note = "HNSW, which is not exact; nulls are left out, datetimes are integers; a count is the length of a `get`"
    filters: ClassVar[dict[str, Any]] = {
        TWO_COLUMNS: {"$and": [{"year": {"$gt": 2020}}, {"topic": "a"}]},
        LOW_PRICE: {"price": {"$lt": 10}},
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import chromadb

        self.client = chromadb.PersistentClient(folder, settings=chromadb.Settings(anonymized_telemetry=False))
        self.most = self.client.get_max_batch_size()

    def create(self) -> None:
        settings = {"hnsw": {"space": "ip"}}
        self.rows = self.client.create_collection(COLLECTION, configuration=settings, embedding_function=None)

    def prepare(self, batch: Batch) -> Any:
        metadata = [{name: _seconds(value) for name, value in row.items() if value is not None} for row in _rows(batch)]
        parts = [slice(start, start + self.most) for start in range(0, len(batch.ids), self.most)]
        return [
            {"ids": batch.ids[part], "embeddings": batch.vectors[part], "documents": batch.texts[part]}
            | {"metadatas": metadata[part]}
            for part in parts
        ]

    def add(self, prepared: Any) -> None:
        for part in prepared:
            self.rows.add(**part)

    def open(self, writable: bool = True) -> None:
        self.rows = self.client.get_collection(COLLECTION, embedding_function=None)

    def get(self, id: str) -> Any:
        return self.rows.get([id], include=["documents", "metadatas"])

    def update(self, id: str, year: int) -> None:
        self.rows.update([id], metadatas=[{UPDATED: year}])

    def search(self, query: np.ndarray, k: int, filter: str | None = None) -> list[str]:
        where = filter and self.filters[filter]
        return self.rows.query(query_embeddings=[query], n_results=k, where=where, include=["distances"])["ids"][0]

    def count(self, filter: str) -> int:
        return len(self.rows.get(where=self.filters[filter], include=[])["ids"])

    def delete(self, filter: str) -> None:
        self.rows.delete(where=self.filters[filter])

    def close(self) -> None:
        self.client.close()


class Qdrant(DocumentStore):
    """Qdrant's client without a server, in a folder: "local mode", whose search is NumPy's."""

    note = "the client's local mode without a server, exact, a transaction for every point; datetimes are strings"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import warnings

        from qdrant_client import QdrantClient, models

        warnings.filterwarnings("ignore", message="Local mode is not recommended")
        self.kind, self.models = QdrantClient, models
        year = models.FieldCondition(key="year", range=models.Range(gt=2020))
        topic = models.FieldCondition(key="topic", match=models.MatchValue(value="a"))
        price = models.FieldCondition(key="price", range=models.Range(lt=10))
        self.filters = {TWO_COLUMNS: models.Filter(must=[year, topic]), LOW_PRICE: models.Filter(must=[price])}

    def create(self) -> None:
        self.client = self.kind(path=str(self.folder))

    def prepare(self, batch: Batch) -> Any:
        payload = [
            {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
            for row in _rows(batch)
        ]
        for text, each in zip(batch.texts, payload, strict=True):
            each["text"] = text
        return batch.vectors, payload, batch.ids

    def add(self, prepared: Any) -> None:
        vectors, payload, ids = prepared
        if not self.client.collection_exists(COLLECTION):
            size = self.models.VectorParams(size=vectors.shape[1], distance=self.models.Distance.DOT)
            self.client.create_collection(COLLECTION, vectors_config=size)
        self.client.upload_collection(COLLECTION, vectors=vectors, payload=payload, ids=ids)

    def open(self, writable: bool = True) -> None:
        self.create()

    def get(self, id: str) -> Any:
        return self.client.retrieve(COLLECTION, [id])[0].payload

    def update(self, id: str, year: int) -> None:
        self.client.set_payload(COLLECTION, {UPDATED: year}, points=[id])

    def search(self, query: np.ndarray, k: int, filter: str | None = None) -> list[str]:
        kept = filter and self.filters[filter]
        found = self.client.query_points(COLLECTION, query, query_filter=kept, limit=k, with_payload=False)
        return [point.id for point in found.points]

    def count(self, filter: str) -> int:
        return self.client.count(COLLECTION, count_filter=self.filters[filter]).count

    def delete(self, filter: str) -> None:
        self.client.delete(COLLECTION, self.models.FilterSelector(filter=self.filters[filter]))

    def close(self) -> None:
        self.client.close()


PEERS: dict[str, Callable[[Path], DocumentStore]] = {
    "votive": Votive,
    "votive-arrow": partial(Votive, arrow=True),
    "lancedb": LanceDb,
    "chroma": Chroma,
    "qdrant": Qdrant,
}


def _rows(batch: Batch) -> list[dict[str, Any]]:
    """A dict of columns for each row."""
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*map(batch.columns.get, COLUMNS), strict=True)]


def _seconds(value: Any) -> Any:
    return int(value.replace(tzinfo=timezone.utc).timestamp()) if isinstance(value, datetime) else value
