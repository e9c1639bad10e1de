"""`votive store add`: more texts in a store."""

from __future__ import annotations

import argparse
import os
import sys

import votive
from votive.cli.model import describe
from votive.cli.store.folder import manifest_of
from votive.cli.store.model import load_model_of, naming_options
from votive.cli.store.rows import MAX_MEMORY_GB, add_rows, read_inputs


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive store add` say."""
    columns = manifest_of(arguments.folder).columns
    inputs = read_inputs(arguments, tuple(name for name, kind in columns.items() if kind.name == "str"))
    spill_to = os.path.dirname(os.path.realpath(arguments.folder))
    with votive.EmbeddingStore.open(
        arguments.folder,
        "a",
        device="cpu",
        num_threads=arguments.num_threads,
        max_memory_gb=MAX_MEMORY_GB,
        spill_to=spill_to,
    ) as store:
        model = load_model_of(store, arguments)
        before = len(store)
        with naming_options():
            totals = add_rows(
                store, model, inputs, arguments.id_field, not arguments.no_metadata, arguments.allow_other_model
            )
        replaced = totals.texts - (len(store) - before)
    there = f", {replaced:,} of them in place of others" if replaced else ""
    done = describe(totals, model.max_seq_length)
    print(f"{arguments.folder}: {totals.texts:,} texts added{there}; {len(store):,} rows; {done}", file=sys.stderr)
