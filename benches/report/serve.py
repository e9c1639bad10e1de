"""Servers: rates by connections, latencies by share of the peak, and what HTTP costs."""

from __future__ import annotations

from typing import Any

from benches import report


def markdown(results: dict[str, Any]) -> str:
    """All of it."""
    parts = [report.model_line(results)]
    servers = results["servers"]
    rows = [[name, f"{each['ready']:.2f} s", f"{each['memory'] / 1e6:.0f} MB"] for name, each in servers.items()]
    parts.append(report.table(["server", "ready after", "memory"], rows))
    for size in dict.fromkeys(cell["texts"] for cell in results["cells"]):
        cells = [cell for cell in results["cells"] if cell["texts"] == size]
        counts = list(dict.fromkeys(cell["connections"] for cell in cells))
        parts.append(f"## {size} short text{'' if size == 1 else 's'} a request: requests a second, and p50 / p99")
        rows = []
        for peer in dict.fromkeys(cell["peer"] for cell in cells):
            shown = [
                _cell(cell)
                for count in counts
                for cell in cells
                if (cell["peer"], cell["connections"]) == (peer, count)
            ]
            rows.append([peer, *shown])
        parts.append(report.table(["connections", *map(str, counts)], rows))
    parts.append("## By schedule, mixed texts, one a request: p50 / p95 / p99, and p99 of p50")
    rows = [
        [
            each["peer"],
            f"{each['share']:.0%} of {each['peak']:.0f}",
            " / ".join(f"{1000 * time:.1f}" for time in each["quantiles"]),
            f"{each['quantiles'][2] / each['quantiles'][0]:.1f}",
            f"{1000 * each['generator_late_p99']:.1f}",
            str(each["errors"]),
        ]
        for each in results["open"]
    ]
    head = ["server", "requests a second", "milliseconds", "p99 of p50", "generator late, p99 ms", "errors"]
    parts.append(report.table(head, rows))
    if "cost" in results:
        cost = {name: 1e6 * seconds for name, seconds in results["cost"].items()}
        parts.append(
            f"CPU of a request to a model of 40 numbers: {cost['base64']:.0f} us in base64, {cost['float']:.0f} us as "
            f"text; of its call in a process: {cost['inside']:.0f} us."
        )
    parts += report.skipped(results)
    return "\n\n".join(parts) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    p50, _, p99 = (1000 * time for time in cell["quantiles"])
    failed = f", {cell['errors']} errors" if cell["errors"] else ""
    return f"{report.spread(cell['rates'], report.short)}; {p50:.1f} / {p99:.1f} ms{failed}"
