"""Stores of documents: adding, opening, reading by id, changing a value, filters; and a commit for every row."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from votive._cpus import usable_cpus
from votive.bench.worker import Worker, WorkerError

from benches.data.documents import BATCH, FILTERS, Documents
from benches.measure.comparison import Comparison, say
from benches.measure.loaded import QUERIES
from benches.measure.loaded_documents import CALLS, K, LoadedDocuments
from benches.peers.documents import (
    COMMIT,
    DELETE,
    DELETE_COMMIT,
    FILTERED,
    MASKED,
    OPEN,
    OPEN_AND_SEARCH,
    PEERS,
    UPDATE,
)
from benches.report import documents as report

DIMENSION = 384
CHECKED = 8  # queries whose answers are compared with brute force's
QUICK_ROWS, QUICK_COMMITS = 2_000, 200
MOST_UPDATES = 50  # of a round: some stores keep a file for each
SLOW = 10.0  # seconds: what takes longer to open is opened once
DISK_WRITES = 20
STEP = 100  # commits that are timed together


def documents(arguments: argparse.Namespace) -> None:
    """The same documents in every store."""
    if arguments.quick:
        arguments.rows = min(arguments.rows, QUICK_ROWS)
    comparison = DocumentComparison(arguments)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        comparison.measure(arguments.peers, Path(folder).absolute())
    print(report.markdown(comparison.results))


def commits(arguments: argparse.Namespace) -> None:
    """One row a commit."""
    if arguments.quick:
        arguments.commits = min(arguments.commits, QUICK_COMMITS)
    comparison = CommitComparison(arguments)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        comparison.measure(arguments.peers, Path(folder).absolute())
    print(report.commits_markdown(comparison.results))


class StoredDocuments(Comparison):
    """Stores in a folder each. What one cannot do is noted in `results["failed"]`, and the run goes on without."""

    QUICK_SECONDS = 0.1

    def __init__(self, arguments: argparse.Namespace, shown: Documents, described: dict[str, Any]) -> None:
        described = {"documents": str(shown), **described, "stores": {}, "skipped": {}, "failed": {}, "times": {}}
        super().__init__(arguments, usable_cpus(), described)
        self.shown = shown

    def measure_disk(self, folder: Path) -> None:
        """Note what a write of 4 KB takes until the disk has it, which is the least that a commit can take."""
        times = []
        with (folder / "disk").open("wb") as file:
            for _ in range(DISK_WRITES):
                start = time.perf_counter()
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
                times.append(time.perf_counter() - start)
        self.results["fsync"] = statistics.median(times)

    def worker(self, name: str, folder: Path, rows: int) -> Worker:
        """A fresh process for the store in that folder."""
        make = partial(LoadedDocuments, PEERS[name], self.shown._replace(rows=rows), folder / name)
        return Worker(make, {"OMP_NUM_THREADS": str(self.results["threads"])})

    def attempt(self, name: str, what: str, do: Callable[[], Any]) -> Any:
        """What it gives; None where the store cannot, the first time with the reason."""
        if what in self.results["failed"].get(name, {}):
            return None
        try:
            return do()
        except WorkerError as reason:
            say(f"{name}, {what}: {reason}")
            self.results["failed"].setdefault(name, {})[what] = str(reason)
            return None

    def note(self, name: str, call: str, seconds: list[float]) -> None:
        """A round's seconds of each call."""
        rounds = self.results["times"].setdefault(call, {}).setdefault(name, [])
        rounds.append([round(each, 7) for each in seconds])


