"""Which body computes: votive's kernels or, with VOTIVE_PORTABLE=1, the operations of candle that GPUs have."""

import os
from typing import Any

import numpy as np
import pytest

PORTABLE = os.environ.get("VOTIVE_PORTABLE") == "1"
# Greatest difference of an element, absolute or of its size: rounding of float32 over some layers.
TOLERANCE = 1e-5


def kernels_only(reason: str) -> pytest.MarkDecorator:
    """A mark of what holds for the kernels alone."""
    return pytest.mark.skipif(PORTABLE, reason=reason)


def same(found: Any, expected: Any) -> bool:
    """Whether both are the same rows: kernels give a row the same bits in any company, others nearly."""
    match expected:
        case dict():
            return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
        case list():
            return len(found) == len(expected) and all(map(same, found, expected))
        case str() | int() | None:
            return bool(found == expected)
    found, expected = np.asarray(found), np.asarray(expected)
    if not PORTABLE:
        return np.array_equal(found, expected)
    return found.shape == expected.shape and np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


INT8 = kernels_only("int8 needs the kernels")
BITS = kernels_only("bits are promised for the kernels")
