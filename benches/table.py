"""Compare votive with its peers in one run and print the table: `python benches/table.py --help`.

Every peer lives in a process of its own. In each round, for each set and size, all peers take turns on the same texts
(A B C A B C ...), so that what else the machine does falls on all of them, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import machine
import numpy as np
import report
from peers import PEERS, REFERENCE, Setup, default_setup
from worker import Worker, WorkerError

SETS = ("short", "medium", "long", "mixed")
SIZES = ("1", "5", "10", "20", "50", "100", "all")
MEMORY_TEXTS = 1000
# Texts on which each choice of batches is tried.
SAMPLE = {"short": 64, "medium": 32, "long": 32, "mixed": 64}
MOST_CALLS = 200


def main() -> None:
    """Measure, print Markdown, write JSON and a plot."""
    arguments = _arguments()
    setup = default_setup(arguments.cache, arguments.threads)
    results, texts = _plan(arguments, setup)

    workers = {}
    vectors = {}
    for peer in arguments.peers:
        _say(f"loading {peer}")
        try:
            workers[peer], vectors[peer], results["peers"][peer] = _start(peer, setup, texts, arguments)
        except WorkerError as reason:
            _say(f"skipped: {reason}")
            results["skipped"][peer] = str(reason)
    if not workers:
        sys.exit("no peer could be loaded")
    if REFERENCE in workers:
        for peer in workers:
            results["peers"][peer] |= _agreement(vectors[peer], vectors[REFERENCE])

    arguments.out.mkdir(parents=True, exist_ok=True)
    calls = _warm_up(workers, texts, arguments)
    for number in range(arguments.rounds):
        _say(f"round {number + 1} of {arguments.rounds}")
        _round(workers, texts, calls, results)
        # After every round, so that nothing measured is lost with an interrupted run.
        (arguments.out / "embed.json").write_text(json.dumps(results))
        (arguments.out / "embed.md").write_text(report.markdown(results))
        report.plot(results, arguments.out / "embed.png")
    for worker in workers.values():
        worker.close()
    print(report.markdown(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare votive with its peers, all taking turns in one run.")

    def listed(accepted: tuple[str, ...]) -> Any:
        def parse(text: str) -> list[str]:
            names = text.split(",")
            unknown = set(names) - set(accepted)
            if unknown:
                raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(accepted)}")
            return [name for name in accepted if name in names]

        return parse

    parser.add_argument("--peers", type=listed(tuple(PEERS)), default=list(PEERS), help="comma-separated; all")
    parser.add_argument("--sets", type=listed(SETS), default=list(SETS), help="comma-separated; all")
    parser.add_argument("--sizes", type=listed(SIZES), default=list(SIZES), help="texts per call: 1,5,10,20,50,100,all")
    parser.add_argument("--rounds", type=int, default=5, help="5")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="what the slowest peer spends on one size in one round; 0.5"
    )
    parser.add_argument("--threads", type=int, help="of every peer; the CPUs that this process may use")
    parser.add_argument("--cache", type=Path, help="for exports; $VOTIVE_BENCH_CACHE, else the user's cache folder")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for embed.json, .md and .png; here")
    parser.add_argument(
        "--quick", action="store_true", help="a sixth of the texts, two rounds, batches as they come: a trial run"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = 2
        arguments.seconds = 0.1
    return arguments


def _plan(arguments: argparse.Namespace, setup: Setup) -> tuple[dict[str, Any], dict[str, list[str]]]:
    import corpus  # not above: the workers import this file again, and must import nothing of votive

    read = corpus.read(setup.model / "tokenizer.json")
    texts = {name: read.sets[name][:: 6 if arguments.quick else 1] for name in SETS}
    described = {
        name: {"texts": len(texts[name]), "tokens": statistics.mean(read.tokens[text] for text in texts[name])}
        for name in SETS
    }
    results = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "corpus": {"digest": read.digest(), "sets": described},
        "threads": setup.threads,
        "peers": {},
        "skipped": {},
        "times": {},
    }
    return results, texts


def _start(
    peer: str, setup: Setup, texts: dict[str, list[str]], arguments: argparse.Namespace
) -> tuple[Worker, np.ndarray, dict[str, Any]]:
    """A worker that is ready to measure, its vectors of the mixed set, and what was measured on the way."""
    facts: dict[str, Any] = {"choices": {}}
    one = texts["short"][:1]

    def seconds_to_first_vector() -> float:
        start = time.perf_counter()
        worker = Worker(peer, setup)
        worker.call("encode", one)
        seconds = time.perf_counter() - start
        worker.close()
        return seconds

    seconds_to_first_vector()  # exports what is missing, and brings files into memory
    repeats = range(1 if arguments.quick else 3)
    facts["first_vector_seconds"] = [seconds_to_first_vector() for _ in repeats]
    facts["import_seconds"] = [_import_seconds(PEERS[peer](setup).modules) for _ in repeats]

    worker = Worker(peer, setup)
    many = texts["mixed"] if arguments.quick else list(islice(cycle(texts["mixed"]), MEMORY_TEXTS))
    vectors = worker.call("encode", many)[: len(texts["mixed"])]
    facts["memory_bytes"] = worker.call("memory")

    worker.call("take", texts)
    if not arguments.quick:
        for name in arguments.sets:
            choice = worker.call("choose", name, SAMPLE[name])
            if choice is not None:
                facts["choices"][name] = choice
    return worker, vectors, facts


def _import_seconds(modules: tuple[str, ...]) -> float:
    """What `import` takes in a fresh process, without the start of Python itself."""
    code = f"import time; start = time.perf_counter(); import {', '.join(modules)}; print(time.perf_counter() - start)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()[-1])


def _agreement(vectors: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """How near a peer's vectors are to the reference's; both `[texts, 384]`."""
    vectors, reference = vectors.astype(np.float64), reference.astype(np.float64)
    cosines = (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
    return {
        "cosine_mean": float(cosines.mean()),
        "cosine_lowest": float(cosines.min()),
        "largest_difference": float(np.abs(vectors - reference).max()),
    }


def _warm_up(
    workers: dict[str, Worker], texts: dict[str, list[str]], arguments: argparse.Namespace
) -> dict[tuple[str, str], int]:
    """Calls per round of each set and size: what the slowest peer does in `--seconds`; one of a whole set."""
    _say("warming up")
    calls = {}
    for name in arguments.sets:
        for size in arguments.sizes:
            if size == "all":
                calls[name, size] = 1
                continue
            tries = max(1, 5 // int(size))
            slowest = max(statistics.mean(worker.call("times", name, int(size), tries)) for worker in workers.values())
            calls[name, size] = min(MOST_CALLS, max(1, round(arguments.seconds / slowest)))
    return calls


def _round(
    workers: dict[str, Worker],
    texts: dict[str, list[str]],
    calls: dict[tuple[str, str], int],
    results: dict[str, Any],
) -> None:
    """Each set and size once, all peers in turn; adds to `results["times"]`."""
    for (name, size), number in calls.items():
        cell = results["times"].setdefault(name, {}).setdefault(size, {peer: [] for peer in workers})
        count = len(texts[name]) if size == "all" else int(size)
        for peer, worker in workers.items():
            seconds = worker.call("times", name, count, number)
            cell[peer].append([round(call, 6) for call in seconds])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
