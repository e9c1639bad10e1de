"""`votive encode`: texts in, a NumPy file of vectors out."""

from __future__ import annotations

import argparse
import os
import sys

import votive
from votive.cli.failure import UsageError
from votive.cli.inputs import STANDARD_INPUT, TextInputs
from votive.cli.model import describe, load_model, write_vectors
from votive.cli.outputs import NpyFile, StandardNpyOutput

STANDARD_OUTPUT = "-"


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive encode` say."""
    inputs = TextInputs(arguments.files, arguments.field, arguments.column)
    _refuse_to_replace_input(arguments.files, arguments.output)

    # Opened before the model is loaded: a folder that cannot be written is known at once.
    with StandardNpyOutput() if arguments.output == STANDARD_OUTPUT else NpyFile(arguments.output) as output:
        model = load_model(votive.Embedder, arguments)
        totals = write_vectors(
            model,
            (text.text for text in inputs),
            output,
            inputs.expected,
            normalize_embeddings=arguments.normalize,
            prompt_name=arguments.prompt_name,
            truncate_dim=arguments.truncate_dim,
            batch_size=arguments.batch_size,
        )
    done = describe(totals, model.max_seq_length)
    print(f"{output.path}: {totals.texts:,} x {output.columns} float32; {done}", file=sys.stderr)


def _refuse_to_replace_input(files: list[str], output: str) -> None:
    for path in files:
        if path != STANDARD_INPUT and os.path.exists(output) and os.path.samefile(path, output):
            raise UsageError(f"{output}: is also an input, and would be replaced by its vectors")
