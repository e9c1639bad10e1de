"""Inputs of unknown number into one array."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from votive._progress import Progress
    from votive._steps import BatchRequest, Steps


def compute_stream(
    request: BatchRequest,
    chunks: Iterable[tuple[list[str], list[str] | None]],
    out: NDArray[np.float32] | None,
    progress: Progress,
) -> Steps[tuple[NDArray[np.float32], int, list[int], int]]:
    """The rows of `chunks`, one after the other: a request for each.

    Args:
        request: what they have in common.
        chunks: pieces of the inputs: texts, and second texts of pairs.
        out: `[rows, width]` to fill from the first row on; None for a new array.
        progress: is told of each chunk.

    Returns:
        Rows, tokens, rows that were cut, and how often a pass was halved.

    Raises:
        ValueError: `out` is full, and there are more inputs.
    """
    rows = tokens = halved = 0
    truncated: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for texts, seconds in chunks:
        end = rows + len(texts)
        if out is not None and end > len(out):
            raise ValueError(f"out: has {len(out)} rows, and there are more inputs; the first {rows} were filled")
        target = None if out is None else out[rows:end]
        result = yield replace(request, texts=texts, seconds=seconds, out=target, start=rows)
        part, more, cut, halvings, _ = result
        parts.append(part)
        tokens += more
        halved += halvings
        truncated += [rows + row for row in cut]
        progress.next_call(len(texts))
        rows = end
    values = _joined(parts, rows, request.width) if out is None else out[:rows]
    return values, tokens, truncated, halved


def _joined(parts: list[NDArray[np.float32]], rows: int, width: int) -> NDArray[np.float32]:
    """The `rows` of all `parts`, which is empty then.

    Pages of the new array take memory as they are written. Where the allocator gives that of each part back at once,
    hardly anything is held twice.
    """
    import numpy as np

    vectors = np.empty((rows, width), np.float32)
    while parts:
        # From the last on, since allocators give memory back from the end.
        part = parts.pop()
        vectors[rows - len(part) : rows] = part
        rows -= len(part)
    return vectors
