"""What a store shows of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from votive._arguments import check_count
from votive._display import html_table
from votive._store.contents import Contents
from votive._store.filter import filters as _filters
from votive._store.input import ids as _ids
from votive._store.options import DTYPES
from votive._store.state import StoreState
from votive._store.table.column_values import Rows
from votive._store.table.columns import TEXT


def get(
    state: StoreState, ids: Any, filter: Any, columns: Any, limit: int | None, offset: int
) -> NDArray[Any] | dict[str, Any]:
    """See `EmbeddingStore.get`."""
    contents = state.contents
    check_count("limit", limit, minimum=0)
    check_count("offset", offset, minimum=0)
    if ids is not None and filter is not None:
        raise TypeError("get: expected ids or filter, found both")
    is_single = False
    if ids is not None:
        keys, is_single = _ids.read(ids)
        rows = contents.rows_of(keys)
    else:
        rows = _filters.live_rows(filter, contents, state.budget)
    rows = rows[offset : None if limit is None else offset + limit]
    if columns is not None:
        return _columns_of(contents, rows, columns, is_single)
    vectors = _vectors_of(contents, rows)
    return vectors[0] if is_single and len(vectors) else vectors


def count(state: StoreState, filter: Any) -> int:
    """See `EmbeddingStore.count`."""
    contents = state.contents
    mask = _filters.mask(filter, contents, state.budget)
    return len(contents) if mask is None else int(np.count_nonzero(mask))


def get_texts(state: StoreState, ids: Any) -> Any:
    """See `EmbeddingStore.get_texts`."""
    contents = state.contents
    parts = _of_queries(ids)
    if parts is None:
        keys, is_single = _ids.read(ids)
        rows = contents.rows_of(keys)
    else:
        found = [contents.rows_of(_ids.read(part, name)[0], name) for name, part in parts]
        rows, is_single = np.concatenate(found) if found else np.empty(0, np.int64), False
    if TEXT not in contents.columns:
        raise ValueError("texts: the rows of this store have none")
    column = contents.columns[TEXT]
    if is_single:
        return column.value(int(rows[0]))
    texts: list[str | None] = column.to_numpy(rows).tolist()
    if parts is None:
        return texts
    left = iter(texts)
    return [list(islice(left, len(part))) for part in found]


def _of_queries(ids: Any) -> list[tuple[str, Any]] | None:
    """The ids of each query, and what messages call them: of a 2-D array, or a list of arrays or lists; else None."""
    is_nested = ids.ndim == 2 if isinstance(ids, np.ndarray) else False
    if isinstance(ids, list | tuple) and ids:
        is_nested = isinstance(ids[0], np.ndarray | list)
    return [(f"ids[{query}]", part) for query, part in enumerate(ids)] if is_nested else None


def get_metadata(state: StoreState, ids: Any) -> dict[str, Any]:
    """See `EmbeddingStore.get_metadata`."""
    contents = state.contents
    keys, is_single = _ids.read(ids)
    return _columns_of(contents, contents.rows_of(keys), contents.columns.metadata_names, is_single)


def _columns_of(contents: Contents, rows: Rows, names: Any, is_single: bool) -> dict[str, Any]:
    """Columns by name, of some rows; of a single one its values."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        shown = f"the str {names!r}" if isinstance(names, str) else type(names).__name__
        raise TypeError(f"columns: expected a list of names, found {shown}")
    found: dict[str, Any] = {}
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"columns[{place}]: expected a str, found {type(name).__name__}")
        if name == "id":
            values: Any = contents.ids(rows)
        elif name == "vector":
            values = _vectors_of(contents, rows)
        elif name not in contents.columns:
            there = ["id", "vector", *contents.columns]
            raise ValueError(f"columns: no column {name!r}; there are {there}")
        elif is_single and len(rows):
            found[name] = contents.columns[name].value(int(rows[0]))
            continue
        else:
            values = contents.columns[name].to_numpy(rows)
        found[name] = values[0] if is_single and len(rows) else values
    return found


def _vectors_of(contents: Contents, rows: Rows) -> NDArray[Any]:
    if contents.dimension is None:
        return contents.core.take(rows)[:, :0]
    return contents.core.take(rows)


def contains(state: StoreState, ids: Any) -> bool | NDArray[np.bool_]:
    """See `EmbeddingStore.contains`."""
    keys, is_single = _ids.read(ids)
    found: NDArray[np.bool_] = state.contents.find(keys) >= 0
    return bool(found[0]) if is_single else found


def contains_one(state: StoreState, id: object) -> bool:
    """Whether there is a row with an id, which may be no id at all."""
    if isinstance(id, bool) or not isinstance(id, str | UUID | int | np.integer):
        return False
    try:
        return bool(contains(state, id))
    except ValueError:  # beyond int64, or no text
        return False


def vectors(state: StoreState) -> NDArray[Any] | list[NDArray[Any]]:
    """See `EmbeddingStore.vectors`."""
    contents = state.contents
    views = contents.core.vectors()
    if not views:
        layout = DTYPES[state.options.dtype]
        views = [np.empty((0, layout.row_elements(contents.dimension or 0)), layout.npy_dtype or np.int8)]
    return views[0] if len(views) == 1 else views


def metadata(state: StoreState) -> dict[str, NDArray[Any]]:
    """See `EmbeddingStore.metadata`."""
    contents = state.contents
    return {name: contents.column(name) for name in contents.columns.metadata_names}


def describe(state: StoreState) -> str:
    """The `repr` of a store."""
    contents, options = state.contents, state.options
    parts = [f"{len(contents)} rows", f"dimension={contents.dimension}", f"metric={options.metric!r}"]
    parts += [f"dtype={options.dtype!r}", *_memory(contents)]
    if TEXT in contents.columns:
        parts.append("texts")
    if contents.columns.metadata_names:
        parts.append(f"metadata={contents.columns.metadata_names}")
    if contents.embedder is not None:
        parts.append(f"embedder={contents.embedder.name!r:.100}")
    return f"EmbeddingStore({', '.join(parts)})"


def table(state: StoreState) -> str:
    """The `_repr_html_` of a store."""
    contents, options = state.contents, state.options
    types = [f"{name}: {column.type}" for name, column in contents.columns.unchecked()]
    rows = {
        "EmbeddingStore": f"{len(contents):,} rows",
        "dimension": str(contents.dimension),
        "metric": options.metric,
        "dtype": options.dtype,
        "memory": ", ".join(_memory(contents)),
        "columns": ", ".join(types) or "none",
    }
    if contents.embedder is not None:
        rows["embedder"] = contents.embedder.name
    if state.binding is not None:
        rows["folder"] = str(state.binding.folder)
    return html_table((), rows.items())


def _memory(contents: Contents) -> list[str]:
    memory = contents.memory()
    parts = [f"{memory['total'] / 1e6:.1f} MB"]
    if memory["mapped"]:
        parts.append(f"{memory['mapped'] / 1e6:.1f} MB mapped")
    if memory["device"]:
        parts.append(f"{memory['device'] / 1e6:.1f} MB on {contents.core.device}")
    return parts
