"""Which models load: the families of the core, with models of each by name."""

from __future__ import annotations

from dataclasses import dataclass

from votive import _core


@dataclass(frozen=True)
class ModelFamily:
    """Models of one architecture. Any model of it loads, not only those that are named.

    Attributes:
        name: as people call it.
        model_types: the values of `model_type` in config.json; empty where they are told otherwise, see `limits`.
        embedders: models for `Embedder`, by name; empty where there are none to name.
        rerankers: models for `Reranker`, likewise.
        limits: what the models need or lack; "" for nothing.
    """

    name: str
    model_types: tuple[str, ...]
    embedders: tuple[str, ...]
    rerankers: tuple[str, ...]
    limits: str


def supported_models() -> list[ModelFamily]:
    """The families of models that load, in the order of the documentation."""
    return [
        ModelFamily(name, tuple(model_types), tuple(embedders), tuple(rerankers), limits)
        for name, model_types, embedders, rerankers, limits in _core.model_families()
    ]
