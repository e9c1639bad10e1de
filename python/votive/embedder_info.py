"""Which model embeddings are of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from votive._arguments import check_text

# Most characters of each attribute: a store's manifest holds them, and a manifest may come from anywhere.
MAX_CHARACTERS = {
    "name": 1 << 13,
    "revision": 1 << 8,
    "fingerprint": 1 << 7,
    "pooling": 1 << 8,
    "dtype": 1 << 5,
    "prompt": 1 << 16,
}


@dataclass(frozen=True)
class EmbedderInfo:
    """What is known of the model that embeddings are of: `Embedder.info`, and `EmbeddingStore.embedder_info`.

    An embedder of your own that has such an attribute `info` is checked by a store as an `Embedder` is.

    Attributes:
        name: the folder, or the name on the hub, that the model was loaded by.
        revision: the commit on the hub; None for a folder, and for an installed package.
        fingerprint: a digest of what decides the vectors: the configurations of the network and of the modules after
            it, and the weights, by their size, their beginning and bytes all through them. A name on the hub and a
            folder with the same files have the same one, whatever their `dtype` and `truncate_dim`.
        pooling: how the vectors of a text's tokens become one: "mean", "cls", "lasttoken", and so on; of several,
            "cls+mean".
        dtype: how the matrices were held and multiplied. It decides digits, and not which vectors may be compared.
        prompt: what was put before each document; "" for nothing.

    Raises:
        TypeError: an attribute is no str.
        ValueError: one is too long, or holds a lone surrogate; or there is no fingerprint.
    """

    name: str
    revision: str | None
    fingerprint: str
    pooling: str
    dtype: str
    prompt: str

    def __post_init__(self) -> None:
        """Checks all attributes."""
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if value is None and field.name == "revision":
                continue
            text, most = check_text(field.name, value), MAX_CHARACTERS[field.name]
            if len(text) > most:
                raise ValueError(f"{field.name}: expected at most {most} characters, found {len(text)}")
        if not self.fingerprint:
            raise ValueError("fingerprint: expected a text, found none")
