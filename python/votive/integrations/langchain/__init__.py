"""votive for LangChain: embeddings, reranking, a text splitter and a vector store.

It needs langchain-core, and `VotiveTextSplitter` langchain-text-splitters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from votive.integrations.langchain.embeddings import VotiveEmbeddings
from votive.integrations.langchain.reranking import VotiveCrossEncoder, VotiveReranker
from votive.integrations.langchain.vector_store import VotiveVectorStore

if TYPE_CHECKING:
    from votive.integrations.langchain.text_splitter import VotiveTextSplitter

__all__ = ["VotiveCrossEncoder", "VotiveEmbeddings", "VotiveReranker", "VotiveTextSplitter", "VotiveVectorStore"]


def __getattr__(name: str) -> Any:
    # Its package is one that LangChain itself does not need.
    if name == "VotiveTextSplitter":
        from votive.integrations.langchain.text_splitter import VotiveTextSplitter

        return VotiveTextSplitter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
