"""`report.csv`: a row a cell and round, flat names with units; `by_model` is JSON, of mixed traffic alone."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from votive.bench.cells import Consistency, Latency, Measured, Resources
from votive.bench.plan import Cell
from votive.bench.report.summary import Report

_PLAIN = (
    "round",
    "skipped",
    "seconds",
    "requests",
    "items",
    "tokens",
    "requests_per_second",
    "items_per_second",
    "tokens_per_second",
    "pass_sizes",
    "samples_file",
)


def _of(structure: msgspec.Struct | None, names: tuple[str, ...]) -> list[Any]:
    return [None if structure is None else getattr(structure, name) for name in names]


def head() -> list[str]:
    """Names of the columns."""
    latency = ["samples" if name == "samples" else f"{name}_ms" for name in Latency.__struct_fields__]
    return [
        *Cell.__struct_fields__,
        *_PLAIN,
        *(f"latency_{name}" for name in latency),
        *Resources.__struct_fields__,
        *(f"consistency_{name}" for name in Consistency.__struct_fields__),
        "errors",
        "error_kinds",
        "by_model",
        "load_average_before",
        "load_average_after",
        "marks",
    ]


def _line(each: Measured) -> list[Any]:
    return [
        *_of(each.cell, Cell.__struct_fields__),
        *_of(each, _PLAIN),
        *_of(each.latency, Latency.__struct_fields__),
        *_of(each.resources, Resources.__struct_fields__),
        *_of(each.consistency, Consistency.__struct_fields__),
        sum(each.errors.values()),
        "; ".join(f"{kind}: {count}" for kind, count in each.errors.items()),
        msgspec.json.encode(each.models).decode() if each.models else "",
        *(each.load_average or (None, None)),
        "; ".join(each.marks),
    ]


def text(report: Report) -> str:
    """The whole file."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(head())
    writer.writerows(_line(each) for one in report.experiments for row in one.rows for each in row.rounds)
    return written.getvalue()
