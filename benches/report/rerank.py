"""Rerankers: every table and its plot, and the ratios that votive is held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benches import report
from benches.targets import CALLERS, CALLERS_PAIRS, DTYPES, QUESTION, RERANK

LATENCIES = (0.5, 0.95, 0.99)
TITLES = {"question": QUESTION}  # of sets that are one column
HEADS = {
    "minilm": ("peer: all cores on each batch", "peer: fastest setting found"),
    "qwen3": ("peer: as on the model card", "peer: the last position's logits alone"),
}


def markdown(results: dict[str, Any]) -> str:
    """Every table, each under what it says."""
    parts = [report.model_line(results), _sets_line(results)]
    parts += ["Pairs per second, median of the rounds (lowest to highest):", _calls(results, report.rate_cell)]
    for subject in filter(report.is_subject, results["peers"]):
        parts.append(f"{subject} / peer, of the two rates of one round, median (lowest to highest):")
        parts.append(_calls(results, lambda *cell, subject=subject: report.ratio_cell(subject, *cell)))
    parts += ["Milliseconds per call, p50 / p95 / p99:", _calls(results, _latency_cell)]
    if results["callers"]:
        parts.append(f"## Several threads, each calling with {CALLERS_PAIRS} pairs")
        parts += ["Pairs per second of all threads:", _callers(results, _together_cell)]
        parts += ["Milliseconds per call, p50 / p95 / p99:", _callers(results, _callers_latency)]
        parts += ["The slowest thread's rate, divided by the fastest one's:", _callers(results, _fairness_cell)]
    parts += ["## Agreement and batches", _peers(results), *report.skipped(results)]
    return "\n\n".join(parts) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Pairs per second by pairs per call, and by calling threads: medians of the rounds, bands span them."""
    sizes = results["times"].get("pairs", {})
    with report.plotted(path, 1, 2, results, figsize=(12, 5), sharey=True) as [(left, right)]:
        for peer in results["peers"]:
            width = 2.5 if report.is_subject(peer) else 1.2
            by_size = {int(size): report.rates(results, "pairs", size, peer) for size in sizes}
            by_count = {int(count): _together(cell[peer]) for count, cell in results["callers"].items() if peer in cell}
            for panel, rates in ((left, by_size), (right, by_count)):
                middle, low, high = ([of(each) for each in rates.values()] for of in (median, min, max))
                line = panel.plot(list(rates), middle, "o-", linewidth=width, label=peer)
                panel.fill_between(list(rates), low, high, color=line[0].get_color(), alpha=0.15, linewidth=0)
        for panel, ticks, title in (
            (left, sizes, "pairs per call"),
            (right, results["callers"], f"threads calling with {CALLERS_PAIRS} pairs"),
        ):
            panel.set_xscale("log", base=2)
            panel.set_xticks([int(tick) for tick in ticks], list(ticks))
            panel.minorticks_off()
            panel.set_xlabel(title)
            panel.set_ylim(bottom=0)
        left.set_ylabel("pairs per second")
        left.legend(fontsize=8, frameon=False)


def targets_markdown(results: dict[str, Any]) -> str:
    """The machine, the ratios, and what they were computed from."""
    targets = RERANK[results["model"]]
    rows = [[str(target), *report.target_ratios(target, results), target.goal] for target in targets]
    rows += _callers_ratios(results)
    head = ["", *HEADS[results["model"]], "goal"]
    parts = [report.model_line(results), _sets_line(results), report.table(head, rows)]
    parts += ["Pairs per second:", _calls(results, report.rate_cell)]
    parts += ["Milliseconds per call, p50 / p95 / p99:", _calls(results, _latency_cell)]
    parts += [_peers(results), *report.skipped(results)]
    return "\n\n".join(parts) + "\n"


def _calls(results: dict[str, Any], cell: Callable[..., str]) -> str:
    """A table of peers by pairs per call; `cell` gets results, set, size and peer."""
    columns = [(name, size) for name, sizes in results["times"].items() for size in sizes]
    rows = []
    for peer in results["peers"]:
        here = [peer in results["times"][name][size] for name, size in columns]
        shown = [cell(results, *column, peer) if there else "" for column, there in zip(columns, here, strict=True)]
        rows.append([peer, *shown])
    return report.table(["pairs per call", *(TITLES.get(name, size) for name, size in columns)], rows)


def _latency_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    """Milliseconds of a call, p50 / p95 / p99."""
    return report.quantiles(np.concatenate(results["times"][name][size][peer]), LATENCIES)


def _callers(results: dict[str, Any], cell: Callable[[list[list[list[float]]]], str]) -> str:
    """A table of peers by calling threads; `cell` gets the seconds of each call of each thread of each round."""
    counts = results["callers"]
    rows = [
        [peer, *(cell(count[peer]) if peer in count else "" for count in counts.values())] for peer in results["peers"]
    ]
    return report.table(["calling threads", *counts], rows)


def _together(rounds: list[list[list[float]]]) -> list[float]:
    """Pairs per second of all threads, of each round."""
    return [CALLERS_PAIRS * sum(map(len, threads)) / max(map(sum, threads)) for threads in rounds]


def _fairness(rounds: list[list[list[float]]]) -> list[float]:
    """The slowest thread's pairs per second, divided by the fastest one's, of each round."""
    means = [[sum(calls) / len(calls) for calls in threads] for threads in rounds]
    return [min(each) / max(each) for each in means]


def _callers_latency(rounds: list[list[list[float]]]) -> str:
    """Milliseconds of a call, p50 / p95 / p99."""
    return report.quantiles(np.array([call for threads in rounds for calls in threads for call in calls]), LATENCIES)


def _together_cell(rounds: list[list[list[float]]]) -> str:
    """Pairs per second of all threads."""
    return report.spread(_together(rounds), report.short)


def _fairness_cell(rounds: list[list[list[float]]]) -> str:
    """As a ratio."""
    return report.spread(_fairness(rounds), "{:.2f}".format)


def _peers(results: dict[str, Any]) -> str:
    """How near the scores are to the reference's, and the batches that were found fastest."""
    rows = []
    for peer, facts in results["peers"].items():
        near = [f"{facts['largest_difference']:.1e}", f"{facts['rank_correlation']:.4f}"]
        rows.append([peer, *near, "; ".join(f"{calls}: {choice}" for calls, choice in facts["choices"].items())])
    return report.table(["", "largest difference of a score", "rank correlation", "batches"], rows)


def _sets_line(results: dict[str, Any]) -> str:
    """What was scored."""
    parts = [
        f"{facts['count']} pairs, {facts['tokens']:.0f} tokens on average ({TITLES.get(name, 'different queries')})"
        for name, facts in results["corpus"]["sets"].items()
    ]
    return "; ".join(parts) + "."


def _callers_ratios(results: dict[str, Any]) -> list[list[str]]:
    """Rows of what many threads reach together, of what one does, and of how alike they are served."""
    rows = []
    alone, many = (results["callers"].get(str(callers), {}) for callers in (1, CALLERS))
    for peer, dtype in DTYPES.items():
        if peer not in many:
            continue
        rates = zip(_together(many[peer]), _together(alone[peer]), strict=True)
        share = report.spread([together / single for together, single in rates], "{:.2f}".format)
        fair = _fairness_cell(many[peer])
        rows.append([f"{dtype}, {CALLERS} threads, pairs per second, of those of one thread", share, "", ".9"])
        rows.append([f"{dtype}, {CALLERS} threads, the slowest's pairs per second, of the fastest's", fair, "", ".5"])
    return rows
