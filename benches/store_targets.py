"""The ratios that votive's EmbeddingStore is held to, from one run: `python benches/store_targets.py --help`."""

from __future__ import annotations

from typing import Any, NamedTuple

import report
import store_report
import stores
from comparison import say
from store_comparison import COPY, StoreComparison, store_options
from store_measurements import BLOCKS, Search
from vectors import Vectors

VECTORS = Vectors("clustered", 1_000_000, 768)
K = 100
SHARES = (0.01, 0.5)
SUBJECT = report.SUBJECT
ONE, MANY = Search(K), Search(K, 32)
FILTERED = [Search(K, 1, share, prepared) for share in SHARES for prepared in (False, True)]


class Target(NamedTuple):
    """How many times faster votive must be at a call than a peer, or than the fastest of the exact ones."""

    call: str
    peer: str | None
    goal: str
    aim: str


TARGETS = (
    Target(str(ONE), None, "2.5x", "3.5x"),
    Target(str(MANY), "torch", "4x", "8x"),
    Target(str(MANY), "faiss-flat", "6x", "12x"),
    Target(str(MANY), None, "", ""),
    Target(str(FILTERED[0]), None, "5x", "20x"),
    Target(str(FILTERED[1]), None, "5x", "20x"),
    Target(str(FILTERED[2]), None, "", ""),
    Target(str(FILTERED[3]), None, "", ""),
    Target(store_report.OPEN, "faiss-flat", "2x", "4x"),
    Target(store_report.OPEN, "faiss-flat, mapped", "", ""),
)


def main() -> None:
    """Measure, print Markdown and write JSON."""
    arguments = store_options("The ratios that votive's store is held to, with their spread.").parse_args()
    comparison = StoreComparison(arguments, VECTORS)
    comparison.results["k"] = K
    for blocks in (1, BLOCKS):
        comparison.memory([SUBJECT, "faiss-flat"], blocks)
    for name in (SUBJECT, *stores.EXACT, "faiss-sq8", "usearch-int8"):
        comparison.load(name, K, SHARES)
    comparison.recalls()
    calls = comparison.warm_up([ONE, MANY, *FILTERED])
    for number in range(comparison.rounds):
        say(f"round {number + 1} of {comparison.rounds}")
        comparison.round(calls)
        comparison.add_round([name for name in stores.ADDING if name in comparison.workers])
        report.write(comparison.out, "store_targets", comparison.results, markdown(comparison.results))
    comparison.save_and_open([name for name in stores.SAVING if name in comparison.workers], K)
    comparison.close()
    report.write(comparison.out, "store_targets", comparison.results, markdown(comparison.results))
    print(markdown(comparison.results))


def markdown(results: dict[str, Any]) -> str:
    """The machine, the ratios, and what they were computed from."""
    rows = [_row(target, results) for target in TARGETS] + _adding(results)
    parts = [store_report.header(results), report.table(["", "against", "votive", "goal", "aim"], rows)]
    parts += [
        "Median call of the rounds (lowest to highest):",
        store_report.times(results),
        store_report.facts(results),
    ]
    return "\n\n".join([*parts, *store_report.skipped(results)]) + "\n"


def _row(target: Target, results: dict[str, Any]) -> list[str]:
    cell = results["times"].get(target.call, {})
    peer = target.peer or store_report.fastest(results, target.call)
    shown = ""
    if {peer, SUBJECT} <= cell.keys():
        shown = report.spread(store_report.ratios(results, target.call, peer), "{:.2f}x".format)
    return [target.call, f"{'' if target.peer else 'fastest exact peer: '}{peer}", shown, target.goal, target.aim]


def _adding(results: dict[str, Any]) -> list[list[str]]:
    """Rows of time and memory, of which less is better."""
    rows = []
    if SUBJECT in results["times"].get("add", {}):
        shares = [1 / ratio for ratio in store_report.ratios(results, "add", COPY)]
        rows.append(["add, of the time of", COPY, report.spread(shares, "{:.2f}".format), "1.5", "1.2"])
    memory = results["stores"].get(SUBJECT, {}).get("memory", {})
    for blocks, share in memory.items():
        how = "at once" if blocks == "1" else f"in {blocks} calls"
        rows.append([f"peak memory while adding {how}, of", "the vectors", f"{share:.3f}", "1.3", "1.27"])
    return rows


if __name__ == "__main__":
    main()
