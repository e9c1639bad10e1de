"""Files for programs that watch servers: alerts for Prometheus, and a dashboard for Grafana."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from votive._objectives import OBJECTIVES

# Over which rates are told: at least four times as long as between two looks, by Prometheus' own advice.
_WINDOW = "5m"


class _Rule(NamedTuple):
    """An alert of Prometheus; `wait` is how long it must hold."""

    name: str
    severity: str
    expression: str
    wait: str
    summary: str


def prometheus_rules() -> str:
    """A file of rules in YAML, for `rule_files` of Prometheus' configuration."""
    lines = ["# Made by `votive monitor --rules prometheus`.", "groups:", "  - name: votive", "    rules:"]
    for rule in _rules():
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {_quoted(rule.expression)}",
            f"        for: {rule.wait}",
            f"        labels: {{severity: {rule.severity}}}",
            f"        annotations: {{summary: {_quoted(rule.summary)}}}",
        ]
    return "\n".join(lines) + "\n"


def grafana_dashboard() -> str:
    """A dashboard in JSON, to import."""
    panels = [_panel(place, *panel) for place, panel in enumerate(_panels())]
    source = {
        "name": "source",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }
    instance = {
        "name": "instance",
        "label": "Server",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": "label_values(votive_build_info, instance)", "refId": "instance"},
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "hide": 0,
    }
    dashboard = {
        "uid": "votive",
        "title": "votive",
        "tags": ["votive"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, instance]},
        "panels": panels,
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _quoted(text: str) -> str:
    """A text in YAML, of which those of JSON are a part."""
    return json.dumps(text)


def _percentile(share: float, name: str, where: str = "", by: str = "le") -> str:
    return f"histogram_quantile({share}, sum by ({by}) (rate({name}_bucket{where}[{_WINDOW}])))"


def _rules() -> list[_Rule]:
    failed = f'sum by (instance) (rate(votive_requests_total{{status="5xx"}}[{_WINDOW}]))'
    answered = f"sum by (instance) (rate(votive_requests_total[{_WINDOW}]))"
    by = "instance, le"
    measures = {
        "p95_ms": ("Slow", f"1000 * {_percentile(0.95, 'votive_request_seconds', by=by)}", "requests take {} ms"),
        "queue_ms": ("Waits", f"1000 * {_percentile(0.95, 'votive_queue_seconds', by=by)}", "requests wait {} ms"),
        "memory_percent": (
            "Memory",
            "100 * votive_memory_used_bytes / votive_memory_limit_bytes",
            "{} % of the memory is used",
        ),
        "error_percent": ("Errors", f"100 * {failed} / {answered}", "{} % of the requests fail"),
        "cosine_distance": (
            "Inconsistent",
            "1 - votive_consistency_cosine_min",
            "vectors are {} from those of the CPU in float32",
        ),
    }
    rules = []
    for rule, (name, expression, summary) in measures.items():
        for severity, bound in OBJECTIVES[rule].items():
            # What Prometheus puts there when it tells of it.
            value = summary.format('{{ $value | printf "%.4g" }}')
            text = f"{{{{ $labels.instance }}}}: {value}, more than {bound:g}"
            rules.append(_Rule(f"Votive{name}", severity, f"{expression} > {bound:g}", "1m", text))
    # A model that is loaded by need has no failures where nobody asks for it.
    unavailable = f'rate(votive_errors_total{{reason="unavailable"}}[{_WINDOW}]) > 0'
    rejected = f"sum by (instance, reason) (rate(votive_rejected_total[{_WINDOW}])) > 0"
    rules += [
        _Rule("VotiveUnavailable", "critical", unavailable, "1m", "{{ $labels.instance }}: requests find no model"),
        _Rule("VotiveRejects", "warning", rejected, "1m", "{{ $labels.instance }}: no room ({{ $labels.reason }})"),
        _Rule("VotiveAlert", "warning", "votive_alert == 1", "0m", "{{ $labels.instance }}: {{ $labels.rule }}"),
    ]
    return rules


_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WHERE = '{instance=~"$instance"}'


def _panels() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Title, unit, and for each line its expression and its name."""

    def rate(name: str, by: str) -> str:
        return f"sum by ({by}) (rate({name}{_WHERE}[{_WINDOW}]))"

    def percentiles(name: str) -> list[tuple[str, str]]:
        return [(_percentile(share, name, _WHERE), f"P{share * 100:.0f}") for share in (0.5, 0.95, 0.99)]

    return [
        ("Requests", "reqps", [(rate("votive_requests_total", "route, status"), "{{route}} {{status}}")]),
        ("Time of requests", "s", percentiles("votive_request_seconds")),
        ("Texts", "short", [(rate("votive_inputs_total", "model"), "{{model}}")]),
        ("Tokens", "short", [(rate("votive_tokens_total", "model"), "{{model}}")]),
        ("Wait", "s", percentiles("votive_queue_seconds")),
        ("Computing", "s", percentiles("votive_compute_seconds")),
        ("Errors", "reqps", [(rate("votive_errors_total", "reason"), "{{reason}}")]),
        (
            "Rejected and cancelled",
            "reqps",
            [
                (rate("votive_rejected_total", "reason"), "rejected: {{reason}}"),
                (rate("votive_cancelled_total", "reason"), "cancelled: {{reason}}"),
            ],
        ),
        (
            "Requests in flight, connections",
            "short",
            [
                (f"sum(votive_in_flight{_WHERE})", "in flight"),
                (f"sum(votive_connections{_WHERE})", "connections"),
            ],
        ),
        (
            "Memory",
            "bytes",
            [
                (f"sum(process_resident_memory_bytes{_WHERE})", "processes"),
                (f"sum by (model) (votive_model_bytes{_WHERE})", "{{model}}"),
                (f"sum(votive_scratch_bytes{_WHERE})", "scratch"),
            ],
        ),
        ("CPUs", "short", [(f"rate(process_cpu_seconds_total{_WHERE}[{_WINDOW}])", "{{instance}}")]),
        ("Alerts", "short", [(f"max by (rule, severity) (votive_alert{_WHERE})", "{{rule}} {{severity}}")]),
    ]


def _panel(place: int, title: str, unit: str, lines: list[tuple[str, str]]) -> dict[str, Any]:
    """The panel at that place, two a row."""
    targets = [
        {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": expression, "legendFormat": name}
        for i, (expression, name) in enumerate(lines)
    ]
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": {"x": 12 * (place % 2), "y": 8 * (place // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }
