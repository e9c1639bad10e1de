"""`votive quantize`: writes a model with its weights as they are held."""

from __future__ import annotations

import argparse
from pathlib import Path

import votive
from votive.cli.arguments import DEFAULT_MODEL


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive quantize` say."""
    model = arguments.model or DEFAULT_MODEL
    folder = votive.quantize_model(
        model,
        arguments.output,
        arguments.dtype,
        base=arguments.base,
        gguf_file=arguments.gguf_file,
        num_threads=arguments.num_threads,
    )
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    print(f"{folder}: {model} in {arguments.dtype}, {size / 1e6:,.1f} MB")
