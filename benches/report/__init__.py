"""Results as Markdown tables and as plots: here what all subjects share, in the modules what each one shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from benches.targets import Target

SUBJECT = "votive"


def write(folder: Path, name: str, results: Any, markdown: str) -> None:
    """Results and tables, `name.json` and `name.md`, in a folder that is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results))
    (folder / f"{name}.md").write_text(markdown)


def machine_line(results: dict[str, Any]) -> str:
    """What the numbers were taken on."""
    machine = results["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    return (
        f"{machine['processor']}, {machine['cpus']} CPUs, {results['threads']} threads for every peer, "
        f"{' '.join(machine['flags'])}. {machine['system']}, Python {machine['python']}, {versions}. "
        f"Load average before: {machine.get('load', 'unknown')}."
    )


def model_line(results: dict[str, Any]) -> str:
    """The model, the machine and the texts."""
    return f"Model {results['model']}. {machine_line(results)} Corpus {results['corpus']['digest']}."


def skipped(results: dict[str, Any]) -> list[str]:
    """A line for each peer that could not be."""
    return [f"- {peer}: skipped, {reason}" for peer, reason in results["skipped"].items()]


def is_subject(peer: str) -> bool:
    """Whether it is votive, in whatever type."""
    return peer.split("-")[0] == SUBJECT


def medians(rounds: list[list[float]]) -> list[float]:
    """Seconds of the median call of each round."""
    return [median(calls) for calls in rounds]


def speedups(theirs: list[float], ours: list[float]) -> list[float]:
    """How many times faster, of the two times of one round."""
    return [their / our for their, our in zip(theirs, ours, strict=True)]


def target_ratios(target: Target, results: dict[str, Any]) -> tuple[str, str]:
    """Against the peer's first and last setting; empty where one was not measured."""
    cell = results["times"].get(target.set, {}).get(target.size, {})

    def ratio(peer: str) -> str:
        if not {peer, target.subject} <= cell.keys():
            return ""
        theirs, ours = cell[peer], cell[target.subject]
        if target.size == "1":
            return times_faster(speedups(medians(theirs), medians(ours)))
        return times_faster(speedups([mean(calls) for calls in theirs], [mean(calls) for calls in ours]))

    return ratio(target.settings[0]), ratio(target.settings[1]) if len(target.settings) > 1 else "same"


def times_faster(ratios: list[float]) -> str:
    """As "1.23x", with the spread."""
    return spread(ratios, "{:.2f}x".format)


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


def quantiles(seconds: np.ndarray, shares: tuple[float, ...]) -> str:
    """Of the times of all calls, in milliseconds."""
    return " / ".join(short(1000 * quantile) for quantile in np.quantile(seconds, shares))


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


@contextmanager
def plotted(path: Path, rows: int, columns: int, results: dict[str, Any], **options: Any) -> Iterator[np.ndarray]:
    """Panels to draw in, `[rows, columns]`, which are written to `path` under a line on the machine.

    `options` are those of `pyplot.subplots`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(rows, columns, squeeze=False, layout="constrained", **options)
    yield panels
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
    model = f"{results['model']}, " if "model" in results else ""
    title = f"{model}{results['machine']['processor']}, {results['threads']} threads"
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def bar(panel: Any, row: int, peer: str, values: list[float]) -> None:
    """The median of a peer's rounds, and a line that spans them."""
    panel.barh(row, median(values), color="tab:orange" if is_subject(peer) else "tab:blue")
    panel.plot([min(values), max(values)], [row, row], color="black", linewidth=1)
    panel.annotate(f" {short(median(values))}", (max(values), row), va="center", fontsize=8)
