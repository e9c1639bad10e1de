"""Components for Haystack's pipelines: embedders of texts and of documents, and a ranker.

    from votive.integrations.haystack import VotiveDocumentEmbedder, VotiveRanker, VotiveTextEmbedder

Arguments are called as those of Haystack's own embedders and rankers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from haystack import (  # type: ignore[import-not-found,unused-ignore]
    Document,
    component,
    default_from_dict,
    default_to_dict,
)
from haystack.utils import ComponentDevice, Secret  # type: ignore[import-not-found,unused-ignore]

from votive._arguments import check_positive
from votive.embedder import Embedder
from votive.integrations._models import arguments_of, check_model, document_prompt, given, load, query_prompt
from votive.reranker import Reranker

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["VotiveDocumentEmbedder", "VotiveRanker", "VotiveTextEmbedder"]


class _Component:
    """What has a model, which `warm_up` or the first run loads."""

    _kind: Any = Embedder

    # Not `__init__`: Haystack makes the classes anew, where `super()` does not find its way.
    def _keep(self, model: Any, device: Any, token: Any, options: dict[str, Any]) -> None:
        if token is not None and not isinstance(token, Secret):
            # It would be written into a saved pipeline.
            raise TypeError(f"token: expected a haystack.utils.Secret or None, found {type(token).__name__}")
        check_model(self._kind, "model", model, given(device=device, token=token) | options)
        self.model, self.device, self.token, self.options = model, device, token, options
        self._loaded: Any = None

    def warm_up(self) -> None:
        """Loads the model, unless it is loaded."""
        if self._loaded is None:
            self._loaded = self._load()

    def _load(self) -> Any:
        options = dict(self.options)
        if self.device is not None:
            is_component = isinstance(self.device, ComponentDevice)
            options["device"] = self.device.to_torch_str() if is_component else self.device
        if self.token is not None:
            options["token"] = self.token.resolve_value()
        return load(self._kind, self.model, options)

    def _to_dict(self, **parameters: Any) -> dict[str, Any]:
        model, options = self.model, self.options
        if isinstance(model, Embedder | Reranker):
            options = arguments_of(model)
            model = options.pop("model_name_or_path")
            # The ranker's `scale_score` stands in its place.
            options.pop("activation_fn", None)
        parameters |= {"device": self.device, "token": self.token} | options
        return default_to_dict(self, model=str(model), **parameters)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """The component that `to_dict` described; its model is not loaded yet."""
        return default_from_dict(cls, data)


def _check_documents(documents: Any) -> None:
    """Accepts lists of Documents."""
    if not isinstance(documents, list):
        hint = "; VotiveTextEmbedder takes a str" if isinstance(documents, str) else ""
        raise TypeError(f"documents: expected a list of Documents, found {type(documents).__name__}{hint}")
    for i, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(f"documents[{i}]: expected a Document, found {type(document).__name__}")


def _texts_of(documents: list[Document], meta_fields: list[str], separator: str) -> list[str]:
    """The contents of documents, each after its fields of metadata."""
    return [
        separator.join(
            [
                *(str(document.meta[field]) for field in meta_fields if document.meta.get(field) is not None),
                document.content or "",
            ]
        )
        for document in documents
    ]


@component
class VotiveTextEmbedder(_Component):
    """A component that embeds one text, of a query say: `run(text)` gives `{"embedding": list[float]}`.

    Args:
        model: a model's name or folder; or an `Embedder`, which several components may share.
        device: "auto", "cpu", "cuda:0", ..., or a `ComponentDevice`; None for "auto".
        token: for private models, as a `Secret`; None for the one of the environment, if there is one.
        prefix: what to put before the text, in place of the prompt "query" that the model's files may have; "" for
            neither.
        suffix: what to put after the text.
        normalize_embeddings: scale the embedding to length 1.
        options: further arguments of `Embedder`: `truncate_dim`, `dtype`, `revision`, `local_files_only`, ...

    Raises:
        TypeError: an argument is not of its type, or is none of `Embedder`.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Embedder,
        *,
        device: ComponentDevice | str | None = None,
        token: Secret | None = None,
        prefix: str | None = None,
        suffix: str = "",
        normalize_embeddings: bool = False,
        **options: Any,
    ) -> None:
        self._keep(model, device, token, options)
        self.prefix = prefix
        self.suffix = suffix
        self.normalize_embeddings = normalize_embeddings

    def to_dict(self) -> dict[str, Any]:
        """The component as `Pipeline.dumps` writes it: an `Embedder` as the arguments that load the same model."""
        return self._to_dict(prefix=self.prefix, suffix=self.suffix, normalize_embeddings=self.normalize_embeddings)

    def _encode_arguments(self, text: Any) -> dict[str, Any]:
        if not isinstance(text, str):
            hint = "; VotiveDocumentEmbedder takes Documents" if isinstance(text, list) else ""
            raise TypeError(f"text: expected a str, found {type(text).__name__}{hint}")
        self.warm_up()
        return {
            "inputs": (self.prefix or "") + text + self.suffix,
            "prompt": query_prompt(self._loaded) if self.prefix is None else "",
            "normalize_embeddings": self.normalize_embeddings,
        }

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """The embedding of a text.

        Raises:
            TypeError: `text` is no str.
        """
        arguments = self._encode_arguments(text)
        return {"embedding": self._loaded.encode(**arguments).tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """`run` for asyncio: other tasks go on meanwhile, and no thread waits."""
        arguments = self._encode_arguments(text)
        return {"embedding": (await self._loaded.aencode(**arguments)).tolist()}


@component
class VotiveDocumentEmbedder(_Component):
    """A component that embeds documents: `run(documents)` gives `{"documents": list[Document]}`, which are copies.

    Args:
        model: a model's name or folder; or an `Embedder`, which several components may share.
        device: "auto", "cpu", "cuda:0", ..., or a `ComponentDevice`; None for "auto".
        token: for private models, as a `Secret`; None for the one of the environment, if there is one.
        prefix: what to put before each text, in place of the prompt "document" that the model's files may have; "" for
            neither.
        suffix: what to put after each text.
        batch_size: most documents in one pass; None to let the number of tokens decide. Does not change results.
        progress_bar: None to show one on a terminal when it takes longer than 2 s.
        normalize_embeddings: scale each embedding to length 1.
        meta_fields_to_embed: fields of the documents' metadata to embed before their content; a document may lack them.
        embedding_separator: what stands between them.
        options: further arguments of `Embedder`: `truncate_dim`, `dtype`, `revision`, `local_files_only`, ...

    Raises:
        TypeError: an argument is not of its type, or is none of `Embedder`.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Embedder,
        *,
        device: ComponentDevice | str | None = None,
        token: Secret | None = None,
        prefix: str | None = None,
        suffix: str = "",
        batch_size: int | None = None,
        progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        **options: Any,
    ) -> None:
        self._keep(model, device, token, options)
        self.prefix = prefix
        self.suffix = suffix
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.normalize_embeddings = normalize_embeddings
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """The component as `Pipeline.dumps` writes it: an `Embedder` as the arguments that load the same model."""
        return self._to_dict(
            prefix=self.prefix,
            suffix=self.suffix,
            batch_size=self.batch_size,
            progress_bar=self.progress_bar,
            normalize_embeddings=self.normalize_embeddings,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )

    def _encode_arguments(self, documents: Any) -> dict[str, Any]:
        _check_documents(documents)
        texts = _texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        self.warm_up()
        return {
            "inputs": [(self.prefix or "") + text + self.suffix for text in texts],
            "prompt": document_prompt(self._loaded) if self.prefix is None else "",
            "normalize_embeddings": self.normalize_embeddings,
            **given(batch_size=self.batch_size),
        }

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Copies of the documents, with embeddings.

        Raises:
            TypeError: `documents` is no list of Documents.
        """
        arguments = self._encode_arguments(documents)
        return _embedded(documents, self._loaded.encode(**arguments, show_progress_bar=self.progress_bar))

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """`run` for asyncio, without a progress bar: other tasks go on meanwhile, and no thread waits."""
        arguments = self._encode_arguments(documents)
        return _embedded(documents, await self._loaded.aencode(**arguments))


def _embedded(documents: list[Document], embeddings: Any) -> dict[str, list[Document]]:
    rows = zip(documents, embeddings.tolist(), strict=True)
    return {"documents": [replace(document, embedding=row) for document, row in rows]}


@component
class VotiveRanker(_Component):
    """A component that sorts documents by how well they answer a query, with a cross-encoder.

    Args:
        model: the name or folder of a cross-encoder; or a `Reranker`, which several components may share.
        device: "auto", "cpu", "cuda:0", ..., or a `ComponentDevice`; None for "auto".
        token: for private models, as a `Secret`; None for the one of the environment, if there is one.
        top_k: how many documents to give at most.
        query_prefix: what to put before the query.
        query_suffix: what to put after the query.
        document_prefix: what to put before each document.
        document_suffix: what to put after each document.
        meta_fields_to_embed: fields of the documents' metadata to read before their content; a document may lack them.
        embedding_separator: what stands between them.
        scale_score: True for scores from 0 to 1, by a sigmoid; False for logits. Both stand in place of the activation
            function that the model has.
        score_threshold: leave out documents with a lower score.
        batch_size: most documents in one pass; None to let the number of tokens decide. Does not change results.
        options: further arguments of `Reranker`: `max_length`, `dtype`, `revision`, `prompts`, ...

    Raises:
        TypeError: an argument is not of its type, or is none of `Reranker`.
        ValueError: `top_k` is below 1.
    """

    _kind = Reranker

    def __init__(
        self,
        model: str | PathLike[str] | Reranker,
        *,
        device: ComponentDevice | str | None = None,
        token: Secret | None = None,
        top_k: int = 10,
        query_prefix: str = "",
        query_suffix: str = "",
        document_prefix: str = "",
        document_suffix: str = "",
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        scale_score: bool = True,
        score_threshold: float | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        if "activation_fn" in options:
            raise TypeError("activation_fn: scale_score says what logits go through: True for a sigmoid")
        check_positive("top_k", top_k)
        self._keep(model, device, token, options)
        self.top_k = top_k
        self.query_prefix = query_prefix
        self.query_suffix = query_suffix
        self.document_prefix = document_prefix
        self.document_suffix = document_suffix
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.scale_score = scale_score
        self.score_threshold = score_threshold
        self.batch_size = batch_size

    def to_dict(self) -> dict[str, Any]:
        """The component as `Pipeline.dumps` writes it: a `Reranker` as the arguments that load the same model."""
        return self._to_dict(
            top_k=self.top_k,
            query_prefix=self.query_prefix,
            query_suffix=self.query_suffix,
            document_prefix=self.document_prefix,
            document_suffix=self.document_suffix,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
            scale_score=self.scale_score,
            score_threshold=self.score_threshold,
            batch_size=self.batch_size,
        )

    def _rank_arguments(
        self, query: Any, documents: Any, top_k: Any, scale_score: bool | None
    ) -> tuple[list[Document], dict[str, Any]]:
        """The documents, each once, and what to ask of the model."""
        if not isinstance(query, str):
            raise TypeError(f"query: expected a str, found {type(query).__name__}")
        if top_k is not None:
            check_positive("top_k", top_k)
        _check_documents(documents)
        best: dict[str, Document] = {}
        for document in documents:
            if document.id not in best or _score(document) > _score(best[document.id]):
                best[document.id] = document
        documents = list(best.values())
        texts = _texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        self.warm_up()
        return documents, {
            "query": self.query_prefix + query + self.query_suffix,
            "documents": [self.document_prefix + text + self.document_suffix for text in texts],
            **given(batch_size=self.batch_size),
            "activation_fn": "sigmoid" if (self.scale_score if scale_score is None else scale_score) else "identity",
        }

    def _ranked(
        self, documents: list[Document], hits: list[Any], top_k: int | None, score_threshold: float | None
    ) -> dict[str, list[Document]]:
        least = self.score_threshold if score_threshold is None else score_threshold
        kept = [hit for hit in hits if least is None or hit["score"] >= least][: self.top_k if top_k is None else top_k]
        return {"documents": [replace(documents[hit["corpus_id"]], score=hit["score"]) for hit in kept]}

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        scale_score: bool | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """Copies of the documents with scores, best first; of those with one id only the one that had the best score.

        `top_k`, `scale_score` and `score_threshold` stand in place of the constructor's, unless they are None.

        Raises:
            TypeError: `query` is no str, or `documents` no list of Documents.
            ValueError: `top_k` is below 1, or the model has more labels than one.
        """
        documents, arguments = self._rank_arguments(query, documents, top_k, scale_score)
        return self._ranked(documents, self._loaded.rank(**arguments), top_k, score_threshold)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        scale_score: bool | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """`run` for asyncio: other tasks go on meanwhile, and no thread waits."""
        documents, arguments = self._rank_arguments(query, documents, top_k, scale_score)
        return self._ranked(documents, await self._loaded.arank(**arguments), top_k, score_threshold)


def _score(document: Document) -> float:
    return -math.inf if document.score is None else document.score
