"""Stores of documents: a row for each measurement, a column for each store; and what many small commits cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benches import report
from benches.data.documents import FILTERS, LOW_PRICE, TWO_COLUMNS
from benches.peers.documents import (
    COMMIT,
    COUNT,
    DELETE,
    DELETE_COMMIT,
    FILTERED,
    GET,
    MASKED,
    OPEN,
    OPEN_AND_SEARCH,
    PEERS,
    SEARCH,
    UPDATE,
)

# What is shown: the call, its unit, how many of the unit a second is, and votive's goal.
SHOWN = (
    (OPEN, "ms", 1e3, "50"),
    (OPEN_AND_SEARCH, "ms", 1e3, ""),
    (GET, "us", 1e6, "50"),
    (SEARCH, "ms", 1e3, ""),
    *((f"{SEARCH}, {name}", "ms", 1e3, "") for name in FILTERS),
    (COUNT, "ms", 1e3, ""),
    (UPDATE, "ms", 1e3, "1"),
    (COMMIT, "ms", 1e3, "5"),
    (DELETE, "ms", 1e3, ""),
    (DELETE_COMMIT, "ms", 1e3, ""),
)
MASK_GOALS = {TWO_COLUMNS: "1.3", LOW_PRICE: "1.2"}


def markdown(results: dict[str, Any]) -> str:
    """The table, what readers must know of the stores, and what a store could not do."""
    stores = list(results["stores"])
    facts = results["stores"]
    rows = [
        _row("rows", "", stores, lambda name: f"{facts[name]['rows']:,}"),
        _row("add, rows/s", "100,000", stores, lambda name: f"{facts[name]['rows'] / facts[name]['add']:,.0f}"),
        _row("save; indexes of LanceDB, s", "", stores, lambda name: "".join(map(report.short, facts[name]["finish"]))),
        _row("peak memory while adding, of the data", "1.3", stores, lambda name: _share(facts[name], "memory")),
        _row("files, of the data", "", stores, lambda name: _share(facts[name], "files")),
    ]
    for call, unit, scale, goal in SHOWN:
        cell = results["times"].get(call, {})
        if any(name in cell for name in stores):
            rows.append(_row(f"{call}, {unit}", goal, stores, lambda name, cell=cell, to=scale: _times(cell, name, to)))
    for filter in FILTERS:
        filtered, masked = (results["times"].get(f"{kind}, {filter}", {}) for kind in (FILTERED, MASKED))
        if filtered:
            label = f"{filter}: time of that of the mask given ready"
            ratios = {
                name: report.speedups(report.medians(filtered[name]), report.medians(masked[name])) for name in filtered
            }
            cells = [report.spread(ratios[name], "{:.2f}".format) if name in ratios else "" for name in stores]
            rows.append([label, MASK_GOALS[filter], *cells])
    for call in (f"{SEARCH}, {TWO_COLUMNS}", COUNT):
        rows.append(_row(f"first {call}, ms", "", stores, lambda name, call=call: _first(facts[name], call)))
    for filter in ("all", *FILTERS):
        label = "of the true ids" if filter == "all" else f"of the true ids, {filter}"
        rows.append(_row(label, "", stores, lambda name, filter=filter: _found(facts[name], filter)))
    head = (
        f"{results['documents']} float32, texts of 500 characters, six columns with 2 % nulls, k = {results['k']}; "
        f"each store adds for {results['limit']:.0f} s at most. {_disk(results)} {report.machine_line(results)}"
    )
    table = report.table(["", "goal", *stores], rows)
    return "\n\n".join([head, "Median call of the rounds (lowest to highest):", table, *_lines(results)]) + "\n"


def commits_markdown(results: dict[str, Any]) -> str:
    """A row for each store: how the hundreds compare, and what is left."""
    rows = []
    for name, facts in results["stores"].items():
        steps = facts["steps"]
        second, last = steps[min(1, len(steps) - 1)], steps[-1]
        seconds = [step["seconds"] for step in steps]
        rows.append(
            [
                name,
                f"{sum(step['commits'] for step in steps):,}",
                report.short(sum(seconds)),
                " / ".join(report.short(1e3 * each) for each in (second["seconds"], last["seconds"], max(seconds))),
                f"{last['seconds'] / second['seconds']:.2f}",
                f"{last['cpu'] / second['cpu']:.2f}",
                f"{max(step['files'] for step in steps):,} / {facts['closed']['files']:,}",
                f"{max(step['manifest'] for step in steps):,}" if report.is_subject(name) else "",
                *(_times(results["times"].get(call, {}), name, 1e3) for call in (OPEN, OPEN_AND_SEARCH)),
            ]
        )
    head = [
        "",
        "commits",
        "all, s",
        f"second / last / slowest {results['step']}, ms",
        "last of second",
        "CPU, last of second",
        "files, most / at the end",
        "manifest, most bytes",
        "open, ms",
        "open + first search, ms",
    ]
    title = f"{results['commits']:,} commits of one document each. {_disk(results)} {report.machine_line(results)}"
    goals = "Goals at 10,000: last of second 2, files 200, manifest 200,000 bytes, open 20 ms."
    return "\n\n".join([title, report.table(head, rows), goals, *_lines(results)]) + "\n"


def _row(label: str, goal: str, stores: list[str], show: Callable[[str], str]) -> list[str]:
    return [label, goal, *map(show, stores)]


def _disk(results: dict[str, Any]) -> str:
    return f"A write of 4 KB with fsync takes {report.short(1e3 * results['fsync'])} ms here."


def _share(facts: dict[str, Any], of: str) -> str:
    return f"{facts[of] / facts['size']:.2f}"


def _times(cell: dict[str, Any], name: str, scale: float) -> str:
    seconds = report.medians(cell.get(name, []))
    return report.spread([scale * each for each in seconds], report.short) if seconds else ""


def _first(facts: dict[str, Any], call: str) -> str:
    first = facts.get("first", {}).get(call)
    return "" if first is None else report.short(1e3 * first)


def _found(facts: dict[str, Any], filter: str) -> str:
    share = facts.get("found", {}).get(filter)
    return "" if share is None else f"{share:.3f}"


def _lines(results: dict[str, Any]) -> list[str]:
    notes = {name: getattr(PEERS[name], "note", "") for name in results["stores"]}
    lines = [f"- {name}: {note}" for name, note in notes.items() if note]
    lines += [f"- {name}, {what}: {why}" for name, each in results["failed"].items() for what, why in each.items()]
    return ["\n".join(part) for part in (lines, report.skipped(results)) if part]
