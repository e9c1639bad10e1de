"""Embeddings for LlamaIndex."""

from __future__ import annotations

from os import PathLike
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding  # type: ignore[import-not-found, unused-ignore]
from llama_index.core.bridge.pydantic import Field, PrivateAttr  # type: ignore[import-not-found, unused-ignore]

from votive.embedder import Embedder
from votive.integrations._loading import loaded
from votive.integrations._models import document_prompt, query_prompt

# The most that LlamaIndex allows: it gives so many texts at a time, and votive shares them out itself.
_MAX_BATCH_SIZE = 2048


class VotiveEmbedding(BaseEmbedding):  # type: ignore[misc, unused-ignore]
    """A `votive.Embedder` as LlamaIndex's embedding model, in place of `HuggingFaceEmbedding`.

    Texts of nodes are embedded as `encode_document` embeds them, and queries as `encode_query` does. The methods for
    asyncio wait for no thread, and their calls are computed together.

    Args:
        model_name: a folder, or a name on the Hugging Face Hub.
        model: a `votive.Embedder` that is loaded; or `model_name` by its other name.
        normalize: whether embeddings are of length 1.
        query_instruction: what is put before queries; None for the model's own prompt.
        text_instruction: what is put before texts; None for the model's own prompt.
        embed_batch_size: how many texts LlamaIndex gives at a time, up to 2048. Does not change results.
        callback_manager: of LlamaIndex, as those below.
        num_workers: see there.
        embeddings_cache: see there.
        rate_limiter: see there.
        options: further arguments of `votive.Embedder`, such as `device`, `dtype` and `truncate_dim`.

    Raises:
        TypeError: neither a name nor a model was given, or both.
        FileNotFoundError, ModelError, DeviceError, ValueError: see `votive.Embedder`.
    """

    normalize: bool = Field(default=True, description="Whether embeddings are of length 1.")
    query_instruction: str | None = Field(default=None, description="What is put before queries.")
    text_instruction: str | None = Field(default=None, description="What is put before texts.")
    _model: Embedder = PrivateAttr()

    def __init__(
        self,
        model_name: str | PathLike[str] | None = None,
        *,
        model: str | PathLike[str] | Embedder | None = None,
        normalize: bool = True,
        query_instruction: str | None = None,
        text_instruction: str | None = None,
        embed_batch_size: int = _MAX_BATCH_SIZE,
        callback_manager: Any = None,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        rate_limiter: Any = None,
        **options: Any,
    ) -> None:
        embedder = loaded(Embedder, model_name, model, options)
        given: dict[str, Any] = {} if callback_manager is None else {"callback_manager": callback_manager}
        super().__init__(
            model_name=str(embedder.info.name),
            normalize=normalize,
            query_instruction=query_instruction,
            text_instruction=text_instruction,
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            rate_limiter=rate_limiter,
            **given,
        )
        self._model = embedder

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex writes down of it."""
        return "VotiveEmbedding"

    @property
    def model(self) -> Embedder:
        """The `votive.Embedder`."""
        return self._model

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._model.encode_query(
            query, prompt=self.query_instruction, normalize_embeddings=self.normalize
        ).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        prompt = query_prompt(self._model) if self.query_instruction is None else self.query_instruction
        vector = await self._model.aencode(query, prompt=prompt, normalize_embeddings=self.normalize)
        return vector.tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.encode_document(
            texts, prompt=self.text_instruction, normalize_embeddings=self.normalize, show_progress_bar=False
        ).tolist()

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        prompt = document_prompt(self._model) if self.text_instruction is None else self.text_instruction
        vectors = await self._model.aencode(texts, prompt=prompt, normalize_embeddings=self.normalize)
        return vectors.tolist()
