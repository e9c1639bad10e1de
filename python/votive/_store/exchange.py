"""Rows of a store to and from Arrow tables and NumPy files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _arrow, _core
from votive._arguments import check_flag, check_positive
from votive._store import changes as _changes
from votive._store.arrow_arrays import field_of, to_array
from votive._store.budget import MemoryBudget
from votive._store.contents import Batch, Contents
from votive._store.filter import filters as _filters
from votive._store.input import batches as _batches
from votive._store.input import ids as _ids
from votive._store.input import metadata as _metadata
from votive._store.input import vectors as _vectors
from votive._store.input.batches import RowExtras
from votive._store.options import DTYPES
from votive._store.state import StoreState
from votive._store.table.column import Column
from votive._store.table.column_values import ColumnValues, Rows
from votive._store.table.columns import TEXT, label

# Rows of an array of a table.
MAX_ARRAY_ROWS = 1 << 16
# In the metadata of a table's schema: attributes of the store's `EmbedderInfo` as JSON.
EMBEDDER_KEY = "votive.embedder"


def to_arrow(contents: Contents) -> Any:
    """See `EmbeddingStore.to_arrow`.

    By pyarrow rather than by a stream of our own: what a consumer holds it may release when the interpreter is already
    gone, and functions of ctypes cannot be called then.
    """
    pa = _pyarrow("to_arrow")
    names, live = ["id", "vector", *contents.columns], contents.live()
    schema = _schema(contents, names, live)
    found = {}
    for name in names:
        field = schema.field(name)
        if name == "vector" and contents.core.dtype != "int8":
            arrays = [_vector_array(view, field) for view in contents.core.vectors()]
        else:
            arrays = [_array(contents, field, piece) for piece in _pieces(contents, live, MAX_ARRAY_ROWS)]
        found[name] = pa.chunked_array(arrays, field.type)
    return pa.table(found, schema)


def iter_batches(state: StoreState, batch_size: int, filter: Any, columns: Sequence[str] | None) -> Iterator[Any]:
    """See `EmbeddingStore.iter_batches`."""
    contents = state.contents
    check_positive("batch_size", batch_size)
    if isinstance(columns, str):
        raise TypeError(f"columns: expected a list of names, found the str {columns!r}")
    rows = None if filter is None else _filters.live_rows(filter, contents, state.budget)
    return to_batches(contents, columns, rows, batch_size)


def to_batches(contents: Contents, columns: Sequence[str] | None, rows: Rows | None, batch_rows: int) -> Iterator[Any]:
    """Some rows as pyarrow record batches, each of which is made when it is asked for.

    Args:
        contents: of which they are.
        columns: names, "id" and "vector" among them; None for all.
        rows: their numbers, in the order asked for; None for all live ones.
        batch_rows: how many rows each batch has but the last, from 1.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: there is no column of a name.
    """
    _pyarrow("iter_batches")
    there = ["id", "vector", *contents.columns]
    names = there if columns is None else list(columns)
    for name in names:
        if name not in there:
            raise ValueError(f"columns: no column {name!r}; there are {there}")
    return _batches_of(contents, names, contents.live() if rows is None else rows, batch_rows)


def _batches_of(contents: Contents, names: list[str], rows: Rows | None, batch_rows: int) -> Iterator[Any]:
    pa = import_module("pyarrow")
    schema = _schema(contents, names, rows)
    for piece in _pieces(contents, rows, batch_rows):
        yield pa.record_batch([_array(contents, field, piece) for field in schema], schema)


def _pyarrow(method: str) -> Any:
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise ImportError(f"{method} needs pyarrow: pip install pyarrow") from error


def _pieces(contents: Contents, rows: Rows | None, size: int) -> Iterator[slice | Rows]:
    """Rows some at a time: a slice where they are all that there ever were, else their numbers."""
    count = contents.core.rows if rows is None else len(rows)
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        yield part if rows is None else rows[part]


def _schema(contents: Contents, names: Iterable[str], rows: Rows | None) -> Any:
    pa = import_module("pyarrow")
    embedder = contents.embedder
    metadata = None if embedder is None else {EMBEDDER_KEY: json.dumps(asdict(embedder))}
    return pa.schema([_field(contents, name, rows) for name in names], metadata)


def _field(contents: Contents, name: str, rows: Rows | None) -> Any:
    pa = import_module("pyarrow")
    core = contents.core
    if name == "id":
        return pa.field(name, pa.string() if core.id_kind == "str" else pa.int64())
    if name == "vector":
        layout = DTYPES[core.dtype]
        # Codes come as floats.
        kind = pa.from_numpy_dtype(np.dtype(layout.npy_dtype or np.float32))
        width = layout.row_elements(contents.dimension or 0) if layout.npy_dtype else contents.dimension or 0
        return pa.field(name, pa.list_(kind, width))
    column = contents.columns[name].verified()

    def pieces() -> Iterator[ColumnValues]:
        for piece in _pieces(contents, rows, MAX_ARRAY_ROWS):
            yield _values(column, piece)

    return column.reading(lambda: field_of(name, column.type, pieces))


def _array(contents: Contents, field: Any, piece: slice | Rows) -> Any:
    """A column of some rows as a pyarrow array."""
    pa = import_module("pyarrow")
    numbers = np.arange(piece.start, piece.stop) if isinstance(piece, slice) else piece
    if field.name == "id":
        return pa.array(contents.core.ids(numbers), field.type)
    if field.name == "vector":
        return _vector_array(contents.core.take(numbers), field)
    # Nothing that reads the arrays would see that a file is damaged.
    column = contents.columns[field.name].verified()
    return column.reading(lambda: to_array(_values(column, piece), field, label(field.name)))


def _vector_array(vectors: NDArray[Any], field: Any) -> Any:
    pa = import_module("pyarrow")
    kind = field.type.value_type
    numbers = np.ascontiguousarray(vectors, kind.to_pandas_dtype()).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=field.type)


def _values(column: Column, piece: slice | Rows) -> ColumnValues:
    values = column.slice(piece.start, piece.stop) if isinstance(piece, slice) else column.take(piece)
    return values.cast(column.type)


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
        keys = None if id_column is None else _ids.of_arrow(batch.values(id_column, "ids"), "ids", position)
        if keys is not None:
            _ids.refuse_negative(keys)
        columns = {} if text_column is None else {TEXT: _metadata.read_texts_of(batch, text_column)}
        columns |= {name: _metadata.read_column_of(batch, name) for name in names}
        extras = RowExtras(keys, columns)
        rows = batch.vectors(vectors, "vectors")
        yield from _batches.join(form(rows, "vectors", position), extras)
        position += len(batch)


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
        return replace(contents, core=contents.core.attach(vectors, None, None, None, ids))
    except _core.CorruptStoreError as error:  # here they are no store's files, but a caller's arguments
        raise ValueError(str(error)) from error
