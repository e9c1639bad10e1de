"""Callers that share one model: threads, or tasks of asyncio, that call it again and again for a while."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice, product
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benches.data import corpus
from benches.measure.comparison import Comparison, say
from benches.peers import models
from benches.peers.embedders import LOCKED, SHARED, SHARED_PEERS, UNSHARED
from benches.report import callers

WAYS = ("threads", "asyncio")
WARM_UP = 64  # texts


def targets(arguments: argparse.Namespace) -> None:
    """The ratios that votive is held to."""
    comparison = CallersComparison(arguments)
    for _ in comparison.compare():
        comparison.write("concurrency_targets", callers.targets_markdown(comparison.results))
    print(callers.targets_markdown(comparison.results))


def table(arguments: argparse.Namespace) -> None:
    """Every peer, way of calling, number of callers and of texts per call, and a plot."""
    comparison = CallersComparison(arguments)
    peers = [name for name in SHARED_PEERS if name != LOCKED or not arguments.votive]
    for _ in comparison.measure(peers, arguments.callers, arguments.sizes):
        comparison.write("concurrency", callers.markdown(comparison.results))
    callers.plot(comparison.results, comparison.out / "concurrency.png")
    print(callers.markdown(comparison.results))


class Run(NamedTuple):
    """What some callers got.

    `seconds`: from the first call to the last result. `latencies`: seconds of each call. `texts`: of all calls.
    """

    seconds: float
    latencies: list[float]
    texts: int

    @property
    def rate(self) -> float:
        """Texts per second."""
        return self.texts / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds that so great a share of the calls took at most."""
        return float(np.quantile(self.latencies, share))


class CallersComparison(Comparison):
    """All peers in this process, MiniLM on short texts.

    `results["cells"]` holds the rates and the quantiles of times of every cell, `results["targets"]` ratios.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.setup = models.embedder(threads=arguments.threads)
        texts = corpus.texts(self.setup.model / "tokenizer.json")
        self.texts = texts.sets["short"]
        self.loaded: dict[tuple[str, int], Any] = {}
        described = {"model": "minilm", "corpus": {"digest": texts.digest}, "cells": [], "targets": []}
        super().__init__(arguments, self.setup.threads, described)

    def peer(self, name: str, count: int) -> Any:
        """Loaded once; the one without a queue once for each number of callers."""
        key = (name, count if name == UNSHARED else 0)
        if key not in self.loaded:
            peer = self.loaded[key] = SHARED_PEERS[name](self.setup, count)
            peer.load()
            peer.compute(self.texts[:WARM_UP])
        return self.loaded[key]

    def run(self, name: str, way: str, count: int, size: int) -> Run:
        """One cell, once."""
        return measure(self.peer(name, count), way, count, size, self.texts, self.seconds)

    def measure(self, peers: list[str], counts: list[int], sizes: list[int]) -> Iterator[None]:
        """Every cell, its peers taking turns in each round; yields after each cell."""
        for way, size, count in product(WAYS, sizes, counts):
            runs: dict[str, list[Run]] = {name: [] for name in peers}
            for _ in range(self.rounds):
                for name in peers:
                    runs[name].append(self.run(name, way, count, size))
            for name, each in runs.items():
                latencies = np.concatenate([run.latencies for run in each])
                self.results["cells"].append(
                    {
                        "peer": name,
                        "way": way,
                        "callers": count,
                        "texts": size,
                        "rates": [run.rate for run in each],
                        "quantiles": np.quantile(latencies, [0.5, 0.95, 0.99]).tolist(),
                    }
                )
            say(f"{way}: {count} callers with {size}")
            yield

    def compare(self) -> Iterator[None]:
        """The ratios that votive is held to; both sides of each take turns; yields after each way of calling."""
        for way in WAYS:
            single = self._both((SHARED, way, 16, 1), (UNSHARED, way, 16, 1))
            self._note(f"{way}: 16 callers, one text each, of nobody waiting", _ratios(single), "2x, or")
            whole = self._both((SHARED, way, 16, 1), (SHARED, way, 1, len(self.texts)))
            self._note(f"{way}: the same, of one caller with one big batch", _ratios(whole), "0.9x")
            some = self._both((SHARED, way, 8, 32), (SHARED, way, 1, 32))
            self._note(f"{way}: 8 callers with 32 texts, of one caller with 32", _ratios(some), "0.95x")
            tails = [run.quantile(0.99) / run.quantile(0.5) for run, _ in single]
            self._note(f"{way}: 16 callers, one text each, p99 of p50", tails, "at most 3x")
            lone = self._both((SHARED, way, 1, 1), (UNSHARED, way, 1, 1))
            self._note(f"{way}: a lone caller with one text, of nobody waiting", _ratios(lone), "0.98x")
            yield

    def _both(self, *cells: tuple[str, str, int, int]) -> list[list[Run]]:
        return [[self.run(*cell) for cell in cells] for _ in range(self.rounds)]

    def _note(self, what: str, ratios: list[float], goal: str) -> None:
        say(f"{what}: {median(ratios):.2f}")
        self.results["targets"].append({"what": what, "ratios": ratios, "goal": goal})


def _ratios(pairs: list[list[Run]]) -> list[float]:
    return [one.rate / other.rate for one, other in pairs]


def measure(peer: Any, way: str, callers: int, size: int, texts: list[str], seconds: float) -> Run:
    """So many callers, each with calls of `size` texts one after the other, for so long."""
    run = _tasks if way == "asyncio" else _threads
    start = time.perf_counter()
    latencies = run(peer, callers, size, texts, start + seconds)
    return Run(time.perf_counter() - start, latencies, size * len(latencies))


def _threads(peer: Any, callers: int, size: int, texts: list[str], end: float) -> list[float]:
    latencies: list[float] = []

    def work(caller: int) -> None:
        for batch in _batches(texts, caller, size):
            start = time.perf_counter()
            if start > end:
                return
            peer.compute(batch)
            latencies.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies


def _tasks(peer: Any, callers: int, size: int, texts: list[str], end: float) -> list[float]:
    latencies: list[float] = []

    async def work(caller: int) -> None:
        for batch in _batches(texts, caller, size):
            start = time.perf_counter()
            if start > end:
                return
            await peer.acompute(batch)
            latencies.append(time.perf_counter() - start)

    async def main() -> None:
        await asyncio.gather(*(work(caller) for caller in range(callers)))

    asyncio.run(main())
    return latencies


def _batches(texts: list[str], caller: int, size: int) -> Iterator[list[str]]:
    """Without end, `size` texts at a time; each caller begins somewhere else."""
    start = caller * 37 % len(texts)
    endless = cycle(texts[start:] + texts[:start])
    while True:
        yield list(islice(endless, size))
