"""`votive store verify`: whether a store is what was written."""

from __future__ import annotations

import argparse

import votive
from votive.cli.hits import print_json
from votive.cli.store.folder import manifest_of, shown_size, size_of


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive store verify` say."""
    try:
        manifest = manifest_of(arguments.folder)
        votive.EmbeddingStore.open(arguments.folder, device="cpu").verify()
    except votive.CorruptStoreError as error:
        if arguments.json:
            print_json({"folder": arguments.folder, "ok": False, "error": str(error)})
        raise
    size = size_of(manifest)
    if arguments.json:
        print_json({"folder": arguments.folder, "ok": True, "error": None, "files": len(manifest.files), "bytes": size})
    else:
        print(f"{arguments.folder}: all is as it was written ({shown_size(size)} in {len(manifest.files)} files)")
