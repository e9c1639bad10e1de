"""`votive models`: which models load."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from votive.cli.hits import print_json
from votive.model_families import supported_models


def run(arguments: argparse.Namespace) -> None:
    """Do what `votive models` is for."""
    families = supported_models()
    if arguments.json:
        print_json([asdict(family) for family in families])
        return
    for family in families:
        print(f"{family.name}: {', '.join(family.model_types)}" if family.model_types else family.name)
        for kind, models in (("embedders", family.embedders), ("rerankers", family.rerankers)):
            if models:
                print(f"  {kind}: {', '.join(models)}")
        if family.limits:
            print(f"  {family.limits.replace('`', '')}")
