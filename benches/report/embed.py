"""Embedders: every table and its plot, and the ratios that votive is held to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benches import report
from benches.peers.embedders import REFERENCE
from benches.targets import BFLOAT16, DTYPES, FLOAT32, INT8, Target


def markdown(results: dict[str, Any]) -> str:
    """Every table, each under a heading."""
    parts = [report.model_line(results)]
    for name in results["times"]:
        texts = results["corpus"]["sets"][name]
        parts.append(f"## {name}: {texts['count']} texts, {texts['tokens']:.0f} tokens on average")
        parts.append("Texts per second, median of the rounds (lowest to highest):")
        parts.append(_grid(results, name, report.rate_cell))
        for subject in filter(report.is_subject, results["peers"]):
            parts.append(f"{subject} / peer, of the two rates of one round, median (lowest to highest):")
            parts.append(_grid(results, name, partial(report.ratio_cell, subject)))
        parts.append("Milliseconds per call, p50 / p95:")
        parts.append(_grid(results, name, _latency_cell))
    parts += ["## Start, memory and agreement", _once(results), *report.skipped(results)]
    return "\n\n".join(parts) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Bars of texts per second, one panel per set, whole sets or else the largest batch; lines span the rounds."""
    names = list(results["times"])
    peers = list(results["peers"])
    extent = (3.4 * len(names) + 1.6, 0.42 * len(peers) + 1.6)
    with report.plotted(path, 1, len(names), results, figsize=extent, sharey=True) as [panels]:
        for panel, name in zip(panels, names, strict=True):
            size = list(results["times"][name])[-1]
            for row, peer in enumerate(peers):
                report.bar(panel, row, peer, report.rates(results, name, size, peer))
            panel.set_title(f"{name}, {'whole set' if size == 'all' else f'{size} per call'}", fontsize=10)
            panel.set_xlabel("texts per second")
            panel.margins(x=0.18)
        panels[0].set_yticks(range(len(peers)), peers)
        panels[0].invert_yaxis()


def targets_markdown(targets: list[Target], results: dict[str, Any]) -> str:
    """The machine, the ratios, and what they were computed from."""
    rows = [[str(target), *report.target_ratios(target, results), target.goal, target.aim] for target in targets]
    if results["model"] == "minilm":
        rows += _once_ratios(results["peers"])
    head = ["", "peer: all cores on each batch", "peer: fastest setting found", "goal", "aim"]
    parts = [report.model_line(results), report.table(head, rows), _speeds(results), *report.skipped(results)]
    return "\n\n".join(parts) + "\n"


def _latency_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    """Milliseconds of a call, p50 / p95."""
    return report.quantiles(np.concatenate(results["times"][name][size][peer]), (0.5, 0.95))


def _grid(results: dict[str, Any], name: str, cell: Callable[[dict[str, Any], str, str, str], str]) -> str:
    sizes = list(results["times"][name])
    rows = [[peer, *(cell(results, name, size, peer) for size in sizes)] for peer in results["peers"]]
    return report.table(["texts per call", *sizes], rows)


def _once(results: dict[str, Any]) -> str:
    """What is measured once per process rather than per call."""
    columns = {
        "import, s": ("import_seconds", lambda seconds: report.spread(seconds, "{:.3f}".format)),
        "process start to first vector, s": (
            "first_vector_seconds",
            lambda seconds: report.spread(seconds, "{:.2f}".format),
        ),
        "memory after 1,000 texts, MB": ("memory_bytes", lambda size: f"{size / 1e6:.0f}"),
        "cosine to the reference, mean": ("cosine_mean", "{:.6f}".format),
        "lowest": ("cosine_lowest", "{:.6f}".format),
        "largest difference": ("largest_difference", "{:.1e}".format),
        "batches on the mixed set": ("choices", lambda choices: choices.get("mixed", "")),
    }
    rows = []
    for peer, facts in results["peers"].items():
        rows.append([peer, *(show(facts[key]) if key in facts else "" for key, show in columns.values())])
    return report.table(["", *columns], rows)


def _once_ratios(peers: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Rows of what is no speed of many texts, where it was measured."""
    rows = []
    if {FLOAT32, REFERENCE} <= peers.keys():
        votive, reference = peers[FLOAT32], peers[REFERENCE]
        start = report.times_faster(report.speedups(reference["first_vector_seconds"], votive["first_vector_seconds"]))
        memory = f"1/{reference['memory_bytes'] / votive['memory_bytes']:.1f}"
        rows.append([f"process start to first vector, against {REFERENCE}", start, "same", "20x", "40x"])
        rows.append([f"resident memory after 1,000 texts, of that of {REFERENCE}", memory, "same", "1/4", "1/6"])
    for peer, goal, aim in ((BFLOAT16, ".9999 / .9995", ".99999"), (INT8, ".998 / .995", ".9995 / .998")):
        if peer in peers:
            near = f"{peers[peer]['cosine_mean']:.6f} / {peers[peer]['cosine_lowest']:.6f}"
            rows.append([f"{DTYPES[peer]} cosine to float32, mean / worst text", near, "", goal, aim])
    if INT8 in peers:
        overlap = f"{peers[INT8]['nearest_overlap']:.4f}"
        rows.append(["int8 nearest-10 overlap with float32, demo corpus", overlap, "", ".97", ".99"])
    return rows


def _speeds(results: dict[str, Any]) -> str:
    """A row for each peer: texts per second of whole sets, milliseconds of one text, start, memory, batches."""
    columns: dict[str, dict[str, str]] = {}
    for name, sizes in results["times"].items():
        for size, cell in sizes.items():
            head = f"{name}, texts per second" if size == "all" else f"one {name} text, p50, ms"
            columns[head] = {}
            for peer, rounds in cell.items():
                texts = results["corpus"]["sets"][name]["count"]
                values = [texts / call if size == "all" else 1000 * call for call in report.medians(rounds)]
                columns[head][peer] = report.spread(values, report.short)
    for peer, facts in results["peers"].items():
        if "first_vector_seconds" in facts:
            start = report.spread(facts["first_vector_seconds"], "{:.2f}".format)
            columns.setdefault("start to first vector, s", {})[peer] = start
        if "memory_bytes" in facts:
            columns.setdefault("memory, MB", {})[peer] = f"{facts['memory_bytes'] / 1e6:.0f}"
        if facts["choices"]:
            batches = "; ".join(f"{name}: {choice}" for name, choice in facts["choices"].items())
            columns.setdefault("batches", {})[peer] = batches
    rows = [[peer, *(column.get(peer, "") for column in columns.values())] for peer in results["peers"]]
    return report.table(["", *columns], rows)
