"""BERTopic: topics by the vectors of an `Embedder`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bertopic.backend import BaseEmbedder  # type: ignore[import-not-found,unused-ignore]

from votive.embedder import Embedder
from votive.integrations._models import check_model, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray


class VotiveBackend(BaseEmbedder):  # type: ignore[misc,unused-ignore]
    """What `BERTopic(embedding_model=...)` takes: an `Embedder` as it is would be replaced by another model.

    A pickle of the topic model holds the `Embedder`'s arguments, and no weights. The other formats, of safetensors and
    PyTorch, hold the model's name where this was made of a name.

    Args:
        embedding_model: an `Embedder`, or a model's name or folder, which is loaded at once.

    Attributes:
        embedding_model: the `Embedder`.

    Raises:
        TypeError: `embedding_model` is none of these.
    """

    def __init__(self, embedding_model: Embedder | str | os.PathLike[str]) -> None:
        check_model(Embedder, "embedding_model", embedding_model, {})
        super().__init__(embedding_model=load(Embedder, embedding_model, {}))
        # What BERTopic writes into the configuration of a topic model, under this name.
        self._hf_model = None if isinstance(embedding_model, Embedder) else os.fspath(embedding_model)

    def embed(self, documents: Iterable[str], verbose: bool = False) -> NDArray[np.float32]:
        """The embeddings `[documents, dimension]` of documents, or of words; `verbose` shows a progress bar."""
        embeddings: NDArray[np.float32] = self.embedding_model.encode(documents, show_progress_bar=verbose)
        return embeddings
