"""The results of a comparison of stores as Markdown tables and as a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import report
import stores

OPEN = "open + first query"
SECONDS = ("add", "save")  # the other times are shown in milliseconds


def header(results: dict[str, Any]) -> str:
    """What the numbers were taken on."""
    machine = results["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    return (
        f"{results['vectors']} float32, k = {results['k']}. {machine['processor']}, {machine['cpus']} CPUs and as many "
        f"threads for every store, {' '.join(machine['flags'])}. {machine['system']}, Python {machine['python']}, "
        f"{versions}. Load average before: {machine.get('load', 'unknown')}."
    )


def medians(rounds: list[list[float]]) -> list[float]:
    """Seconds of the median call of each round."""
    return [median(calls) for calls in rounds]


def ratios(results: dict[str, Any], call: str, store: str, subject: str = report.SUBJECT) -> list[float]:
    """How many times faster the subject is, of the two times of one round."""
    cell = results["times"][call]
    pairs = zip(medians(cell[store]), medians(cell[subject]), strict=True)
    return [theirs / mine for theirs, mine in pairs]


def fastest(results: dict[str, Any], call: str) -> str:
    """The exact peer whose median over the rounds is least."""
    cell = results["times"][call]
    return min((name for name in stores.EXACT if name in cell), key=lambda name: median(medians(cell[name])))


def times(results: dict[str, Any]) -> str:
    """A row for each store: the median call, lowest and highest of the rounds."""
    cells = results["times"]
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell))
    rows = []
    for name in names:
        row = [name]
        for call, cell in cells.items():
            scale = 1 if call in SECONDS else 1000
            row.append(
                report.spread([scale * each for each in medians(cell[name])], report.short) if name in cell else ""
            )
        rows.append(row)
    heads = [f"{call}, {'s' if call in SECONDS else 'ms'}" for call in cells]
    return report.table(["", *heads], rows)


def facts(results: dict[str, Any]) -> str:
    """A row for each store: what it found of the nearest, its memory while adding, its ways to filter."""
    rows = []
    for name in filter(results["stores"].__contains__, stores.PEERS):
        each = results["stores"][name]
        recall = f"{each['recall']:.4f}" if "recall" in each else ""
        memory = each.get("memory", {})
        shown = [f"{memory[blocks]:.2f}" if blocks in memory else "" for blocks in ("1", "100")]
        filters = each.get("filters", {})
        rows.append([name, recall, *shown, "; ".join(f"{share}: {way}" for share, way in filters.items())])
    head = ["", f"of {stores.REFERENCE}'s ids", "peak while adding at once, of the vectors' bytes", "in 100 calls"]
    return report.table([*head, "fastest filter"], rows)


def skipped(results: dict[str, Any]) -> list[str]:
    """A line for each store that could not be."""
    return [f"- {name}: skipped, {reason}" for name, reason in results["skipped"].items()]


def markdown(results: dict[str, Any]) -> str:
    """Every table."""
    parts = [header(results), "Median call of the rounds (lowest to highest):", times(results)]
    return "\n\n".join([*parts, facts(results), *skipped(results)]) + "\n"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Bars of the median time: a row for each of the results, a panel for each call; lines span the rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    calls = list(results[0]["times"])
    names = [name for name in stores.PEERS if name in results[0]["stores"]]
    figure, panels = pyplot.subplots(
        len(results),
        len(calls),
        figsize=(2.8 * len(calls) + 1.6, len(results) * (0.34 * len(names) + 1.1)),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for row, each in zip(panels, results, strict=True):
        for panel, call in zip(row, calls, strict=True):
            scale = 1 if call in SECONDS else 1000
            for bar, name in enumerate(names):
                if name not in each["times"].get(call, {}):
                    continue
                here = [scale * value for value in medians(each["times"][call][name])]
                panel.barh(bar, median(here), color="tab:orange" if report.is_subject(name) else "tab:blue")
                panel.plot([min(here), max(here)], [bar, bar], color="black", linewidth=1)
                panel.annotate(f" {report.short(median(here))}", (max(here), bar), va="center", fontsize=8)
            panel.set_title(f"{call}, {'s' if call in SECONDS else 'ms'}", fontsize=9)
            panel.margins(x=0.25)
            panel.spines[["top", "right"]].set_visible(False)
        row[0].set_yticks(range(len(names)), names)
        row[0].set_ylabel(f"{each['vectors']}\nk = {each['k']}")
    panels[0][0].invert_yaxis()
    figure.suptitle(f"{results[0]['machine']['processor']}, {results[0]['threads']} threads", fontsize=10)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
