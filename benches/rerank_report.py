"""The results of a comparison of rerankers as Markdown tables and as a plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import report
from rerank_comparison import CALLERS_SIZE

LATENCIES = (0.5, 0.95, 0.99)
TITLES = {"question": "one query, 20 documents"}  # of sets that are one column


def calls(results: dict[str, Any], cell: Callable[..., str]) -> str:
    """A table of peers by pairs per call; `cell` gets results, set, size and peer."""
    columns = [(name, size) for name, sizes in results["times"].items() for size in sizes]
    rows = []
    for peer in results["peers"]:
        here = [peer in results["times"][name][size] for name, size in columns]
        shown = [cell(results, *column, peer) if there else "" for column, there in zip(columns, here, strict=True)]
        rows.append([peer, *shown])
    return report.table(["pairs per call", *(TITLES.get(name, size) for name, size in columns)], rows)


def latency_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    """Milliseconds of a call, p50 / p95 / p99."""
    return report.quantiles(np.concatenate(results["times"][name][size][peer]), LATENCIES)


def callers(results: dict[str, Any], cell: Callable[[list[list[list[float]]]], str]) -> str:
    """A table of peers by calling threads; `cell` gets the seconds of each call of each thread of each round."""
    counts = results["callers"]
    rows = [
        [peer, *(cell(count[peer]) if peer in count else "" for count in counts.values())] for peer in results["peers"]
    ]
    return report.table(["calling threads", *counts], rows)


def together(rounds: list[list[list[float]]]) -> list[float]:
    """Pairs per second of all threads, of each round."""
    return [CALLERS_SIZE * sum(map(len, threads)) / max(map(sum, threads)) for threads in rounds]


def fairness(rounds: list[list[list[float]]]) -> list[float]:
    """The slowest thread's pairs per second, divided by the fastest one's, of each round."""
    means = [[sum(calls) / len(calls) for calls in threads] for threads in rounds]
    return [min(each) / max(each) for each in means]


def callers_latency(rounds: list[list[list[float]]]) -> str:
    """Milliseconds of a call, p50 / p95 / p99."""
    return report.quantiles(np.array([call for threads in rounds for calls in threads for call in calls]), LATENCIES)


def together_cell(rounds: list[list[list[float]]]) -> str:
    """Pairs per second of all threads."""
    return report.spread(together(rounds), report.short)


def fairness_cell(rounds: list[list[list[float]]]) -> str:
    """As a ratio."""
    return report.spread(fairness(rounds), "{:.2f}".format)


def peers(results: dict[str, Any]) -> str:
    """How near the scores are to the reference's, and the batches that were found fastest."""
    rows = []
    for peer, facts in results["peers"].items():
        near = [f"{facts['largest_difference']:.1e}", f"{facts['rank_correlation']:.4f}"]
        rows.append([peer, *near, "; ".join(f"{calls}: {choice}" for calls, choice in facts["choices"].items())])
    return report.table(["", "largest difference of a score", "rank correlation", "batches"], rows)


def skipped(results: dict[str, Any]) -> list[str]:
    """A line for each peer that could not be."""
    return [f"- {peer}: skipped, {reason}" for peer, reason in results["skipped"].items()]


def sets_line(results: dict[str, Any]) -> str:
    """What was scored."""
    parts = [
        f"{facts['count']} pairs, {facts['tokens']:.0f} tokens on average ({TITLES.get(name, 'different queries')})"
        for name, facts in results["corpus"]["sets"].items()
    ]
    return "; ".join(parts) + "."


def markdown(results: dict[str, Any]) -> str:
    """Every table, each under what it says."""
    parts = [report.machine_line(results), sets_line(results)]
    parts += ["Pairs per second, median of the rounds (lowest to highest):", calls(results, report.rate_cell)]
    for subject in filter(report.is_subject, results["peers"]):
        parts.append(f"{subject} / peer, of the two rates of one round, median (lowest to highest):")
        parts.append(calls(results, lambda *cell, subject=subject: report.ratio_cell(subject, *cell)))
    parts += ["Milliseconds per call, p50 / p95 / p99:", calls(results, latency_cell)]
    if results["callers"]:
        parts.append(f"## Several threads, each calling with {CALLERS_SIZE} pairs")
        parts += ["Pairs per second of all threads:", callers(results, together_cell)]
        parts += ["Milliseconds per call, p50 / p95 / p99:", callers(results, callers_latency)]
        parts += ["The slowest thread's rate, divided by the fastest one's:", callers(results, fairness_cell)]
    parts += ["## Agreement and batches", peers(results), *skipped(results)]
    return "\n\n".join(parts) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Pairs per second by pairs per call, and by calling threads: medians of the rounds, bands span them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
    sizes = results["times"].get("pairs", {})
    for peer in results["peers"]:
        width = 2.5 if report.is_subject(peer) else 1.2
        by_size = {int(size): report.rates(results, "pairs", size, peer) for size in sizes}
        by_count = {int(count): together(cell[peer]) for count, cell in results["callers"].items() if peer in cell}
        for panel, rates in ((left, by_size), (right, by_count)):
            line = panel.plot(list(rates), [median(each) for each in rates.values()], "o-", linewidth=width, label=peer)
            low, high = ([bound(each) for each in rates.values()] for bound in (min, max))
            panel.fill_between(list(rates), low, high, color=line[0].get_color(), alpha=0.15, linewidth=0)
    for panel, ticks, title in (
        (left, sizes, "pairs per call"),
        (right, results["callers"], f"threads calling with {CALLERS_SIZE} pairs"),
    ):
        panel.set_xscale("log", base=2)
        panel.set_xticks([int(tick) for tick in ticks], list(ticks))
        panel.minorticks_off()
        panel.set_xlabel(title)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("pairs per second")
    left.legend(fontsize=8, frameon=False)
    figure.suptitle(f"{results['model']}, {results['machine']['processor']}, {results['threads']} threads", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
