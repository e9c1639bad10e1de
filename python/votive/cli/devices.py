"""`votive devices`: which devices are there, and why others are not."""

from __future__ import annotations

import argparse

import votive
from votive import _core
from votive.cli.hits import print_json


def run(arguments: argparse.Namespace) -> None:
    """Do what `votive devices` is for."""
    backends = votive.available_backends()
    # The CPU is always there, and says what it has beside it.
    cpu = backends[-1]
    if arguments.json:
        devices = [
            {
                "device": backend.device,
                "name": backend.device_name,
                "memory_bytes": backend.memory,
                "dtypes": backend.dtypes,
            }
            for backend in backends
        ]
        auto = votive.get_backend().device
        print_json(
            {
                "devices": devices,
                "gpus": _core.gpus(),
                "unavailable": cpu.unavailable,
                "built_with": cpu.built_with,
                "auto": auto,
            }
        )
        return
    rows = [("device", "name", "memory", "types of weights")]
    for backend in backends:
        memory = "unknown" if backend.memory is None else f"{backend.memory / 2**30:.1f} GiB"
        rows.append((backend.device, backend.device_name or "unknown", memory, ", ".join(backend.dtypes)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for gpu in _core.gpus():
        fewest, most = gpu["subgroup_lanes"]
        lanes = str(fewest) if fewest == most else f"{fewest} to {most}"
        print(
            f"{gpu['device']}: {gpu['name']}, {gpu['kind']}, driver {gpu['driver']}, "
            f"{'computes' if gpu['float16'] else 'does not compute'} in float16, subgroups of {lanes}, "
            f"matrix units: {', '.join(gpu['matrix_units']) or 'none'}"
        )
        if gpu["not_automatic"]:
            print(f"auto does not take {gpu['device']}: {gpu['not_automatic']}")
    for name, reason in cpu.unavailable.items():
        print(f"no {name}: {reason}")
    print(f"built with: {', '.join(cpu.built_with) or 'nothing beyond the kernels of the CPU'}")
    print(f"auto: {votive.get_backend().device}")
