"""An embedding function for Chroma's collections.

    from votive.integrations.chroma import VotiveEmbeddingFunction

Importing it makes it known to Chroma: a collection that was made with it finds it again.
"""

from __future__ import annotations

import json
import os
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chromadb.api.types import (  # type: ignore[import-not-found,unused-ignore]
    Documents,
    EmbeddingFunction,
    Embeddings,
    Space,
)
from chromadb.utils.embedding_functions import (  # type: ignore[import-not-found,unused-ignore]
    register_embedding_function,
)

from votive._warnings import caller_stacklevel
from votive.embedder import Embedder
from votive.integrations._models import arguments_of, check_model

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["VotiveEmbeddingFunction"]

# By the name of the similarity function.
_SPACES = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


# Chroma builds the function of a collection that is opened without one anew for every call.
@lru_cache(maxsize=4)
def _load(arguments: str) -> Embedder:
    return Embedder(**json.loads(arguments))


@register_embedding_function
class VotiveEmbeddingFunction(EmbeddingFunction[Documents]):
    """What Chroma embeds documents and queries with: `encode_document` and `encode_query` of an `Embedder`.

    Functions that are given equal arguments share one model.

    Args:
        model_name: a model's name or folder, or an `Embedder`. A collection keeps the name and the options, or the
            arguments that load the same model.
        normalize_embeddings: scale each embedding to length 1.
        options: further arguments of `Embedder`: `device`, `dtype`, `truncate_dim`, ... of JSON's types.

    Raises:
        TypeError: an argument is none of `Embedder`, or of a type that a collection cannot keep.
        ValueError: `token` is a str, which a collection would show, or a setting of the `Embedder` cannot be kept.
    """

    def __init__(
        self,
        model_name: str | PathLike[str] | Embedder = "sentence-transformers/all-MiniLM-L6-v2",
        normalize_embeddings: bool = False,
        **options: Any,
    ) -> None:
        check_model(Embedder, "model_name", model_name, options)
        if isinstance(options.get("token"), str):
            raise ValueError(
                "token: it would be written into the collection; log in with `hf auth login`, or set HF_TOKEN"
            )
        self._given = model_name if isinstance(model_name, Embedder) else None
        if isinstance(model_name, Embedder):
            kept = arguments_of(model_name)
        else:
            kept = {"model_name_or_path": os.fspath(model_name), **options}
        try:
            self._arguments = json.dumps(kept, sort_keys=True)
        except TypeError as error:
            raise TypeError(f"options: a collection keeps what JSON can say: {error}") from None
        self.normalize_embeddings = normalize_embeddings
        # Now: where `default_space` raises, Chroma goes on and makes a collection that forgets its function.
        _ = self.embedder

    @property
    def embedder(self) -> Embedder:
        """The model."""
        return self._given or _load(self._arguments)

    def __call__(self, input: Documents) -> Embeddings:
        """The embeddings of documents, one array `[dimension]` of float32 for each."""
        return list(self.embedder.encode_document(list(input), normalize_embeddings=self.normalize_embeddings))

    def embed_query(self, input: Documents) -> Embeddings:
        """The embeddings of queries, one array `[dimension]` of float32 for each."""
        return list(self.embedder.encode_query(list(input), normalize_embeddings=self.normalize_embeddings))

    @staticmethod
    def name() -> str:
        """What collections call it."""
        return "votive"

    def default_space(self) -> Space:
        """The space of a collection that is made without one, by the model's similarity function."""
        name = self.embedder.similarity_fn_name
        if name not in _SPACES:
            warnings.warn(f"{name!r} is no space of Chroma's; the collection has 'l2'", stacklevel=caller_stacklevel())
        return _SPACES.get(name, "l2")

    def get_config(self) -> dict[str, Any]:
        """What a collection keeps."""
        options = json.loads(self._arguments)
        name = options.pop("model_name_or_path")
        return {"model_name": name, "normalize_embeddings": self.normalize_embeddings, "options": options}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> VotiveEmbeddingFunction:
        """The function that `get_config` described. Its model is loaded when it is first used."""
        function = VotiveEmbeddingFunction.__new__(VotiveEmbeddingFunction)
        function._given = None
        function._arguments = json.dumps(
            {"model_name_or_path": config["model_name"], **config["options"]}, sort_keys=True
        )
        function.normalize_embeddings = config["normalize_embeddings"]
        return function
