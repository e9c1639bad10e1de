"""A bar of the cells of a run, on standard error."""

from __future__ import annotations

import sys

from votive.bench.plan import Cell


class Bar:
    """Cells that are done, `before` of them by an earlier run, and the time that is left."""

    def __init__(self, show: bool, total: int, before: int) -> None:
        from votive._progress import bar_class

        self._bar = bar_class()(total=total, initial=before, unit=" cells", disable=not show, file=sys.stderr)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def show(self, cell: Cell, number: int) -> None:
        """What is measured now."""
        at = f"{cell.data_set}, batch {cell.batch_size}, {cell.concurrency} callers"
        self._bar.set_description(f"{cell.experiment}: {cell.backend}, {at}, round {number + 1}")

    def advance(self) -> None:
        """One more is done."""
        self._bar.update()

    def say(self, line: str) -> None:
        """On standard error, above the bar."""
        self._bar.write(line, file=sys.stderr)
