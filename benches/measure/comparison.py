"""Peers that take turns, each in a process of its own.

In each round, for each kind of call, all peers take turns (A B C A B C ...), so that what else the machine does falls
on all of them, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from votive.bench import machine
from votive.bench.backends.engines import Engine, EngineSetup
from votive.bench.worker import Worker, WorkerError, environment

from benches import report
from benches.measure.loaded import LoadedEngine

if TYPE_CHECKING:  # it imports what reads texts, which stores do not need
    from benches.data.corpus import Corpus

MOST_CALLS = 200

Cells = dict[tuple[str, str], list[str]]
"""The peers that take turns on a set with so many items per call: `(set, size)`, where size is a number or "all"."""


class Comparison:
    """What all comparisons have: rounds, where to write, processes by peer, and `results`, which is written as JSON.

    `described` is what the results begin with.
    """

    QUICK_SECONDS = 0.1

    def __init__(self, arguments: argparse.Namespace, threads: int, described: dict[str, Any]) -> None:
        self.quick: bool = arguments.quick
        self.rounds: int = 2 if self.quick else arguments.rounds
        self.seconds: float = self.QUICK_SECONDS if self.quick else arguments.seconds
        self.workers: dict[str, Worker] = {}
        self.results: dict[str, Any] = {
            **described,
            "machine": machine.describe(),
            "versions": machine.versions(),
            "threads": threads,
        }
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)

    def each_round(self) -> Iterator[None]:
        """As often as there are rounds, saying which."""
        for number in range(self.rounds):
            say(f"round {number + 1} of {self.rounds}")
            yield

    def calls(self, slowest: float) -> int:
        """Calls per round, of which the slowest peer's take `--seconds`; `slowest` is what one takes it."""
        return min(MOST_CALLS, max(1, round(self.seconds / slowest)))

    def skip(self, peer: str, reason: Exception) -> None:
        """Note why a peer is not compared."""
        say(f"skipped: {reason}")
        self.results["skipped"][peer] = str(reason)

    def write(self, name: str, markdown: str) -> None:
        """Results and tables, `name.json` and `name.md`; after every round, so that nothing measured is lost."""
        report.write(self.out, name, self.results, markdown)

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()


class ItemComparison(Comparison):
    """Peers that compute items: texts, or pairs of them.

    `peers` are makers by name. Of each of the corpus's sets, one item in `every` is measured.

    `results["times"][set][size][peer]` holds one list per round of the seconds that each call took; `size` is a number
    of items per call, or "all" for the whole set in one call.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        peers: dict[str, Callable[[EngineSetup], Engine]],
        setup: EngineSetup,
        corpus: Corpus,
        every: int,
    ) -> None:
        self.peers = peers
        self.setup = setup
        self.sets = {name: items[::every] for name, items in corpus.sets.items()}
        sets = {
            name: {"count": len(items), "tokens": statistics.mean(corpus.tokens[item] for item in items)}
            for name, items in self.sets.items()
        }
        described = {"model": arguments.model, "corpus": {"digest": corpus.digest, "sets": sets}}
        super().__init__(arguments, setup.threads, {**described, "peers": {}, "skipped": {}, "times": {}})

    def load(self, peer: str) -> Worker | None:
        """The peer's process, which has the items; None, with the reason in the results, where it cannot be."""
        say(f"loading {peer}")
        make = partial(LoadedEngine, self.peers[peer], self.setup)
        try:
            # The first one exports what is missing, and brings files into memory.
            with Worker(make, environment(self.setup.threads)) as first:
                first.call("compute", next(iter(self.sets.values()))[:1])
            worker = Worker(make, environment(self.setup.threads))
            worker.call("take", self.sets)
        except WorkerError as reason:
            self.skip(peer, reason)
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
            calls[name, size] = self.calls(slowest)
        return calls

    def round(self, cells: Cells, calls: dict[tuple[str, str], int]) -> None:
        """Each cell once, its peers in turn; adds to `results["times"]`."""
        for (name, size), peers in cells.items():
            cell = self.results["times"].setdefault(name, {}).setdefault(size, {peer: [] for peer in peers})
            count = len(self.sets[name]) if size == "all" else int(size)
            for peer in peers:
                seconds = self.workers[peer].call("times", name, count, calls[name, size])
                cell[peer].append([round(call, 6) for call in seconds])


def program(name: str, *arguments: object) -> list[str]:
    """The command of a module of this folder, to be run in a fresh process in the folder `ROOT`."""
    return [sys.executable, "-m", f"benches.measure.{name}", *map(str, arguments)]


def say(line: str) -> None:
    """Progress, beside the tables on standard output."""
    print(line, file=sys.stderr, flush=True)
