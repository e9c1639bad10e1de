"""Reranking for LlamaIndex."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import llama_index.core.instrumentation as instrumentation  # type: ignore[import-not-found, unused-ignore]
from llama_index.core.bridge.pydantic import Field, PrivateAttr  # type: ignore[import-not-found, unused-ignore]
from llama_index.core.callbacks import CBEventType, EventPayload  # type: ignore[import-not-found, unused-ignore]
from llama_index.core.instrumentation.events.rerank import (  # type: ignore[import-not-found, unused-ignore]
    ReRankEndEvent,
    ReRankStartEvent,
)
from llama_index.core.postprocessor.types import (  # type: ignore[import-not-found, unused-ignore]
    BaseNodePostprocessor,
)
from llama_index.core.schema import (  # type: ignore[import-not-found, unused-ignore]
    MetadataMode,
    NodeWithScore,
    QueryBundle,
)

from votive.integrations._loading import loaded
from votive.reranker import Reranker

_dispatcher = instrumentation.get_dispatcher(__name__)


class VotiveRerank(BaseNodePostprocessor):  # type: ignore[misc, unused-ignore]
    """A `votive.Reranker` that leaves the nodes that answer a query best, in place of `SentenceTransformerRerank`.

    Args:
        model_name: a folder, or a name on the Hugging Face Hub.
        model: a `votive.Reranker` that is loaded; or `model_name` by its other name.
        top_n: how many nodes are left; None for all.
        callback_manager: of LlamaIndex.
        options: further arguments of `votive.Reranker`, such as `device` and `max_length`.

    Raises:
        TypeError: neither a name nor a model was given, or both.
        FileNotFoundError, ModelError, DeviceError, ValueError: see `votive.Reranker`.
    """

    model_name: str = Field(description="The name of the reranker.")
    top_n: int | None = Field(default=2, ge=1, description="How many nodes are left.")
    _model: Reranker = PrivateAttr()

    def __init__(
        self,
        model_name: str | PathLike[str] | None = None,
        *,
        model: str | PathLike[str] | Reranker | None = None,
        top_n: int | None = 2,
        callback_manager: Any = None,
        **options: Any,
    ) -> None:
        reranker = loaded(Reranker, model_name, model, options)
        given: dict[str, Any] = {} if callback_manager is None else {"callback_manager": callback_manager}
        super().__init__(model_name=str(reranker._arguments["model_name_or_path"]), top_n=top_n, **given)
        self._model = reranker

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex writes down of it."""
        return "VotiveRerank"

    @property
    def model(self) -> Reranker:
        """The `votive.Reranker`."""
        return self._model

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """New nodes with scores, the best first; those of one score in their own order."""
        with self._reported(nodes, query_bundle) as (query, texts, taken):
            taken += _taken(nodes, self._model.rank(query, texts, self.top_n))
        return taken

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """`_postprocess_nodes` for asyncio, which waits for no thread."""
        with self._reported(nodes, query_bundle) as (query, texts, taken):
            taken += _taken(nodes, await self._model.arank(query, texts, self.top_n))
        return taken

    @contextmanager
    def _reported(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None
    ) -> Iterator[tuple[str, list[str], list[NodeWithScore]]]:
        """The query, the texts of the nodes, and a list for what is left, which LlamaIndex's listeners are told of."""
        if query_bundle is None:
            raise ValueError("query_bundle: expected a query, found None; nodes are ranked by how well they answer one")
        _dispatcher.event(
            ReRankStartEvent(
                query=query_bundle, nodes=nodes, top_n=self.top_n or len(nodes), model_name=self.model_name
            )
        )
        payload = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model_name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        taken: list[NodeWithScore] = []
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield query_bundle.query_str, texts, taken
            event.on_end(payload={EventPayload.NODES: taken})
        _dispatcher.event(ReRankEndEvent(nodes=taken))


def _taken(nodes: list[NodeWithScore], ranked: list[Any]) -> list[NodeWithScore]:
    return [NodeWithScore(node=nodes[entry["corpus_id"]].node, score=entry["score"]) for entry in ranked]
