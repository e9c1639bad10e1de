"""A system in a process of its own: no engine's threads, memory or libraries disturb another's."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from votive.bench.backends.unavailable import Unavailable
from votive.bench.resources import kill

# After this many seconds a process that was asked to end is killed.
END_SECONDS = 20.0


class WorkerError(Exception):
    """What is in the process could not be loaded, or failed; the text is the reason."""


class NotThere(WorkerError):
    """It cannot run on this machine; the text says what is missing."""


class NoAnswer(WorkerError):
    """The process took longer than it was given, and was ended."""


class Worker:
    """The parent's end. Methods of what `make` gives there, on the first call, are called through it by name."""

    def __init__(self, make: Callable[[], Any], environment: dict[str, str], start: str = "spawn") -> None:
        context: Any = multiprocessing.get_context(start)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        # Libraries read it when they are imported, which is before the process can set anything.
        with _environment(environment):
            self._process.start()
        theirs.close()

    @property
    def process_id(self) -> int:
        """Of the process."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return bool(self._process.is_alive())

    def call(self, method: str, *arguments: Any, seconds: float | None = None) -> Any:
        """What the method returns. Raises `WorkerError` with the reason if it fails there.

        A process that has not answered after so many seconds is killed, which raises `NoAnswer`.
        """
        try:
            self._connection.send((method, arguments))
            if not self._connection.poll(seconds):
                self.kill()
                raise NoAnswer(f"no answer within {seconds:g} seconds, its process was ended")
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
        self._process.join(END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the process and what it has started at once, where they live."""
        if self._process.is_alive():
            kill([self.process_id])
        self._process.join()


def environment(threads: int) -> dict[str, str]:
    """For every process of a system: what libraries read when they start their threads, no hub, no reports of use."""
    count = str(threads)
    variables = {"RAYON_NUM_THREADS": count, "OMP_NUM_THREADS": count, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    # Bars of transformers would run through the one of the run.
    return variables | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@contextlib.contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    """Has processes that start in this block find the variables."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(make: Callable[[], Any], connection: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loaded: Any = None
    try:
        while True:
            call = connection.recv()
            if call is None:  # a closed connection is not enough: a forked process holds the ends of those before it
                return
            method, arguments = call
            try:
                loaded = loaded or make()
                connection.send(getattr(loaded, method)(*arguments))
            except (ImportError, Unavailable) as error:
                connection.send(NotThere(str(error)))
            except Exception as error:  # the run goes on without it
                traceback.print_exc(file=sys.stderr)
                connection.send(WorkerError(f"{type(error).__name__}: {error}"))
    except (EOFError, BrokenPipeError):  # the parent has ended
        return
    finally:
        if hasattr(loaded, "close"):
            loaded.close()
