"""The method that embeds the texts of a store's rows or queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def text_encoder(texts: Any, embedder: Any, preferred: str) -> Callable[..., Any]:
    """The method `preferred` of an embedder, or its `encode` where it has no such method.

    Raises:
        TypeError: it has neither, or texts and embedder were given the other way around.
    """
    # A str has an `encode` of its own.
    if not isinstance(embedder, str) and callable(getattr(embedder, "encode", None)):
        encode: Callable[..., Any] = getattr(embedder, preferred, None) or embedder.encode
        return encode
    found = type(embedder).__name__
    if not isinstance(texts, str) and hasattr(texts, "encode"):
        raise TypeError(f"texts, embedder: found {type(texts).__name__} and {found}; the texts come first")
    hint = f"; votive.Embedder({embedder!r:.100}) loads one" if isinstance(embedder, str) else ""
    raise TypeError(f"embedder: expected a votive.Embedder, or another object with its encode, found {found}{hint}")
