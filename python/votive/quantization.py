"""Embeddings in fewer bits."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, overload

from votive import _core
from votive._arguments import refuse_masked
from votive._tracebacks import short_traceback
from votive._warnings import caller_stacklevel
from votive.typing import Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from votive.typing import SignedPrecision, UnsignedPrecision

_DTYPES = {"int8": "int8", "uint8": "uint8", "binary": "int8", "ubinary": "uint8"}


@overload
def quantize_embeddings(
    embeddings: ArrayLike,
    precision: Literal["float32"],
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[np.float32]: ...
@overload
def quantize_embeddings(
    embeddings: ArrayLike,
    precision: SignedPrecision,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[np.int8]: ...
@overload
def quantize_embeddings(
    embeddings: ArrayLike,
    precision: UnsignedPrecision,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[np.uint8]: ...
@overload
def quantize_embeddings(
    embeddings: ArrayLike,
    precision: Precision,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[Any]: ...
@short_traceback
def quantize_embeddings(
    embeddings: ArrayLike,
    precision: Precision,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[Any]:
    """Embeddings as bytes or bits, exactly as `sentence_transformers.quantize_embeddings` makes them.

    "int8" and "uint8" cut the range of each dimension into 256 equal buckets and keep the bucket's number ("int8": less
    128). "binary" and "ubinary" keep for each dimension whether it is above zero, eight to a byte ("binary": less 128).

    Args:
        embeddings: `[texts, dimension]` float32.
        precision: "float32" (nothing changes), "int8", "uint8", "binary" or "ubinary".
        ranges: `[2, dimension]`, the smallest and the largest value of each dimension. Vectors can only be compared if
            they were quantized with the same ranges.
        calibration_embeddings: `[rows, dimension]` whose ranges are taken where `ranges` is None. With neither, the
            ranges are those of `embeddings` themselves, and a warning says so.

    Returns:
        `[texts, dimension]` of the type that `precision` names; `[texts, ceil(dimension / 8)]` for "binary" (int8) and
        "ubinary" (uint8).

    Raises:
        ValueError: an unknown precision, arrays that do not fit, ranges from a single embedding, or NaN and infinity.
    """
    array = _matrix("embeddings", embeddings)
    if precision == "float32":
        return array
    bytes_, warning = _core.quantize(
        array,
        precision,
        None if ranges is None else _matrix("ranges", ranges),
        None if calibration_embeddings is None else _matrix("calibration_embeddings", calibration_embeddings),
    )
    if warning is not None:
        warnings.warn(warning, UserWarning, stacklevel=caller_stacklevel())
    return bytes_.view(_DTYPES[precision])


def _matrix(name: str, values: ArrayLike) -> NDArray[np.float32]:
    """`values` as a C-contiguous float32 matrix of finite numbers."""
    import numpy as np

    from votive._arrays import as_array

    refuse_masked(name, values)
    given = as_array(values, name)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected an array of numbers, found dtype {given.dtype}")
    if given.ndim != 2:
        raise ValueError(f"{name}: expected a 2-D array, found shape {given.shape}")
    array = np.ascontiguousarray(given, np.float32)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name}: row {int(np.argmin(finite))} has NaN or infinity")
    return array
