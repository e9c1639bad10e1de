"""KeyBERT: keywords by the vectors of an `Embedder`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybert.backend import BaseEmbedder  # type: ignore[import-not-found,unused-ignore]

from votive.embedder import Embedder
from votive.integrations._models import check_model, load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray


class VotiveBackend(BaseEmbedder):  # type: ignore[misc,unused-ignore]
    """What `KeyBERT(model=...)` takes: an `Embedder` as it is would be replaced by another model.

    Args:
        embedding_model: an `Embedder`, or a model's name or folder, which is loaded at once.
        encode_kwargs: arguments of `Embedder.encode`, for documents and keywords alike: `prompt_name`, say.

    Attributes:
        embedding_model: the `Embedder`.

    Raises:
        TypeError: `embedding_model` is none of these.
    """

    def __init__(self, embedding_model: Embedder | str | PathLike[str], **encode_kwargs: Any) -> None:
        check_model(Embedder, "embedding_model", embedding_model, {})
        super().__init__(embedding_model=load(Embedder, embedding_model, {}))
        self.encode_kwargs = encode_kwargs

    def embed(self, documents: Iterable[str], verbose: bool = False) -> NDArray[np.float32]:
        """The embeddings `[documents, dimension]` of documents, or of words; `verbose` shows a progress bar."""
        embeddings: NDArray[np.float32] = self.embedding_model.encode(
            documents, **{"show_progress_bar": verbose} | self.encode_kwargs
        )
        return embeddings
