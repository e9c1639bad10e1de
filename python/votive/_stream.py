"""Texts of unknown number into one array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from votive._inputs import CHUNK

if TYPE_CHECKING:
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
        out: `[rows, width]` to fill from the first row on, else a new array grows with the texts.
        progress: is told of each chunk.
        options: the rest of the arguments of the core's method, `width` among them.

    Raises:
        ValueError: `out` is full, and there are more texts.
    """
    rows = tokens = 0
    truncated: list[int] = []
    vectors = np.empty((CHUNK, options["width"]), np.float32) if out is None else out
    for chunk in chunks:
        if rows + len(chunk) > len(vectors):
            if out is not None:
                raise ValueError(f"out: has {len(out)} rows, and there are more texts; the first {rows} were filled")
            # In place, and by half as much again, so that it is seldom copied and never held twice.
            vectors.resize((max(rows + len(chunk), len(vectors) * 3 // 2), vectors.shape[1]), refcheck=False)
        part = vectors[rows : rows + len(chunk)]
        part, more, cut = core.encode(chunk, out=part, start=rows, progress=progress, **options)
        del part  # it must not outlive a resize, which moves its memory
        tokens += more
        truncated += [rows + row for row in cut]
        progress.next_call(len(chunk))
        rows += len(chunk)
    if out is not None:
        return out[:rows], tokens, truncated
    vectors.resize((rows, vectors.shape[1]), refcheck=False)
    return vectors, tokens, truncated
