"""An embedder for DSPy: for `dspy.retrievers.Embeddings`, `dspy.KNN`, and whatever takes a `dspy.Embedder`.

    from votive.integrations.dspy import VotiveEmbedder

`dspy.Embedder(embedder.encode, caching=False)` computes the same, but for two things that this class is for. DSPy's
cache knows a function by its source, which is one for all models: with it, a second model gets the vectors of the
first, from the disk and in later processes, too. And `acall` calls a plain function on the event loop's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy  # type: ignore[import-not-found,unused-ignore]

from votive.embedder import Embedder
from votive.integrations._models import check_model, given, load

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VotiveEmbedder"]


class VotiveEmbedder(dspy.Embedder):  # type: ignore[misc,unused-ignore]
    """A `dspy.Embedder` that computes with an `Embedder`, without a cache, and without a thread in `acall`.

    Args:
        model: a model's name or folder, or an `Embedder`.
        encode_arguments: what `encode` gets with every call, unless the call says otherwise: `prompt_name`,
            `normalize_embeddings`, `truncate_dim`, ...

    Raises:
        TypeError: `model` is none of these.
    """

    def __init__(self, model: str | PathLike[str] | Embedder, **encode_arguments: Any) -> None:
        check_model(Embedder, "model", model, {})
        self.embedder = load(Embedder, model, {})
        super().__init__(self.embedder.encode, caching=False, **encode_arguments)

    def __call__(
        self, inputs: str | list[str], batch_size: int | None = None, caching: bool | None = None, **arguments: Any
    ) -> NDArray[np.float32]:
        """The embedding `[dimension]` of one text, or those `[texts, dimension]` of a list.

        Raises:
            ValueError: `caching` is True.
            TypeError: something that is no text, or an argument that `encode` does not have.
        """
        _refuse(caching)
        return self.embedder.encode(inputs, **given(batch_size=batch_size), **self.default_kwargs | arguments)

    async def acall(
        self, inputs: str | list[str], batch_size: int | None = None, caching: bool | None = None, **arguments: Any
    ) -> NDArray[np.float32]:
        """The same for asyncio: other tasks go on meanwhile, and no thread waits."""
        _refuse(caching)
        return await self.embedder.aencode(inputs, **given(batch_size=batch_size), **self.default_kwargs | arguments)


def _refuse(caching: bool | None) -> None:
    if caching:
        raise ValueError(
            "caching: DSPy's cache does not tell models apart, and gives the vectors of another; leave it out"
        )
