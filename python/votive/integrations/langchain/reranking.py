"""Reranking for LangChain."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from langchain_core.callbacks import Callbacks  # type: ignore[import-not-found, unused-ignore]
from langchain_core.cross_encoders import BaseCrossEncoder  # type: ignore[import-not-found, unused-ignore]
from langchain_core.documents import (  # type: ignore[import-not-found, unused-ignore]
    BaseDocumentCompressor,
    Document,
)
from pydantic import ConfigDict, Field  # type: ignore[import-not-found, unused-ignore]

from votive.integrations._loading import loaded
from votive.reranker import Reranker


class VotiveCrossEncoder(BaseCrossEncoder):  # type: ignore[misc, unused-ignore]
    """A `votive.Reranker` as LangChain's cross-encoder, in place of `HuggingFaceCrossEncoder`.

    Args:
        model_name: a folder, or a name on the Hugging Face Hub.
        model: a `votive.Reranker` that is loaded; or `model_name` by its other name.
        options: further arguments of `votive.Reranker`, such as `device` and `max_length`.

    Attributes:
        model: the `votive.Reranker`.

    Raises:
        TypeError: neither a name nor a model was given, or both.
        FileNotFoundError, ModelError, DeviceError, ValueError: see `votive.Reranker`.
    """

    def __init__(
        self,
        model_name: str | PathLike[str] | None = None,
        *,
        model: str | PathLike[str] | Reranker | None = None,
        **options: Any,
    ) -> None:
        self.model = loaded(Reranker, model_name, model, options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r})"

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """A score for each pair; of a model with two labels that of the second, which stands for relevant.

        Raises:
            ValueError: the model has more labels than two.
        """
        scores = self.model.predict(text_pairs)
        if scores.ndim == 2:
            if scores.shape[1] != 2:
                raise ValueError(f"model: expected one label or two, found {scores.shape[1]}; none of them is a score")
            scores = scores[:, 1]
        return scores.tolist()


class VotiveReranker(BaseDocumentCompressor):  # type: ignore[misc, unused-ignore]
    """A `votive.Reranker` that leaves the documents that answer a query best, the best first.

    Documents are copies, with the score as `relevance_score` in their metadata.

    Args:
        model_name: a folder, or a name on the Hugging Face Hub.
        model: a `votive.Reranker` that is loaded; or `model_name` by its other name.
        top_n: how many documents are left; None for all.
        options: further arguments of `votive.Reranker`, such as `device` and `max_length`.

    Attributes:
        model: the `votive.Reranker`.
        top_n: as given.

    Raises:
        TypeError: neither a name nor a model was given, or both.
        FileNotFoundError, ModelError, DeviceError, ValueError: see `votive.Reranker`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, validate_assignment=True)

    model: Reranker = Field(exclude=True)
    top_n: int | None = Field(default=3, ge=1)

    def __init__(
        self,
        model_name: str | PathLike[str] | None = None,
        *,
        model: str | PathLike[str] | Reranker | None = None,
        top_n: int | None = 3,
        **options: Any,
    ) -> None:
        super().__init__(model=loaded(Reranker, model_name, model, options), top_n=top_n)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The best documents, the best first; those of one score in their own order."""
        texts = [document.page_content for document in documents]
        return _taken(documents, self.model.rank(query, texts, self.top_n))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """`compress_documents` for asyncio, which waits for no thread."""
        texts = [document.page_content for document in documents]
        return _taken(documents, await self.model.arank(query, texts, self.top_n))


def _taken(documents: Sequence[Document], ranked: Sequence[Any]) -> list[Document]:
    taken = []
    for entry in ranked:
        document = documents[entry["corpus_id"]]
        metadata = {**document.metadata, "relevance_score": entry["score"]}
        taken.append(document.model_copy(update={"metadata": metadata}))
    return taken
