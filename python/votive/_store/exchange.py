"""Rows of a store to and from Arrow tables, NumPy files and pickles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _arrow, _core
from votive._store import adding as _adding
from votive._store.adding import Room, RowExtras
from votive._store.chunked_array import ChunkedArray
from votive._store.columns import Columns
from votive._store.contents import Batch, Contents
from votive._store.texts import Texts, Utf8Column
from votive._store.vectors import converted

# Vectors and codes that are pickled.
MAX_PICKLED_BYTES = 256 * 10**6


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
    kind = pa.from_numpy_dtype(views[0].dtype if views else np.dtype(core.dtype))
    chunks = [pa.FixedSizeListArray.from_arrays(pa.array(view.reshape(-1)), dimension) for view in views]
    ids = contents.ids()
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string() if core.id_kind == "str" else pa.int64()),
        "vector": pa.chunked_array(chunks, pa.list_(kind, dimension)),
    }
    if contents.texts is not None:
        if live is None:
            contents.texts.check()  # what reads the table does not
            offsets, utf8 = contents.texts.slice(0, contents.texts.rows)
            buffers = (pa.py_buffer(offsets), pa.py_buffer(utf8))
            columns["text"] = pa.LargeStringArray.from_buffers(len(contents), *buffers)
        else:
            columns["text"] = pa.array(contents.texts.take(live), pa.large_string())
    for name in contents.columns:
        columns[name] = pa.array(_as_arrow_has_it(contents.column(name)))
    return pa.table(columns)


def _as_arrow_has_it(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] not in ("D", "s", "ms", "us", "ns"):
        # Arrow counts no years, months, weeks, hours or minutes.
        return values.astype("datetime64[s]")
    return values


def batches(
    table: Any, vectors: str, ids: str | None, texts: str | None, metadata: list[str] | None
) -> Iterator[Batch]:
    """The rows of a table: see `EmbeddingStore.from_arrow`."""
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
            names = metadata
        beside = RowExtras.read(
            len(batch),
            None if id_column is None else batch.values(id_column, "ids"),
            None if text_column is None else batch.values(text_column, "texts"),
            {name: batch.values(name, f"metadata[{name!r}]") for name in names},
        )
        rows = batch.vectors(vectors, "vectors")
        yield from _adding.batches(converted(rows, "vectors", position), beside)
        position += len(batch)


def load(path: str | PathLike[str], mmap: bool) -> NDArray[Any]:
    """The array of a `.npy` file, mapped or read."""
    try:
        array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: expected a file that numpy.save wrote; {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: expected one array, found an archive of several (.npz)")
    return array


def is_stored_form(array: NDArray[Any], dtype: str) -> bool:
    """Whether a mapped array is what a store of a type keeps, so that it can be kept where it is."""
    return bool(array.dtype == dtype and array.ndim == 2 and array.flags.c_contiguous and array.size)


def attached(contents: Contents, vectors: NDArray[Any], beside: RowExtras, room: Room) -> Contents:
    """An empty store's contents and rows whose vectors stay where they are."""
    rows, width = vectors.shape
    lines = None if beside.texts is None else Utf8Column.read(beside.texts, "texts")
    batch = contents.checked(Batch(vectors, beside.ids, lines, beside.columns), fresh=True)
    contents = replace(contents, core=room.new_core(width), dimension=width)
    room.check(contents, rows, contents.core.size_of(rows) - vectors.nbytes + batch.nbytes)
    ids: Any = np.arange(rows) if batch.ids is None else batch.ids
    if isinstance(ids, list):
        ids = Utf8Column.read(ids, "ids").raw
    contents = contents.beside(batch, fresh=True)
    try:
        return replace(contents, core=contents.core.attach(vectors, None, None, ids))
    except _core.CorruptStoreError as error:  # here they are no store's, but somebody's arguments
        raise ValueError(str(error)) from error


def pickled(kind: type[Any], options: dict[str, Any], contents: Contents) -> tuple[Any, ...]:
    """What `pickle` makes the store of again: its live rows.

    Raises:
        StoreError: there is too much of them.
    """
    memory = contents.core.memory
    size = memory["vectors"] + memory["codes"] + memory["mapped"]
    if size > MAX_PICKLED_BYTES:
        raise _core.StoreError(
            f"pickling: the vectors and codes take {size / 1e6:.0f} MB, more than {MAX_PICKLED_BYTES // 10**6} MB; use "
            "save_to_disk(folder), and open the folder where the store is needed"
        )
    contents.check_files()
    contents = contents.compacted(contents.core.compact())
    core, texts = contents.core, contents.texts
    segments = [
        (vectors, codes, bounds, core.id_slice(first, first + len(codes)))
        for first, vectors, codes, bounds in core.segments()
    ]
    columns = {name: column.slice(0, column.rows) for name, column in contents.columns.items()}
    raw = None if texts is None else texts.slice(0, texts.rows)
    return _unpickled, (kind, options, contents.dimension, core.largest_id, segments, columns, raw)


def _unpickled(
    kind: type[Any],
    options: dict[str, Any],
    dimension: int | None,
    largest_id: int | None,
    segments: list[Any],
    columns: dict[str, Any],
    raw: Any,
) -> Any:
    store = kind(**options)
    if dimension is None:
        return store
    core = store._room.new_core(dimension)
    for vectors, codes, bounds, ids in segments:
        for array in (vectors, codes, bounds):
            if array is not None:
                array.flags.writeable = False
        core = core.attach(vectors, codes, bounds, ids)
    if largest_id is not None:
        core = core.numbered_after(largest_id)
    texts = None if raw is None else Texts.of(*raw)
    shelves = {name: ChunkedArray.of(values) for name, values in columns.items()}
    store._state = Contents(core, Columns(shelves), texts, dimension, resident=core.memory["mapped"])
    return store
