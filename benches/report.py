"""The results as Markdown tables and as a plot.

`results` is what `table.py` writes as JSON: `times[set][size][peer]` holds one list per round of the seconds that each
call took; `size` is a number of texts per call, or "all" for the whole set in one call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SUBJECT = "votive"


def markdown(results: dict[str, Any]) -> str:
    """Every table, each under a heading."""
    parts = [_machine(results)]
    for name in results["times"]:
        texts = results["corpus"]["sets"][name]
        parts.append(f"## {name}: {texts['texts']} texts, {texts['tokens']:.0f} tokens on average")
        parts.append("Texts per second, median of the rounds (lowest to highest):")
        parts.append(_grid(results, name, _rate_cell))
        for subject in filter(_is_subject, results["peers"]):
            parts.append(f"{subject} / peer, of the two rates of one round, median (lowest to highest):")
            parts.append(_grid(results, name, partial(_ratio_cell, subject)))
        parts.append("Milliseconds per call, p50 / p95:")
        parts.append(_grid(results, name, _latency_cell))
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
            rates = _rates(results, name, size, peer)
            colour = "tab:orange" if _is_subject(peer) else "tab:blue"
            panel.barh(row, median(rates), color=colour)
            panel.plot([min(rates), max(rates)], [row, row], color="black", linewidth=1)
            panel.annotate(f" {_short(median(rates))}", (max(rates), row), va="center", fontsize=8)
        panel.set_title(f"{name}, {'whole set' if size == 'all' else f'{size} per call'}", fontsize=10)
        panel.set_xlabel("texts per second")
        panel.margins(x=0.18)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yticks(range(len(peers)), peers)
    panels[0][0].invert_yaxis()
    figure.suptitle(f"all-MiniLM-L6-v2, {results['machine']['processor']}, {results['threads']} threads", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    return (
        f"{machine['processor']}, {machine['cpus']} CPUs, {results['threads']} threads for every peer, "
        f"{' '.join(machine['flags'])}. {machine['system']}, Python {machine['python']}, {versions}. "
        f"Load average before: {machine.get('load', 'unknown')}. Corpus {results['corpus']['digest']}."
    )


def _is_subject(peer: str) -> bool:
    return peer.split("-")[0] == SUBJECT


def _rates(results: dict[str, Any], name: str, size: str, peer: str) -> list[float]:
    """Texts per second of each round."""
    texts = results["corpus"]["sets"][name]["texts"] if size == "all" else int(size)
    return [texts * len(calls) / sum(calls) for calls in results["times"][name][size][peer]]


def _rate_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    return _spread(_rates(results, name, size, peer), _short)


def _ratio_cell(subject: str, results: dict[str, Any], name: str, size: str, peer: str) -> str:
    pairs = zip(_rates(results, name, size, subject), _rates(results, name, size, peer), strict=True)
    return _spread([mine / theirs for mine, theirs in pairs], "{:.2f}".format)


def _latency_cell(results: dict[str, Any], name: str, size: str, peer: str) -> str:
    seconds = np.concatenate(results["times"][name][size][peer])
    return " / ".join(_short(1000 * quantile) for quantile in np.quantile(seconds, (0.5, 0.95)))


def _grid(results: dict[str, Any], name: str, cell: Callable[[dict[str, Any], str, str, str], str]) -> str:
    sizes = list(results["times"][name])
    rows = [[peer, *(cell(results, name, size, peer) for size in sizes)] for peer in results["peers"]]
    return _table(["texts per call", *sizes], rows)


def _once(results: dict[str, Any]) -> str:
    """What is measured once per process rather than per call."""
    columns = {
        "import, s": ("import_seconds", lambda seconds: _spread(seconds, "{:.3f}".format)),
        "process start to first vector, s": ("first_vector_seconds", lambda seconds: _spread(seconds, "{:.2f}".format)),
        "memory after 1,000 texts, MB": ("memory_bytes", lambda size: f"{size / 1e6:.0f}"),
        "cosine to the reference, mean": ("cosine_mean", "{:.6f}".format),
        "lowest": ("cosine_lowest", "{:.6f}".format),
        "largest difference": ("largest_difference", "{:.1e}".format),
        "batches on the mixed set": ("choices", lambda choices: choices.get("mixed", "")),
    }
    rows = []
    for peer, facts in results["peers"].items():
        rows.append([peer, *(show(facts[key]) if key in facts else "" for key, show in columns.values())])
    return _table(["", *columns], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(values: list[float], show: Callable[[float], str]) -> str:
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))}-{show(max(values))})"


def _short(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
