"""`votive bench-cpu`: what this machine can do at most."""

from __future__ import annotations

import argparse
from typing import Any

from votive.cli.hits import print_json

# Seconds of each trial of each figure: some two seconds in all.
TRIAL_SECONDS = 0.04

ROWS = (
    ("float32", "Gop/s", "float32"),
    ("bfloat16", "Gop/s", "bfloat16"),
    ("int8", "Gop/s", "int8"),
    ("memory", "GB/s", "memory, read"),
)


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive bench-cpu` say."""
    found = measure(TRIAL_SECONDS, arguments.num_threads)
    if arguments.json:
        print_json(found)
    else:
        print(as_table(found))


def measure(trial: float, threads: int | None = None) -> dict[str, Any]:
    """The CPU, and the peaks of one thread and of `threads` (default: one on every CPU that this process may use).

    Figures are per second: additions and multiplications, and bytes. A number type that the instruction set cannot
    multiply is None.
    """
    from votive import _core

    name, kernels, cpus, caches = _core.cpu()
    counts = sorted({1, threads or cpus})
    peaks = [_core.Peaks(count, trial=trial) for count in counts]
    return {
        "cpu": name,
        "kernels": kernels,
        "caches": [{"level": level, "bytes": size} for level, size in caches],
        "memory_bytes": peaks[-1].memory_bytes,
        "peaks": [{"threads": peak.threads, **{row: getattr(peak, row) for row, *_ in ROWS}} for peak in peaks],
    }


def as_table(found: dict[str, Any]) -> str:
    """What `measure` gives, for people."""
    caches = ", ".join(f"L{cache['level']} {_size(cache['bytes'])}" for cache in found["caches"])
    lines = [
        f"CPU              {found['cpu'] or 'unknown'}",
        f"instruction set  {found['kernels']}",
        f"caches           {caches or 'unknown'}",
        f"memory was read  {_size(found['memory_bytes'])} at a time",
        "",
        " " * 20 + "".join(f"{_threads(peak['threads']):>12}" for peak in found["peaks"]),
    ]
    for row, unit, label in ROWS:
        figures = [peak[row] for peak in found["peaks"]]
        if None not in figures:
            lines.append(f"{label:<14}{unit:>6}" + "".join(f"{figure / 1e9:>12.1f}" for figure in figures))
    return "\n".join(lines)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count / 1024:.4g} KiB"
