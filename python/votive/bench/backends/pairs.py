"""Items of reranking, as models take them."""

from __future__ import annotations


def pairs(items: list[tuple[str, list[str]]]) -> list[tuple[str, str]]:
    """Each query with each of its documents."""
    return [(query, document) for query, documents in items for document in documents]