class DocumentComparison(StoredDocuments):
    """`results["times"][call][store]` holds one list per round of the seconds that each call took.

    `results["stores"][store]` holds what is measured once. Each store takes as many calls in a round as `--seconds`
    are enough for.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(arguments, Documents(arguments.rows, DIMENSION), {"k": K, "limit": arguments.limit})
        self.limit: float = arguments.limit

    def measure(self, peers: list[str], folder: Path) -> None:
        """All of it; written after each part."""
        self.measure_disk(folder)
        for name in peers:
            self.build(name, folder)
        self.open(folder)
        for name in self.stores():
            self.load(name, folder)
        self.check()
        for _ in self.each_round():
            self.round()
        for _ in self.each_round():
            self.update_round()
        self.delete()
        self.close()

    def stores(self) -> list[str]:
        """Those that were built."""
        return list(self.results["stores"])

    def write_all(self) -> None:
        """Results and tables."""
        self.write("store_documents", report.markdown(self.results))

    def build(self, name: str, folder: Path) -> None:
        """Add the rows in a process of its own; else skip the store."""
        say(f"adding to {name}")
        try:
            with self.worker(name, folder, self.shown.rows) as worker:
                built = worker.call("build", self.limit)
        except WorkerError as reason:
            self.skip(name, reason)
            return
        files = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
        self.results["stores"][name] = {**built, "files": files}
        self.write_all()

    def open(self, folder: Path) -> None:
        """Open each store in fresh processes, in turns; the first time brings the files into memory."""
        slow: set[str] = set()
        for number in range(-1, self.rounds):
            for name in self.stores():
                if name in slow:
                    continue
                say(f"opening {name}, round {number + 1} of {self.rounds}")
                with self.worker(name, folder, self.results["stores"][name]["rows"]) as worker:
                    times = self.attempt(name, "open", partial(worker.call, "open", False))
                    self.attempt(name, "close", partial(worker.call, "close"))
                if times is None:
                    continue
                if sum(times) > SLOW:
                    slow.add(name)
                if number >= 0 or name in slow:
                    self.note(name, OPEN, times[:1])
                    self.note(name, OPEN_AND_SEARCH, [sum(times)])
        self.write_all()

    def load(self, name: str, folder: Path) -> None:
        """A process that has the store open; the first call of each kind, which may build an index."""
        say(f"loading {name}")
        worker = self.worker(name, folder, self.results["stores"][name]["rows"])
        if self.attempt(name, "open to write", partial(worker.call, "open", True)) is None:
            worker.close()
            return
        self.workers[name] = worker
        first = self.results["stores"][name]["first"] = {}
        for call in CALLS:
            times = self.attempt(name, call, partial(worker.call, "times", call, 0.0))
            if times:
                first[call] = times[0]

    def check(self) -> None:
        """Note which share of the true neighbours each store finds."""
        say("comparing with brute force")
        filters = [None, *FILTERS]
        ends = {self.results["stores"][name]["rows"] for name in self.workers}
        truth = _nearest(self.shown, ends, filters)
        for name, worker in self.workers.items():
            facts = self.results["stores"][name]
            found = facts["found"] = {}
            for filter in filters:
                answers = self.attempt(name, "search", partial(worker.call, "answers", filter, CHECKED))
                if answers is not None:
                    true = truth[facts["rows"], filter]
                    shares = [len({*mine} & {*ids}) / max(1, len(ids)) for mine, ids in zip(answers, true, strict=True)]
                    found[filter or "all"] = float(np.mean(shares))
        self.write_all()

    def round(self) -> None:
        """Each kind of call, the stores in turn; and votive's filters beside their masks."""
        for call in CALLS:
            for name, worker in self.workers.items():
                times = self.attempt(name, call, partial(worker.call, "times", call, self.seconds))
                if times:
                    self.note(name, call, times)
        for filter in FILTERS:
            for name, worker in self.workers.items():
                if not name.startswith("votive"):
                    continue
                pairs = self.attempt(name, "filter", partial(worker.call, "pairs", filter, 2 * self.seconds))
                if pairs:
                    self.note(name, f"{FILTERED}, {filter}", pairs[0])
                    self.note(name, f"{MASKED}, {filter}", pairs[1])
        self.write_all()

    def update_round(self) -> None:
        """One value and its commit, again and again."""
        for name, worker in self.workers.items():
            both = self.attempt(name, "update", partial(worker.call, "updates", self.seconds, MOST_UPDATES))
            if both:
                self.note(name, UPDATE, both[0])
                if both[1]:
                    self.note(name, COMMIT, both[1])
        self.write_all()

    def delete(self) -> None:
        """Once, at the end."""
        for name, worker in self.workers.items():
            both = self.attempt(name, "delete", partial(worker.call, "delete"))
            if both:
                self.note(name, DELETE, both[0])
                if both[1]:
                    self.note(name, DELETE_COMMIT, both[1])
            self.attempt(name, "close", partial(worker.call, "close"))
        self.write_all()


