"""Stores: every table and its plot, the ratios that votive is held to, and the proof's table."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from votive.bench import machine
from votive.bench.backends import stores

from benches import report
from benches.targets import STORE, StoreTarget

SUBJECT = report.SUBJECT
SECONDS = ("add", "save")  # the other times are shown in milliseconds


def markdown(results: dict[str, Any]) -> str:
    """Every table."""
    parts = [_header(results), "Median call of the rounds (lowest to highest):", _times(results)]
    return "\n\n".join([*parts, _facts(results), *report.skipped(results)]) + "\n"


def tables_markdown(tables: list[dict[str, Any]]) -> str:
    """Those of several shapes and k, each under a heading."""
    return "\n".join(f"## {each['vectors']}, k = {each['k']}\n\n{markdown(each)}" for each in tables)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Bars of the median time: a row for each of the results, a panel for each call; lines span the rounds."""
    first = results[0]
    calls = list(first["times"])
    names = [name for name in stores.PEERS if name in first["stores"]]
    extent = (2.8 * len(calls) + 1.6, len(results) * (0.34 * len(names) + 1.1))
    with report.plotted(path, len(results), len(calls), first, figsize=extent, sharey=True) as panels:
        for row, each in zip(panels, results, strict=True):
            for panel, call in zip(row, calls, strict=True):
                unit, scale = _unit(call)
                cell = each["times"].get(call, {})
                for bar, name in enumerate(names):
                    if name in cell:
                        report.bar(panel, bar, name, [scale * value for value in report.medians(cell[name])])
                panel.set_title(f"{call}, {unit}", fontsize=9)
                panel.margins(x=0.25)
            row[0].set_yticks(range(len(names)), names)
            row[0].set_ylabel(f"{each['vectors']}\nk = {each['k']}")
        panels[0][0].invert_yaxis()


def targets_markdown(results: dict[str, Any]) -> str:
    """The machine, the ratios, and what they were computed from."""
    rows = [_target_row(target, results) for target in STORE] + _adding(results)
    table = report.table(["", "against", "votive", "goal", "aim"], rows)
    parts = [_header(results), table, "Median call of the rounds (lowest to highest):", _times(results)]
    return "\n\n".join([*parts, _facts(results), *report.skipped(results)]) + "\n"


def proof_markdown(found: list[dict[str, Any]]) -> str:
    """A row for each data and k."""
    facts = machine.describe()
    rows = []
    for each in found:
        median, most = each["rescored"]
        rows.append(
            [
                f"{each['data']}, k = {each['k']}",
                f"{median:.0f} / {most}",
                f"{each['share']:.4%}",
                f"{each['bytes']:.3f}",
                f"{each['closed']:.1%}",
                f"{each['queries'] * each['k']:,}",
                *(f"{each[name]['ids']} ({each[name]['largest_gap']:.0e})" for name in ("float64", "float32")),
                f"{each['at_once']}",
                f"{each['recall']:.5f}",
            ]
        )
    head = [
        "",
        "rows rescored, median / most",
        "share of rows rescored",
        "bytes read, of the vectors'",
        "proofs that closed early",
        "ids compared",
        "unlike float64's (largest gap)",
        "unlike float32's (largest gap)",
        "unlike when asked at once",
        "exact=False, of the ids",
    ]
    return f"{facts['processor']}, {' '.join(facts['flags'])}.\n\n{report.table(head, rows)}\n"


def _header(results: dict[str, Any]) -> str:
    """The vectors, the machine."""
    return f"{results['vectors']} float32, k = {results['k']}. {report.machine_line(results)}"


def _unit(call: str) -> tuple[str, int]:
    """What the call's times are shown in, and how many of it a second is."""
    return ("s", 1) if call in SECONDS else ("ms", 1000)


def _ratios(results: dict[str, Any], call: str, store: str) -> list[float]:
    """How many times faster votive is at the call, of each round."""
    cell = results["times"][call]
    return report.speedups(report.medians(cell[store]), report.medians(cell[SUBJECT]))


def _fastest(results: dict[str, Any], call: str) -> str:
    """The exact peer whose median over the rounds is least."""
    cell = results["times"][call]
    return min((name for name in stores.EXACT if name in cell), key=lambda name: median(report.medians(cell[name])))


def _times(results: dict[str, Any]) -> str:
    """A row for each store: the median call, lowest and highest of the rounds."""
    cells = results["times"]
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell))
    rows = []
    for name in names:
        row = [name]
        for call, cell in cells.items():
            _, scale = _unit(call)
            seconds = report.medians(cell.get(name, []))
            row.append(report.spread([scale * each for each in seconds], report.short) if seconds else "")
        rows.append(row)
    return report.table(["", *(f"{call}, {_unit(call)[0]}" for call in cells)], rows)


def _facts(results: dict[str, Any]) -> str:
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


def _target_row(target: StoreTarget, results: dict[str, Any]) -> list[str]:
    cell = results["times"].get(target.call, {})
    peer = target.peer or _fastest(results, target.call)
    shown = ""
    if {peer, SUBJECT} <= cell.keys():
        shown = report.times_faster(_ratios(results, target.call, peer))
    return [target.call, f"{'' if target.peer else 'fastest exact peer: '}{peer}", shown, target.goal, target.aim]


def _adding(results: dict[str, Any]) -> list[list[str]]:
    """Rows of time and memory, of which less is better."""
    rows = []
    if SUBJECT in results["times"].get("add", {}):
        shares = [1 / ratio for ratio in _ratios(results, "add", stores.COPY)]
        rows.append(["add, of the time of", stores.COPY, report.spread(shares, "{:.2f}".format), "1.5", "1.2"])
    memory = results["stores"].get(SUBJECT, {}).get("memory", {})
    for blocks, share in memory.items():
        how = "at once" if blocks == "1" else f"in {blocks} calls"
        rows.append([f"peak memory while adding {how}, of", "the vectors", f"{share:.3f}", "1.3", "1.27"])
    return rows
