"""The bins that values of a chunk are in, and what a test of values says of bins: see `src/store/value_bins.rs`."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _core
from votive._store.filter.column_predicates import (
    MIN_INT64,
    ByteTest,
    Existence,
    JointTest,
    NumberTest,
    Test,
    numbers_of,
    present,
)
from votive._store.table.column_type import BYTES
from votive._store.table.column_values import Bools, ColumnValues, Rows

DROPPED, KEPT, UNDECIDED = 0, 1, 2

MAX_BOUNDS = 253
_NAN, _NULL, _CODES = 254, 255, 256

_SAMPLE_ROWS = 4096
# Parts of as many rows that bounds are taken of; there are more bounds where a value fills a part.
_PARTS = 160
# Longer values are no bounds.
_MAX_BOUND_BYTES = 4096

# Bytes, or numbers as `numbers_of` has them.
Ascending = Sequence[bytes] | NDArray[Any]


class ChunkBins:
    """The bin of each row of a chunk.

    Attributes:
        bounds: ascending, the first one the least that a value may be: bin i has the values from bound i - 1 up to the
            next. Values of the type of the chunk.
        codes: the bin of each row; 254 of NaN, and 255 of a null.
        is_single: of each bin whether all its values are equal to its bound.
        counts: rows of each code.
        odd_rows: the first rows whose values are not equal to the bounds of their bins.
    """

    __slots__ = ("_ascending", "_ends", "_order", "bounds", "codes", "counts", "is_single", "odd_rows")

    def __init__(self, values: ColumnValues, ascending: Ascending) -> None:
        self._ascending = ascending
        self.bounds = _as_values(values, ascending)
        if values.offsets is None:
            found = _core.bin_numbers(numbers_of(values), numbers_of(self.bounds))
        else:
            assert self.bounds.offsets is not None, "bounds are of the type of the values"
            found = _core.bin_bytes(values.offsets, values.data, self.bounds.offsets, self.bounds.data)
        self.codes, is_single, self.odd_rows = found
        self.codes[~present(values)] = _NULL
        self.is_single = is_single.view(np.bool_)
        self.counts = np.bincount(self.codes, minlength=_CODES)
        # All rows, by their codes.
        self._order = np.argsort(self.codes, kind="stable").astype(np.uint32)
        self._ends = np.cumsum(self.counts)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return bytes_of_bins(len(self.codes), self._ascending)

    def rows_of(self, codes: Bools) -> Rows:
        """The rows with some codes."""
        parts = [self._order[self._ends[code] - self.counts[code] : self._ends[code]] for code in np.flatnonzero(codes)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def verdicts(self, test: Test) -> NDArray[np.uint8]:
        """What a test says of all values of a bin: `DROPPED`, `KEPT` or `UNDECIDED`, by code."""
        if isinstance(test, JointTest):
            parts = np.stack([self.verdicts(part) for part in test.tests])
            joint: NDArray[np.uint8] = parts.max(axis=0)
            joint[(parts == DROPPED).any(axis=0)] = DROPPED
            return joint
        verdicts = np.zeros(_CODES, np.uint8)
        count = self.bounds.rows + 1
        # Right for single bins; in a comparison for all but those that an operand is in.
        verdicts[1:count] = test(self.bounds)
        if isinstance(test, Existence):
            verdicts[_NULL] = not test.expected
        if self.bounds.data.dtype.kind == "f":
            verdicts[_NAN] = test(ColumnValues(self.bounds.type, np.full(1, np.nan, self.bounds.data.dtype)))[0]
        undecided = ~self.is_single
        places = self._places_of_operands(test)
        if places is not None:
            has_operand = np.zeros(count, np.bool_)
            has_operand[places] = True
            undecided &= has_operand
        verdicts[:count][undecided] = UNDECIDED
        return verdicts

    def _places_of_operands(self, test: Test) -> Any:
        """The bins that operands of a comparison are in; None where a test is none."""
        if isinstance(test, NumberTest):
            _, operands = test.in_type(self.bounds.data.dtype)
            return np.searchsorted(self._ascending, operands, side="right")
        if is_comparison(test) and isinstance(test, ByteTest):
            return [bisect_right(self._ascending, operand) for operand in test.operands]
        return None


def is_comparison(test: Test) -> bool:
    """Whether a test goes by the order of values, so that it is decided for those between others."""
    return isinstance(test, NumberTest | JointTest) or (isinstance(test, ByteTest) and test.operator != "$contains")


def distinct_values(values: ColumnValues) -> tuple[Ascending, NDArray[np.int64]]:
    """The values of a sample of rows, ascending, each once, and how often each was found."""
    rows = np.unique(np.random.default_rng(0).integers(0, values.rows, _SAMPLE_ROWS))
    return _distinct(values, rows)


def choose_bounds(values: ColumnValues, distinct: Ascending, counts: NDArray[np.int64]) -> Ascending:
    """Bounds of bins with about as many rows each, and with one value each where they are enough for that."""
    least = _least_of(values)
    if len(distinct) < MAX_BOUNDS:
        return _united(least, distinct)
    ends = np.cumsum(counts)
    places = np.searchsorted(ends, np.arange(_PARTS) * ends[-1] // _PARTS, side="right")
    unique, parts = np.unique(places, return_counts=True)
    # A value that fills a part has a bin of its own, up to the next value.
    places = np.union1d(unique, np.minimum(unique[parts > 1] + 1, len(distinct) - 1))
    return _united(least, [distinct[place] for place in places.tolist()])


def with_odd_values(values: ColumnValues, bins: ChunkBins, bounds: Ascending) -> Ascending:
    """Bounds and the values that they lack, as far as these are known."""
    return _united(bounds, _distinct(values, bins.odd_rows)[0])


def bytes_of_bins(rows: int, bounds: Ascending) -> int:
    """Bytes that the bins of so many rows take."""
    size = bounds.nbytes if isinstance(bounds, np.ndarray) else sum(map(sys.getsizeof, bounds))
    return (1 + 4) * rows + 2 * size + 17 * _CODES


def _distinct(values: ColumnValues, rows: Rows) -> tuple[Ascending, NDArray[np.int64]]:
    if values.offsets is not None:
        rows = rows[values.offsets[rows + 1] - values.offsets[rows] <= _MAX_BOUND_BYTES]
    taken = values.take(rows)
    is_present = present(taken)
    if taken.offsets is None:
        numbers = numbers_of(taken)
        return np.unique(numbers[is_present & (numbers == numbers)], return_counts=True)
    found = Counter(ColumnValues(BYTES, taken.data, taken.offsets, is_present).to_list())
    found.pop(None, None)
    distinct = sorted(found)
    return distinct, np.array([found[value] for value in distinct], np.int64)


def _least_of(values: ColumnValues) -> Ascending:
    """What no value of the type is below, alone."""
    if values.offsets is not None:
        return [b""]
    dtype = numbers_of(values).dtype
    least = -np.inf if dtype.kind == "f" else np.iinfo(dtype).min
    # The least of points in time is a null.
    return np.array([MIN_INT64 + 1 if values.data.dtype.kind == "M" else least], dtype)


def _united(left: Ascending, right: Ascending) -> Ascending:
    if isinstance(left, np.ndarray):
        united: NDArray[Any] = np.union1d(left, np.array(right, left.dtype))
        return united
    return sorted({*left, *right})


def _as_values(values: ColumnValues, ascending: Ascending) -> ColumnValues:
    """Bounds as values of the type of others."""
    if isinstance(ascending, np.ndarray):
        return ColumnValues(values.type, ascending.view(values.data.dtype))
    return ColumnValues.of_bytes(values.type, ascending)
