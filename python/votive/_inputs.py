"""What may be encoded: one text, a column of texts, or a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

# Texts of a stream that are held at a time.
CHUNK_TEXTS = 4096


def column(sentences: Any, name: str = "sentences") -> list[str] | Iterator[list[str]]:
    """All texts where they are at hand as a list, else an iterator over pieces of them. Messages call them `name`.

    Elements are not looked at: what borrows their characters says which one is not a str.

    Raises:
        TypeError: `sentences` is no collection of texts, or has no order.
    """
    if isinstance(sentences, list):
        return sentences
    # pandas would convert its objects through pyarrow, which may not be installed.
    if _speaks_arrow(sentences) and type(sentences).__module__.partition(".")[0] != "pandas":
        from votive._arrow import string_chunks

        return string_chunks(sentences, name)
    if isinstance(sentences, (bytes, bytearray, Mapping, set, frozenset)) or not isinstance(sentences, Iterable):
        raise TypeError(
            f"{name}: expected a str, a list or another column or iterable of str, found {type(sentences).__name__}"
        )
    # Of NumPy, and of the libraries that took the word from it: a table would be read as the names of its columns.
    dimensions = getattr(sentences, "ndim", 1)
    if dimensions != 1:
        raise TypeError(
            f"{name}: expected one column of str, found {type(sentences).__name__} of {dimensions} dimensions"
        )
    import numpy as np

    if isinstance(sentences, np.ndarray):
        if sentences.dtype.kind not in "OUT":
            raise TypeError(f"{name}: expected an array of str, found dtype {sentences.dtype}")
        texts: list[str] = sentences.tolist()
        return texts
    if hasattr(sentences, "__len__"):
        return list(sentences)
    return _chunks(iter(sentences))


def one_of(method: str, **names: Any) -> Any:
    """The inputs of a method that takes them by several names.

    Raises:
        TypeError: they were given by two.
    """
    given = [name for name, inputs in names.items() if inputs is not None]
    if len(given) > 1:
        raise TypeError(f"{method}: {given[0]} and {given[1]} are two names of one argument; give one of them")
    return names[given[0]] if given else None


def whole(texts: list[str] | Iterator[list[str]]) -> list[str]:
    """All texts of a `column`."""
    return texts if isinstance(texts, list) else list(chain.from_iterable(texts))


def _speaks_arrow(sentences: Any) -> bool:
    return hasattr(sentences, "__arrow_c_stream__") or hasattr(sentences, "__arrow_c_array__")


def _chunks(sentences: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(sentences, CHUNK_TEXTS)):
        yield chunk
