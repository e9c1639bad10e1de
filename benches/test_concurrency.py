"""Callers that share a model, votive's beside sentence-transformers' behind a lock.

`pytest benches/test_concurrency.py` looks at one cell of each; `python benches/test_concurrency.py` measures them all
and prints tables, or with `--targets` the ratios that votive is held to; see `--help`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import callers
import concurrency_report
import corpus
import machine
import model
import report
from callers import PEERS, REFERENCE, UNSHARED, VOTIVE, WAYS

CALLERS = (1, 2, 4, 8, 12, 16, 24)
SIZES = (1, 8, 32, 64)

pytestmark = [
    pytest.mark.filterwarnings("default"),  # warnings of other people's packages are theirs
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
]


@pytest.fixture(scope="module")
def setup() -> model.Setup:
    return model.setup()


@pytest.fixture(scope="module")
def texts(setup: model.Setup) -> list[str]:
    return corpus.read(setup.model / "tokenizer.json").sets["short"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEERS)
def test_callers(benchmark, setup: model.Setup, texts: list[str], peer: str, way: str) -> None:
    if peer == REFERENCE:
        pytest.importorskip("sentence_transformers")
    count, size = 8, 8
    benchmark.group = f"{count} callers with {size} short texts"
    loaded = PEERS[peer](setup, count)
    run = benchmark.pedantic(callers.measure, (loaded, way, count, size, texts, 1.0), rounds=3, warmup_rounds=1)
    benchmark.extra_info["texts_per_second"] = run.rate
    assert len(run.latencies) >= count
    found = loaded.compute(texts[:size])
    assert np.abs(found - PEERS[VOTIVE](setup, 1).compute(texts[:size])).max() < 1e-5


class Table:
    """Every cell of every peer, taking turns."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.seconds: float = arguments.seconds
        self.rounds: int = arguments.rounds
        self.setup = model.setup(threads=arguments.threads)
        self.corpus = corpus.read(self.setup.model / "tokenizer.json")
        self.texts = self.corpus.sets["short"]
        self.loaded: dict[tuple[str, int], Any] = {}
        self.results: dict[str, Any] = {
            "model": "minilm",
            "machine": machine.describe(),
            "versions": machine.versions(),
            "threads": self.setup.threads,
            "corpus": {"digest": self.corpus.digest},
            "cells": [],
        }

    def peer(self, name: str, count: int) -> Any:
        """Loaded once; the one without a queue once for each number of callers."""
        key = (name, count if name == UNSHARED else 0)
        if key not in self.loaded:
            self.loaded[key] = PEERS[name](self.setup, count)
            self.loaded[key].compute(self.texts[:64])
        return self.loaded[key]

    def run(self, name: str, way: str, count: int, size: int) -> callers.Run:
        """One cell, once."""
        return callers.measure(self.peer(name, count), way, count, size, self.texts, self.seconds)

    def all(self, peers: list[str], counts: list[int], sizes: list[int]) -> None:
        """Every cell, its peers taking turns in each round; results are written after each cell."""
        for way in WAYS:
            for size in sizes:
                for count in counts:
                    runs: dict[str, list[callers.Run]] = {name: [] for name in peers}
                    for _ in range(self.rounds):
                        for name in peers:
                            runs[name].append(self.run(name, way, count, size))
                    for name, each in runs.items():
                        latencies = np.concatenate([run.latencies for run in each])
                        self.results["cells"].append(
                            {
                                "peer": name,
                                "way": way,
                                "callers": count,
                                "texts": size,
                                "rates": [run.rate for run in each],
                                "quantiles": np.quantile(latencies, [0.5, 0.95, 0.99]).tolist(),
                            }
                        )
                    print(f"{way}: {count} callers with {size}", file=sys.stderr, flush=True)
                    report.write(self.out, "concurrency", self.results, concurrency_report.markdown(self.results))
        concurrency_report.plot(self.results, self.out / "concurrency.png")

    def targets(self) -> str:
        """The ratios that votive is held to; both sides of each take turns."""
        rows = []
        for way in WAYS:
            single = [(self.run(VOTIVE, way, 16, 1), self.run(UNSHARED, way, 16, 1)) for _ in range(self.rounds)]
            rows.append(_row(f"{way}: 16 callers, one text each, of nobody waiting", _ratios(single), "2x, or"))
            whole = [
                (self.run(VOTIVE, way, 16, 1), self.run(VOTIVE, way, 1, len(self.texts))) for _ in range(self.rounds)
            ]
            rows.append(_row(f"{way}: the same, of one caller with one big batch", _ratios(whole), "0.9x"))
            some = [(self.run(VOTIVE, way, 8, 32), self.run(VOTIVE, way, 1, 32)) for _ in range(self.rounds)]
            rows.append(_row(f"{way}: 8 callers with 32 texts, of one caller with 32", _ratios(some), "0.95x"))
            tails = [run.quantile(0.99) / run.quantile(0.5) for run, _ in single]
            rows.append(_row(f"{way}: 16 callers, one text each, p99 of p50", tails, "at most 3x"))
            lone = [(self.run(VOTIVE, way, 1, 1), self.run(UNSHARED, way, 1, 1)) for _ in range(self.rounds)]
            rows.append(_row(f"{way}: a lone caller with one text, of nobody waiting", _ratios(lone), "0.98x"))
        return "\n\n".join(
            [report.machine_line(self.results), report.table(["", "median (lowest-highest)", "goal"], rows)]
        )


def _ratios(pairs: list[tuple[callers.Run, callers.Run]]) -> list[float]:
    return [one.rate / other.rate for one, other in pairs]


def _row(name: str, ratios: list[float], goal: str) -> list[str]:
    print(f"{name}: {median(ratios):.2f}", file=sys.stderr, flush=True)
    return [name, report.spread(ratios, "{:.2f}x".format), goal]


def _listed(all_of: tuple[int, ...]) -> Any:
    return lambda text: [int(number) for number in text.split(",")] if text else list(all_of)


def main() -> None:
    """Measure, print Markdown, write JSON and a plot."""
    parser = argparse.ArgumentParser(description="Callers that share one model, MiniLM on short texts.")
    parser.add_argument("--targets", action="store_true", help="only the ratios that votive is held to")
    parser.add_argument("--callers", type=_listed(CALLERS), default=list(CALLERS), help="comma-separated numbers")
    parser.add_argument("--sizes", type=_listed(SIZES), default=list(SIZES), help="texts per call, comma-separated")
    parser.add_argument("--votive", action="store_true", help="without sentence-transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each cell in each round")
    parser.add_argument("--threads", type=int, help="for every peer; all CPUs that this process may use")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for what is written; here")
    arguments = parser.parse_args()
    table = Table(arguments)
    if arguments.targets:
        print(table.targets())
        return
    table.all([name for name in PEERS if name != REFERENCE or not arguments.votive], arguments.callers, arguments.sizes)
    print(concurrency_report.markdown(table.results))


if __name__ == "__main__":
    main()
