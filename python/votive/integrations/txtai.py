"""txtai: an index of vectors of an `Embedder`, by a class that its configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txtai.vectors import Vectors  # type: ignore[import-not-found,unused-ignore]

from votive.embedder import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VotiveVectors(Vectors):  # type: ignore[misc,unused-ignore]
    """What `Embeddings(method="votive.integrations.txtai.VotiveVectors", path=...)` computes vectors with.

    An index that was saved finds the model again by these two words of its configuration. Others that it reads:

    - `gpu`: True, or "all", for the best device that is there; False for the CPU; a number for that GPU of CUDA; or a
      device by votive's name.
    - `maxlength`: the most tokens of a text.
    - `vectors`: a dict of further arguments of `Embedder`.
    - `encodebatch`, `encodeargs`: the `batch_size`, and a dict of further arguments, of `Embedder.encode`.

    Queries are computed by `Embedder.encode_query`, and what is indexed by `Embedder.encode_document`.

    Raises:
        ImportError: txtai's; the error that it is raised from says what is wrong with the configuration.
    """

    def loadmodel(self, path: str | None) -> Embedder:
        """The model of that name, or in that folder.

        Raises:
            ValueError: there is no path, or the configuration names a tokenizer of its own.
        """
        if not path:
            raise ValueError("path: expected a model's name or folder, found none")
        if self.config.get("tokenizer"):
            raise ValueError("tokenizer: votive takes the one in the model's files; leave it out")
        return Embedder(
            path,
            device=_device(self.config.get("gpu", True)),
            max_seq_length=self.config.get("maxlength"),
            **self.config.get("vectors", {}),
        )

    def encode(self, data: list[str], category: str | None = None) -> NDArray[np.float32]:
        """The embeddings `[texts, dimension]` of texts, which are queries where `category` is "query"."""
        of_category: dict[str | None, Any] = {"query": self.model.encode_query, "data": self.model.encode_document}
        encode = of_category.get(category, self.model.encode)
        embeddings: NDArray[np.float32] = encode(data, batch_size=self.encodebatch, **self.config.get("encodeargs", {}))
        return embeddings


def _device(gpu: Any) -> str:
    if gpu is True or gpu == "all":
        return "auto"
    if gpu is False or gpu is None:
        return "cpu"
    return f"cuda:{gpu}" if isinstance(gpu, int) else str(gpu)