class CommitComparison(StoredDocuments):
    """`results["stores"][store]["steps"]` holds, for every hundred commits, seconds, files and bytes."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        described = {"commits": arguments.commits, "step": STEP, "limit": arguments.limit}
        super().__init__(arguments, Documents(max(arguments.commits, BATCH), DIMENSION), described)
        self.commits: int = arguments.commits
        self.limit: float = arguments.limit

    def measure(self, peers: list[str], folder: Path) -> None:
        """One store after the other; written after each."""
        self.measure_disk(folder)
        for name in peers:
            if self.commit_rows(name, folder):
                self.open(name, folder)
            self.write("store_commits", report.commits_markdown(self.results))

    def open(self, name: str, folder: Path) -> None:
        """Open the store in fresh processes; the first brings the files into memory."""
        say(f"opening {name}")
        for number in range(-1, self.rounds):
            with self.worker(name, folder, self.commits) as worker:
                times = self.attempt(name, "open", partial(worker.call, "open", False))
                self.attempt(name, "close", partial(worker.call, "close"))
            if times and number >= 0:
                self.note(name, OPEN, times[:1])
                self.note(name, OPEN_AND_SEARCH, [sum(times)])

    def commit_rows(self, name: str, folder: Path) -> bool:
        """All steps, or those that begin within `--limit` seconds; False where the store cannot be."""
        steps: list[dict[str, Any]] = []
        with self.worker(name, folder, self.shown.rows) as worker:
            try:
                worker.call("create_on_disk")
                for first in range(0, self.commits, STEP):
                    steps.append(worker.call("commit_rows", first, min(STEP, self.commits - first)))
                    if len(steps) % 10 == 0:
                        say(f"{name}: {first + STEP} commits")
                    if sum(step["seconds"] for step in steps) > self.limit:
                        break
                worker.call("close")
            except WorkerError as reason:
                self.skip(name, reason)
                return False
        with self.worker(name, folder, self.commits) as worker:
            self.results["stores"][name] = {"steps": steps, "closed": worker.call("files")}
        return True


def _nearest(
    documents: Documents, ends: set[int], filters: list[str | None]
) -> dict[tuple[int, str | None], list[list[str]]]:
    """Ids of the `K` nearest to each of the first queries among the first so many rows, by NumPy, by filter."""
    queries = documents.queries(QUERIES)[:CHECKED]
    scores = {filter: np.empty((CHECKED, 0), np.float32) for filter in filters}
    rows = {filter: np.empty((CHECKED, 0), np.int64) for filter in filters}
    found: dict[tuple[int, str | None], list[list[str]]] = {}
    for start in range(0, max(ends, default=0), BATCH):
        products = queries @ documents.vectors(start).T
        stop = start + products.shape[1]
        for filter in filters:
            kept = np.arange(products.shape[1]) if filter is None else np.flatnonzero(documents.mask(filter, start))
            here = np.broadcast_to(start + kept, (CHECKED, len(kept)))
            all_scores = np.concatenate([scores[filter], products[:, kept]], axis=1)
            all_rows = np.concatenate([rows[filter], here], axis=1)
            best = np.argsort(-all_scores, axis=1, kind="stable")[:, :K]
            scores[filter] = np.take_along_axis(all_scores, best, axis=1)
            rows[filter] = np.take_along_axis(all_rows, best, axis=1)
            if stop in ends:
                found[stop, filter] = [[documents.id(row) for row in each] for each in rows[filter].tolist()]
    return found
