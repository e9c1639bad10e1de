"""`votive store info`: what a store holds."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from votive.cli.hits import print_json
from votive.cli.store.folder import manifest_of, shown_size, size_of


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive store info` say."""
    found = describe(arguments.folder)
    if arguments.json:
        print_json(found)
        return
    model = found["model"]
    deleted = f" (and {found['deleted_rows']:,} deleted)" if found["deleted_rows"] else ""
    lines = {
        "store": found["folder"],
        "rows": f"{found['rows']:,}{deleted}",
        "dimension": found["dimension"] or "none yet",
        "metric": found["metric"],
        "dtype": found["dtype"],
        "size": shown_size(found["bytes"]),
        "generation": f"{found['generation']:,}",
        "ids": found["id_type"] or "none yet",
        "model": "not recorded" if model is None else model["name"],
        "columns": "" if found["columns"] else "none",
    }
    for name, value in lines.items():
        print(f"{name:<11} {value}".rstrip())
    width = max(map(len, found["columns"]), default=0)
    for name, kind in found["columns"].items():
        print(f"  {name:<{width}}  {kind}")


def describe(folder: str) -> dict[str, Any]:
    """What `votive store info --json` prints."""
    manifest = manifest_of(folder)
    return {
        "folder": folder,
        "rows": manifest.rows - manifest.deleted_rows,
        "deleted_rows": manifest.deleted_rows,
        "dimension": manifest.dimension,
        "metric": manifest.metric,
        "dtype": manifest.dtype,
        "bytes": size_of(manifest),
        "generation": manifest.generation,
        "id_type": manifest.id_kind,
        "columns": {name: kind.name for name, kind in manifest.columns.items()},
        "model": None if manifest.embedder is None else asdict(manifest.embedder),
    }
