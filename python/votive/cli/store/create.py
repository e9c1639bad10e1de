"""`votive store create`: a folder with texts, their vectors and metadata."""

from __future__ import annotations

import argparse
import os
import sys

import votive
from votive.cli.model import describe, load_model
from votive.cli.store.folder import NewFolder
from votive.cli.store.rows import MAX_MEMORY_GB, add_rows, read_inputs


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive store create` say."""
    inputs = read_inputs(arguments)
    if arguments.model is not None and os.path.isdir(arguments.model):
        # The store keeps the name, for searches from any folder.
        arguments.model = os.path.abspath(arguments.model)
    with NewFolder(arguments.folder) as folder:
        store = votive.EmbeddingStore(
            metric=arguments.metric,
            dtype=arguments.store_dtype,
            num_threads=arguments.num_threads,
            device="cpu",  # a search takes another; adding does not use it
            max_memory_gb=MAX_MEMORY_GB,
            spill_to=folder.work,
        )
        model = load_model(votive.Embedder, arguments, truncate_dim=arguments.truncate_dim)
        totals = add_rows(store, model, inputs, arguments.id_field, not arguments.no_metadata)
        store.save_to_disk(folder.store)
    replaced = totals.texts - len(store)
    twice = f", {replaced:,} texts had the id of a later one" if replaced else ""
    done = describe(totals, model.max_seq_length)
    print(f"{arguments.folder}: {len(store):,} rows of {store.dimension}{twice}; {done}", file=sys.stderr)
