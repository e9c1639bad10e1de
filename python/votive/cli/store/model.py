"""The model of a store."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import votive
from votive.cli.arguments import DEFAULT_MODEL
from votive.cli.failure import CommandFailed
from votive.cli.model import load_model


def load_model_of(store: votive.EmbeddingStore, arguments: argparse.Namespace) -> Any:
    """The model that --model asks for, else the one that made `store`, else the default.

    The one that made it gives vectors of the store's dimension.
    """
    info = store.embedder_info
    if info is None:
        return load_model(votive.Embedder, arguments, DEFAULT_MODEL, truncate_dim=arguments.truncate_dim)
    truncate_dim = arguments.truncate_dim or (store.dimension if arguments.model is None else None)
    return load_model(votive.Embedder, arguments, info.name, truncate_dim=truncate_dim)


@contextmanager
def naming_options() -> Iterator[None]:
    """Has complaints of a store about a model name the command's option, not the argument in Python."""
    try:
        yield
    except votive.StoreError as error:
        if "allow_other_model" not in str(error):
            raise
        raise CommandFailed(str(error).replace("allow_other_model=True", "--allow-other-model")) from error
