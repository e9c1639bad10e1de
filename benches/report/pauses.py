"""Calls after a pause: times of one text, and ratios to the peers with the same type and threads."""

from __future__ import annotations

from typing import Any

from benches import report


def markdown(results: dict[str, Any]) -> str:
    """The machine, the times and the ratios."""
    pauses = results["times"]
    peers = list(dict.fromkeys(peer for cell in pauses.values() for peer in cell))
    head = ["pause before each call, ms", *pauses]
    times = [[_shown(peer), *(_time(pauses[pause], peer) for pause in pauses)] for peer in peers]
    ratios = []
    for peer in filter(report.is_subject, peers):
        for other in ("before", "onnxruntime"):
            theirs = peer.replace(report.SUBJECT, other)
            if theirs in peers:
                cells = [_ratio(pauses[pause], theirs, peer) for pause in pauses]
                ratios.append([f"{_shown(peer)} than {other}", *cells])
    parts = [report.model_line(results), f"One text of {results['tokens']} tokens, {results['text']!r}. p50 in ms:"]
    parts += [report.table(head, times), "votive is faster, of the two p50 of one round:", report.table(head, ratios)]
    return "\n\n".join([*parts, *report.skipped(results)]) + "\n"


def _shown(peer: str) -> str:
    name, threads = peer.split()
    return f"{name}, {threads} {'thread' if threads == '1' else 'threads'}"


def _time(cell: dict[str, list[list[float]]], peer: str) -> str:
    return report.spread([1000 * call for call in report.medians(cell.get(peer, []))], "{:.2f}".format)


def _ratio(cell: dict[str, list[list[float]]], theirs: str, ours: str) -> str:
    return report.times_faster(report.speedups(report.medians(cell[theirs]), report.medians(cell[ours])))
