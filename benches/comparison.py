"""Loaded peers that take turns on the same items: texts, or pairs of them.

In each round, for each set and size, all peers take turns (A B C A B C ...), so that what else the machine does falls
on all of them, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import report
from engines import Peer
from model import Setup
from worker import Measurements, Worker, WorkerError, environment

if TYPE_CHECKING:
    from corpus import Corpus  # imports votive, of which the workers must import nothing: they import the script again

MOST_CALLS = 200
QUICK_EVERY = 6

Cells = dict[tuple[str, str], list[str]]
"""The peers that take turns on a set with so many items per call: `(set, size)`, where size is a number or "all"."""


def options(description: str, models: Iterable[str], models_help: str) -> argparse.ArgumentParser:
    """The arguments that every comparison takes; the first of the models is the default."""
    models = tuple(models)
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", choices=models, default=models[0], help=models_help)
    parser.add_argument("--rounds", type=int, default=5, help="5")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="what the slowest peer spends on one size in one round; %(default)s"
    )
    parser.add_argument("--threads", type=int, help="of every peer; the CPUs that this process may use")
    parser.add_argument("--cache", type=Path, help="for exports; $VOTIVE_BENCH_CACHE, else the user's cache folder")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for what is written; here")
    parser.add_argument(
        "--quick", action="store_true", help="a sixth of the items, two rounds, batches as they come: a trial run"
    )
    return parser


def listed(accepted: tuple[str, ...]) -> Callable[[str], list[str]]:
    """The type of an argument that is comma-separated: some of the accepted names, in that order."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = set(names) - set(accepted)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(accepted)}")
        return [name for name in accepted if name in names]

    return parse


class Comparison:
    """Peers in processes of their own, items to compute, and `results`, which is what is written as JSON.

    `peers` are makers by name. Of each of the corpus's sets, one item in `every` is measured.

    `results["times"][set][size][peer]` holds one list per round of the seconds that each call took; `size` is a number
    of items per call, or "all" for the whole set in one call.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        peers: dict[str, Callable[[Setup], Peer]],
        setup: Setup,
        corpus: Corpus,
        every: int,
    ) -> None:
        self.quick = arguments.quick
        self.rounds = 2 if self.quick else arguments.rounds
        self.seconds = 0.1 if self.quick else arguments.seconds
        self.peers = peers
        self.setup = setup
        self.workers: dict[str, Worker] = {}
        self.sets = {name: items[::every] for name, items in corpus.sets.items()}
        described = {
            name: {"count": len(items), "tokens": statistics.mean(corpus.tokens[item] for item in items)}
            for name, items in self.sets.items()
        }
        self.results: dict[str, Any] = {
            "model": arguments.model,
            "machine": machine.describe(),
            "versions": machine.versions(),
            "corpus": {"digest": corpus.digest, "sets": described},
            "threads": self.setup.threads,
            "peers": {},
            "skipped": {},
            "times": {},
        }
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)

    def load(self, peer: str) -> Worker | None:
        """The peer's process, which has the items; None, with the reason in the results, where it cannot be."""
        say(f"loading {peer}")
        make = partial(Measurements, self.peers[peer], self.setup)
        try:
            with Worker(make, environment(self.setup)) as first:  # exports what is missing, brings files into memory
                first.call("compute", next(iter(self.sets.values()))[:1])
            worker = Worker(make, environment(self.setup))
            worker.call("take", self.sets)
        except WorkerError as reason:
            say(f"skipped: {reason}")
            self.results["skipped"][peer] = str(reason)
            return None
        self.workers[peer] = worker
        self.results["peers"][peer] = {"choices": {}}
        return worker

    def choose(self, peer: str, sets: list[str], size: int | None = None) -> None:
        """Find the peer's fastest batches for each of the sets, whole or in calls with `size` items.

        A quick run takes them as they come.
        """
        if self.quick:
            return
        for name in sets:
            choice = self.workers[peer].call("choose", name, size)
            if choice is not None:
                self.results["peers"][peer]["choices"][name if size is None else f"{name} {size}"] = choice

    def cells(self, compared: Iterable[tuple[str, str, list[str]]]) -> Cells:
        """From set, size and peers, perhaps with the same set and size twice, the peers that are loaded."""
        cells: Cells = {}
        for name, size, peers in compared:
            cell = cells.setdefault((name, size), [])
            cell += [peer for peer in peers if peer in self.workers and peer not in cell]
        return {cell: peers for cell, peers in cells.items() if peers}

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
            count = len(self.sets[name]) if size == "all" else int(size)
            for peer in peers:
                seconds = self.workers[peer].call("times", name, count, calls[name, size])
                cell[peer].append([round(call, 6) for call in seconds])

    def write(self, name: str, markdown: str) -> None:
        """Results and tables, `name.json` and `name.md`; after every round, so that nothing measured is lost."""
        report.write(self.out, name, self.results, markdown)

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()


def say(line: str) -> None:
    """Progress, beside the tables on standard output."""
    print(line, file=sys.stderr, flush=True)
