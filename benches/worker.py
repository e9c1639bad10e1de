"""A peer in a process of its own: no engine's threads, memory or libraries disturb another's."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from peers import PEERS, Choice, Setup, Unavailable


class WorkerError(Exception):
    """The peer could not be loaded, or failed; the text is the reason."""


class Worker:
    """The parent's end. Methods of `Measurements` are called through it by name."""

    def __init__(self, name: str, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, setup, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns. Raises `WorkerError` with the reason if it fails there."""
        try:
            self._connection.send((method, arguments))
            result = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerError(f"its process ended with exit code {self._process.exitcode}") from None
        if isinstance(result, WorkerError):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


class Measurements:
    """The child's end: one loaded peer and the texts."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.peer = PEERS[name](setup)
        self.peer.load()
        self.sets: dict[str, list[str]] = {}
        self.chosen: dict[str, Choice] = {}

    def encode(self, texts: list[str]) -> Any:
        """The vectors, `[texts, 384]`."""
        return self.peer.encode(texts)

    def memory(self) -> int:
        """Resident memory of the process, bytes."""
        import psutil

        return psutil.Process().memory_info().rss

    def take(self, sets: dict[str, list[str]]) -> None:
        """Keep the texts that `choose` and `times` name."""
        self.sets = sets

    def choose(self, name: str, sample: int) -> str | None:
        """Try the choices on the first `sample` texts of the set, in turns, and keep the fastest for its texts."""
        if not self.peer.choices:
            return None
        texts = self.sets[name][:sample]
        fastest = dict.fromkeys(self.peer.choices, math.inf)
        for choice in self.peer.choices * 2:
            self.peer.choice = choice
            fastest[choice] = min(fastest[choice], self._seconds(texts))
        self.chosen[name] = min(fastest, key=fastest.__getitem__)
        return str(self.chosen[name])

    def times(self, name: str, size: int, calls: int) -> list[float]:
        """Seconds of each of `calls` calls with `size` texts, which walk through the set and begin again at its end."""
        texts = self.sets[name]
        if name in self.chosen:
            self.peer.choice = self.chosen[name]
        starts = (call * size for call in range(calls))
        return [self._seconds([texts[(start + i) % len(texts)] for i in range(size)]) for start in starts]

    def _seconds(self, texts: list[str]) -> float:
        start = time.perf_counter()
        self.peer.encode(texts)
        return time.perf_counter() - start


def _serve(name: str, setup: Setup, connection: Connection) -> None:
    # Read by the libraries when they start their threads: the tokenizers, PyTorch.
    os.environ.update(RAYON_NUM_THREADS=str(setup.threads), OMP_NUM_THREADS=str(setup.threads))
    os.environ["HF_HUB_OFFLINE"] = "1"
    measurements: Measurements | None = None
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            measurements = measurements or Measurements(name, setup)
            connection.send(getattr(measurements, method)(*arguments))
        except (ImportError, Unavailable) as error:
            connection.send(WorkerError(str(error)))
        except Exception as error:  # the run goes on without this peer
            traceback.print_exc()
            connection.send(WorkerError(f"{type(error).__name__}: {error}"))
