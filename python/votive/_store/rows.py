"""What a store shows of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store import ids as _ids
from votive._store.options import DTYPES
from votive._store.state import StoreState


def get(state: StoreState, ids: Any) -> NDArray[Any]:
    """See `EmbeddingStore.get`."""
    contents = state.contents
    keys, is_single = _ids.read(ids)
    if contents.dimension is None and not len(keys):
        return contents.core.take(np.empty(0, np.int64))[:, :0]
    vectors = contents.core.take(contents.rows_of(keys))
    return vectors[0] if is_single else vectors


def get_texts(state: StoreState, ids: Any) -> str | list[str]:
    """See `EmbeddingStore.get_texts`."""
    contents = state.contents
    keys, is_single = _ids.read(ids)
    rows = contents.rows_of(keys)
    if contents.texts is None:
        raise ValueError("texts: the rows of this store have none")
    texts = contents.texts.take(rows)
    return texts[0] if is_single else texts


def get_metadata(state: StoreState, ids: Any) -> dict[str, Any]:
    """See `EmbeddingStore.get_metadata`."""
    contents = state.contents
    keys, is_single = _ids.read(ids)
    rows = contents.rows_of(keys)
    columns = {name: column.verified().take(rows) for name, column in contents.columns.items()}
    return {name: values[0] for name, values in columns.items()} if is_single else columns


def contains(state: StoreState, ids: Any) -> bool | NDArray[np.bool_]:
    """See `EmbeddingStore.contains`."""
    keys, is_single = _ids.read(ids)
    found: NDArray[np.bool_] = state.contents.find(keys) >= 0
    return bool(found[0]) if is_single else found


def contains_one(state: StoreState, id: object) -> bool:
    """Whether there is a row with an id, which may be no id at all."""
    if isinstance(id, bool) or not isinstance(id, str | int | np.integer):
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
    return {name: contents.column(name) for name in contents.columns}


def describe(state: StoreState) -> str:
    """The `repr` of a store."""
    contents, options = state.contents, state.options
    parts = [f"{len(contents)} rows", f"dimension={contents.dimension}", f"metric={options.metric!r}"]
    memory = contents.memory()
    parts += [f"dtype={options.dtype!r}", f"{memory['total'] / 1e6:.1f} MB"]
    if memory["mapped"]:
        parts.append(f"{memory['mapped'] / 1e6:.1f} MB mapped")
    if memory["device"]:
        parts.append(f"{memory['device'] / 1e6:.1f} MB on {contents.core.device}")
    if contents.texts is not None:
        parts.append("texts")
    if contents.columns:
        parts.append(f"metadata={list(contents.columns)}")
    return f"EmbeddingStore({', '.join(parts)})"
