"""Coarse codes of rows that were saved before there were any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _core

# Rows of which they are made at once.
MADE_ROWS = 1 << 14


def coarse_codes(core: _core.Store, vectors: NDArray[Any]) -> NDArray[np.uint8]:
    """Coarse codes `[n, stride]` of vectors `[n, dimension]` of a core, as it makes them when rows are added."""
    rows = vectors.view()
    rows.flags.writeable = False
    empty = _core.Store(core.dimension, core.metric, core.dtype, "cpu", None)
    segments: list[Any] = empty.attach(rows, None, None, None, np.arange(len(rows))).segments()
    return segments[0][4] if segments else np.empty((0, 0), np.uint8)
