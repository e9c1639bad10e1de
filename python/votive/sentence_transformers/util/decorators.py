"""`sentence_transformers.util.decorators`, as far as programs name it."""

from __future__ import annotations

from votive.sentence_transformers._older_arguments import (
    cross_encoder_init_args_decorator,
    cross_encoder_predict_rank_args_decorator,
    deprecated_kwargs,
    save_to_hub_args_decorator,
)

__all__ = [
    "cross_encoder_init_args_decorator",
    "cross_encoder_predict_rank_args_decorator",
    "deprecated_kwargs",
    "save_to_hub_args_decorator",
]
