"""What a call did."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from votive._warnings import caller_stacklevel


class TruncationWarning(UserWarning):
    """Texts, or pairs of them, were longer than the model takes, and their ends were dropped."""


@dataclass(frozen=True)
class Report:
    """What the last call of `encode` or `predict` did.

    Attributes:
        texts: how many there were; pairs count as one.
        tokens: how many they had together, special ones included, after cutting.
        truncated: the rows whose text or pair was longer than the model takes, and was cut.
        seconds: from the call to its result.
        halved: how often inputs that were to be computed together were cut in two because the device had no memory for
            all of them.
        assumptions: what the model's files do not say, and was taken when it was loaded: the warnings of then.
    """

    texts: int
    tokens: int
    truncated: list[int]
    seconds: float
    halved: int = 0
    assumptions: tuple[str, ...] = ()

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
            f"seconds={self.seconds:.3f}, texts_per_second={self.texts_per_second:.0f}"
            + (f", assumptions={list(self.assumptions)})" if self.assumptions else ")")
        )


@dataclass(frozen=True)
class SearchReport:
    """What the last `search` of a store did, for all of its queries together.

    Attributes:
        queries: how many there were.
        rows: how many counted for each of them: those that the filter kept.
        rescored: scores that were computed from stored vectors; for all others the codes were enough.
        bytes_read: of codes and vectors.
        closed_early: queries of which it was proven, before all rows in question were rescored, that none of those that
            were left can be among the best.
        seconds: from the call to its result.
    """

    queries: int
    rows: int
    rescored: int
    bytes_read: int
    closed_early: int
    seconds: float

    def __repr__(self) -> str:
        return (
            f"SearchReport(queries={self.queries}, rows={self.rows}, rescored={self.rescored}, "
            f"bytes_read={self.bytes_read}, closed_early={self.closed_early}, seconds={self.seconds:.6f})"
        )


def warn_of_truncation(inputs: str, report: Report, max_seq_length: int | None) -> None:
    """Says how many `inputs` were cut, and how to avoid and how to silence that."""
    warnings.warn(
        f"{len(report.truncated)} of {report.texts} {inputs} were longer than {max_seq_length} tokens and were cut "
        "(rows: model.last_report.truncated). A larger max_seq_length cuts less where the model allows it; "
        "to cut long texts into several that are read whole, see votive.chunk; "
        "warnings.simplefilter('ignore', votive.TruncationWarning) silences this",
        TruncationWarning,
        stacklevel=caller_stacklevel(),
    )
