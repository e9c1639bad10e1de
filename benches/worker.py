"""A peer in a process of its own: no engine's threads, memory or libraries disturb another's."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from engines import Choice, Peer, Unavailable
from model import Setup

RUN = 32  # items alike in length: the largest batch


class WorkerError(Exception):
    """The peer could not be loaded, or failed; the text is the reason."""


class Worker:
    """The parent's end. Methods of what `make` gives there, on the first call, are called through it by name."""

    def __init__(self, make: Callable[[], Any], environment: dict[str, str], start: str = "spawn") -> None:
        context = multiprocessing.get_context(start)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, environment, theirs), daemon=True)
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
        with contextlib.suppress(OSError):  # it has ended
            self._connection.send(None)
        self._connection.close()
        self._process.join()


class Measurements:
    """The child's end: one loaded peer and the items, which are texts or pairs of them."""

    def __init__(self, make: Callable[[Setup], Peer], setup: Setup) -> None:
        self.peer = make(setup)
        self.peer.load()
        self.sets: dict[str, list[Any]] = {}
        self.chosen: dict[tuple[str, int | None], Choice] = {}

    def compute(self, items: list[Any]) -> Any:
        """The vectors, `[texts, dimension]`, or the scores, `[pairs]`."""
        return self.peer.compute(items)

    def memory(self) -> int:
        """Resident memory of the process, bytes."""
        import psutil

        return psutil.Process().memory_info().rss

    def take(self, sets: dict[str, list[Any]]) -> None:
        """Keep the items that `choose` and `times` name."""
        self.sets = sets

    def choose(self, name: str, size: int | None = None) -> str | None:
        """Find the fastest of the peer's choices for the set, in calls with `size` items or else all, and keep it.

        A whole set is tried on every third run of items alike in length, longest first: batches are as full as those
        of the whole. Calls of a size are the first ones of the set, with `RUN` items or more together.
        """
        if not self.peer.choices or size == 1:
            return None
        if size is None:
            by_length = sorted(self.sets[name], key=_characters, reverse=True)
            samples = [[item for start in range(0, len(by_length), 3 * RUN) for item in by_length[start : start + RUN]]]
        else:
            samples = [self._call(name, size, call) for call in range(-(-RUN // size))]
        fastest = {}
        for choice in self.peer.choices:
            self._seconds_with(choice, [samples[-1][-self.peer.setup.threads :]])  # loads what the choice needs
            fastest[choice] = self._seconds_with(choice, samples)
        for choice in sorted(fastest, key=fastest.__getitem__)[:3]:
            fastest[choice] = min(fastest[choice], self._seconds_with(choice, samples))
        self.chosen[name, size] = min(fastest, key=fastest.__getitem__)
        return str(self.chosen[name, size])

    def times(self, name: str, size: int, calls: int) -> list[float]:
        """Seconds of each of `calls` calls with `size` items, which walk through the set and begin again at its end."""
        self._take_choice(name, size)
        return [self._seconds(self._call(name, size, call)) for call in range(calls)]

    def times_together(self, name: str, size: int, callers: int, seconds: float) -> list[list[float]]:
        """Of threads that all call at once, the seconds of each one's calls with `size` items.

        All start together, call without a pause, and begin no call after `seconds`.
        """
        self._take_choice(name, size)
        start_together = threading.Barrier(callers)

        def call_until_then(caller: int) -> list[float]:
            taken: list[float] = []
            start_together.wait()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                taken.append(self._seconds(self._call(name, size, len(taken) * callers + caller)))
            return taken

        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(call_until_then, range(callers)))

    def _take_choice(self, name: str, size: int) -> None:
        """What was found for calls of this size, else for the set."""
        choice = self.chosen.get((name, size)) or self.chosen.get((name, None))
        if choice is not None:
            self.peer.choice = choice

    def _call(self, name: str, size: int, number: int) -> list[Any]:
        """The items of one call of many that walk through the set."""
        items = self.sets[name]
        return [items[(number * size + i) % len(items)] for i in range(size)]

    def _seconds_with(self, choice: Choice, calls: list[list[Any]]) -> float:
        self.peer.choice = choice
        return sum(map(self._seconds, calls))

    def _seconds(self, items: list[Any]) -> float:
        start = time.perf_counter()
        self.peer.compute(items)
        return time.perf_counter() - start


def _characters(item: str | tuple[str, str]) -> int:
    return len(item) if isinstance(item, str) else sum(map(len, item))


def environment(setup: Setup) -> dict[str, str]:
    """For every process of a peer: what the tokenizers and PyTorch read when they start their threads, and no hub."""
    threads = str(setup.threads)
    return {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}


def _serve(make: Callable[[], Any], environment: dict[str, str], connection: Connection) -> None:
    os.environ.update(environment)
    measurements: Any = None
    while True:
        try:
            call = connection.recv()
        except EOFError:
            return
        if call is None:  # a closed connection is not enough: a forked process holds the ends of those before it
            return
        method, arguments = call
        try:
            measurements = measurements or make()
            connection.send(getattr(measurements, method)(*arguments))
        except (ImportError, Unavailable) as error:
            connection.send(WorkerError(str(error)))
        except Exception as error:  # the run goes on without this peer
            traceback.print_exc()
            connection.send(WorkerError(f"{type(error).__name__}: {error}"))
