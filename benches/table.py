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
from tqdm.auto import tqdm
from worker import Worker, WorkerError

SETS = ("short", "medium", "long", "mixed")
SIZES = ("1", "5", "10", "20", "50", "100", "all")
MEMORY_TEXTS = 1000
SAMPLE = {"short": 128, "medium": 48, "long": 32, "mixed": 64}  # texts on which each choice of batches is tried
MOST_CALLS = 200


def main() -> None:
    """Measure, print Markdown, write JSON and a plot."""
    arguments = _arguments()
    setup = default_setup(arguments.cache, arguments.threads)
    results, texts = _plan(arguments, setup)

    workers = {}
    for peer in arguments.peers:
        print(f"loading {peer}", file=sys.stderr)
        try:
            workers[peer], results["peers"][peer] = _start(peer, setup, texts, arguments)
        except WorkerError as reason:
            print(f"skipped {peer}: {reason}", file=sys.stderr)
            results["skipped"][peer] = str(reason)
    if not workers:
        sys.exit("no peer could be loaded")
    _agreement(workers, texts["mixed"], results["peers"])
    _rounds(workers, texts, arguments, results)
    for worker in workers.values():
        worker.close()

    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "embed.json").write_text(json.dumps(results))
    (arguments.out / "embed.md").write_text(report.markdown(results))
    report.plot(results, arguments.out / "embed.png")
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
        "rounds": arguments.rounds,
        "peers": {},
        "skipped": {},
        "times": {},
    }
    return results, texts


def _start(
    peer: str, setup: Setup, texts: dict[str, list[str]], arguments: argparse.Namespace
) -> tuple[Worker, dict[str, Any]]:
    """A worker that is ready to measure, and what was measured on the way there."""
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
    repeats = range(1 if arguments.quick else arguments.rounds)
    facts["first_vector_seconds"] = [seconds_to_first_vector() for _ in repeats]
    facts["import_seconds"] = [_import_seconds(PEERS[peer](setup).modules) for _ in repeats]

    worker = Worker(peer, setup)
    worker.call("encode", texts["mixed"] if arguments.quick else list(islice(cycle(texts["mixed"]), MEMORY_TEXTS)))
    facts["memory_bytes"] = worker.call("memory")

    worker.call("take", texts)
    if not arguments.quick:
        for name in arguments.sets:
            choice = worker.call("choose", name, SAMPLE[name])
            if choice is not None:
                facts["choices"][name] = choice
    return worker, facts


def _import_seconds(modules: tuple[str, ...]) -> float:
    """What `import` takes in a fresh process, without the start of Python itself."""
    code = f"import time; start = time.perf_counter(); import {', '.join(modules)}; print(time.perf_counter() - start)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()[-1])


def _agreement(workers: dict[str, Worker], texts: list[str], facts: dict[str, dict[str, Any]]) -> None:
    """How near each peer's vectors are to the reference's."""
    if REFERENCE not in workers:
        return
    reference = workers[REFERENCE].call("encode", texts)
    for peer, worker in workers.items():
        vectors = worker.call("encode", texts)
        cosines = np.einsum("ij,ij->i", vectors.astype(np.float64), reference)
        cosines /= np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
        facts[peer]["cosine_mean"] = float(cosines.mean())
        facts[peer]["cosine_lowest"] = float(cosines.min())
        facts[peer]["largest_difference"] = float(np.abs(vectors - reference).max())


def _rounds(
    workers: dict[str, Worker], texts: dict[str, list[str]], arguments: argparse.Namespace, results: dict[str, Any]
) -> None:
    """Fill `results["times"]`."""
    cells = [(name, size) for name in arguments.sets for size in arguments.sizes]
    counts = {name: {size: len(texts[name]) if size == "all" else int(size) for size in SIZES} for name in SETS}
    calls = {}
    progress = tqdm(total=len(cells) * (arguments.rounds + 1), desc="warm-up", disable=None)
    for name, size in cells:
        warm_up = max(1, 5 // counts[name][size])
        slowest = max(
            statistics.mean(worker.call("times", name, counts[name][size], warm_up)) for worker in workers.values()
        )
        calls[name, size] = min(MOST_CALLS, max(1, round(arguments.seconds / slowest)))
        results["times"].setdefault(name, {})[size] = {peer: [] for peer in workers}
        progress.update()
    for number in range(arguments.rounds):
        progress.set_description(f"round {number + 1}")
        for name, size in cells:
            for peer, worker in workers.items():
                seconds = worker.call("times", name, counts[name][size], calls[name, size])
                results["times"][name][size][peer].append([round(call, 6) for call in seconds])
            progress.update()
    progress.close()


if __name__ == "__main__":
    main()
