"""The model of a store."""

from __future__ import annotations

import argparse
from typing import Any

import votive
from votive.cli.arguments import DEFAULT_MODEL
from votive.cli.model import load_model


def load_model_of(store: votive.EmbeddingStore, arguments: argparse.Namespace) -> Any:
    """The model that --model asks for, else the one that made `store`, else the default."""
    info = getattr(store, "embedder_info", None)
    default = DEFAULT_MODEL if info is None else info.name
    return load_model(votive.Embedder, arguments, default, truncate_dim=arguments.truncate_dim)
