"""Compare votive's Reranker with its peers by pairs per call and by calling threads: see `--help`."""

from __future__ import annotations

import argparse
import sys

import rerank_report
from comparison import listed, say
from rerank_comparison import CALLERS_SIZE, RerankComparison, rerank_options
from rerankers import ENCODERS

SIZES = ("1", "2", "5", "8", "10", "16", "20", "32", "64", "96")
CALLERS = ("1", "2", "4", "8")


def main() -> None:
    """Measure, print Markdown, write JSON and a plot."""
    arguments = _arguments()
    comparison = RerankComparison(arguments)
    loaded = [peer for peer in arguments.peers if comparison.load(peer)]
    if not loaded:
        sys.exit("no peer could be loaded")
    cells = comparison.cells([*(("pairs", size, loaded) for size in arguments.sizes), ("question", "20", loaded)])
    for name, size in dict.fromkeys([*cells, ("pairs", str(CALLERS_SIZE))]):
        say(f"choosing batches of {name} for {size} a call")
        for peer in loaded:
            comparison.choose(peer, [name], int(size))
    comparison.compare_scores()
    calls = comparison.warm_up(cells)
    for number in range(comparison.rounds):
        say(f"round {number + 1} of {comparison.rounds}")
        comparison.round(cells, calls)
        for callers in arguments.callers:
            comparison.callers_round(int(callers), loaded)
        comparison.write("rerank", rerank_report.markdown(comparison.results))
        rerank_report.plot(comparison.results, comparison.out / "rerank.png")
    comparison.close()
    print(rerank_report.markdown(comparison.results))


def _arguments() -> argparse.Namespace:
    parser = rerank_options("Compare votive's Reranker with its peers, all taking turns in one run.", ("minilm",))
    parser.set_defaults(seconds=0.5, rounds=3)
    usual = [peer for peer in ENCODERS if not peer.endswith("-all-cores")]  # all cores are among the others' choices
    parser.add_argument("--peers", type=listed(tuple(ENCODERS)), default=usual, help=f"{','.join(usual)}")
    parser.add_argument("--sizes", type=listed(SIZES), default=list(SIZES), help=f"pairs per call: {','.join(SIZES)}")
    parser.add_argument("--callers", type=listed(CALLERS), default=list(CALLERS), help=f"threads: {','.join(CALLERS)}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
