"""What may be scored: one pair of texts, a list of them, or a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from votive._inputs import CHUNK_TEXTS

# First and second texts of some pairs.
Columns = tuple[list[str], list[str]]


def is_one_pair(inputs: Any) -> bool:
    """Whether `inputs` is a pair and not a collection of them, by the rule of sentence-transformers."""
    if isinstance(inputs, (list, tuple)):
        return len(inputs) > 0 and not _is_pair_like(inputs[0])
    return getattr(inputs, "ndim", 0) == 1 and getattr(inputs, "size", 0) > 0 and isinstance(inputs[0], str)


def columns(inputs: Any) -> Columns | Iterator[Columns]:
    """The first and the second texts of all pairs where they are at hand, else an iterator over pieces of them.

    Texts are not looked at: what borrows their characters says which one is not a str.

    Raises:
        TypeError: `inputs` is no collection of pairs, or one of them is no pair.
        ValueError: a pair has more or fewer than two texts.
    """
    if isinstance(inputs, (list, tuple)):
        return _split(inputs, 0)
    if isinstance(inputs, (str, bytes, bytearray, Mapping, set, frozenset)) or not isinstance(inputs, Iterable):
        raise TypeError(f"inputs: expected a pair of str or an iterable of pairs, found {type(inputs).__name__}")
    if hasattr(inputs, "tolist"):
        return _split(inputs.tolist(), 0)
    if hasattr(inputs, "__len__"):
        return _split(list(inputs), 0)
    return _chunks(iter(inputs))


def whole(pairs: Columns | Iterator[Columns]) -> Columns:
    """All pairs of `columns`."""
    if isinstance(pairs, tuple):
        return pairs
    first: list[str] = []
    second: list[str] = []
    for chunk in pairs:
        first += chunk[0]
        second += chunk[1]
    return first, second


def _chunks(pairs: Iterator[Any]) -> Iterator[Columns]:
    start = 0
    while chunk := list(islice(pairs, CHUNK_TEXTS)):
        yield _split(chunk, start)
        start += len(chunk)


def _split(pairs: list[Any] | tuple[Any, ...], start: int) -> Columns:
    for i, pair in enumerate(pairs, start):
        if not _is_pair_like(pair):
            raise TypeError(f"inputs[{i}]: expected a pair of str, found {type(pair).__name__}")
        if len(pair) != 2:
            raise ValueError(f"inputs[{i}]: expected a pair of str, found {len(pair)} of them")
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _is_pair_like(pair: Any) -> bool:
    return isinstance(pair, (list, tuple)) or getattr(pair, "ndim", 0) == 1
