"""Stores that take turns on the same vectors and queries, each in a process of its own.

In each round, for each kind of call, all take turns (A B C A B C ...), and ratios are taken within a round. The vectors
are made once: where processes can be forked, the stores' processes share them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import stores
from comparison import MOST_CALLS, say
from store_measurements import Search, StoreMeasurements
from vectors import Vectors
from worker import Worker, WorkerError

FIRST_SEARCH = Path(__file__).with_name("first_search.py")
START = "fork" if sys.platform == "linux" else "spawn"
COPY = "np.copy + int8 codes"
CHECKED = 32  # queries whose answers are compared with the reference's
QUICK_ROWS = 50_000


def store_options(description: str) -> argparse.ArgumentParser:
    """The arguments of a comparison of stores."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=int, help="of each shape, in place of its own number")
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="what the slowest store spends on one kind of call in one round; 1"
    )
    parser.add_argument(
        "--folder", type=Path, help="for saved stores, 10 GB for a million rows; the system's temporary"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="folder for what is written; here")
    parser.add_argument("--quick", action="store_true", help="50,000 rows, two rounds: a trial run")
    return parser


class StoreComparison:
    """Stores in processes of their own, and `results`, which is what is written as JSON.

    `results["times"][call][store]` holds one list per round of the seconds that each call took. A call is a `Search` as
    text, "add", "save" or "open + first query".
    """

    def __init__(self, arguments: argparse.Namespace, vectors: Vectors) -> None:
        rows = arguments.rows or (min(QUICK_ROWS, vectors.rows) if arguments.quick else vectors.rows)
        self.vectors = vectors._replace(rows=rows)
        self.rounds = 2 if arguments.quick else arguments.rounds
        self.seconds = 0.2 if arguments.quick else arguments.seconds
        self.folder: Path | None = arguments.folder
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)
        facts = machine.describe()
        self.threads = int(facts["cpus"])  # NumPy's too, whose BLAS counts the CPUs when it is loaded
        self.workers: dict[str, Worker] = {}
        self.results: dict[str, Any] = {
            "vectors": str(self.vectors),
            "machine": facts,
            "versions": machine.versions(),
            "threads": self.threads,
            "stores": {},
            "skipped": {},
            "times": {},
        }
        say(f"making {self.vectors} vectors")
        self.vectors.array()

    def load(self, name: str, k: int, shares: tuple[float, ...] = ()) -> None:
        """The store in a process of its own with all rows, its ways to filter chosen; else skipped with a reason."""
        say(f"loading {name}")
        worker = self._worker(name)
        try:
            worker.call("add")
            answers = worker.call("answers", CHECKED, k)
            choices = {f"{share:.0%}": worker.call("choose", share, k) for share in shares if worker.call("filters")}
        except WorkerError as reason:
            self._skip(name, reason)
            return
        self.workers[name] = worker
        self.results["stores"].setdefault(name, {}).update(answers=answers.tolist(), filters=choices)

    def recalls(self) -> None:
        """Note the share of the reference's ids that each store found."""
        facts = self.results["stores"]
        reference = facts[stores.REFERENCE]["answers"]
        for name in self.workers:
            each = facts[name]
            same = [
                len(set(mine) & set(true)) / len(true) for mine, true in zip(each["answers"], reference, strict=True)
            ]
            each["recall"] = statistics.mean(same)
        for name in self.workers:
            del facts[name]["answers"]

    def warm_up(self, searches: list[Search]) -> dict[Search, int]:
        """Calls per round: what the slowest store does in `--seconds`."""
        say("warming up")
        calls = {}
        for search in searches:
            slowest = max(np.mean(self.workers[name].call("times", search, 1)) for name in self._able(search))
            calls[search] = min(MOST_CALLS, max(1, round(self.seconds / slowest)))
        return calls

    def round(self, calls: dict[Search, int]) -> None:
        """Each kind of call once, the stores in turn."""
        for search, count in calls.items():
            for name in self._able(search):
                self._note(str(search), name, self.workers[name].call("times", search, count))

    def add_round(self, names: list[str]) -> None:
        """Each store takes all rows in one call, in place of those that it has; and what adding cannot do without."""
        for name in names:
            self._note("add", name, [self.workers[name].call("add")])
        self._note("add", COPY, [self.workers[stores.REFERENCE].call("copy_and_quantize")])

    def memory(self, names: list[str], blocks: int) -> None:
        """Note the peak of a fresh process's growth while it adds, of the bytes of the vectors."""
        size = 4 * self.vectors.rows * self.vectors.dimension
        for name in names:
            say(f"memory of {name}, {blocks} blocks")
            try:
                with self._worker(name) as worker:
                    share = worker.call("memory_while_adding", blocks) / size
            except WorkerError as reason:
                self._skip(name, reason)
                continue
            self.results["stores"].setdefault(name, {}).setdefault("memory", {})[str(blocks)] = share

    def save_and_open(self, names: list[str], k: int) -> None:
        """Each store is saved once by the process that has it; then fresh processes open it and search, in turns."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            saved = []
            for name in names:
                say(f"saving {name}")
                try:
                    self._note("save", name, [self.workers[name].call("save", Path(folder) / name)])
                    saved.append(name)
                except WorkerError as reason:
                    self._skip(name, reason)
            self.close()  # their memory is needed for the files
            openers = [(name, opener) for name in saved for opener in (name, *stores.OPENERS.get(name, ()))]
            for number in range(-1, self.rounds):  # the first brings the files into memory
                say(f"opening, round {number + 1} of {self.rounds}")
                for name, opener in openers:
                    seconds = self._first_search(name, opener, Path(folder) / name, k)
                    if number >= 0:
                        self._note("open + first query", opener, [seconds])

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def _worker(self, name: str) -> Worker:
        make = partial(StoreMeasurements, stores.PEERS[name], self.threads, self.vectors)
        return Worker(make, {"OMP_NUM_THREADS": str(self.threads)}, START)

    def _able(self, search: Search) -> list[str]:
        """The stores that are loaded and can be asked so."""
        facts = self.results["stores"]
        return [name for name in self.workers if search.share is None or facts[name]["filters"]]

    def _skip(self, name: str, reason: WorkerError) -> None:
        say(f"skipped: {reason}")
        self.results["skipped"][name] = str(reason)

    def _note(self, call: str, name: str, seconds: list[float]) -> None:
        rounds = self.results["times"].setdefault(call, {}).setdefault(name, [])
        rounds.append([round(each, 7) for each in seconds])

    def _first_search(self, name: str, opener: str, path: Path, k: int) -> float:
        shape = [str(part) for part in (*self.vectors, k)]
        command = [sys.executable, str(FIRST_SEARCH), name, opener, str(path), str(self.threads), *shape]
        return float(subprocess.check_output(command, text=True))
