"""Texts of unknown number into one array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from votive import _core
    from votive._progress import Progress


def encode_stream(
    core: _core.Embedder,
    chunks: Iterable[list[str]],
    out: NDArray[np.float32] | None,
    progress: Progress,
    options: dict[str, Any],
) -> tuple[NDArray[np.float32], int, list[int]]:
    """The embeddings of `chunks`, one after the other, as `_core.Embedder.encode` gives those of one.

    Args:
        core: the model.
        chunks: pieces of the texts.
        out: `[rows, width]` to fill from the first row on; None for a new array.
        progress: is told of each chunk.
        options: the rest of the arguments of the core's method, `width` among them.

    Raises:
        ValueError: `out` is full, and there are more texts.
    """
    rows = tokens = 0
    truncated: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for chunk in chunks:
        end = rows + len(chunk)
        if out is not None and end > len(out):
            raise ValueError(f"out: has {len(out)} rows, and there are more texts; the first {rows} were filled")
        target = None if out is None else out[rows:end]
        part, more, cut = core.encode(chunk, out=target, start=rows, progress=progress, **options)
        parts.append(part)
        tokens += more
        truncated += [rows + row for row in cut]
        progress.next_call(len(chunk))
        rows = end
    vectors = _joined(parts, rows, options["width"]) if out is None else out[:rows]
    return vectors, tokens, truncated


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
