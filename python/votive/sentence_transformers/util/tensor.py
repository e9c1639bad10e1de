"""Helpers for embeddings and batches, as `sentence_transformers.util.tensor` has them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from votive.sentence_transformers._tensors import as_array, as_floats, is_tensor, like, to_tensor
from votive.sentence_transformers._unsupported import TRAINING, Unsupported
from votive.sentence_transformers.util.similarity import normalized

__all__ = [
    "batch_to_device",
    "cat_padded_token_embeddings",
    "compute_count_vector",
    "normalize_embeddings",
    "repad_flattened_features",
    "select_max_active_dims",
    "stack_padded_token_embeddings",
    "to_scipy_coo",
    "truncate_embeddings",
]

_SPARSE = "votive has no sparse encoders; use sentence-transformers for them"


def normalize_embeddings(embeddings: Any) -> Any:
    """Embeddings of length 1, by their last axis; a zero vector stays one. A tensor gives a tensor, else an array."""
    if is_tensor(embeddings):
        if embeddings.is_sparse:
            raise Unsupported(f"normalize_embeddings of a sparse tensor: {_SPARSE}")
        return sys.modules["torch"].nn.functional.normalize(embeddings, p=2, dim=-1)
    return normalized(as_floats("embeddings", embeddings))


def truncate_embeddings(embeddings: Any, truncate_dim: int | None) -> Any:
    """The first `truncate_dim` numbers of each embedding, `[..., dimension]`; all for None."""
    return embeddings[..., :truncate_dim]


def batch_to_device(batch: dict[str, Any], target_device: Any) -> dict[str, Any]:
    """Moves the tensors of a dict, in place, and returns the dict; what is no tensor stays."""
    for key, value in batch.items():
        if is_tensor(value):
            batch[key] = value.to(target_device)
    return batch


def select_max_active_dims(embeddings: Any, max_active_dims: int | None) -> Any:
    """Embeddings, `[..., dimension]`, with 0 for all but the `max_active_dims` numbers that are furthest from 0.

    Raises:
        ValueError: `max_active_dims` is below 1.
    """
    if max_active_dims is None:
        return embeddings
    if max_active_dims <= 0:
        raise ValueError(f"max_active_dims must be a positive integer, got {max_active_dims}.")
    rows = np.asarray(as_array(embeddings))
    places = np.argsort(-np.abs(rows), axis=-1, kind="stable")[..., :max_active_dims]
    kept = np.zeros_like(rows)
    np.put_along_axis(kept, places, np.take_along_axis(rows, places, axis=-1), axis=-1)
    return like(kept, embeddings)


def cat_padded_token_embeddings(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"cat_padded_token_embeddings: {TRAINING}")


def stack_padded_token_embeddings(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"stack_padded_token_embeddings: {TRAINING}")


def repad_flattened_features(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"repad_flattened_features: {TRAINING}")


def compute_count_vector(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"compute_count_vector: {_SPARSE}")


def to_scipy_coo(*args: Any, **kwargs: Any) -> Any:
    """Raises `Unsupported`."""
    raise Unsupported(f"to_scipy_coo: {_SPARSE}")


def _convert_to_tensor(a: Any) -> Any:
    return a if is_tensor(a) else to_tensor(as_floats("a", a) if isinstance(a, (list, tuple)) else np.asarray(a))


def _convert_to_batch(a: Any) -> Any:
    return a[None] if a.ndim == 1 else a


def _convert_to_batch_tensor(a: Any) -> Any:
    return _convert_to_batch(_convert_to_tensor(a))


def _move_tensors_to_cpu(value: Any) -> Any:
    if is_tensor(value):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _move_tensors_to_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_move_tensors_to_cpu, value))
    return value
