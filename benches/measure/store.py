"""Stores: times to search, with filters and without, to add, save and open, and memory."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from votive._cpus import usable_cpus
from votive.bench.backends import stores
from votive.bench.vectors import Vectors
from votive.bench.worker import Worker, WorkerError

from benches import ROOT
from benches.data.vectors import SHAPES, SHARES, Search
from benches.measure.comparison import Comparison, program, say
from benches.measure.loaded import BLOCKS, LoadedStore
from benches.report import store, write
from benches.targets import FILTERED, FLOAT32, MANY, ONE, STORE_K

START = "fork" if sys.platform == "linux" else "spawn"
CHECKED = 32  # queries whose answers are compared with the reference's
QUICK_ROWS = 50_000
MEASURED_IN_MEMORY = ("votive", "votive-int8", "faiss-flat")


def targets(arguments: argparse.Namespace) -> None:
    """The ratios that votive is held to."""
    comparison = StoreComparison(arguments, SHAPES["1m"], STORE_K)
    peers = [FLOAT32, *stores.EXACT, "faiss-sq8", "usearch-int8"]
    for _ in comparison.measure(peers, [ONE, MANY, *FILTERED]):
        comparison.write("store_targets", store.targets_markdown(comparison.results))
    print(store.targets_markdown(comparison.results))


def table(arguments: argparse.Namespace) -> None:
    """Every store, shape and k, and a plot."""
    tables: list[dict[str, Any]] = []
    for shape in arguments.shapes:
        for k in map(int, arguments.k):
            comparison = StoreComparison(arguments, SHAPES[shape], k)
            tables.append(comparison.results)
            searches = [Search(k), Search(k, 32), *(Search(k, 1, share) for share in SHARES)]
            for _ in comparison.measure(arguments.peers, searches):
                markdown = store.tables_markdown(tables)
                write(comparison.out, "store", tables, markdown)
                store.plot(tables, comparison.out / "store.png")
    print(markdown)


class StoreComparison(Comparison):
    """Stores that search the same vectors, made once: where processes can be forked, the stores' processes share them.

    `results["times"][call][store]` holds one list per round of the seconds that each call took. A call is a `Search` as
    text, "add", "save" or "open + first query".
    """

    QUICK_SECONDS = 0.2

    def __init__(self, arguments: argparse.Namespace, vectors: Vectors, k: int) -> None:
        rows = arguments.rows or (min(QUICK_ROWS, vectors.rows) if arguments.quick else vectors.rows)
        self.vectors = vectors._replace(rows=rows)
        self.folder: Path | None = arguments.folder and arguments.folder.absolute()
        self.k = k
        self.threads = usable_cpus()  # NumPy's too, whose BLAS counts the CPUs when it is loaded
        described = {"vectors": str(self.vectors), "k": k, "stores": {}, "skipped": {}, "times": {}}
        super().__init__(arguments, self.threads, described)
        say(f"making {self.vectors} vectors")
        self.vectors.array()

    def measure(self, peers: list[str], searches: list[Search]) -> Iterator[None]:
        """All of it; yields whenever there is something new in the results."""
        for blocks in (1, BLOCKS):
            self.memory([name for name in peers if name in MEASURED_IN_MEMORY], blocks)
        for name in peers:
            self.load(name)
        self.recalls()
        calls = self.warm_up(searches)
        for _ in self.each_round():
            self.round(calls)
            self.add_round([name for name in stores.ADDING if name in self.workers])
            yield
        self.save_and_open([name for name in stores.SAVING if name in self.workers])
        yield

    def load(self, name: str) -> None:
        """The store in a process of its own with all rows, its ways to filter chosen; else skipped with a reason."""
        say(f"loading {name}")
        worker = self._worker(name)
        try:
            worker.call("add")
            answers = worker.call("answers", CHECKED, self.k)
            choices = {
                f"{share:.0%}": worker.call("choose", share, self.k) for share in SHARES if worker.call("filters")
            }
        except WorkerError as reason:
            self.skip(name, reason)
            return
        self.workers[name] = worker
        self.results["stores"].setdefault(name, {}).update(answers=answers.tolist(), filters=choices)

    def recalls(self) -> None:
        """Note the share of the reference's ids that each store found, where the reference is there."""
        facts = self.results["stores"]
        answers = {name: facts[name].pop("answers") for name in self.workers}
        if stores.REFERENCE not in answers:
            say(f"{stores.REFERENCE} is not measured, so that no recall is known")
            return
        for name, found in answers.items():
            pairs = zip(found, answers[stores.REFERENCE], strict=True)
            facts[name]["recall"] = statistics.mean(len(set(mine) & set(true)) / len(true) for mine, true in pairs)

    def warm_up(self, searches: list[Search]) -> dict[Search, int]:
        """Calls per round: what the slowest store does in `--seconds`."""
        say("warming up")
        calls = {}
        for search in searches:
            slowest = max(np.mean(self.workers[name].call("times", search, 1)) for name in self._able(search))
            calls[search] = self.calls(slowest)
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
        if stores.REFERENCE in self.workers:
            self._note("add", stores.COPY, [self.workers[stores.REFERENCE].call("copy_and_quantize")])

    def memory(self, names: list[str], blocks: int) -> None:
        """Note the peak of a fresh process's growth while it adds, of the bytes of the vectors."""
        size = 4 * self.vectors.rows * self.vectors.dimension
        for name in names:
            say(f"memory of {name}, {blocks} blocks")
            try:
                with self._worker(name) as worker:
                    share = worker.call("memory_while_adding", blocks) / size
            except WorkerError as reason:
                self.skip(name, reason)
                continue
            self.results["stores"].setdefault(name, {}).setdefault("memory", {})[str(blocks)] = share

    def save_and_open(self, names: list[str]) -> None:
        """Each store is saved once by the process that has it; then fresh processes open it and search, in turns."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            saved = []
            for name in names:
                say(f"saving {name}")
                try:
                    self._note("save", name, [self.workers[name].call("save", Path(folder) / name)])
                    saved.append(name)
                except WorkerError as reason:
                    self.skip(name, reason)
            self.close()  # their memory is needed for the files
            openers = [(name, opener) for name in saved for opener in (name, *stores.OPENERS.get(name, ()))]
            for number in range(-1, self.rounds):  # the first brings the files into memory
                say(f"opening, round {number + 1} of {self.rounds}")
                for name, opener in openers:
                    seconds = self._first_search(name, opener, Path(folder) / name)
                    if number >= 0:
                        self._note(stores.OPEN, opener, [seconds])

    def _worker(self, name: str) -> Worker:
        make = partial(LoadedStore, stores.PEERS[name], self.threads, self.vectors)
        return Worker(make, {"OMP_NUM_THREADS": str(self.threads)}, START)

    def _able(self, search: Search) -> list[str]:
        """The stores that are loaded and can be asked so."""
        facts = self.results["stores"]
        return [name for name in self.workers if search.share is None or facts[name]["filters"]]

    def _note(self, call: str, name: str, seconds: list[float]) -> None:
        rounds = self.results["times"].setdefault(call, {}).setdefault(name, [])
        rounds.append([round(each, 7) for each in seconds])

    def _first_search(self, name: str, opener: str, path: Path) -> float:
        command = program("first_search", name, opener, path, self.threads, *self.vectors[:3], self.k)
        return float(subprocess.check_output(command, cwd=ROOT, text=True))
