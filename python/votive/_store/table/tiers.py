"""Which runs are merged when another one comes.

Algorithm: size-tiered compaction (Bentley & Saxe, "Decomposable searching problems", 1980; O'Neil et al., "The
log-structured merge-tree", 1996):

    while the last FANOUT - 1 runs are each less than FANOUT times as large as the new one:
        the new one is merged with all such runs at the end

Why it is right: what is merged is at least FANOUT times as large as its smallest part was, so that n rows that come one
by one are copied log(n) / log(FANOUT) times each, and are in at most (FANOUT - 1) log(n) / log(FANOUT) + 1 runs.

Tried: merging any two runs of which the first is less than twice as large as the second. It keeps fewer runs, but
copies each row log2(n) times, which rows of thousands of bytes on a disk feel.
"""

from __future__ import annotations

from collections.abc import Sequence

FANOUT = 4


def merged_runs(sizes: Sequence[int], new: int) -> int:
    """How many of the last runs are to be merged with a new one.

    Args:
        sizes: of runs that may be merged, in their order.
        new: size of the new one.
    """
    taken = 0
    while True:
        similar = 0
        for size in reversed(sizes[: len(sizes) - taken]):
            if size >= FANOUT * new:
                break
            similar += 1
        if similar < FANOUT - 1:
            return taken
        new += sum(sizes[len(sizes) - taken - similar : len(sizes) - taken])
        taken += similar
