"""Documents of other libraries as rows of a store: what all vector stores over `EmbeddingStore` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive.hits import Hit, Hits
from votive.store import EmbeddingStore

# A row has these beside its metadata. Metadata of such a name is in a column that this is put before.
_TAKEN = ("id", "text", "vector")
_PREFIX = "metadata."


def opened(folder: str | PathLike[str] | None, store: EmbeddingStore | None) -> EmbeddingStore:
    """The store that the arguments of a vector store say: one in a folder, which is made, or one that is there.

    Raises:
        TypeError: both were given, or `store` is none.
        ValueError: rows of the store have no texts.
        StoreError: another writer has the folder open.
        FileNotFoundError: the folder holds something else.
    """
    if store is None:
        if folder is None:
            return EmbeddingStore()
        if not Path(folder).exists() or not any(Path(folder).iterdir()):
            EmbeddingStore().save_to_disk(folder)
        store = EmbeddingStore.open(folder, mode="a")
    elif folder is not None:
        raise TypeError("folder, store: expected one of them or none, found both; a store that is open has its folder")
    elif not isinstance(store, EmbeddingStore):
        raise TypeError(f"store: expected a votive.EmbeddingStore, found {type(store).__name__}")
    if len(store) and "text" not in column_types(store):
        raise ValueError("store: its rows have no texts; add them with texts=, or with EmbeddingStore.add_texts")
    return store


def column_types(store: EmbeddingStore) -> dict[str, str]:
    """The type of each column of texts and metadata, by name: "str", "int64", "json" and so on."""
    return {name: column.type.name for name, column in store._state.contents.columns.items()}


def column_name(key: str) -> str:
    """The column of metadata with a name."""
    return f"{_PREFIX}{key}" if key in _TAKEN else key


def as_columns(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a document's metadata is in a row."""
    return {column_name(key): value for key, value in metadata.items()}


def as_metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a row's values are in a document's metadata: none for null, and points in time as `datetime`."""
    return {
        name.removeprefix(_PREFIX) if name.removeprefix(_PREFIX) in _TAKEN else name: _as_python(value)
        for name, value in values.items()
        if value is not None
    }


def _as_python(value: Any) -> Any:
    # Of nanoseconds NumPy would give an int.
    return value.astype("datetime64[us]").item() if isinstance(value, np.datetime64) else value


def as_ids(store: EmbeddingStore, ids: Sequence[str]) -> list[Any]:
    """Ids as a store has them: of one with integers, those that are none are left out."""
    first = store.get(columns=["id"], limit=1)["id"].tolist()
    if first and isinstance(first[0], int):
        return [int(id) for id in ids if id.isdecimal()]
    return list(ids)


def rows_with(store: EmbeddingStore, ids: Sequence[Any]) -> list[tuple[Any, str | None, dict[str, Any]]]:
    """Id, text and values of the rows with some ids, in their order, null where there is none.

    Raises:
        KeyError: an id is not in the store.
    """
    if not ids:
        return []
    texts: list[str | None] = store.get_texts(list(ids))
    columns = {name: _as_list(values) for name, values in store.get_metadata(list(ids)).items()}
    return [
        (id, text, {name: values[place] for name, values in columns.items()})
        for place, (id, text) in enumerate(zip(ids, texts, strict=True))
    ]


def _as_list(values: NDArray[Any]) -> list[Any]:
    """Values as Python has them, None for null; points in time as NumPy's scalars."""
    if values.dtype.kind == "M":
        return [None if np.isnat(value) else value for value in values]
    found: list[Any] = values.tolist()
    return found


class EncodedTexts:
    """An embedder for texts that are embedded already, which gives their embeddings in the order of the texts.

    Attributes:
        info: which model they are of; a store compares it with the one that it knows.

    Args:
        embeddings: `[texts, dimension]`, or `[dimension]` of one text.
        embedder: whose they are.
    """

    def __init__(self, embeddings: NDArray[Any], embedder: Any) -> None:
        self.info = getattr(embedder, "info", None)
        self._left = embeddings

    def encode(self, texts: Any, **options: Any) -> NDArray[Any]:
        """The embeddings of the next texts, or of the one text."""
        if isinstance(texts, str):
            return self._left
        found, self._left = self._left[: len(texts)], self._left[len(texts) :]
        return found


def most_diverse(
    rows: EmbeddingStore, hits: Hits, query: NDArray[Any], k: int, relevance: float, argument: str
) -> list[Hit]:
    """Hits by maximal marginal relevance (Carbonell and Goldstein 1998), the first chosen first.

    Each time the hit is taken whose cosine with the query, times `relevance`, less its greatest cosine with a hit
    that was taken, times `1 - relevance`, is largest.

    Args:
        rows: the store that they are of.
        hits: to choose from.
        query: `[dimension]`.
        k: how many.
        relevance: from 0, for hits that differ most, to 1, for those that are nearest to the query.
        argument: what callers know `relevance` by.

    Raises:
        ValueError: `relevance` is not within 0 and 1, or the store has bits.
    """
    if not 0 <= relevance <= 1:
        raise ValueError(f"{argument}: expected a number from 0 to 1, found {relevance}")
    if rows.dtype == "ubinary":
        raise ValueError("store: maximal marginal relevance compares vectors by cosine, and this store has bits")
    if not hits:
        return []
    vectors, asked = _unit(rows.get(hits.ids)), _unit(query[None])[0]
    to_query = vectors @ asked
    to_chosen = np.full(len(vectors), -np.inf)
    scores = to_query
    chosen: list[int] = []
    while len(chosen) < min(k, len(hits)):
        best = int(scores.argmax())
        chosen.append(best)
        to_chosen = np.maximum(to_chosen, vectors @ vectors[best])
        scores = relevance * to_query - (1 - relevance) * to_chosen
        scores[chosen] = -np.inf
    return [hits[place] for place in chosen]


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit
