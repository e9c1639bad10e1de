"""How callers share one model."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from votive._arguments import check_choice, check_count

# Milliseconds: whoever has to wait longer has another trouble.
_LONGEST_WAIT = 60_000


class Sharing(TypedDict, total=False):
    """Keyword arguments of `Embedder` and `Reranker` that say how calls of several threads and tasks share the model.

    Calls that find the machine busy wait in one queue per model, and what waits is computed together. Who has had the
    fewest tokens computed, by its priority, is next, so that a large call does not keep small ones waiting. Results are
    the same bits either way on the CPU.
    """

    max_batch_tokens: int | None
    """The most tokens that are computed together; a longer text is alone. None for what fits the CPU's caches, and
    16,384 on a GPU, less where it has no memory for those."""

    max_batch_size: int | None
    """The most texts, or pairs, that are computed together; None for no limit but the tokens."""

    max_wait_ms: float
    """How long a call waits for others to be computed with, in milliseconds. 0, the default: nobody waits for company,
    and whoever has to wait anyway travels together."""

    max_queue: int | None
    """The most texts, or pairs, of all calls that are not done, for back-pressure; a single call may have more. None
    for no limit."""

    when_full: Literal["wait", "raise"]
    """What a call beyond `max_queue` does: it waits for room, or raises `QueueFull`."""

    max_concurrency: int | None
    """The most passes through the network at a time. None for as many as there are threads, and one on a GPU."""


def sharing_options(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """All of `given` and the defaults of the rest, checked; `kind` is the class whose constructor got them."""
    options: dict[str, Any] = {
        "max_batch_tokens": None,
        "max_batch_size": None,
        "max_wait_ms": 0.0,
        "max_queue": None,
        "when_full": "wait",
        "max_concurrency": None,
    }
    for name in given:
        if name not in options:
            raise TypeError(f"{kind}() got an unexpected keyword argument {name!r}")
    options |= given
    for name in ("max_batch_tokens", "max_batch_size", "max_queue", "max_concurrency"):
        check_count(name, options[name])
    wait = options["max_wait_ms"]
    if isinstance(wait, (bool, str)) or not hasattr(wait, "__float__"):
        raise TypeError(f"max_wait_ms: expected a number, found {type(wait).__name__}")
    if not 0 <= float(wait) <= _LONGEST_WAIT:
        raise ValueError(f"max_wait_ms: expected 0 to {_LONGEST_WAIT}, found {wait}")
    check_choice("when_full", options["when_full"], ("wait", "raise"))
    return options
