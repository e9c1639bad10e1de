"""All that a store holds, as one immutable value: a call reads one of them from its beginning to its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._store import ids as _ids
from votive._store.columns import Columns, Values
from votive._store.ids import Ids
from votive._store.manifest import code_stride
from votive._store.mapped import MappedFile
from votive._store.options import DTYPES
from votive._store.texts import Texts, Utf8Column
from votive._store.vectors import Rows, dimension_of

# Bytes of the bounds of a row.
_BOUNDS_BYTES = 24


class Batch(NamedTuple):
    """Rows that are to be added.

    Attributes:
        vectors: `[rows, dimension]`; of bits `[rows, dimension / 8]`.
        ids: one for each row; None to number them.
        texts: one for each row; None for none.
        columns: metadata.
    """

    vectors: Rows
    ids: Ids | None
    texts: Utf8Column | None
    columns: Values

    @property
    def nbytes(self) -> int:
        """Bytes that the texts and columns will take."""
        texts = 0 if self.texts is None else self.texts.nbytes
        return texts + sum(values.nbytes for values in self.columns.values())


@dataclass(frozen=True)
class Contents:
    """Vectors, ids, texts and metadata by physical row: a row's number is its place among all that were ever added.

    Rows that were deleted or replaced keep their numbers until `compacted`. Live rows come in the order of numbers.

    Attributes:
        core: vectors and ids.
        columns: metadata.
        texts: None where rows have none.
        dimension: numbers in a vector; None while the first rows are awaited to tell.
        numbering: the same object for as long as a number stands for the same row.
        resident: bytes of attached arrays that are in memory, as they were read and not mapped.
        vector_files: files of a store in which vectors, codes and bounds of the core are.
        first_uncommitted: number of the first row that the store's folder had not when rows were numbered anew.
    """

    core: _core.Store
    columns: Columns
    texts: Texts | None
    dimension: int | None
    numbering: object = field(default_factory=object)
    resident: int = 0
    vector_files: tuple[MappedFile, ...] = ()
    first_uncommitted: int = 0

    def __len__(self) -> int:
        return len(self.core)

    def live(self) -> NDArray[np.int64] | None:
        """The numbers of the live rows, ascending; None where all are."""
        return None if len(self.core) == self.core.rows else self.core.live()

    def find(self, ids: Ids) -> NDArray[np.int64]:
        """The numbers of the live rows with these ids, -1 where there is none."""
        if self.core.id_kind != _ids.kind(ids):
            return np.full(len(ids), -1, np.int64)
        return self.core.find(ids)

    def rows_of(self, ids: Ids) -> NDArray[np.int64]:
        """As `find`.

        Raises:
            KeyError: an id is not in the store; the message says which.
        """
        rows = self.find(ids)
        if (rows < 0).any():
            place = int(np.argmax(rows < 0))
            missing = ids[place] if isinstance(ids, list) else int(ids[place])
            kind, stored = _ids.kind(ids), self.core.id_kind
            hint = f", whose ids are {stored}" if stored not in (kind, None) else ""
            raise KeyError(f"ids[{place}]: {missing!r} is not in the store{hint}")
        return rows

    def ids(self, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """The ids of some rows, or of all live ones, as users get them."""
        return _ids.to_array(self.core.ids(rows))

    def column(self, name: str) -> NDArray[Any]:
        """A column's values of the live rows, read-only."""
        column, live = self.columns[name].verified(), self.live()
        return column.slice(0, column.rows) if live is None else _read_only(column.take(live))

    def check_files(self) -> None:
        """Reads all files of a store that rows are in, before what is in them is written anew with another checksum.

        Raises:
            CorruptStoreError: one is not what was written, or holds texts that cannot be decoded.
        """
        for file in self.vector_files:
            file.check()
        for column in self.columns.values():
            column.check()
        if self.texts is not None:
            self.texts.check()

    def sealed(self) -> Contents:
        """The same rows for another store: what either adds is in its own memory."""
        texts = None if self.texts is None else self.texts.sealed()
        return replace(self, columns=self.columns.sealed(), texts=texts)

    def live_texts(self) -> list[str] | None:
        """The texts of the live rows; None where there are none."""
        if self.texts is None:
            return None
        live = self.live()
        return self.texts.take(np.arange(self.texts.rows) if live is None else live)

    def memory(self) -> dict[str, int]:
        """Bytes by what they hold; "total" is what counts against a limit."""
        memory = dict(self.core.memory)
        resident = min(self.resident, memory["mapped"])
        memory["mapped"] -= resident
        memory["vectors"] += resident
        memory["metadata"] = self.columns.nbytes
        memory["texts"] = 0 if self.texts is None else self.texts.nbytes
        memory["total"] = sum(memory.values()) - memory["mapped"] - memory["device"]
        return memory

    @property
    def compact_bytes(self) -> int:
        """Bytes that vectors, codes, bounds and ids of the live rows take once they are `compacted`, at most."""
        width, layout = self.core.dimension, DTYPES[self.core.dtype]
        codes = code_stride(width) + _BOUNDS_BYTES if layout.has_codes else 0
        return len(self) * (layout.row_bytes(width) + codes + 8)

    def checked(self, batch: Batch, is_first: bool) -> Batch:
        """Rows as they can be added.

        Args:
            batch: the rows.
            is_first: whether there were none before: they say what all have.

        Raises:
            ValueError: vectors have another dimension, or texts or metadata are missing, or new.
            TypeError: ids or metadata are of another kind than those of the store.
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
        if is_first:
            return batch
        if (batch.texts is None) != (self.texts is None):
            found = "missing" if batch.texts is None else "given, and rows that are in the store have none"
            raise ValueError(f"texts: {found}; all rows of a store have one, or none has")
        return batch._replace(columns=self.columns.checked(batch.columns))

    def with_extras(self, batch: Batch, is_first: bool) -> Contents:
        """With the texts and metadata of `checked` rows at the end, whose vectors are still to be added to the core."""
        columns, texts = self.columns, self.texts
        if is_first:
            columns = Columns.like(batch.columns)
            texts = None if batch.texts is None else Texts.empty()
        if texts is not None and batch.texts is not None:
            texts = texts.appended(batch.texts)
        return replace(self, columns=columns.appended(batch.columns), texts=texts)

    def without(self, rows: NDArray[np.int64]) -> Contents:
        """All but some rows."""
        return replace(self, core=self.core.without(rows))

    def compacted(self, core: _core.Store) -> Contents:
        """The live rows alone, numbered anew, as they are in `core`."""
        live = self.live()
        resident = min(self.resident, core.memory["mapped"])
        new = replace(self, core=core, numbering=object(), resident=resident, vector_files=())
        if live is None:
            return new
        texts = None if self.texts is None else self.texts.selected(live)
        return replace(new, columns=self.columns.selected(live), texts=texts)


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values
