"""Searches of a store whose answers hold what the rows hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.contents import Contents
from votive._store.search import Found, SearchOptions, encoded_queries, find
from votive._store.state import StoreState
from votive._store.table.columns import TEXT
from votive.hits import Hit, Hits
from votive.stats import counting_errors


def query(
    state: StoreState,
    query: Any,
    embedder: Any,
    k: Any,
    filter: Any,
    exact: Any,
    min_score: Any,
    rescore_multiplier: Any,
    allow_other_model: Any,
) -> Hits | list[Hits]:
    """See `EmbeddingStore.query`."""
    with counting_errors(state.stats):
        options = SearchOptions.read(state.options.dtype, k, exact, min_score, rescore_multiplier)
        _check_query(query, embedder)
        contents = state.contents
        queries = query if embedder is None else encoded_queries(contents, query, embedder, allow_other_model)
        found = find(state, contents, queries, filter, options)
        return _hits(contents, found)


def _check_query(query: Any, embedder: Any) -> None:
    """Accepts texts with an embedder, and vectors without."""
    if hasattr(query, "encode") and not isinstance(query, str):
        raise TypeError(
            f"query: expected a text or a vector, found {type(query).__name__}; the model comes second: "
            "query(text, model)"
        )
    kind = _kind(query)
    if embedder is None and kind == "texts":
        raise TypeError(
            "embedder: expected a model, as query is a text, found None; query(text, model) embeds it, and a vector "
            "needs no model"
        )
    # A str has a method of that name, too.
    if embedder is not None and (isinstance(embedder, str) or not hasattr(embedder, "encode")):
        raise TypeError(f"embedder: expected a model with a method encode, found {type(embedder).__name__}")
    if embedder is not None and kind == "vectors":
        raise TypeError("query: expected a text or a column of texts beside an embedder, found numbers; leave it out")


def _kind(query: Any) -> str | None:
    """What a query surely is; None for what is only read later."""
    if isinstance(query, str):
        return "texts"
    dtype = getattr(query, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return "texts" if dtype.kind in "UT" else "vectors"
    if isinstance(query, list | tuple) and query:
        numbers = (int, float, np.number, np.ndarray, list, tuple)
        return "texts" if isinstance(query[0], str) else "vectors" if isinstance(query[0], numbers) else None
    return None


def _hits(contents: Contents, found: Found) -> Hits | list[Hits]:
    rows = found.rows.ravel()
    ids: list[Any] = contents.ids(rows).tolist()
    scores: list[float] = found.scores.ravel().tolist()
    texts = _values(contents, TEXT, rows) if TEXT in contents.columns else [None] * len(rows)
    names = contents.columns.metadata_names
    columns = [_values(contents, name, rows) for name in names]
    # Of no column `zip` gives no row.
    values: Iterable[tuple[Any, ...]] = zip(*columns, strict=True) if columns else [()] * len(rows)
    hits = np.empty(len(rows), object)
    hits[:] = [
        Hit(id, score, text, dict(zip(names, metadata, strict=True)))
        for id, score, text, metadata in zip(ids, scores, texts, values, strict=True)
    ]
    of_queries = found.of_queries(hits)
    return Hits(of_queries) if found.is_single else [Hits(part) for part in of_queries]


def _values(contents: Contents, name: str, rows: NDArray[np.int64]) -> list[Any]:
    """Values of a column as Python has them, None for null; points in time as NumPy's scalars, which lose no digit."""
    values = contents.columns[name].to_numpy(rows)
    if values.dtype.kind == "M":
        return [None if np.isnat(value) else value for value in values]
    found: list[Any] = values.tolist()
    return found
