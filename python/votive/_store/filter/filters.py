"""Filters: which rows a search looks at, as a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from votive._arguments import refuse_masked
from votive._store.budget import MemoryBudget
from votive._store.filter import predicates
from votive._store.filter.column_index import IndexBudget
from votive._store.input import ids as _ids
from votive._store.table.column import Column
from votive._store.table.column_type import STR, ColumnType
from votive._store.table.column_values import ColumnValues

if TYPE_CHECKING:
    from votive._store.contents import Contents
from votive._store.filter.mask_cache import MAX_MASKS, key_of

_INT64 = ColumnType("int64")


class FilterColumns(Mapping[str, NDArray[Any]]):
    """What is known of the live rows, by name: each column of metadata, "id", and "text" where rows have one.

    Values are read-only arrays in the order of `EmbeddingStore.ids`, made when they are first asked for. Nulls are None
    among str, bytes, lists and dicts, NaT among points in time, and masked among numbers and booleans.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._made: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._made:
            if name not in list(self):
                raise KeyError(f"filter: no column {name!r}; there are {list(self)}")
            values = self._contents.ids() if name == "id" else self._contents.column(name)
            values.flags.writeable = False
            self._made[name] = values
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        yield "id"
        yield from self._contents.columns

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<columns {', '.join(self)}>"


def mask(given: Any, contents: Contents, budget: MemoryBudget) -> NDArray[np.bool_] | None:
    """The rows that a filter keeps, by number `[rows]`; None for all.

    Args:
        given: None; a dict as `predicates.mask` takes it; a boolean array over the live rows; ids, of which those that
            are not in the store are passed over; or what is called once with `FilterColumns` and gives a boolean array.
        contents: rows of the store.
        budget: of the store, for indexes of columns that are not built yet, and masks that are kept.

    Raises:
        KeyError: a column is not there.
        TypeError: it is none of these, or ids are of another kind than those of the store.
        ValueError: a boolean array has another length, or masked elements; or a dict is no filter.
        CorruptStoreError: a column is in a file that is damaged.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return _mask_of_expression(given, contents, budget) if given else None
    if callable(given):
        given = given(FilterColumns(contents))
        if isinstance(given, np.ma.MaskedArray):
            # A comparison with a null is neither true nor false.
            given = given.filled(False) if given.dtype == np.bool_ else given
        if not _is_boolean(given):
            raise TypeError(f"filter: expected a boolean array from the function, found {_describe(given)}")
    refuse_masked("filter", given)
    if _is_boolean(given):
        return _expand(np.asarray(given), contents)
    ids, is_single = _ids.read(given, "filter")
    kind, stored = _ids.kind(ids), contents.core.id_kind
    if kind is not None and stored is not None and kind != stored:
        found = f"the {kind} {given!r:.100}" if is_single else f"{kind} ids"
        raise TypeError(
            f"filter: expected a dict as {{'year': {{'$gt': 2020}}}}, a boolean array, or {stored} ids as the store "
            f"has, found {found}"
        )
    rows = contents.find(ids)
    kept = np.zeros(contents.core.rows, np.bool_)
    kept[rows[rows >= 0]] = True
    return kept


def live_rows(given: Any, contents: Contents, budget: MemoryBudget) -> NDArray[np.int64]:
    """The numbers of the live rows that a filter keeps, ascending; of all for None. See `mask`."""
    kept = mask(given, contents, budget)
    if kept is None:
        live = contents.live()
        return np.arange(contents.core.rows) if live is None else live
    return np.flatnonzero(kept)


class _StoredColumns(Mapping[str, Column]):
    """The columns that a dict may name, over all rows."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._ids: Column | None = None

    def __getitem__(self, name: str) -> Column:
        if name != "id":
            return self._contents.columns[name]
        if self._ids is None:
            ids = self._contents.core.id_slice(0, self._contents.core.rows)
            values = ColumnValues(STR, ids[1], ids[0]) if isinstance(ids, tuple) else ColumnValues(_INT64, ids)
            self._ids = Column(values.type, (values,))
        return self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(FilterColumns(self._contents))

    def __len__(self) -> int:
        return 1 + len(self._contents.columns)


def _mask_of_expression(given: Mapping[Any, Any], contents: Contents, budget: MemoryBudget) -> NDArray[np.bool_]:
    key = key_of(given)
    if (known := contents.masks.get(key)) is not None:
        return known
    left = IndexBudget(budget.free_bytes(contents))
    kept = predicates.mask(given, _StoredColumns(contents), contents.core.rows, left)
    if len(contents) != len(kept):
        kept[contents.core.deleted()] = False
    if key is not None and kept.nbytes * MAX_MASKS <= left.left:
        contents.masks.put(key, kept)
    return kept


def _expand(chosen: NDArray[np.bool_], contents: Contents) -> NDArray[np.bool_]:
    """A mask of all rows from one of the live ones."""
    if chosen.dtype != np.bool_:
        raise TypeError(f"filter: expected booleans or ids, found both, or {chosen.dtype}")
    if chosen.shape != (len(contents),):
        raise ValueError(f"filter: expected a boolean for each of the {len(contents)} rows, found shape {chosen.shape}")
    live = contents.live()
    if live is None:
        return np.ascontiguousarray(chosen)
    kept = np.zeros(contents.core.rows, np.bool_)
    kept[live] = chosen
    return kept


def _is_boolean(given: Any) -> bool:
    if isinstance(given, list | tuple):
        return len(given) > 0 and isinstance(given[0], bool | np.bool_)
    return hasattr(given, "__array__") and np.ndim(given) > 0 and np.asarray(given).dtype == np.bool_


def _describe(value: Any) -> str:
    return f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
