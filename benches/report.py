"""The results of a comparison as Markdown tables and as a plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SUBJECT = "votive"


def markdown(results: dict[str, Any]) -> str:
    """Every table, each under a heading."""
    parts = [machine_line(results)]
    for name in results["times"]:
        texts = results["corpus"]["sets"][name]
        parts.append(f"## {name}: {texts['count']} texts, {texts['tokens']:.0f} tokens on average")
        parts.append("Texts per second, median of the rounds (lowest to highest):")
        parts.append(_grid(results, name, rate_cell))
        for subject in filter(is_subject, results["peers"]):
            parts.append(f"{subject} / peer, of the two rates of one round, median (lowest to highest):")
            parts.append(_grid(results, name, partial(ratio_cell, subject)))
        parts.append("Milliseconds per call, p50 / p95:")
        parts.append(_grid(results, name, latency_cell))
    parts += ["## Start, memory and agreement", _once(results)]
    parts += [f"- {peer}: skipped, {reason}" for peer, reason in results["skipped"].items()]
    return "\n\n".join(parts) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Bars of texts per second, one panel per set, whole sets or else the largest batch; lines span the rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(results["times"])
    peers = list(results["peers"])
    figure, panels = pyplot.subplots(
        1, len(names), figsize=(3.4 * len(names) + 1.6, 0.42 * len(peers) + 1.6), squeeze=False, sharey=True
    )
    for panel, name in zip(panels[0], names, strict=True):
        size = list(results["times"][name])[-1]
        for row, peer in enumerate(peers):
            per_round = rates(results, name, size, peer)
            colour = "tab:orange" if is_subject(peer) else "tab:blue"
            panel.barh(row, median(per_round), color=colour)
            panel.plot([min(per_round), max(per_round)], [row, row], color="black", linewidth=1)
            panel.annotate(f" {short(median(per_round))}", (max(per_round), row), va="center", fontsize=8)
        panel.set_title(f"{name}, {'whole set' if size == 'all' else f'{size} per call'}", fontsize=10)
        panel.set_xlabel("texts per second")
        panel.margins(x=0.18)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yticks(range(len(peers)), peers)
    panels[0][0].invert_yaxis()
    figure.suptitle(f"{results['model']}, {results['machine']['processor']}, {results['threads']} threads", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def write(folder: Path, name: str, results: Any, markdown: str) -> None:
    """Results and tables, `name.json` and `name.md`."""
    (folder / f"{name}.json").write_text(json.dumps(results))
    (folder / f"{name}.md").write_text(markdown)


def machine_line(results: dict[str, Any]) -> str:
    """What the numbers were taken on."""
    machine = results["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    return (
        f"Model {results['model']}. {machine['processor']}, {machine['cpus']} CPUs, {results['threads']} threads for "
        f"every peer, {' '.join(machine['flags'])}. {machine['system']}, Python {machine['python']}, {versions}. "
        f"Load average before: {machine.get('load', 'unknown')}. Corpus {results['corpus']['digest']}."
    )


def is_subject(peer: str) -> bool:
    """Whether it is votive, in whatever type."""
    return peer.split("-")[0] == SUBJECT


def rates(results: dict[str, Any], name: str, size: str, peer: str) -> list[float]:
    """Items per second of each round."""
    count = results["corpus"]["sets"][name]["count"] if size == "all" else int(size)
    return [count * len(calls) / sum(calls) for calls in results["times"][name][size][peer]]


def rate_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    """Items per second."""
    return spread(rates(results, name, size, peer), short)


def ratio_cell(subject: str, results: dict[str, Any], name: str, size: str, peer: str) -> str:
    """How many times faster the subject is."""
    pairs = zip(rates(results, name, size, subject), rates(results, name, size, peer), strict=True)
    return spread([mine / theirs for mine, theirs in pairs], "{:.2f}".format)


def latency_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    """Milliseconds of a call, p50 / p95."""
    return quantiles(np.concatenate(results["times"][name][size][peer]), (0.5, 0.95))


def quantiles(seconds: np.ndarray, shares: tuple[float, ...]) -> str:
    """Of the times of all calls, in milliseconds."""
    return " / ".join(short(1000 * quantile) for quantile in np.quantile(seconds, shares))


def _grid(results: dict[str, Any], name: str, cell: Callable[[dict[str, Any], str, str, str], str]) -> str:
    sizes = list(results["times"][name])
    rows = [[peer, *(cell(results, name, size, peer) for size in sizes)] for peer in results["peers"]]
    return table(["texts per call", *sizes], rows)


def _once(results: dict[str, Any]) -> str:
    """What is measured once per process rather than per call."""
    columns = {
        "import, s": ("import_seconds", lambda seconds: spread(seconds, "{:.3f}".format)),
        "process start to first vector, s": ("first_vector_seconds", lambda seconds: spread(seconds, "{:.2f}".format)),
        "memory after 1,000 texts, MB": ("memory_bytes", lambda size: f"{size / 1e6:.0f}"),
        "cosine to the reference, mean": ("cosine_mean", "{:.6f}".format),
        "lowest": ("cosine_lowest", "{:.6f}".format),
        "largest difference": ("largest_difference", "{:.1e}".format),
        "batches on the mixed set": ("choices", lambda choices: choices.get("mixed", "")),
    }
    rows = []
    for peer, facts in results["peers"].items():
        rows.append([peer, *(show(facts[key]) if key in facts else "" for key, show in columns.values())])
    return table(["", *columns], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown; all columns but the first are flush right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: list[float], show: Callable[[float], str]) -> str:
    """Median (lowest-highest)."""
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))}-{show(max(values))})"


def short(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
