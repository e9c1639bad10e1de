"""Inputs of unknown number into one array."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from votive._progress import Progress


def fill(
    compute: Callable[..., tuple[NDArray[np.float32], int, list[int], int]],
    chunks: Iterable[tuple[list[str], ...]],
    out: NDArray[np.float32] | None,
    width: int,
    progress: Progress,
    options: dict[str, Any],
) -> tuple[NDArray[np.float32], int, list[int], int]:
    """The rows of `chunks`, one after the other, as `compute` gives those of one.

    Args:
        compute: a method of the core: takes a chunk's lists and `options`, gives rows, tokens, rows that were cut, and
            how often a pass was halved.
        chunks: pieces of the inputs: a list of texts, or two of as many.
        out: `[rows, width]` to fill from the first row on; None for a new array.
        width: of a row.
        progress: is told of each chunk.
        options: the rest of the arguments of `compute`.

    Raises:
        ValueError: `out` is full, and there are more inputs.
    """
    rows = tokens = halved = 0
    truncated: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for chunk in chunks:
        end = rows + len(chunk[0])
        if out is not None and end > len(out):
            raise ValueError(f"out: has {len(out)} rows, and there are more inputs; the first {rows} were filled")
        target = None if out is None else out[rows:end]
        part, more, cut, halvings = compute(*chunk, out=target, start=rows, progress=progress, **options)
        parts.append(part)
        tokens += more
        halved += halvings
        truncated += [rows + row for row in cut]
        progress.next_call(len(chunk[0]))
        rows = end
    values = _joined(parts, rows, width) if out is None else out[:rows]
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
