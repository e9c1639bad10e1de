"""`votive store compact`: the room of deleted rows is given back."""

from __future__ import annotations

import argparse
import os

import votive
from votive.cli.store.folder import manifest_of, shown_size, size_of
from votive.cli.store.rows import MAX_MEMORY_GB


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive store compact` say."""
    before = manifest_of(arguments.folder)
    spill_to = os.path.dirname(os.path.realpath(arguments.folder))
    with votive.EmbeddingStore.open(
        arguments.folder, "a", device="cpu", max_memory_gb=MAX_MEMORY_GB, spill_to=spill_to
    ) as store:
        store.compact()
    after = manifest_of(arguments.folder)
    sizes = f"{shown_size(size_of(before))} before, {shown_size(size_of(after))} now"
    print(f"{arguments.folder}: {len(store):,} rows; {before.deleted_rows:,} deleted rows are gone; {sizes}")
