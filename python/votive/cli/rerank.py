"""`votive rerank`: texts by how well they answer a query."""

from __future__ import annotations

import argparse
import json
import sys

import votive
from votive.cli.failure import CommandFailed
from votive.cli.inputs import TextInputs
from votive.cli.model import Totals, computed, describe, load_model


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive rerank` say."""
    inputs = TextInputs(arguments.files, arguments.field, arguments.column)
    model = load_model(votive.Reranker, arguments)
    if model.num_labels != 1:
        raise CommandFailed(f"{arguments.model}: gives {model.num_labels} scores for a text, want a model of one")
    totals = Totals()
    best = best_texts(model, arguments.query, inputs, arguments.top_k, totals)
    for rank, (score, text) in enumerate(best, 1):
        if arguments.json:
            print(json.dumps({"rank": rank, "score": score, "text": text}))
        else:
            # One line per hit, whatever line ends the text holds.
            print(f"{rank}\t{score:.4f}\t{' '.join(text.split())}")
    print(f"{totals.texts:,} texts; {describe(totals, model.max_seq_length)}", file=sys.stderr)


def best_texts(model, query: str, inputs: TextInputs, top_k: int | None, totals: Totals) -> list[tuple[float, str]]:
    """Score and text of the `top_k` best of `inputs` (None: of all), best first; equal scores in the order read.

    Memory holds those and one chunk. Counts `totals`.
    """
    best: list[tuple[float, str]] = []

    def score(chunk: list[str]):
        return model.predict([(query, text) for text in chunk], show_progress_bar=False)

    for chunk, scores in computed(model, score, (text.text for text in inputs), totals, inputs.expected):
        best += zip(scores.tolist(), chunk, strict=True)
        best.sort(key=lambda hit: -hit[0])  # stable
        del best[top_k or len(best) :]
    return best
