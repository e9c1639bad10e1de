"""A peer in a process of its own: no engine's threads, memory or libraries disturb another's."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from votive.bench.backends.engines import Setup, Unavailable


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


def environment(setup: Setup) -> dict[str, str]:
    """For every process of a peer: what the tokenizers and PyTorch read when they start their threads, and no hub."""
    threads = str(setup.threads)
    return {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}


def program(name: str, *arguments: object) -> list[str]:
    """The command of a module of this folder, to be run in a fresh process in the folder `ROOT`."""
    return [sys.executable, "-m", f"benches.measure.{name}", *map(str, arguments)]


def _serve(make: Callable[[], Any], environment: dict[str, str], connection: Connection) -> None:
    os.environ.update(environment)
    loaded: Any = None
    while True:
        try:
            call = connection.recv()
        except EOFError:
            return
        if call is None:  # a closed connection is not enough: a forked process holds the ends of those before it
            return
        method, arguments = call
        try:
            loaded = loaded or make()
            connection.send(getattr(loaded, method)(*arguments))
        except (ImportError, Unavailable) as error:
            connection.send(WorkerError(str(error)))
        except Exception as error:  # the run goes on without this peer
            traceback.print_exc()
            connection.send(WorkerError(f"{type(error).__name__}: {error}"))
