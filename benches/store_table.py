"""Compare votive's EmbeddingStore with its peers, by shape and k: `python benches/store_table.py --help`."""

from __future__ import annotations

from typing import Any

import report
import store_report
import stores
from comparison import listed, say
from store_comparison import StoreComparison, store_options
from store_measurements import BLOCKS, Search
from vectors import Vectors

SHAPES = {"1m": Vectors("clustered", 1_000_000, 768), "100k": Vectors("clustered", 100_000, 384)}
KS = ("10", "100")
SHARES = (0.01, 0.5)


def main() -> None:
    """Measure, print Markdown, write JSON and a plot."""
    parser = store_options("Compare votive's EmbeddingStore with its peers, all taking turns in one run.")
    parser.set_defaults(rounds=3)
    parser.add_argument("--peers", type=listed(tuple(stores.PEERS)), default=list(stores.PEERS), help="all")
    parser.add_argument("--shapes", type=listed(tuple(SHAPES)), default=list(SHAPES), help="1m,100k")
    parser.add_argument("--k", type=listed(KS), default=list(KS), help="10,100")
    arguments = parser.parse_args()
    tables: list[dict[str, Any]] = []
    for shape in arguments.shapes:
        for k in arguments.k:
            comparison = StoreComparison(arguments, SHAPES[shape])
            comparison.results["k"] = int(k)
            tables.append(comparison.results)
            _compare(comparison, arguments.peers, int(k))
            markdown = "\n".join(
                f"## {each['vectors']}, k = {each['k']}\n\n{store_report.markdown(each)}" for each in tables
            )
            report.write(comparison.out, "store", tables, markdown)
            store_report.plot(tables, comparison.out / "store.png")
    print(markdown)


def _compare(comparison: StoreComparison, peers: list[str], k: int) -> None:
    for blocks in (1, BLOCKS):
        comparison.memory([name for name in peers if name in ("votive", "votive-int8", "faiss-flat")], blocks)
    for name in peers:
        comparison.load(name, k, SHARES)
    comparison.recalls()
    searches = [Search(k), Search(k, 32), *(Search(k, 1, share) for share in SHARES)]
    calls = comparison.warm_up(searches)
    for number in range(comparison.rounds):
        say(f"round {number + 1} of {comparison.rounds}")
        comparison.round(calls)
        comparison.add_round([name for name in stores.ADDING if name in comparison.workers])
    comparison.save_and_open([name for name in stores.SAVING if name in comparison.workers], k)


if __name__ == "__main__":
    main()
