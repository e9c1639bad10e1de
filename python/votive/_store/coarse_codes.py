"""Coarse codes of rows that have none in a file: those in memory, and those that were saved before there were any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _core

# Rows of which they are made at once.
MADE_ROWS = 1 << 14


def coarse_codes(core: _core.Store, vectors: NDArray[Any]) -> NDArray[np.uint8]:
    """Coarse codes `[n, stride]` of vectors `[n, dimension]` of a core, as they are saved with the rows."""
    rows = vectors.view()
    rows.flags.writeable = False
    return core.coarse_codes(rows)
