"""Pickles of stores: the rows, or the path of the folder that has them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from votive._core import StoreError
from votive._store import saving as _saving
from votive._store.contents import Contents
from votive._store.state import StoreState
from votive._store.table.column import Column
from votive._store.table.column_type import ColumnType
from votive._store.table.column_values import ColumnValues
from votive._store.table.columns import Columns
from votive.embedder_info import EmbedderInfo

if TYPE_CHECKING:
    from votive.store import EmbeddingStore

_S = TypeVar("_S", bound="EmbeddingStore")

# Most bytes of vectors and codes that are pickled.
MAX_PICKLED_BYTES = 256 * 10**6


def reduce(kind: type[EmbeddingStore], state: StoreState) -> tuple[Any, ...]:
    """What `pickle` makes the store of again: see `EmbeddingStore.__reduce__`.

    Raises:
        StoreError: there is no folder that holds the rows, and they are too much to pickle.
    """
    return _by_path(kind, state) or _by_rows(kind, state)


def _by_path(kind: type[EmbeddingStore], state: StoreState) -> tuple[Any, ...] | None:
    """How `pickle` opens the folder again; None where it does not hold what the store does."""
    binding = state.binding
    if binding is None or binding.contents() is not state.contents or not binding.is_current:
        return None
    manifest = binding.manifest
    return _reopened, (
        kind,
        str(binding.folder),
        manifest.generation,
        manifest.identity,
        state.options.machine_arguments(),
    )


def _by_rows(kind: type[EmbeddingStore], state: StoreState) -> tuple[Any, ...]:
    """How `pickle` makes a store of the live rows."""
    contents = state.contents
    memory = contents.core.memory
    size = memory["vectors"] + memory["codes"] + memory["mapped"]
    if size > MAX_PICKLED_BYTES:
        raise StoreError(
            f"pickling: the vectors and codes take {size / 1e6:.0f} MB, more than {MAX_PICKLED_BYTES // 10**6} MB; use "
            "save_to_disk(folder), and open the folder where the store is needed"
        )
    contents.check_files()
    live = contents.live()
    columns = contents.columns if live is None else contents.columns.selected(live)
    core = contents.core.compact()
    views: list[Any] = core.segments()
    segments = [
        (vectors, codes, *others, core.id_slice(first, first + len(codes if vectors is None else vectors)))
        for first, vectors, codes, *others in views
    ]
    values = [column.slice(0, column.rows).trimmed() for _, column in columns.unchecked()]
    parts = [
        (name, column.type.name, part.arrays)
        for name, column, part in zip(columns, columns.values(), values, strict=True)
    ]
    arguments = state.options.arguments()
    return _unpickled, (kind, arguments, contents.dimension, core.largest_id, segments, parts, contents.embedder)


def _reopened(kind: type[_S], folder: str, generation: int, identity: str, options: dict[str, Any]) -> _S:
    """A store that was pickled by its path."""
    instead = "open the right folder, or pickle copy.copy(store), which takes the rows along"
    try:
        store = _saving.load(kind, folder, True, options)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT,
            f"a store was pickled as the path of its folder, which is not there any more: {instead}",
            folder,
        ) from None
    binding = store._state.binding
    assert binding is not None, "a store that is read from a folder is bound to it"
    found = binding.manifest
    if (found.generation, found.identity) != (generation, identity):
        other = f"generation {found.generation}" if found.generation != generation else "another store"
        raise StoreError(
            f"{folder}: was pickled as generation {generation}, and holds {other} by now: pickle it anew, {instead}"
        )
    return store


def _unpickled(
    kind: type[_S],
    options: dict[str, Any],
    dimension: int | None,
    largest_id: int | None,
    segments: list[Any],
    columns: list[tuple[str, str, dict[str, NDArray[Any]]]],
    # Pickles of earlier versions have none.
    embedder: EmbedderInfo | None = None,
) -> _S:
    """A store that was pickled by its rows."""
    store = kind(**options)
    if dimension is None:
        return store
    core = store._state.budget.new_core(dimension)
    for vectors, codes, bounds, *coarse, ids in segments:
        # Pickles of stores in memory and of earlier versions have no coarse codes: few rows are pickled.
        arrays = (vectors, codes, bounds, coarse[0] if coarse else None)
        for array in arrays:
            if array is not None:
                array.flags.writeable = False
        core = core.attach(*arrays, ids)
    if largest_id is not None:
        core = core.numbered_after(largest_id)
    found = {name: Column(ColumnType(type), (_values(ColumnType(type), arrays),)) for name, type, arrays in columns}
    resident = core.memory["mapped"]
    store._state.contents = Contents(core, Columns(found, core.rows), dimension, resident=resident, embedder=embedder)
    return store


def _values(type: ColumnType, arrays: dict[str, NDArray[Any]]) -> ColumnValues:
    data = arrays["bytes" if type.is_variable else "values"]
    return ColumnValues(type, data, arrays.get("offsets"), arrays.get("valid"))
