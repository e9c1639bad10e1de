"""Loaded peers that take turns on the same texts.

In each round, for each set and size, all peers take turns (A B C A B C ...), so that what else the machine does falls
on all of them, and ratios are taken within a round.
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
import model
import numpy as np
from worker import Worker, WorkerError, environment

MEMORY_TEXTS = 1000
MOST_CALLS = 200
QUICK_EVERY = 6
FIRST_VECTOR = Path(__file__).with_name("first_vector.py")

Cells = dict[tuple[str, str], list[str]]
"""The peers that take turns on a set with so many texts per call: `(set, size)`, where size is a number or "all"."""


def options(description: str) -> argparse.ArgumentParser:
    """The arguments that every comparison takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", choices=model.MODELS, default="minilm", help="minilm; base has random weights")
    parser.add_argument("--rounds", type=int, default=5, help="5")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="what the slowest peer spends on one size in one round; 0.5"
    )
    parser.add_argument("--threads", type=int, help="of every peer; the CPUs that this process may use")
    parser.add_argument("--cache", type=Path, help="for exports; $VOTIVE_BENCH_CACHE, else the user's cache folder")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for what is written; here")
    parser.add_argument(
        "--quick", action="store_true", help="a sixth of the texts, two rounds, batches as they come: a trial run"
    )
    return parser


class Comparison:
    """Peers in processes of their own, the texts, and `results`, which is what is written as JSON.

    `results["times"][set][size][peer]` holds one list per round of the seconds that each call took; `size` is a number
    of texts per call, or "all" for the whole set in one call.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        import corpus  # not above: the workers import the script again, and must import nothing of votive

        self.quick = arguments.quick
        self.rounds = 2 if self.quick else arguments.rounds
        self.seconds = 0.1 if self.quick else arguments.seconds
        self.setup = model.setup(arguments.model, arguments.cache, arguments.threads)
        self.workers: dict[str, Worker] = {}
        read = corpus.read(self.setup.model / "tokenizer.json")
        every = model.MODELS[arguments.model] * (QUICK_EVERY if self.quick else 1)
        self.texts = {name: texts[::every] for name, texts in read.sets.items()}
        described = {
            name: {"texts": len(texts), "tokens": statistics.mean(read.tokens[text] for text in texts)}
            for name, texts in self.texts.items()
        }
        self.results: dict[str, Any] = {
            "model": arguments.model,
            "machine": machine.describe(),
            "versions": machine.versions(),
            "corpus": {"digest": read.digest(), "sets": described},
            "threads": self.setup.threads,
            "peers": {},
            "skipped": {},
            "times": {},
        }
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)

    def load(self, peer: str) -> Worker | None:
        """The peer's process, which has the texts; None, with the reason in the results, where it cannot be."""
        say(f"loading {peer}")
        try:
            with Worker(peer, self.setup) as first:  # exports what is missing, and brings files into memory
                first.call("encode", self.texts["short"][:1])
            worker = Worker(peer, self.setup)
            worker.call("take", self.texts)
        except WorkerError as reason:
            say(f"skipped: {reason}")
            self.results["skipped"][peer] = str(reason)
            return None
        self.workers[peer] = worker
        self.results["peers"][peer] = {"choices": {}}
        return worker

    def first_vector_seconds(self, peer: str) -> float:
        """A fresh process: start Python, import, load, and encode one short text."""
        setup = self.setup
        command = [sys.executable, str(FIRST_VECTOR), peer, str(setup.model), str(setup.cache), str(setup.threads)]
        start = time.perf_counter()
        with subprocess.Popen(
            [*command, self.texts["short"][0]], env=os.environ | environment(setup), stdout=subprocess.PIPE, text=True
        ) as process:
            if not any(line == "ready\n" for line in process.stdout):
                raise WorkerError(f"{peer}: its process ended before its first vector")
            return time.perf_counter() - start

    def memory(self, peer: str) -> np.ndarray:
        """Note what a fresh worker takes after 1,000 texts; gives its vectors of the mixed set."""
        mixed = self.texts["mixed"]
        texts = mixed if self.quick else list(islice(cycle(mixed), MEMORY_TEXTS))
        vectors = self.workers[peer].call("encode", texts)
        self.results["peers"][peer]["memory_bytes"] = self.workers[peer].call("memory")
        return vectors[: len(mixed)]

    def choose(self, peer: str, sets: list[str]) -> None:
        """Find the peer's fastest batches for each of the sets; a quick run takes them as they come."""
        if self.quick:
            return
        for name in sets:
            choice = self.workers[peer].call("choose", name)
            if choice is not None:
                self.results["peers"][peer]["choices"][name] = choice

    def warm_up(self, cells: Cells) -> dict[tuple[str, str], int]:
        """Calls per round of each cell: what its slowest peer does in `--seconds`; one of a whole set."""
        say("warming up")
        calls = {}
        for (name, size), peers in cells.items():
            if size == "all":
                calls[name, size] = 1
                continue
            tries = max(1, 5 // int(size))
            slowest = max(statistics.mean(self.workers[peer].call("times", name, int(size), tries)) for peer in peers)
            calls[name, size] = min(MOST_CALLS, max(1, round(self.seconds / slowest)))
        return calls

    def round(self, cells: Cells, calls: dict[tuple[str, str], int]) -> None:
        """Each cell once, its peers in turn; adds to `results["times"]`."""
        for (name, size), peers in cells.items():
            cell = self.results["times"].setdefault(name, {}).setdefault(size, {peer: [] for peer in peers})
            count = len(self.texts[name]) if size == "all" else int(size)
            for peer in peers:
                seconds = self.workers[peer].call("times", name, count, calls[name, size])
                cell[peer].append([round(call, 6) for call in seconds])

    def write(self, name: str, markdown: str) -> None:
        """Results and tables, `name.json` and `name.md`; after every round, so that nothing measured is lost."""
        (self.out / f"{name}.json").write_text(json.dumps(self.results))
        (self.out / f"{name}.md").write_text(markdown)

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()


def say(line: str) -> None:
    """Progress, beside the tables on standard output."""
    print(line, file=sys.stderr, flush=True)
