"""`votive encode`: texts in, a NumPy file of vectors out."""

from __future__ import annotations

import argparse
import os
import sys

from votive.cli.failure import UsageError
from votive.cli.inputs import STANDARD_INPUT, TextInputs
from votive.cli.model import describe_truncation, load_model, write_vectors
from votive.cli.outputs import NpyFile


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive encode` say."""
    inputs = TextInputs(arguments.files, arguments.field, arguments.column)
    _refuse_to_replace_input(arguments.files, arguments.output)

    def expected(encoded: int) -> int | None:
        fraction = inputs.fraction_read()
        return None if fraction is None else round(encoded / fraction)

    # Opened before the model is loaded: a folder that cannot be written is known at once.
    with NpyFile(arguments.output) as output:
        model = load_model(arguments)
        totals = write_vectors(
            model,
            (text.text for text in inputs),
            output,
            expected,
            normalize_embeddings=arguments.normalize,
            prompt_name=arguments.prompt_name,
            truncate_dim=arguments.truncate_dim,
            batch_size=arguments.batch_size,
        )
    speed = f"{totals.per_second(totals.texts):,.0f} texts/s, {totals.per_second(totals.tokens):,.0f} tokens/s"
    cut = describe_truncation(totals, model.max_seq_length)
    print(f"{arguments.output}: {totals.texts:,} x {output.columns} float32; {speed}; {cut}", file=sys.stderr)


def _refuse_to_replace_input(files: list[str], output: str) -> None:
    for path in files:
        if path != STANDARD_INPUT and os.path.exists(output) and os.path.samefile(path, output):
            raise UsageError(f"{output}: is also an input, and would be replaced by its vectors")
