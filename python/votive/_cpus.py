"""How many CPUs this process may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use, as many as a model's default number of threads.

    On Linux those that it may run on, and no more than the quota of its control group lets it fill.

    Args:
        root: where `proc` and `sys` are.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return max(1, min([len(os.sched_getaffinity(0)), *_quotas(root)]))


def _quotas(root: Path) -> Iterator[int]:
    """Whole CPUs by the quotas of the process's control groups, and those that hold them.

    A container often sees its own group as the outermost one, whatever path the process has: what is not there is
    passed over.
    """
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one tree, version 1 one for each set of controllers.
        top = mounted / controllers
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            names = ("cpu.max",) if not controllers else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            numbers = " ".join(_text(folder / name) for name in names).split()
            # Microseconds of each period; "max" and -1 are no limit.
            if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
                yield int(numbers[0]) // int(numbers[1])
            if folder == top:
                break


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
