"""All that a store holds, as one immutable value: a call reads one of them from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._store.files.manifest import code_stride
from votive._store.filter.column_index import drop_indexes, index_bytes
from votive._store.filter.mask_cache import MaskCache
from votive._store.input import ids as _ids
from votive._store.input.ids import Ids
from votive._store.input.vectors import Rows as VectorRows
from votive._store.input.vectors import dimension_of
from votive._store.mapped import MappedFile
from votive._store.options import DTYPES
from votive._store.table.column_values import Rows
from votive._store.table.columns import TEXT, Changes, Columns, Values
from votive.embedder_info import EmbedderInfo

# Bytes of the bounds of a row.
_BOUNDS_BYTES = 24


class Batch(NamedTuple):
    """Rows that are to be added.

    Attributes:
        vectors: `[rows, dimension]`; of bits `[rows, dimension / 8]`.
        ids: one for each row; None to number them.
        columns: metadata, and texts.
    """

    vectors: VectorRows
    ids: Ids | None
    columns: Values

    @property
    def nbytes(self) -> int:
        """Bytes that the columns will take, and ids beside what the core counts of them."""
        return sum(values.nbytes for values in self.columns.values()) + _ids.extra_bytes(self.ids)


class Edit(NamedTuple):
    """Rows whose columns were changed at once.

    Attributes:
        number: one more than that of the edit before.
        rows: numbers of the rows, by the names of the columns.
        before: edits before this one that a folder may lack; None for none.
    """

    number: int
    rows: dict[str, Rows]
    before: Edit | None


@dataclass(frozen=True)
class Contents:
    """Vectors, ids, texts and metadata by physical row: a row's number is its place among all that were ever added.

    Rows that were deleted or replaced keep their numbers until `compacted`. Live rows come in the order of numbers.

    Attributes:
        core: vectors and ids.
        columns: metadata, and the texts as the column "text".
        dimension: numbers in a vector; None while the first rows are awaited to tell.
        numbering: the same object for as long as a number stands for the same row.
        resident: bytes of attached arrays that are in memory, as they were read and not mapped.
        vector_files: files of a store in which vectors, codes and bounds of the core are.
        first_uncommitted: number of the first row that the store's folder had not when rows were numbered anew.
        edits: how often columns of rows were changed in place.
        last_edit: the last such change that the store's folder may lack; None for none.
        embedder: the model that made the vectors; None where it is not known.
        masks: of filters, over these rows.
    """

    core: _core.Store
    columns: Columns
    dimension: int | None
    numbering: object = field(default_factory=object)
    resident: int = 0
    vector_files: tuple[MappedFile, ...] = ()
    first_uncommitted: int = 0
    edits: int = 0
    last_edit: Edit | None = None
    embedder: EmbedderInfo | None = None
    masks: MaskCache = field(default_factory=MaskCache, init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.core)

    @property
    def deleted_rows(self) -> int:
        """How many rows have a number and are deleted."""
        return int(self.core.rows - len(self.core))

    def live(self) -> NDArray[np.int64] | None:
        """The numbers of the live rows, ascending; None where all are."""
        return None if len(self.core) == self.core.rows else self.core.live()

    def find(self, ids: Ids) -> NDArray[np.int64]:
        """The numbers of the live rows with these ids, -1 where there is none."""
        if self.core.id_kind != _ids.kind(ids):
            return np.full(len(ids), -1, np.int64)
        return self.core.find(ids)

    def rows_of(self, ids: Ids, name: str = "ids") -> NDArray[np.int64]:
        """As `find`; messages call the ids `name`.

        Raises:
            KeyError: an id is not in the store; the message says which.
        """
        rows = self.find(ids)
        if (rows < 0).any():
            place = int(np.argmax(rows < 0))
            missing = ids[place] if isinstance(ids, list) else int(ids[place])
            kind, stored = _ids.kind(ids), self.core.id_kind
            hint = f", whose ids are {stored}" if stored not in (kind, None) else ""
            raise KeyError(f"{name}[{place}]: {missing!r} is not in the store{hint}")
        return rows

    def ids(self, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """The ids of some rows, or of all live ones, as users get them."""
        return _ids.to_array(self.core.ids(rows))

    def column(self, name: str, rows: Rows | None = None) -> NDArray[Any]:
        """Values of a column of some rows, or of all live ones, as users get them, read-only."""
        values = self.columns[name].to_numpy(self.live() if rows is None else rows)
        values.flags.writeable = False
        return values

    def check_files(self, names: set[str] | None = None) -> None:
        """Reads files of a store that rows are in, before what is in them is written anew with another checksum.

        Args:
            names: of those to be read; None for all.

        Raises:
            CorruptStoreError: one is not what was written, or holds what cannot be decoded.
        """
        for file in self.vector_files:
            if names is None or file.path.name in names:
                file.check()
        for _, column in self.columns.unchecked():
            column.check(names)

    def live_texts(self) -> list[str | None] | None:
        """The texts of the live rows; None where there are none."""
        if TEXT not in self.columns:
            return None
        texts: list[str | None] = self.columns[TEXT].to_numpy(self.live()).tolist()
        return texts

    def memory(self) -> dict[str, int]:
        """Bytes by what they hold; "total" is what counts against a limit."""
        memory = dict(self.core.memory)
        resident = min(self.resident, memory["mapped"])
        memory["mapped"] -= resident
        memory["vectors"] += resident
        memory["metadata"] = self.columns.nbytes(texts=False)
        memory["metadata"] += self.masks.nbytes + sum(index_bytes(column) for _, column in self.columns.unchecked())
        memory["texts"] = self.columns.nbytes(texts=True)
        memory["mapped"] += self.columns.mapped_bytes
        memory["total"] = sum(memory.values()) - memory["mapped"] - memory["device"]
        return memory

    def drop_derived(self) -> None:
        """Gives the memory of coarse codes, the columns' indexes and masks back; searches make them anew."""
        self.core.drop_coarse_codes()
        self.masks.clear()
        for _, column in self.columns.unchecked():
            drop_indexes(column)

    @property
    def compact_bytes(self) -> int:
        """Bytes that vectors, codes, bounds and ids of the live rows take once they are `compacted`, at most."""
        width, layout = self.core.dimension, DTYPES[self.core.dtype]
        codes = code_stride(width) + _BOUNDS_BYTES if layout.has_codes else 0
        return len(self) * (layout.row_bytes(width) + codes + 8)

    def checked(self, batch: Batch) -> Batch:
        """Rows as they can be added.

        Raises:
            ValueError: vectors have another dimension, or ids are missing.
            TypeError: ids are of another kind than those of the store.
        """
        width = dimension_of(batch.vectors)
        if self.dimension not in (None, width):
            raise ValueError(f"vectors: expected dimension {self.dimension}, found {width}")
        if not len(batch.vectors):
            return batch
        stored, kind = self.core.id_kind, None if batch.ids is None else _ids.kind(batch.ids)
        if batch.ids is None and stored == "str":
            raise ValueError("ids: those of the store are str, which cannot be counted on; give one for each row")
        if kind is not None and stored is not None and kind != stored:
            raise TypeError(f"ids: expected {stored}, as the store has, found {kind}")
        return batch

    def edited(self, changes: Changes, places: dict[str, Rows], committed: int | None) -> Contents:
        """With other values in columns of some rows.

        Args:
            changes: the values.
            places: see `Columns.patched`.
            committed: number of the last edit that the store's folder has; None where no folder is written to.
        """
        edits = self.edits + 1
        last = None
        if committed is not None:
            before = self.last_edit if self.last_edit is not None and self.last_edit.number > committed else None
            last = Edit(edits, {name: rows for name, (rows, _) in changes.items()}, before)
        return replace(self, columns=self.columns.patched(changes, places), edits=edits, last_edit=last)

    def edits_after(self, number: int) -> Iterator[Edit]:
        """Edits whose numbers are larger, the last first."""
        edit = self.last_edit
        while edit is not None and edit.number > number:
            yield edit
            edit = edit.before

    def without(self, rows: NDArray[np.int64]) -> Contents:
        """All but some rows."""
        return replace(self, core=self.core.without(rows))

    def compacted(self, core: _core.Store, columns: Columns) -> Contents:
        """The live rows alone, numbered anew, as they are in `core` and `columns`."""
        resident = min(self.resident, core.memory["mapped"])
        return replace(
            self, core=core, columns=columns, numbering=object(), resident=resident, vector_files=(), last_edit=None
        )
