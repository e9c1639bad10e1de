"""A peer in a process of its own: no engine's threads, memory or libraries disturb another's."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from model import Setup
from peers import PEERS, Choice, Unavailable

RUN = 32  # texts alike in length: the largest batch


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

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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
        """The vectors, `[texts, dimension]`."""
        return self.peer.encode(texts)

    def memory(self) -> int:
        """Resident memory of the process, bytes."""
        import psutil

        return psutil.Process().memory_info().rss

    def take(self, sets: dict[str, list[str]]) -> None:
        """Keep the texts that `choose` and `times` name."""
        self.sets = sets

    def choose(self, name: str) -> str | None:
        """Find the fastest of the peer's choices for the set, and keep it for its texts.

        Tried on every third run of texts alike in length, longest first: batches are as full as those of the whole set.
        """
        if not self.peer.choices:
            return None
        by_length = sorted(self.sets[name], key=len, reverse=True)
        sample = [text for start in range(0, len(by_length), 3 * RUN) for text in by_length[start : start + RUN]]
        fastest = {}
        for choice in self.peer.choices:
            self._seconds_with(choice, sample[-self.peer.setup.threads :])  # loads what the choice needs
            fastest[choice] = self._seconds_with(choice, sample)
        for choice in sorted(fastest, key=fastest.__getitem__)[:3]:
            fastest[choice] = min(fastest[choice], self._seconds_with(choice, sample))
        self.chosen[name] = min(fastest, key=fastest.__getitem__)
        return str(self.chosen[name])

    def times(self, name: str, size: int, calls: int) -> list[float]:
        """Seconds of each of `calls` calls with `size` texts, which walk through the set and begin again at its end."""
        texts = self.sets[name]
        if name in self.chosen:
            self.peer.choice = self.chosen[name]
        starts = (call * size for call in range(calls))
        return [self._seconds([texts[(start + i) % len(texts)] for i in range(size)]) for start in starts]

    def _seconds_with(self, choice: Choice, texts: list[str]) -> float:
        self.peer.choice = choice
        return self._seconds(texts)

    def _seconds(self, texts: list[str]) -> float:
        start = time.perf_counter()
        self.peer.encode(texts)
        return time.perf_counter() - start


def environment(setup: Setup) -> dict[str, str]:
    """For every process of a peer: what the tokenizers and PyTorch read when they start their threads, and no hub."""
    threads = str(setup.threads)
    return {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}


def _serve(name: str, setup: Setup, connection: Connection) -> None:
    os.environ.update(environment(setup))
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
