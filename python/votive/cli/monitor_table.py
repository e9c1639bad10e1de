"""What `votive monitor` shows of a server on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from votive._cells import one_line, width
from votive.cli.terminal import BOLD, DIM, RED, YELLOW, painted

_PERCENTILES = ("p50", "p95", "p99")


def table(shown: Mapping[str, Any]) -> str:
    """All of it, a line of text for each thing."""
    parts = [
        [_title(shown)],
        _columns(_rates(shown), left=1),
        _columns(_times(shown["last_minute"]), left=1),
        [_now(shown), _memory(shown["memory"]), *_troubles(shown)],
        _columns(_models(shown["models"]), left=2),
        [_alert(alert) for alert in shown["alerts"]],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _title(shown: Mapping[str, Any]) -> str:
    uptime = timedelta(seconds=int(shown["uptime_seconds"]))
    state = "ready" if shown["ready"] else "not ready"
    title = painted(f"votive {shown['version']}", BOLD)
    return f"{title} at {shown['url']}, {state}, up {uptime}"


def _rates(shown: Mapping[str, Any]) -> list[Sequence[str]]:
    minute = shown["last_minute"]
    rows: list[Sequence[str]] = [("per second", "now", "last minute")]
    for name, title in (("requests", "requests"), ("failed", "failed"), ("inputs", "texts"), ("tokens", "tokens")):
        over_minute = minute[name] / max(minute["seconds"], 1e-3)
        rows.append((title, f"{shown['per_second'][name]:,.1f}", f"{over_minute:,.1f}"))
    return rows


def _times(minute: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("milliseconds", *_PERCENTILES)]
    for name, title in (("request_ms", "request"), ("queue_ms", "wait")):
        rows.append((title, *(f"{minute[name][percentile]:,.2f}" for percentile in _PERCENTILES)))
    return rows


def _now(shown: Mapping[str, Any]) -> str:
    return f"{shown['in_flight']} requests in flight, {shown['connections']} connections"


def _memory(memory: Mapping[str, Any]) -> str:
    parts = [f"weights {_bytes(memory['weights_bytes'])}", f"scratch {_bytes(memory['scratch_bytes'])}"]
    if memory["process_bytes"] is not None:
        parts.insert(0, f"process {_bytes(memory['process_bytes'])}")
    if memory["limit_bytes"]:
        share = memory["used_bytes"] / memory["limit_bytes"]
        parts.append(f"{_bytes(memory['used_bytes'])} of {_bytes(memory['limit_bytes'])} used ({share:.0%})")
    return f"memory: {', '.join(parts)}"


def _troubles(shown: Mapping[str, Any]) -> list[str]:
    """Counts of what went wrong, where something did."""
    lines = []
    for name in ("errors", "cancelled", "rejected"):
        if shown[name]:
            counts = ", ".join(f"{reason} {count:,}" for reason, count in shown[name].items())
            lines.append(f"{name}: {counts}")
    return lines


def _models(models: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    times_of = [f"{name} ms" for name in _PERCENTILES]
    rows: list[Sequence[str]] = [("model", "state", "queue", "texts/s", "tokens/s", *times_of)]
    for model in models:
        name = one_line(model["name"])
        if model["loaded"]:
            times = (f"{model['latency'][name] * 1e3:,.2f}" for name in _PERCENTILES)
            rates = (f"{model['texts_per_second']:,.1f}", f"{model['tokens_per_second']:,.0f}")
            rows.append((name, "loaded", f"{model['queue']['inputs']:,}", *rates, *times))
        else:
            rows.append((name, "failed" if model["failure"] else "not loaded", *[""] * 6))
    return rows


def _alert(alert: Mapping[str, Any]) -> str:
    value = "unknown" if alert["value"] is None else f"{alert['value']:,.6g}"
    line = f"{alert['severity']}: {alert['rule']} is {value}, its bound {alert['bound']:,.6g}, since {alert['since']}"
    return painted(line, RED if alert["severity"] == "critical" else YELLOW)


def _columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows below a heading, the first `left` columns on the left."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, most) in enumerate(zip(row, widths, strict=True)):
            room = " " * (most - width(cell))
            cells.append(cell + room if place < left else room + cell)
        lines.append("  ".join(cells).rstrip())
    return [painted(lines[0], DIM), *lines[1:]]


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
