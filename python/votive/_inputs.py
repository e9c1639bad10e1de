"""What may be encoded: one text, a column of texts, or a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any

import numpy as np

# Texts of a stream that are held at a time.
CHUNK = 4096


def column(sentences: Any) -> list[str] | Iterator[list[str]]:
    """All texts where they are at hand as a list, else an iterator over pieces of at most `CHUNK` texts.

    Elements are not looked at: whoever borrows their characters says which one is not a str.

    Raises:
        TypeError: `sentences` is no collection of texts.
    """
    if isinstance(sentences, list):
        return sentences
    if isinstance(sentences, tuple):
        return list(sentences)
    if isinstance(sentences, np.ndarray):
        if sentences.ndim != 1 or sentences.dtype.kind not in "OUT":
            raise TypeError(
                "sentences: expected a 1-D array of str, "
                f"found {sentences.ndim} dimensions of dtype {sentences.dtype}"
            )
        return sentences.tolist()
    if isinstance(sentences, (bytes, bytearray, Mapping, Set)) or not isinstance(sentences, Iterable):
        raise TypeError(
            f"sentences: expected a str, a list or another column or iterable of str, found {type(sentences).__name__}"
        )
    if hasattr(sentences, "__arrow_c_stream__") or hasattr(sentences, "__arrow_c_array__"):
        if not type(sentences).__module__.startswith("pandas"):
            from votive._arrow import string_chunks

            return string_chunks(sentences)
        # pandas would convert its objects through pyarrow, which may not be installed.
        return list(sentences)
    if hasattr(sentences, "__len__"):
        return list(sentences)
    return _chunks(iter(sentences))


def _chunks(sentences: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(sentences, CHUNK)):
        yield chunk
