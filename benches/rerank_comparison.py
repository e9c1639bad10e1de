"""Rerankers that take turns on the pairs, in one call after another and from several threads at once."""

from __future__ import annotations

import argparse

import numpy as np
import reranker_model
from comparison import Comparison, options
from fidelity import rank_correlation
from rerankers import DECODER_REFERENCE, DECODERS, ENCODER_REFERENCE, ENCODERS

PEERS = {"minilm": ENCODERS, "qwen3": DECODERS}
REFERENCES = {"minilm": ENCODER_REFERENCE, "qwen3": DECODER_REFERENCE}
COMPARED = {"minilm": 96, "qwen3": 3}  # pairs whose scores are compared with the reference's
QUICK_PAIRS = {"minilm": 100, "qwen3": 4}
CALLERS_SIZE = 32  # pairs in each call of several threads
CALLS_EACH = 2  # or more, of each thread
CALLERS_SECONDS = 3.0  # or more, together


def rerank_options(description: str, models: tuple[str, ...] = reranker_model.MODELS) -> argparse.ArgumentParser:
    """The arguments of a comparison of rerankers."""
    parser = options(description, models, "minilm; qwen3 is the shape of Qwen3-Reranker-0.6B")
    parser.set_defaults(seconds=2.0)
    return parser


class RerankComparison(Comparison):
    """The peers of a model, and the sets "pairs" and "question".

    `results["callers"][threads][peer]` holds, of each round and thread, the seconds of its calls.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        import pairs  # not above: the workers import the script again, and must import nothing of votive

        setup = reranker_model.setup(arguments.model, arguments.cache, arguments.threads)
        corpus = pairs.read(setup.model / "tokenizer.json", pairs.SHAPES[arguments.model])
        if arguments.quick:
            kept = {name: items[: QUICK_PAIRS[arguments.model]] for name, items in corpus.sets.items()}
            corpus = corpus._replace(sets=kept)
        super().__init__(arguments, PEERS[arguments.model], setup, corpus, every=1)
        self.results["callers"] = {}

    def compare_scores(self) -> None:
        """Note how near each peer's scores are to the reference's, or else to the first peer's."""
        model = self.results["model"]
        items = next(iter(self.sets.values()))[: COMPARED[model]]
        scores = {peer: worker.call("compute", items) for peer, worker in self.workers.items()}
        reference = scores.get(REFERENCES[model], next(iter(scores.values())))
        for peer, facts in self.results["peers"].items():
            facts["largest_difference"] = float(np.abs(scores[peer] - reference).max())
            facts["rank_correlation"] = rank_correlation(scores[peer], reference)

    def callers_round(self, callers: int, peers: list[str]) -> None:
        """So many threads at once, the peers in turn; adds to `results["callers"]`."""
        cell = self.results["callers"].setdefault(str(callers), {peer: [] for peer in peers})
        for peer in peers:
            call = self.workers[peer].call
            alone = call("times", "pairs", CALLERS_SIZE, 1)[0]
            least = 0.1 if self.quick else CALLERS_SECONDS
            seconds = max(least, CALLS_EACH * callers * alone)
            times = call("times_together", "pairs", CALLERS_SIZE, callers, seconds)
            cell[peer].append([[round(call, 6) for call in thread] for thread in times])
