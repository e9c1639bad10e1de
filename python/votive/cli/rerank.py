"""`votive rerank`: texts by how well they answer a query."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import votive
from votive.cli.arguments import DEFAULT_RERANKER
from votive.cli.failure import CommandFailed, UsageError
from votive.cli.hits import FoundText, print_hits
from votive.cli.inputs import STANDARD_INPUT, Text, TextInputs
from votive.cli.model import Totals, computed, describe, growing_chunks, load_model


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive rerank` say."""
    _refuse_old_order(arguments.query, arguments.files)
    inputs = TextInputs(arguments.files or [STANDARD_INPUT], arguments.field, arguments.column)
    model = load_model(votive.Reranker, arguments, DEFAULT_RERANKER)
    if model.num_labels != 1:
        name = arguments.model or DEFAULT_RERANKER
        raise CommandFailed(f"{name}: gives {model.num_labels} scores for a text, want a model of one")
    totals = Totals()
    best = best_texts(model, arguments.query, inputs, arguments.top_k, totals)
    print_hits((_hit(score, text) for score, text in best), arguments.json, first="rank")
    print(f"{totals.texts:,} texts; {describe(totals, model.max_seq_length)}", file=sys.stderr)


def best_texts(
    model: Any, query: str, inputs: TextInputs, top_k: int | None, totals: Totals
) -> list[tuple[float, Text]]:
    """Score and text of the `top_k` best of `inputs` (None: of all), best first; equal scores in the order read.

    Memory holds those and one chunk. Counts `totals`.
    """
    best: list[tuple[float, Text]] = []

    def score(chunk: list[Text]) -> list[float]:
        scores = model.predict([(query, text.text) for text in chunk], show_progress_bar=False)
        found: list[float] = scores.tolist()
        return found

    chunks = growing_chunks(inputs, lambda text: len(text.text))
    for chunk, scores in computed(model, score, chunks, totals, inputs.expected):
        best += zip(scores, chunk, strict=True)
        best.sort(key=lambda hit: -hit[0])  # stable
        del best[top_k or len(best) :]
    return best


def _hit(score: float, text: Text) -> FoundText:
    return FoundText(score, text.place, text.text, {"path": text.path, "line": text.line})


def _refuse_old_order(query: str, files: list[str]) -> None:
    if files and os.path.isfile(query) and not os.path.exists(files[-1]) and files[-1] != STANDARD_INPUT:
        raise UsageError(f"QUERY comes first: {query!r} is a file, and {files[-1]!r} is none")
