"""The drop-in's search helpers beside those of `sentence_transformers.util`.

In every round both take turns on the same vectors, in one process with as many threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from votive._cpus import usable_cpus
from votive.bench import machine
from votive.bench.vectors import SEED

from benches import report
from benches.measure.comparison import say

ROWS, QUICK_ROWS = 100_000, 5_000
DIMENSION = 384
# Rows of a centre: more than a community needs, fewer than the neighbours that paraphrase mining looks at.
CLUSTER_ROWS = 40
NOISE = 0.5
QUERIES = 1000
GOAL = 3.0


class Call(NamedTuple):
    """What both packages are asked for.

    Attributes:
        function: of `util`.
        arguments: its arrays.
        options: its other arguments.
        keys: what of a result must be the same.
    """

    function: str
    arguments: tuple[np.ndarray, ...]
    options: dict[str, Any]
    keys: Callable[[Any], Any]


def util(arguments: argparse.Namespace) -> None:
    """Measure, print Markdown, write it and JSON."""
    import torch
    from sentence_transformers import util as reference
    from votive.sentence_transformers import util as own

    torch.set_num_threads(usable_cpus())
    rows = arguments.rows or (QUICK_ROWS if arguments.quick else ROWS)
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": usable_cpus(),
        "times": {},
        "same": {},
    }
    for name, call in _calls(rows, arguments.mined or rows).items():
        say(name)
        tensors = [torch.from_numpy(array) for array in call.arguments]
        peers = {
            "votive": lambda call=call: getattr(own, call.function)(*call.arguments, **call.options),
            "sentence-transformers": lambda call=call, tensors=tensors: getattr(reference, call.function)(
                *tensors, **call.options
            ),
        }
        results["times"][name], found = _times(peers, 2 if arguments.quick else arguments.rounds)
        results["same"][name] = _share(*(call.keys(result) for result in found))
    markdown = _markdown(results, rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write(arguments.out, "dropin_util", results, markdown)
    print(markdown)


def _calls(rows: int, mined: int) -> dict[str, Call]:
    random = np.random.default_rng(SEED)
    centres = random.standard_normal((max(1, rows // CLUSTER_ROWS), DIMENSION), np.float32)

    def drawn(count: int) -> np.ndarray:
        noise = random.standard_normal((count, DIMENSION), np.float32)
        return centres[random.integers(0, len(centres), count)] + np.float32(NOISE) * noise

    corpus, queries = drawn(rows), drawn(QUERIES)
    part = corpus[:mined]
    calls = {
        f"semantic_search, {count:,} queries, k = {k}": Call(
            "semantic_search", (queries[:count], corpus), {"top_k": k}, _hits
        )
        for count, k in ((1, 10), (32, 10), (QUERIES, 10), (QUERIES, 100))
    }
    calls[f"paraphrase_mining_embeddings, {mined:,} rows"] = Call("paraphrase_mining_embeddings", (part,), {}, _pairs)
    calls[f"community_detection, {mined:,} rows"] = Call("community_detection", (part,), {}, _groups)
    return calls


def _times(calls: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], list[Any]]:
    """The seconds of a call in each round, and what the last one gave."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        found = []
        for name, call in calls.items():
            start = time.perf_counter()
            found.append(call())
            seconds[name].append(time.perf_counter() - start)
    return seconds, found


def _hits(found: Any) -> set[tuple[int, int]]:
    return {(query, hit["corpus_id"]) for query, hits in enumerate(found) for hit in hits}


def _pairs(found: Any) -> set[tuple[int, int]]:
    return {(low, high) for _, low, high in found}


def _groups(found: Any) -> set[tuple[int, ...]]:
    return {tuple(sorted(group)) for group in found}


def _share(own: set[Any], reference: set[Any]) -> float:
    """Of what either found, what both did: sums in float32 and in float64 order a few at a boundary otherwise."""
    return len(own & reference) / max(1, len(own | reference))


def _markdown(results: dict[str, Any], rows: int) -> str:
    lines = []
    for call, seconds in results["times"].items():
        ratios = report.speedups(seconds["sentence-transformers"], seconds["votive"])
        times = [f"{median(each):.3f} s" for each in seconds.values()]
        lines.append([call, *times, report.times_faster(ratios), f"{GOAL:g}x", f"{results['same'][call]:.4%}"])
    columns = ["", "votive", "sentence-transformers", "votive is faster", "asked", "found by both"]
    header = f"{rows:,} x {DIMENSION} clustered vectors. {report.machine_line(results)}"
    return f"{header}\n\n{report.table(columns, lines)}\n"
