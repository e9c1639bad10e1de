"""Embeddings for LangChain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from langchain_core.embeddings import Embeddings  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray

from votive.embedder import Embedder
from votive.embedder_info import EmbedderInfo
from votive.integrations._loading import loaded
from votive.integrations._models import document_prompt, query_prompt


class VotiveEmbeddings(Embeddings):  # type: ignore[misc, unused-ignore]
    """A `votive.Embedder` as LangChain's `Embeddings`, in place of `HuggingFaceEmbeddings`.

    Documents are embedded as `encode_document` embeds them, and queries as `encode_query` does, with the prompts of the
    model. Texts are embedded as they are: line ends stay, which `HuggingFaceEmbeddings` makes spaces of. The methods
    for asyncio wait for no thread, and their calls are computed together.

    Args:
        model_name: a folder, or a name on the Hugging Face Hub.
        model: a `votive.Embedder` that is loaded; or `model_name` by its other name.
        encode_kwargs: further arguments of `Embedder.encode`, such as `{"normalize_embeddings": True}`.
        query_encode_kwargs: those for queries; None for `encode_kwargs`.
        options: further arguments of `votive.Embedder`, such as `device`, `dtype` and `truncate_dim`.

    Attributes:
        model: the `votive.Embedder`.
        encode_kwargs: as given.
        query_encode_kwargs: as given.

    Raises:
        TypeError: neither a name nor a model was given, or both.
        FileNotFoundError, ModelError, DeviceError, ValueError: see `votive.Embedder`.
    """

    def __init__(
        self,
        model_name: str | PathLike[str] | None = None,
        *,
        model: str | PathLike[str] | Embedder | None = None,
        encode_kwargs: Mapping[str, Any] | None = None,
        query_encode_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.model = loaded(Embedder, model_name, model, options)
        self.encode_kwargs = dict(encode_kwargs or {})
        self.query_encode_kwargs = self.encode_kwargs if query_encode_kwargs is None else dict(query_encode_kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r})"

    @property
    def info(self) -> EmbedderInfo:
        """Which model this is, and what it puts before documents: a store compares it with the one that it knows."""
        info, given = self.model.info, self.encode_kwargs
        if given.get("prompt") is not None:
            return replace(info, prompt=given["prompt"])
        if given.get("prompt_name") is not None:
            return replace(info, prompt=self.model.prompts[given["prompt_name"]])
        return info

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of documents, in their order."""
        return self._encoded_documents(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """The embedding of a query."""
        return self._encoded_query(text).tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` for asyncio."""
        return (await self._aencoded_documents(texts)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` for asyncio."""
        return (await self._aencoded_query(text)).tolist()

    def _encoded_documents(self, texts: list[str], **options: Any) -> NDArray[Any]:
        return self.model.encode_document(texts, **self.encode_kwargs | options)

    def _encoded_query(self, text: str) -> NDArray[Any]:
        return self.model.encode_query(text, **self.query_encode_kwargs)

    async def _aencoded_documents(self, texts: list[str], **options: Any) -> NDArray[Any]:
        given = self.encode_kwargs | options
        if not _has_prompt(given):
            given |= {"prompt": document_prompt(self.model)}
        return await self.model.aencode(texts, **_without_bar(given))

    async def _aencoded_query(self, text: str) -> NDArray[Any]:
        given = self.query_encode_kwargs
        if not _has_prompt(given):
            given = given | {"prompt": query_prompt(self.model)}
        return await self.model.aencode(text, **_without_bar(given))


def _has_prompt(options: dict[str, Any]) -> bool:
    return options.get("prompt_name") is not None or options.get("prompt") is not None


def _without_bar(options: dict[str, Any]) -> dict[str, Any]:
    """What `aencode` takes, which has no progress bar."""
    return {name: value for name, value in options.items() if name != "show_progress_bar"}
