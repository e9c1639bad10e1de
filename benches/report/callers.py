"""Callers that share a model: every table and its plot, and the ratios that votive is held to."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benches import report


def markdown(results: dict[str, Any]) -> str:
    """For each way of calling and each number of texts a call: throughput and times by the number of callers."""
    parts = [report.model_line(results)]
    for way in _values(results, "way"):
        for size in _values(results, "texts"):
            cells = [cell for cell in results["cells"] if (cell["way"], cell["texts"]) == (way, size)]
            if not cells:
                continue
            counts = list(dict.fromkeys(cell["callers"] for cell in cells))
            parts.append(f"## {way}, {size} short text{'' if size == 1 else 's'} a call")
            parts.append("Texts per second, median of the rounds (lowest to highest):")
            parts.append(_grid(cells, counts, lambda cell: report.spread(cell["rates"], report.short)))
            parts.append("Milliseconds of a call, p50 / p95 / p99:")
            parts.append(_grid(cells, counts, _times))
    return "\n\n".join(parts) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Texts per second by the number of callers: a row of panels for each way, a panel for each number of texts."""
    ways, sizes, peers = (_values(results, name) for name in ("way", "texts", "peer"))
    extent = (3.2 * len(sizes) + 0.6, 2.8 * len(ways) + 0.8)
    with report.plotted(path, len(ways), len(sizes), results, figsize=extent, sharex=True) as panels:
        for row, way in zip(panels, ways, strict=True):
            for panel, texts in zip(row, sizes, strict=True):
                for peer in peers:
                    wanted = (way, texts, peer)
                    cells = [cell for cell in results["cells"] if (cell["way"], cell["texts"], cell["peer"]) == wanted]
                    counts, rates = [cell["callers"] for cell in cells], [median(cell["rates"]) for cell in cells]
                    panel.plot(counts, rates, marker="o", markersize=3, label=peer)
                panel.set_title(f"{way}, {texts} a call", fontsize=10)
                panel.set_ylim(bottom=0)
            row[0].set_ylabel("texts per second")
        for panel in panels[-1]:
            panel.set_xlabel("callers")
        panels[0][0].legend(fontsize=7)


def targets_markdown(results: dict[str, Any]) -> str:
    """The machine, and the ratios with their goals."""
    rows = [[each["what"], report.times_faster(each["ratios"]), each["goal"]] for each in results["targets"]]
    return f"{report.model_line(results)}\n\n{report.table(['', 'median (lowest-highest)', 'goal'], rows)}\n"


def _values(results: dict[str, Any], name: str) -> list[Any]:
    return list(dict.fromkeys(cell[name] for cell in results["cells"]))


def _grid(cells: list[dict[str, Any]], counts: list[int], show: Any) -> str:
    shown = {(cell["peer"], cell["callers"]): show(cell) for cell in cells}
    peers = dict.fromkeys(cell["peer"] for cell in cells)
    rows = [[peer, *(shown.get((peer, count), "") for count in counts)] for peer in peers]
    return report.table(["callers", *map(str, counts)], rows)


def _times(cell: dict[str, Any]) -> str:
    return " / ".join(report.short(1000 * seconds) for seconds in cell["quantiles"])
