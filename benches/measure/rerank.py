"""Rerankers: pairs per second, in one call after another and from several threads at once, and how near scores are."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benches.data import corpus
from benches.measure.comparison import ItemComparison, say
from benches.peers import models
from benches.peers.rerankers import MODELS, REFERENCES
from benches.report import rerank
from benches.targets import CALLERS, CALLERS_PAIRS, DTYPES, RERANK

COMPARED = {"minilm": 96, "qwen3": 3}  # pairs whose scores are compared with the reference's
QUICK_PAIRS = {"minilm": 100, "qwen3": 4}
CALLS_EACH = 2  # or more, of each thread
CALLERS_SECONDS = 3.0  # or more, together


def targets(arguments: argparse.Namespace) -> None:
    """The ratios that votive is held to."""
    comparison = RerankComparison(arguments)
    held = RERANK[arguments.model]
    for peer in dict.fromkeys(peer for target in held for peer in (target.subject, *target.settings)):
        comparison.load(peer)
    cells = comparison.cells((each.set, each.size, [each.subject, *each.settings]) for each in held)
    for (name, size), peers in cells.items():
        for peer in peers:
            comparison.choose(peer, [name], None if size == "all" else int(size))
    comparison.compare_scores()
    calls = comparison.warm_up(cells)
    name = "rerank_targets" if arguments.model == "minilm" else f"rerank_targets_{arguments.model}"
    for _ in comparison.each_round():
        comparison.round(cells, calls)
        if "pairs" in comparison.sets:
            for callers in (1, CALLERS):
                comparison.callers_round(callers, [peer for peer in DTYPES if peer in comparison.workers])
        comparison.write(name, rerank.targets_markdown(comparison.results))
    comparison.close()
    print(rerank.targets_markdown(comparison.results))


def table(arguments: argparse.Namespace) -> None:
    """Every peer, number of pairs per call and number of calling threads, and a plot."""
    comparison = RerankComparison(arguments)
    loaded = [peer for peer in arguments.peers if comparison.load(peer)]
    if not loaded:
        sys.exit("no peer could be loaded")
    cells = comparison.cells([*(("pairs", size, loaded) for size in arguments.sizes), ("question", "20", loaded)])
    for name, size in dict.fromkeys([*cells, ("pairs", str(CALLERS_PAIRS))]):
        say(f"choosing batches of {name} for {size} a call")
        for peer in loaded:
            comparison.choose(peer, [name], int(size))
    comparison.compare_scores()
    calls = comparison.warm_up(cells)
    for _ in comparison.each_round():
        comparison.round(cells, calls)
        for callers in arguments.callers:
            comparison.callers_round(int(callers), loaded)
        comparison.write("rerank", rerank.markdown(comparison.results))
        rerank.plot(comparison.results, comparison.out / "rerank.png")
    comparison.close()
    print(rerank.markdown(comparison.results))


class RerankComparison(ItemComparison):
    """The peers of a model, and the sets "pairs" and "question".

    `results["callers"][threads][peer]` holds, of each round and thread, the seconds of its calls.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        setup = models.reranker(arguments.model, arguments.cache, arguments.threads)
        pairs = corpus.pairs(setup.model / "tokenizer.json", corpus.SHAPES[arguments.model])
        if arguments.quick:
            kept = {name: items[: QUICK_PAIRS[arguments.model]] for name, items in pairs.sets.items()}
            pairs = pairs._replace(sets=kept)
        super().__init__(arguments, MODELS[arguments.model], setup, pairs, every=1)
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
            alone = call("times", "pairs", CALLERS_PAIRS, 1)[0]
            least = 0.1 if self.quick else CALLERS_SECONDS
            seconds = max(least, CALLS_EACH * callers * alone)
            times = call("times_together", "pairs", CALLERS_PAIRS, callers, seconds)
            cell[peer].append([[round(call, 6) for call in thread] for thread in times])


def rank_correlation(scores: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's, of two `[pairs]` without ties."""
    places = [each.argsort().argsort() for each in (scores, reference)]
    return float(np.corrcoef(*places)[0, 1])
