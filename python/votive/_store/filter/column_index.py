"""Indexes of columns: where it pays to have them, and tests that are decided by them.

An index is kept with the chunk whose values it is of, which never change. It is built at the fourth comparison of the
chunk, or at the first filter that looks into its values, if these are few. That takes as long as about ten comparisons
of str, or thirty of numbers.
"""

from __future__ import annotations

import numpy as np

from votive import _core
from votive._store.filter.chunk_bins import (
    KEPT,
    MAX_BOUNDS,
    UNDECIDED,
    ChunkBins,
    bytes_of_bins,
    choose_bounds,
    distinct_values,
    is_comparison,
    with_odd_values,
)
from votive._store.filter.column_predicates import Existence, Test
from votive._store.table.column import Column
from votive._store.table.column_values import Bools, ColumnValues

# Smaller chunks are tested as fast without.
MIN_INDEXED_ROWS = 1 << 14
# What an index costs grows with the bytes, and what a comparison costs hardly does.
MAX_MEAN_BYTES = 256
# Numbers of fewer bytes are tested as fast without.
MIN_NUMBER_BYTES = 4
MIN_COMPARISONS = 4
# Where more than one row of so many is undecided, all are tested.
MIN_ROWS_PER_UNDECIDED = 8
# Where at most one row of so many is in question, these are found by their bins, without a look at the codes of all.
MIN_ROWS_PER_LISTED = 16
# Rows are numbered in 32 bits.
MAX_INDEXED_ROWS = 1 << 32


class IndexBudget:
    """Bytes that indexes may still take.

    Attributes:
        left: how many.
    """

    def __init__(self, left: float) -> None:
        self.left = left


class ChunkIndex:
    """What filters know of a chunk.

    Attributes:
        comparisons: how many there were before there were bins.
        has_few_values: whether there are bins enough for each value to have one.
        bins: None while it does not pay to have them.
    """

    __slots__ = ("bins", "comparisons", "has_few_values")

    def __init__(self, has_few_values: bool) -> None:
        self.comparisons = 0
        self.has_few_values = has_few_values
        self.bins: ChunkBins | None = None


def evaluate(values: ColumnValues, test: Test, budget: IndexBudget) -> Bools:
    """What a test says of the values of a chunk, by its index where there is one or it pays to build it."""
    bins = _bins_for(values, test, budget) if _is_indexable(values) else None
    if bins is None:
        return test(values)
    verdicts = bins.verdicts(test)
    kept_codes, undecided = verdicts == KEPT, verdicts == UNDECIDED
    if bins.counts[undecided].sum() * MIN_ROWS_PER_UNDECIDED > values.rows:
        return test(values)
    if bins.counts[kept_codes | undecided].sum() * MIN_ROWS_PER_LISTED < values.rows:
        kept = np.zeros(values.rows, np.bool_)
        kept[bins.rows_of(kept_codes)] = True
    else:
        kept = _core.select_codes(bins.codes, kept_codes.view(np.uint8)).view(np.bool_)
    rows = bins.rows_of(undecided)
    if len(rows):
        kept[rows] = test(values.take(rows))
    return kept


def index_bytes(column: Column) -> int:
    """Bytes in memory that the indexes of a column take."""
    indexes = [values.index for values in column.chunks]
    return sum(index.bins.nbytes for index in indexes if index is not None and index.bins is not None)


def drop_indexes(column: Column) -> None:
    """Gives the memory of the indexes of a column back."""
    for values in column.chunks:
        values.index = None


def _is_indexable(values: ColumnValues) -> bool:
    if not MIN_INDEXED_ROWS <= values.rows <= MAX_INDEXED_ROWS:
        return False
    if values.offsets is None:
        return values.data.dtype.itemsize >= MIN_NUMBER_BYTES or values.data.dtype.kind == "f"
    return int(values.offsets[-1] - values.offsets[0]) <= MAX_MEAN_BYTES * values.rows


def _bins_for(values: ColumnValues, test: Test, budget: IndexBudget) -> ChunkBins | None:
    """Bins that make a test faster, built if it pays; None where there are none."""
    if isinstance(test, Existence) and not test.path:
        return None
    index = values.index
    if index is None:
        index = values.index = ChunkIndex(len(distinct_values(values)[0]) < MAX_BOUNDS)
    if not (index.has_few_values or is_comparison(test)):
        return None
    if index.bins is None:
        index.comparisons += 1
        # To look into values takes longer than to build an index.
        if index.comparisons >= MIN_COMPARISONS or not is_comparison(test):
            index.bins = _build(values, budget)
    return index.bins


def _build(values: ColumnValues, budget: IndexBudget) -> ChunkBins | None:
    """Bins of a chunk; None where there is no memory left for them."""
    distinct, counts = distinct_values(values)
    bounds = choose_bounds(values, distinct, counts)
    if bytes_of_bins(values.rows, bounds) > budget.left:
        return None
    bins = ChunkBins(values, bounds)
    if len(distinct) < MAX_BOUNDS and len(bins.odd_rows):
        # The sample had not all of the few values.
        bounds = with_odd_values(values, bins, bounds)
        if len(bounds) <= MAX_BOUNDS and bytes_of_bins(values.rows, bounds) <= budget.left:
            bins = ChunkBins(values, bounds)
    budget.left -= bins.nbytes
    return bins
