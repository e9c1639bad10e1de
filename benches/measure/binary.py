"""Stores of bits beside FAISS IndexBinaryFlat: in every round both take turns on the same queries, in one process."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from votive import EmbeddingStore
from votive._cpus import usable_cpus
from votive.bench import machine

from benches import report
from benches.measure.comparison import say

ROWS, QUICK_ROWS = 1_000_000, 50_000
BITS = 1024
KS = (10, 100)
QUERIES = (1, 32)
SEED = 21


def binary(arguments: argparse.Namespace) -> None:
    """Measure, print Markdown, write it and JSON."""
    import faiss

    rows = arguments.rows or (QUICK_ROWS if arguments.quick else ROWS)
    random = np.random.default_rng(SEED)
    bits = random.integers(0, 256, (rows, BITS // 8), dtype=np.uint8)
    queries = random.integers(0, 256, (max(QUERIES), BITS // 8), dtype=np.uint8)
    faiss.omp_set_num_threads(usable_cpus())
    say(f"loading {rows:,} x {BITS} bits")
    index = faiss.IndexBinaryFlat(BITS)
    index.add(bits)
    store = EmbeddingStore(metric="hamming", num_threads=usable_cpus())
    store.add_embeddings(bits)
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": usable_cpus(),
        "times": {},
    }
    for count in QUERIES:
        for k in KS:
            asked = queries[:count]
            distances, scores = index.search(asked, k)[0], store.search(asked, k)[0]
            if not np.array_equal(distances, -scores):
                raise AssertionError(f"k = {k}: distances differ")
            name = f"{count} {'query' if count == 1 else 'queries'}, k = {k}"
            say(name)
            calls = {
                "votive": lambda asked=asked, k=k: store.search(asked, k),
                "faiss-binary-flat": lambda asked=asked, k=k: index.search(asked, k),
            }
            results["times"][name] = _times(calls, arguments)
    markdown = _markdown(results, rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write(arguments.out, "store_binary", results, markdown)
    print(markdown)


def _times(calls: dict[str, Callable[[], Any]], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """The seconds of a call in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(2 if arguments.quick else arguments.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _markdown(results: dict[str, Any], rows: int) -> str:
    lines = []
    for call, seconds in results["times"].items():
        ratios = report.speedups(seconds["faiss-binary-flat"], seconds["votive"])
        times = [f"{1e3 * median(each):.2f} ms" for each in seconds.values()]
        lines.append([call, *times, report.times_faster(ratios)])
    header = f"{rows:,} x {BITS} random bits. {report.machine_line(results)}"
    return f"{header}\n\n{report.table(['', 'votive', 'FAISS IndexBinaryFlat', 'votive is faster'], lines)}\n"
