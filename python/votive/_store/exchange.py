"""Rows of a store to and from Arrow tables and NumPy files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _arrow, _core
from votive._arguments import check_flag
from votive._store import batches as _batches
from votive._store import changes as _changes
from votive._store import ids as _ids
from votive._store import metadata as _metadata
from votive._store import vectors as _vectors
from votive._store.batches import RowExtras
from votive._store.budget import MemoryBudget
from votive._store.column_values import ColumnValues
from votive._store.columns import TEXT
from votive._store.contents import Batch, Contents
from votive._store.options import DTYPES
from votive._store.state import StoreState


def to_arrow(contents: Contents) -> Any:
    """See `EmbeddingStore.to_arrow`.

    By pyarrow rather than by a stream of our own: what a consumer holds it may release when the interpreter is already
    gone, and functions of ctypes cannot be called then.
    """
    try:
        pa = import_module("pyarrow")
    except ImportError as error:
        raise ImportError("to_arrow needs pyarrow: pip install pyarrow") from error
    core, dimension = contents.core, contents.dimension or 0
    live = contents.live()
    views = core.vectors()
    if core.dtype == "int8":
        views = [core.take(np.arange(core.rows) if live is None else live)]
    layout = DTYPES[core.dtype]
    kind = pa.from_numpy_dtype(views[0].dtype if views else np.dtype(layout.npy_dtype or np.int8))
    width = layout.row_elements(dimension)
    chunks = [pa.FixedSizeListArray.from_arrays(pa.array(view.reshape(-1)), width) for view in views]
    ids = contents.ids()
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string() if core.id_kind == "str" else pa.int64()),
        "vector": pa.chunked_array(chunks, pa.list_(kind, width)),
    }
    for name in contents.columns:
        columns[name] = pa.array(_in_arrow_units(contents.column(name)))
    return pa.table(columns)


def _in_arrow_units(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] not in ("D", "s", "ms", "us", "ns"):
        # Arrow counts no years, months, weeks, hours or minutes.
        return values.astype("datetime64[s]")
    return values


def from_arrow(
    state: StoreState, table: Any, vectors: str, ids: str | None, texts: str | None, metadata: Sequence[str] | None
) -> None:
    """Adds the rows of a table to an empty store: see `EmbeddingStore.from_arrow`."""
    form = _vectors.form_of(state.options.dtype)
    _changes.add_batches(state, _read_table(table, vectors, ids, texts, metadata, form))


def _read_table(
    table: Any,
    vectors: str,
    ids: str | None,
    texts: str | None,
    metadata: Sequence[str] | None,
    form: _vectors.Form,
) -> Iterator[Batch]:
    position = 0
    for batch in _arrow.batches(table, "table"):
        asked = {"vectors": vectors, "ids": ids, "texts": texts}
        asked |= {f"metadata[{place}]": name for place, name in enumerate(metadata or ())}
        for argument, name in asked.items():
            if name is not None and name not in batch.names:
                raise ValueError(f"{argument}: no column {name!r} in the table; it has {batch.names}")
        id_column = "id" if ids is None and "id" in batch.names else ids
        text_column = "text" if texts is None and "text" in batch.names else texts
        if metadata is None:
            names = [name for name in batch.names if name not in (vectors, id_column, text_column)]
        else:
            names = list(metadata)
        keys = None if id_column is None else _read_ids(batch.values(id_column, "ids"), position)
        columns = {} if text_column is None else {TEXT: _metadata.read_texts_of(batch, text_column)}
        columns |= {name: _metadata.read_column_of(batch, name) for name in names}
        extras = RowExtras(keys, columns)
        rows = batch.vectors(vectors, "vectors")
        yield from _batches.join(form(rows, "vectors", position), extras)
        position += len(batch)


def _read_ids(values: _arrow.Values, position: int) -> _ids.Ids:
    """The ids of some rows of a table, the first of which stands at `position`."""
    if values.valid is not None and not values.valid.all():
        row = position + int(values.valid.argmin())
        raise TypeError(f"ids[{row}]: expected an int or a str, found null; each row has an id")
    if values.type in ("bytes", "json"):
        raise TypeError(f"ids: expected integers or str, found {'lists' if values.type == 'json' else values.type}")
    keys, _ = _ids.read(values.to_list() if values.type == "str" else values.data)
    _ids.refuse_negative(keys)
    return keys


def from_numpy(state: StoreState, vectors: Any, ids: Any, texts: Any, metadata: Any, mmap: bool) -> None:
    """Adds the rows of an array or a file to an empty store: see `EmbeddingStore.from_numpy`."""
    check_flag("mmap", mmap)
    if isinstance(vectors, str | PathLike):
        vectors = _load(vectors, mmap)
        if mmap and _is_stored_form(vectors, state.options.dtype):
            extras = RowExtras.read(len(vectors), ids, texts, metadata)
            with state.changing() as contents:
                state.contents = _attach(contents, vectors, extras, state.budget)
            return
    _changes.add_embeddings(state, vectors, ids, texts, metadata, None)


def _load(path: str | PathLike[str], mmap: bool) -> NDArray[Any]:
    """The array of a `.npy` file, mapped or read."""
    try:
        array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: expected a file that numpy.save wrote; {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: expected one array, found an archive of several (.npz)")
    return array


def _is_stored_form(array: NDArray[Any], dtype: str) -> bool:
    """Whether a mapped array is what a store of a type keeps, so that it can be kept where it is."""
    stored = DTYPES[dtype].npy_dtype
    return bool(
        stored is not None and array.dtype == stored and array.ndim == 2 and array.flags.c_contiguous and array.size
    )


def _attach(contents: Contents, vectors: NDArray[Any], extras: RowExtras, budget: MemoryBudget) -> Contents:
    """An empty store's contents and rows whose vectors stay where they are."""
    rows, width = len(vectors), _vectors.dimension_of(vectors)
    batch = contents.checked(Batch(vectors, extras.ids, extras.columns))
    columns = contents.columns.appended(batch.columns, rows)
    contents = replace(contents, core=budget.new_core(width), dimension=width)
    budget.check(contents, rows, contents.core.size_of(rows) - vectors.nbytes + batch.nbytes)
    ids: Any = np.arange(rows) if batch.ids is None else batch.ids
    if isinstance(ids, list):
        ids = ColumnValues.of_strings(ids).bytes_parts
    contents = replace(contents, columns=columns)
    try:
        return replace(contents, core=contents.core.attach(vectors, None, None, ids))
    except _core.CorruptStoreError as error:  # here they are no store's files, but a caller's arguments
        raise ValueError(str(error)) from error
