"""The texts of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive._store.chunked_array import ChunkedArray
from votive._store.mapped import mapped_file_of
from votive._store.strings import check_texts

Raw = tuple[NDArray[np.int64], NDArray[np.uint8]]

# Texts that are encoded at a time.
_ENCODED_TEXTS = 4096


class Texts:
    """One text for each row, immutable: `appended` gives another, which shares the memory of this one.

    Text `row` is the bytes of UTF-8 from where the one before ends to `ends[row]`.
    """

    __slots__ = ("_ends", "_utf8")

    def __init__(self, ends: ChunkedArray, utf8: ChunkedArray) -> None:
        self._ends = ends
        self._utf8 = utf8

    @classmethod
    def of(cls, offsets: NDArray[np.int64], utf8: NDArray[np.uint8]) -> Texts:
        """Texts that are stored: text `row` is `utf8[offsets[row]:offsets[row + 1]]`, and the first starts at 0."""
        return cls(ChunkedArray.of(offsets[1:]), ChunkedArray.of(utf8))

    @classmethod
    def empty(cls) -> Texts:
        """No texts."""
        return cls.of(np.zeros(1, np.int64), np.empty(0, np.uint8))

    @property
    def rows(self) -> int:
        """How many texts there are."""
        return self._ends.rows

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._ends.nbytes + self._utf8.nbytes

    def sealed(self) -> Texts:
        """See `ChunkedArray.sealed`."""
        return Texts(self._ends.sealed(), self._utf8.sealed())

    def check(self) -> None:
        """Accepts files that texts are in if they are as they were written, and can be decoded.

        Raises:
            CorruptStoreError: one is not.
        """
        self._ends.check()
        self._utf8.check()
        for first, utf8 in self._utf8.chunks(0, self._utf8.rows):
            if (file := mapped_file_of(utf8)) is not None:
                ends = self._ends.slice(0, self.rows)
                inside = ends[(ends > first) & (ends <= first + len(utf8))] - first
                check_texts(file.path, np.concatenate([[0], inside]), utf8)

    def appended(self, given: Utf8Column) -> Texts:
        """These texts and others after them."""
        ends = np.cumsum(given.lengths) + self._utf8.rows
        count = int(given.lengths.sum())
        return Texts(self._ends.appended(ends), self._utf8.extended(count, np.dtype(np.uint8), given.pieces))

    def slice(self, start: int, stop: int) -> Raw:
        """The rows `start..stop` as offsets `[rows + 1]` from 0 on, and bytes."""
        offsets = self._offsets(start, stop)
        utf8: NDArray[np.uint8] = self._utf8.slice(int(offsets[0]), int(offsets[-1]))
        return offsets - offsets[0], utf8

    def take(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts of some rows, in the order asked for.

        Raises:
            CorruptStoreError: one is in a file that is damaged, so that it is no UTF-8.
        """
        if not len(rows):
            return []
        ends = self._ends.take(rows)
        starts = np.zeros(len(rows), np.int64)
        starts[rows > 0] = self._ends.take(rows[rows > 0] - 1)
        begin = int(starts.min())
        spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
        try:
            # One piece of memory from the first to the last where they are near each other, else one for each.
            if ends.max() - begin <= 4 * (ends - starts).sum() + 4096:
                utf8 = self._utf8.slice(begin, int(ends.max())).tobytes()
                return [utf8[start - begin : end - begin].decode() for start, end in spans]
            return [self._utf8.slice(start, end).tobytes().decode() for start, end in spans]
        except UnicodeDecodeError:
            self._refuse_damaged(spans)
            raise

    def _refuse_damaged(self, spans: list[tuple[int, int]]) -> None:
        for start, end in spans:
            try:
                self._utf8.slice(start, end).tobytes().decode()
            except UnicodeDecodeError as error:
                for file in self._utf8.files(start, end):
                    raise file.error(f"the text of bytes {start} to {end} is no UTF-8 ({error})") from None

    def selected(self, rows: NDArray[np.int64]) -> Texts:
        """The texts of some rows alone, ascending."""
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []
        parts = [self.slice(int(run[0]), int(run[-1]) + 1) for run in runs]
        lengths = [np.zeros(1, np.int64), *(np.diff(offsets) for offsets, _ in parts)]
        utf8 = np.concatenate([part for _, part in parts]) if parts else np.empty(0, np.uint8)
        return Texts.of(np.cumsum(np.concatenate(lengths)), utf8)

    def _offsets(self, start: int, stop: int) -> NDArray[np.int64]:
        before = self._ends.slice(start - 1, start) if start else np.zeros(1, np.int64)
        return np.concatenate([before, self._ends.slice(start, stop)])


@dataclass(frozen=True)
class Utf8Column:
    """Texts that are to be stored.

    Attributes:
        texts: each is a str without lone surrogates.
        lengths: length of each in bytes of UTF-8, `[texts]`.
    """

    texts: list[str]
    lengths: NDArray[np.int64]

    @classmethod
    def read(cls, texts: list[Any], name: str, position: int = 0) -> Utf8Column:
        """Checks texts, the first of which messages call `name[position]`.

        Raises:
            TypeError: one is no str; the message says which.
            ValueError: one holds a lone surrogate.
        """
        lengths = np.empty(len(texts), np.int64)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"{name}[{position + row}]: expected a str, found {type(text).__name__}")
            # A class of its own may have another length than its characters.
            text = str.__str__(text)
            try:
                lengths[row] = len(text) if text.isascii() else len(text.encode())
            except UnicodeEncodeError:
                raise ValueError(f"{name}[{position + row}]: holds a lone surrogate, which is no text") from None
        return cls(texts, lengths)

    @property
    def nbytes(self) -> int:
        """Bytes that `Texts` of them take."""
        return int(self.lengths.sum()) + self.lengths.nbytes

    @property
    def pieces(self) -> Iterator[NDArray[np.uint8]]:
        """Their bytes, those of some at a time."""
        for start in range(0, len(self.texts), _ENCODED_TEXTS):
            yield np.frombuffer("".join(self.texts[start : start + _ENCODED_TEXTS]).encode(), np.uint8)

    @property
    def raw(self) -> Raw:
        """As `Texts.slice` gives them."""
        return Texts.empty().appended(self).slice(0, len(self.texts))
