"""Commands about this machine: `devices`, `check` and `bench-cpu`."""

from __future__ import annotations

from votive.cli import descriptions
from votive.cli.arguments import DEFAULT_MODEL, add_json, add_model, add_num_threads
from votive.cli.parser import Commands, add_command


def add_devices(commands: Commands) -> None:
    parser = add_command(
        commands,
        "devices",
        "print which devices can compute, and why others cannot",
        descriptions.DEVICES,
        descriptions.DEVICES_EXAMPLES,
    )
    add_json(parser, "print one JSON object")


def add_check(commands: Commands) -> None:
    parser = add_command(
        commands,
        "check",
        "compare what a device computes with the CPU",
        descriptions.CHECK,
        descriptions.CHECK_EXAMPLES,
    )
    add_json(parser, "print one JSON object")
    add_model(parser, f"(default: {DEFAULT_MODEL})")


def add_bench_cpu(commands: Commands) -> None:
    parser = add_command(
        commands,
        "bench-cpu",
        "measure what this machine's arithmetic and memory can do",
        descriptions.BENCH_CPU,
        descriptions.BENCH_CPU_EXAMPLES,
    )
    add_num_threads(parser)
    add_json(parser, "print one JSON object: figures per second, sizes in bytes")
