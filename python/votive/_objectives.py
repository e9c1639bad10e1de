"""Bounds beyond which a server raises an alert."""

from __future__ import annotations

from collections.abc import Mapping

# In the order of the core.
OBJECTIVES: dict[str, dict[str, float]] = {
    "p95_ms": {"warning": 100, "critical": 500},
    "queue_ms": {"warning": 50, "critical": 250},
    "memory_percent": {"warning": 80, "critical": 95},
    "error_percent": {"warning": 1, "critical": 5},
    "cosine_distance": {"warning": 0.0005, "critical": 0.01},
}


def all_objectives(given: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """All bounds, those that are given among them.

    Raises:
        TypeError, ValueError: they are not what `OBJECTIVES` has; the message begins with "objectives".
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"objectives: expected a dict, found {type(given).__name__}")
    found = {rule: dict(bounds) for rule, bounds in OBJECTIVES.items()}
    for rule, bounds in given.items():
        if rule not in found:
            raise ValueError(f"objectives: no rule {rule!r}; there are {', '.join(found)}")
        if not isinstance(bounds, Mapping):
            raise TypeError(f"objectives[{rule!r}]: expected a dict, found {type(bounds).__name__}")
        for severity, bound in bounds.items():
            place = f"objectives[{rule!r}]"
            if severity not in found[rule]:
                raise ValueError(f"{place}: no severity {severity!r}; there are {', '.join(found[rule])}")
            if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not bound > 0:
                raise ValueError(f"{place}[{severity!r}]: expected a number above 0, found {bound!r}")
            found[rule][severity] = float(bound)
        if found[rule]["warning"] > found[rule]["critical"]:
            raise ValueError(f"objectives[{rule!r}]: warning is above critical: {found[rule]}")
    return found
