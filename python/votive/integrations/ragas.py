"""Embeddings for Ragas: for metrics, test sets and prompts, in its present interface and in the older one.

from votive.integrations.ragas import VotiveEmbeddings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragas.embeddings import BaseRagasEmbedding  # type: ignore[import-not-found,unused-ignore]

from votive.embedder import Embedder
from votive.integrations._models import check_model, load

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["VotiveEmbeddings"]


class VotiveEmbeddings(BaseRagasEmbedding):  # type: ignore[misc,unused-ignore]
    """What Ragas embeds texts with: an `Embedder`.

    Ragas compares texts with each other, a question with a question say, so that all get the same prompt: the one that
    the model uses by default. There is no `cache`: the keys of Ragas' caches do not tell models apart.

    Args:
        model: a model's name or folder, or an `Embedder`.
        normalize_embeddings: scale each embedding to length 1.
        options: further arguments of `Embedder`: `device`, `dtype`, `truncate_dim`, ...

    Raises:
        TypeError: an argument is none of `Embedder`.
    """

    # Ragas asks whether it may await the embeddings of a test set.
    is_async = True

    def __init__(
        self, model: str | PathLike[str] | Embedder, *, normalize_embeddings: bool = True, **options: Any
    ) -> None:
        super().__init__()
        check_model(Embedder, "model", model, options)
        self.embedder = load(Embedder, model, options)
        self.normalize_embeddings = normalize_embeddings

    def embed_text(self, text: str, **arguments: Any) -> list[float]:
        """The embedding of a text. Further arguments are those of `encode`."""
        return self.embed_texts([text], **arguments)[0]

    def embed_texts(self, texts: list[str], **arguments: Any) -> list[list[float]]:
        """The embeddings of texts. Further arguments are those of `encode`."""
        arguments = {"normalize_embeddings": self.normalize_embeddings} | arguments
        return self.embedder.encode(texts, **arguments).tolist()

    async def aembed_text(self, text: str, **arguments: Any) -> list[float]:
        """`embed_text` for asyncio: other tasks go on meanwhile, and no thread waits."""
        return (await self.aembed_texts([text], **arguments))[0]

    async def aembed_texts(self, texts: list[str], **arguments: Any) -> list[list[float]]:
        """`embed_texts` for asyncio: other tasks go on meanwhile, and no thread waits."""
        arguments = {"normalize_embeddings": self.normalize_embeddings} | arguments
        return (await self.embedder.aencode(texts, **arguments)).tolist()

    # What older metrics and the prompts with examples call.
    embed_query = embed_text
    embed_documents = embed_texts
    aembed_query = aembed_text
    aembed_documents = aembed_texts
