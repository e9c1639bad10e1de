"""What a call did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What the last call of `encode` did.

    Attributes:
        texts: how many there were.
        tokens: how many they had together, special ones included, after cutting.
        truncated: the rows whose text was longer than the model takes, and was cut.
        seconds: from the call to its result.
    """

    texts: int
    tokens: int
    truncated: list[int]
    seconds: float

    @property
    def texts_per_second(self) -> float:
        """Throughput of the call, in texts."""
        return self.texts / max(self.seconds, 1e-9)

    @property
    def tokens_per_second(self) -> float:
        """Throughput of the call, in tokens."""
        return self.tokens / max(self.seconds, 1e-9)

    def __repr__(self) -> str:
        return (
            f"Report(texts={self.texts}, tokens={self.tokens}, truncated={len(self.truncated)} rows, "
            f"seconds={self.seconds:.3f}, texts_per_second={self.texts_per_second:.0f})"
        )
