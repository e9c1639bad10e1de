"""What became of an object's calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from votive._display import html_table, text_table

if TYPE_CHECKING:
    from votive import _core

_HEADINGS = ("", "mean", "p50", "p95", "p99")


@dataclass(frozen=True)
class Spread:
    """How some numbers are spread.

    Attributes:
        count: how many there are.
        mean: exact.
        p50: half of them are at most this. As all percentiles it is never too small, and at most 1/64 too large.
        p95: percentile 95.
        p99: percentile 99.
    """

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Memory:
    """Memory in bytes, as far as it is known.

    Attributes:
        weights: numbers of the model's weights in the types that they are held in, without padding: in the memory of
            the device, where that has its own. 0 for a store.
        rows: of a store, with codes, ids, texts and metadata: what counts against `max_memory_gb`. 0 for a model.
        scratch: what the CPU's kernels keep between calls, for all models of the process together.
    """

    weights: int
    rows: int
    scratch: int


@dataclass(frozen=True)
class Stats:
    """What an object did in this process since it was made, or since `reset_stats()`.

    Counted without locks, so that numbers that are read while calls end may differ by those calls.

    Attributes:
        seconds: since then.
        calls: that gave a result; of a stream each piece of 4,096 texts is one. Of a store, its searches.
        texts: texts, pairs or queries that were computed, equal ones each; also those of calls that failed later.
        tokens: of these, special ones included, after cutting. 0 for a store.
        texts_per_second: over the last minute.
        tokens_per_second: over the last minute.
        truncated: rows of `calls` that were cut.
        halved: how often a pass was halved because the device had no memory for all of it.
        queue_wait: seconds in which a call waited with nothing done for it. 0 where its own thread computed it at once.
        latency: seconds from a call to its result.
        pass_texts: texts that were computed together.
        pass_tokens: tokens that were computed together.
        memory: what is held.
        errors: how many calls failed with each kind of exception, cancelled ones among them.
    """

    seconds: float
    calls: int
    texts: int
    tokens: int
    texts_per_second: float
    tokens_per_second: float
    truncated: int
    halved: int
    queue_wait: Spread
    latency: Spread
    pass_texts: Spread
    pass_tokens: Spread
    memory: Memory
    errors: dict[str, int]

    @property
    def texts_per_second_in_all(self) -> float:
        """Over all of `seconds`."""
        return self.texts / max(self.seconds, 1e-9)

    @property
    def tokens_per_second_in_all(self) -> float:
        """Over all of `seconds`."""
        return self.tokens / max(self.seconds, 1e-9)

    def __repr__(self) -> str:
        table = text_table(_HEADINGS, self._spreads()).splitlines()
        return "\n  ".join([self._title(), *self._rates(), *table, *self._counts()])

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        return html_table(_HEADINGS, self._spreads(), "\n".join([self._title(), *self._rates(), *self._counts()]))

    def _title(self) -> str:
        return f"Stats of {self.seconds:,.1f} s: {self.calls:,} calls, {self.texts:,} texts, {self.tokens:,} tokens"

    def _rates(self) -> list[str]:
        return [
            f"last minute: {self.texts_per_second:,.1f} texts/s, {self.tokens_per_second:,.0f} tokens/s",
            f"in all: {self.texts_per_second_in_all:,.1f} texts/s, {self.tokens_per_second_in_all:,.0f} tokens/s",
        ]

    def _spreads(self) -> list[tuple[str, ...]]:
        def row(name: str, numbers: Spread, unit: float, digits: int) -> tuple[str, ...]:
            found = (numbers.mean, numbers.p50, numbers.p95, numbers.p99)
            return name, *(f"{number * unit:,.{digits}f}" for number in found)

        return [
            row("queue wait, ms", self.queue_wait, 1e3, 3),
            row("latency, ms", self.latency, 1e3, 3),
            row("texts a pass", self.pass_texts, 1, 1),
            row("tokens a pass", self.pass_tokens, 1, 1),
        ]

    def _counts(self) -> list[str]:
        errors = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.errors.items())) or "none"
        megabytes = ", ".join(
            f"{field.name} {getattr(self.memory, field.name) / 1e6:,.1f} MB" for field in fields(self.memory)
        )
        return [
            f"memory: {megabytes}",
            f"truncated rows: {self.truncated:,}; halved passes: {self.halved:,}; errors: {errors}",
        ]


@contextmanager
def counting_errors(stats: _core.Stats) -> Iterator[None]:
    """Adds what is raised within."""
    try:
        yield
    except BaseException as error:
        stats.add_error(type(error).__name__)
        raise


def read(stats: _core.Stats, memory: Memory) -> Stats:
    """The numbers of `stats`."""
    numbers: dict[str, Any] = stats.numbers()
    seconds = max(numbers.pop("recent_seconds"), 1e-9)
    for what in ("texts", "tokens"):
        numbers[f"{what}_per_second"] = numbers.pop(f"recent_{what}") / seconds
    for what in ("queue_wait", "latency", "pass_texts", "pass_tokens"):
        numbers[what] = Spread(*numbers[what])
    return Stats(memory=memory, **numbers)
