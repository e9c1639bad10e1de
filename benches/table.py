"""Compare votive with its peers in one run and print every table: `python benches/table.py --help`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import numpy as np
import report
from comparison import Cells, listed, say
from embed_comparison import EmbedComparison, embed_options
from fidelity import cosines
from peers import PEERS, REFERENCE

SETS = ("short", "medium", "long", "mixed")
SIZES = ("1", "5", "10", "20", "50", "100", "all")


def main() -> None:
    """Measure, print Markdown, write JSON and a plot."""
    arguments = _arguments()
    comparison = EmbedComparison(arguments)
    vectors = {}
    for peer in arguments.peers:
        if comparison.load(peer):
            vectors[peer] = comparison.memory(peer)
            _time_starts(comparison, peer)
            comparison.choose(peer, arguments.sets)
    if not vectors:
        sys.exit("no peer could be loaded")
    if REFERENCE in vectors:
        for peer, facts in comparison.results["peers"].items():
            facts |= _agreement(vectors[peer], vectors[REFERENCE])

    cells: Cells = {(name, size): list(vectors) for name in arguments.sets for size in arguments.sizes}
    calls = comparison.warm_up(cells)
    for number in range(comparison.rounds):
        say(f"round {number + 1} of {comparison.rounds}")
        comparison.round(cells, calls)
        comparison.write("embed", report.markdown(comparison.results))
        report.plot(comparison.results, comparison.out / "embed.png")
    comparison.close()
    print(report.markdown(comparison.results))


def _arguments() -> argparse.Namespace:
    parser = embed_options("Compare votive with its peers, all taking turns in one run.")
    parser.add_argument("--peers", type=listed(tuple(PEERS)), default=list(PEERS), help="comma-separated; all")
    parser.add_argument("--sets", type=listed(SETS), default=list(SETS), help="comma-separated; all")
    parser.add_argument("--sizes", type=listed(SIZES), default=list(SIZES), help="texts per call: 1,5,10,20,50,100,all")
    return parser.parse_args()


def _time_starts(comparison: EmbedComparison, peer: str) -> None:
    repeats = range(1 if comparison.quick else 3)
    facts = comparison.results["peers"][peer]
    facts["first_vector_seconds"] = [comparison.first_vector_seconds(peer) for _ in repeats]
    facts["import_seconds"] = [_import_seconds(PEERS[peer](comparison.setup).modules) for _ in repeats]


def _import_seconds(modules: tuple[str, ...]) -> float:
    """What `import` takes in a fresh process, without the start of Python itself."""
    code = f"import time; start = time.perf_counter(); import {', '.join(modules)}; print(time.perf_counter() - start)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()[-1])


def _agreement(vectors: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """How near a peer's vectors are to the reference's; both `[texts, dimension]`."""
    each = cosines(vectors, reference)
    return {
        "cosine_mean": float(each.mean()),
        "cosine_lowest": float(each.min()),
        "largest_difference": float(np.abs(vectors - reference).max()),
    }


if __name__ == "__main__":
    main()
