"""Embeddings in fewer bits, as `sentence_transformers.util.quantization` has it, by `votive.quantization`."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from votive import quantization
from votive.sentence_transformers._tensors import as_array, holds_tensors

__all__ = ["quantize_embeddings"]

_logger = logging.getLogger("votive.sentence_transformers")


def quantize_embeddings(embeddings: Any, precision: str, ranges: Any = None, calibration_embeddings: Any = None) -> Any:
    """Embeddings as bytes or bits; see `votive.quantize_embeddings`.

    Args:
        embeddings: `[texts, dimension]`, or a list of vectors; or a list of matrices, which share ranges.
        precision: "float32", "int8", "uint8", "binary" or "ubinary".
        ranges: `[2, dimension]`, the smallest and the largest value of each dimension.
        calibration_embeddings: `[rows, dimension]` to take the ranges from.

    Returns:
        An array, or for a list of matrices a list of arrays.
    """
    if isinstance(embeddings, list) and not embeddings:
        return []
    if isinstance(embeddings, list) and getattr(embeddings[0], "ndim", 1) == 2:
        matrices = [np.asarray(as_array(matrix)) for matrix in embeddings]
        whole = quantize_embeddings(np.concatenate(matrices), precision, ranges, calibration_embeddings)
        return np.split(whole, np.cumsum([len(matrix) for matrix in matrices])[:-1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = quantization.quantize_embeddings(
            np.asarray(as_array(embeddings)) if holds_tensors(embeddings) else embeddings,
            precision,  # type: ignore[arg-type]
            as_array(ranges),
            as_array(calibration_embeddings),
        )
    for warning in caught:
        _logger.warning("%s", warning.message)
    return found
