"""Every backend of an experiment against every other: how near their results for the same items are."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from votive.bench.cells import Consistency, Measured

NUMBERS = ("cosine_mean", "cosine_min", "max_difference", "spearman", "rank_overlap")
# What is shown above and below the diagonal of the results of a task.
SHOWN = {
    "embed": ("cosine_mean", "cosine_min"),
    "rerank": ("spearman", "max_difference"),
    "search": ("rank_overlap", "rank_overlap"),
}
WORDS = {
    "cosine_mean": "the mean cosine of the same texts",
    "cosine_min": "the smallest cosine",
    "spearman": "the rank correlation (Spearman) of the same documents",
    "max_difference": "the largest difference of a score",
    "rank_overlap": "the share of the neighbours that both found",
}


class Matrix(msgspec.Struct, kw_only=True):
    """Of one model and set of items.

    Attributes:
        backends: of rows and columns.
        numbers: by the names of `NUMBERS` of which there are any, `[backends][backends]` and symmetric; None on the
            diagonal, and where two were not compared.
    """

    model: str
    data_set: str
    backends: list[str]
    numbers: dict[str, list[list[float | None]]]

    def at(self, row: int, column: int, shown: tuple[str, str]) -> float | None:
        """The first number above the diagonal, and the second below."""
        name = shown[0] if column > row else shown[1]
        return self.numbers[name][row][column] if name in self.numbers else None


def matrices(measured: Iterable[Measured]) -> list[Matrix]:
    """In the order of what was measured; none where nothing was compared."""
    found: dict[tuple[str, str], dict[tuple[str, str], Consistency]] = {}
    names: dict[tuple[str, str], dict[str, None]] = {}
    for each in measured:
        if each.skipped is None:
            place = each.cell.model, each.cell.data_set
            names.setdefault(place, {})[each.cell.backend] = None
            for pair in each.pairs:
                found.setdefault(place, {})[each.cell.backend, pair.against] = pair
    return [_matrix(model, data_set, list(names[model, data_set]), pairs) for (model, data_set), pairs in found.items()]


def _matrix(model: str, data_set: str, names: list[str], pairs: dict[tuple[str, str], Consistency]) -> Matrix:
    there = [name for name in names if any(name in pair for pair in pairs)]
    numbers: dict[str, list[list[float | None]]] = {}
    for number in NUMBERS:
        values: list[list[float | None]] = [[None] * len(there) for _ in there]
        for (one, other), consistency in pairs.items():
            row, column = there.index(one), there.index(other)
            values[row][column] = values[column][row] = getattr(consistency, number)
        if any(value is not None for line in values for value in line):
            numbers[number] = values
    return Matrix(model=model, data_set=data_set, backends=there, numbers=numbers)
