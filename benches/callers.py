"""Callers that share one model: threads, or tasks of asyncio, that call it again and again for a while."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
from model import Setup

WAYS = ("threads", "asyncio")


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


class Shared:
    """votive: calls meet in one queue. `max_concurrency`: passes at a time, instead of what the machine takes."""

    def __init__(self, setup: Setup, max_concurrency: int | None = None) -> None:
        import votive

        self.model = votive.Embedder(
            setup.model, device="cpu", num_threads=setup.threads, max_concurrency=max_concurrency
        )

    def compute(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, show_progress_bar=False)

    async def acompute(self, texts: list[str]) -> np.ndarray:
        return await self.model.aencode(texts)


class Locked:
    """sentence-transformers, one call at a time."""

    def __init__(self, setup: Setup) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(setup.threads)
        self.model = SentenceTransformer(str(setup.model), device="cpu")
        self.lock = threading.Lock()

    def compute(self, texts: list[str]) -> np.ndarray:
        with self.lock:
            return self.model.encode(texts, show_progress_bar=False)

    async def acompute(self, texts: list[str]) -> np.ndarray:
        return await asyncio.to_thread(self.compute, texts)


VOTIVE, UNSHARED, REFERENCE = "votive", "votive, nobody waits", "sentence-transformers, a lock"

# By the number of callers: where nobody waits, each has room for all threads to share its pass.
PEERS: dict[str, Callable[[Setup, int], Any]] = {
    VOTIVE: lambda setup, callers: Shared(setup),
    UNSHARED: lambda setup, callers: Shared(setup, callers * setup.threads),
    REFERENCE: lambda setup, callers: Locked(setup),
}


def batches(texts: list[str], caller: int, size: int) -> Iterator[list[str]]:
    """Without end, `size` texts at a time; each caller begins somewhere else."""
    start = caller * 37 % len(texts)
    endless = cycle(texts[start:] + texts[:start])
    while True:
        yield list(islice(endless, size))


def measure(peer: Any, way: str, callers: int, size: int, texts: list[str], seconds: float) -> Run:
    """So many callers, each with calls of `size` texts one after the other, for so long."""
    run = _tasks if way == "asyncio" else _threads
    start = time.perf_counter()
    latencies = run(peer, callers, size, texts, start + seconds)
    return Run(time.perf_counter() - start, latencies, size * len(latencies))


def _threads(peer: Any, callers: int, size: int, texts: list[str], end: float) -> list[float]:
    latencies: list[float] = []

    def work(caller: int) -> None:
        for batch in batches(texts, caller, size):
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
        for batch in batches(texts, caller, size):
            start = time.perf_counter()
            if start > end:
                return
            await peer.acompute(batch)
            latencies.append(time.perf_counter() - start)

    async def main() -> None:
        await asyncio.gather(*(work(caller) for caller in range(callers)))

    asyncio.run(main())
    return latencies
