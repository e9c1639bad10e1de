"""Values of a column for some consecutive rows, in arrays as Arrow has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._store.mapped import is_mapped
from votive._store.table.column_type import JSON, NULL, STR, ColumnType

if TYPE_CHECKING:
    from votive._store.filter.column_index import ChunkIndex

Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]

# Texts that are made into one at a time: enough to hide the cost of a call, little beside all of them.
MAX_JOINED_ROWS = 512


class ColumnValues:
    """One value or none for each row, immutable.

    Attributes:
        type: of the values.
        data: `[rows]`, whatever where there is none; of a variable type the bytes of all `[bytes]`, uint8.
        offsets: of a variable type, `[rows + 1]` int64: value `row` is `data[offsets[row]:offsets[row + 1]]`, and that
            of a null is empty. They need not begin at 0. None of other types.
        index: what `column_index` keeps of the values.
        valid: `[rows]` booleans, False for null; None where there is a value for each row. Of points in time a null is
            NaT as well.
    """

    __slots__ = ("_found_sizes", "data", "index", "offsets", "type", "valid")

    def __init__(
        self, type: ColumnType, data: NDArray[Any], offsets: Rows | None = None, valid: Bools | None = None
    ) -> None:
        self.type = type
        self.data = data
        self.offsets = offsets
        self.valid = valid
        self.index: ChunkIndex | None = None
        self._found_sizes: tuple[int, int, bool] | None = None

    @classmethod
    def nulls(cls, type: ColumnType, rows: int) -> ColumnValues:
        """No value for any row."""
        if type == NULL:
            nothing = np.broadcast_to(np.False_, rows)
            return cls(type, nothing, None, nothing)
        offsets = np.zeros(rows + 1, np.int64) if type.is_variable else None
        data = np.zeros(0 if type.is_variable else rows, type.dtype)
        if data.dtype.kind == "M":
            data[:] = np.datetime64("NaT")
        return cls(type, data, offsets, np.zeros(rows, np.bool_))

    @classmethod
    def of_bytes(cls, type: ColumnType, values: Sequence[bytes | None]) -> ColumnValues:
        """Values of a variable type, each as the bytes that are stored."""
        lengths = np.fromiter((0 if value is None else len(value) for value in values), np.int64, len(values))
        data = np.frombuffer(b"".join(value for value in values if value is not None), np.uint8)
        return cls(type, data, _offsets(lengths), _valid(values))

    @classmethod
    def of_strings(cls, texts: Sequence[str | None]) -> ColumnValues:
        """Texts without lone surrogates."""
        lengths = np.empty(len(texts), np.int64)
        parts = [slice(start, start + MAX_JOINED_ROWS) for start in range(0, len(texts), MAX_JOINED_ROWS)]
        for part in parts:
            held = [text or "" for text in texts[part]]
            sized: Sequence[Any] = held if all(map(str.isascii, held)) else [text.encode() for text in held]
            lengths[part] = np.fromiter(map(len, sized), np.int64, len(held))
        # Known before any is copied, so that nothing is copied twice.
        found = np.empty(int(lengths.sum()), np.uint8)
        at = 0
        for part in parts:
            joined = "".join(text or "" for text in texts[part]).encode()
            found[at : at + len(joined)] = np.frombuffer(joined, np.uint8)
            at += len(joined)
        found.flags.writeable = False
        return cls(STR, found, _offsets(lengths), _valid(texts))

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.data) if self.offsets is None else len(self.offsets) - 1

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names in files: "values", or "offsets" and "bytes"; and "valid" where there are nulls."""
        found = {"values": self.data} if self.offsets is None else {"offsets": self.offsets, "bytes": self.data}
        return found if self.valid is None else {**found, "valid": self.valid}

    @property
    def bytes_parts(self) -> tuple[Rows, NDArray[np.uint8]]:
        """Offsets and bytes of a variable type."""
        assert self.offsets is not None, "a variable type has offsets"
        return self.offsets, self.data

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are in memory."""
        return self._sizes[0]

    @property
    def mapped_bytes(self) -> int:
        """Bytes of the arrays that are in files."""
        return self._sizes[1]

    @property
    def is_mapped(self) -> bool:
        """Whether any of it is in a file."""
        return self._sizes[2]

    @property
    def _sizes(self) -> tuple[int, int, bool]:
        # Asked for with each row that is added to a store, and always the same.
        if self._found_sizes is None:
            arrays = [(array.nbytes, is_mapped(array)) for array in self.arrays.values()]
            held = 0 if self.type == NULL else sum(size for size, mapped in arrays if not mapped)
            in_files = sum(size for size, mapped in arrays if mapped)
            self._found_sizes = held, in_files, any(mapped for _, mapped in arrays)
        return self._found_sizes

    def __getitem__(self, part: slice) -> ColumnValues:
        """Consecutive rows, which share the memory."""
        start, stop, _ = part.indices(self.rows)
        valid = None if self.valid is None else self.valid[start:stop]
        if self.offsets is None:
            return ColumnValues(self.type, self.data[start:stop], None, valid)
        return ColumnValues(self.type, self.data, self.offsets[start : max(start, stop) + 1], valid)

    def take(self, rows: Rows) -> ColumnValues:
        """Some rows, in the order asked for, in memory of their own."""
        valid = None if self.valid is None else self.valid[rows]
        if self.offsets is None:
            return ColumnValues(self.type, np.asarray(self.data[rows]), None, valid)
        offsets, data = _core.take_bytes(self.offsets, self.data, np.ascontiguousarray(rows, np.int64))
        return ColumnValues(self.type, data, offsets, valid)

    def trimmed(self) -> ColumnValues:
        """The same, whose offsets begin at 0 and whose bytes are these rows' alone."""
        if self.offsets is None:
            return self
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        offsets = self.offsets - first if first else self.offsets
        return ColumnValues(self.type, self.data[first:last], offsets, self.valid)

    def cast(self, type: ColumnType) -> ColumnValues:
        """The same in another type, which holds them: see `column_type.promote`."""
        if type == self.type:
            return self
        if self.type == NULL:
            return ColumnValues.nulls(type, self.rows)
        return ColumnValues(type, self.data.astype(type.dtype), self.offsets, self.valid)

    def moved(self, move: Callable[[NDArray[Any]], NDArray[Any]]) -> ColumnValues:
        """The same, whose arrays `move` gives elsewhere."""
        if self.type == NULL:
            return self
        arrays = {name: move(array) for name, array in self.arrays.items()}
        data = arrays["values" if self.offsets is None else "bytes"]
        return ColumnValues(self.type, data, arrays.get("offsets"), arrays.get("valid"))

    def to_list(self) -> list[Any]:
        """The values as Python has them, None for null.

        Raises:
            UnicodeDecodeError, ValueError: bytes are no text, or no JSON.
        """
        if self.offsets is None:
            values: list[Any] = self.data.tolist()
        else:
            split = _core.split_bytes if self.type.name == "bytes" else _core.split_texts
            values = split(self.offsets, self.data)
            if self.type == JSON:
                values = [json.loads(value) if value else None for value in values]
        if self.valid is None:
            return values
        return [value if valid else None for value, valid in zip(values, self.valid.tolist(), strict=True)]

    def to_numpy(self) -> NDArray[Any]:
        """The values as users get them, in memory of their own or read-only.

        Nulls are None among str, bytes, lists and dicts; NaT among points in time; and masked among numbers and
        booleans, where there are any.
        """
        if self.type.is_variable or self.type == NULL:
            found = np.empty(self.rows, object)
            found[:] = self.to_list() if self.type != NULL else None
            return found
        data = np.asarray(self.data)
        if self.valid is None or data.dtype.kind == "M" or self.valid.all():
            return data
        return np.ma.MaskedArray(data, ~self.valid)


def concatenate(type: ColumnType, parts: Iterable[ColumnValues]) -> ColumnValues:
    """Rows of parts, one after the other, in memory of their own."""
    parts = [part.trimmed().cast(type) for part in parts]
    valid = None
    if any(part.valid is not None for part in parts):
        valid = np.concatenate([np.ones(part.rows, np.bool_) if part.valid is None else part.valid for part in parts])
    data = np.concatenate([part.data for part in parts]) if parts else np.empty(0, type.dtype)
    if not type.is_variable:
        return ColumnValues(type, np.asarray(data), None, valid)
    lengths = [np.diff(part.offsets) for part in parts if part.offsets is not None]
    joined = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
    return ColumnValues(type, np.asarray(data), _offsets(joined), valid)


def to_json(values: Iterable[Any]) -> ColumnValues:
    """Lists and dicts, whose contents JSON can hold, with None for null."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    encoded = [None if value is None else encode(value).encode() for value in values]
    return ColumnValues.of_bytes(JSON, encoded)


def _offsets(lengths: Rows) -> Rows:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _valid(values: Sequence[Any]) -> Bools | None:
    if None not in values:
        return None
    return np.fromiter((value is not None for value in values), np.bool_, len(values))
