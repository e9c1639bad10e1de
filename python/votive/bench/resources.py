"""What processes take: memory, sampled while they work, and CPU seconds."""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections.abc import Callable, Iterable
from itertools import count

import psutil

from votive.bench import machine

INTERVAL_SECONDS = 0.1
# The clocks of many CPUs take longer to read than memory does.
SAMPLES_PER_CLOCK = 5


class Sampler:
    """Samples the memory of processes and their children, and the CPUs' clock, while a `with` block runs.

    Args:
        processes: the ids, asked anew for each sample: a backend starts processes when it likes.
        clock: MHz, or None where nothing says them.

    Attributes:
        clocks: what `clock` said. Before and after the block the CPUs are idle, and not asked.
    """

    def __init__(
        self,
        processes: Callable[[], Iterable[int]],
        interval: float = INTERVAL_SECONDS,
        clock: Callable[[], float | None] = machine.cpu_mhz,
    ) -> None:
        self._processes = processes
        self._clock = clock
        self.clocks: list[float] = []
        self._interval = interval
        self._samples: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        self._take()

    @property
    def peak(self) -> int | None:
        """The most bytes of any sample."""
        return max(self._samples, default=None)

    @property
    def sustained(self) -> int | None:
        """The median of all samples."""
        return int(statistics.median(self._samples)) if self._samples else None

    def _sample(self) -> None:
        for number in count():
            if self._over.wait(self._interval):
                return
            self._take()
            if number % SAMPLES_PER_CLOCK == 0 and (mhz := self._clock()) is not None:
                self.clocks.append(mhz)

    def _take(self) -> None:
        if taken := memory(self._processes()):
            self._samples.append(taken)


def tree(ids: Iterable[int]) -> list[psutil.Process]:
    """Those of the processes that live, and all that they have started; each once."""
    found: dict[int, psutil.Process] = {}
    for number in ids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(number)
            for each in (process, *process.children(recursive=True)):
                found[each.pid] = each
    return list(found.values())


def memory(ids: Iterable[int]) -> int:
    """Bytes in memory of the processes and their children.

    Of several, what they share counts once where the system says that (PSS).
    """
    processes = tree(ids)
    if len(processes) == 1:
        with contextlib.suppress(psutil.Error):
            return int(processes[0].memory_info().rss)
        return 0
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += _shared_once(process)
    return total


def cpu_seconds(ids: Iterable[int]) -> float:
    """What the processes and their children have computed since they began."""
    total = 0.0
    for process in tree(ids):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def kill(ids: Iterable[int]) -> None:
    """End the processes and all that they have started."""
    for process in tree(ids):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _shared_once(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.AccessDenied):  # not Linux, or a process of another user
        return int(process.memory_info().rss)
