"""`votive bench compare`: what got worse from one run to another, beyond what rounds differ by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from votive.bench.plan import Cell
from votive.bench.report.markdown import escape, spread, table
from votive.bench.report.summary import Report, Row, Spread, Summary, load, setting

# What the numbers are called, and whether more of them is better. A throughput by schedule is what was asked for.
_NUMBERS = {
    "items_per_second": ("items/s", True),
    "p50_ms": ("p50 (ms)", False),
    "p95_ms": ("p95 (ms)", False),
    "rss_peak_bytes": ("memory peak (bytes)", False),
}
# What may differ while the same is measured.
_FREE = ("description", "objectives", "outputs", "baseline", "tolerance", "timeout_s", "start_timeout_s")
# Of a machine, what differs from hour to hour.
_PASSING = ("load",)


class Change(NamedTuple):
    """A number of a cell in both runs; `share` is what it got worse by, negative where it got better."""

    cell: Cell
    what: str
    before: Spread
    after: Spread
    share: float
    is_beyond_rounds: bool


def compare(before: Path, after: Path, tolerance: float) -> tuple[str, bool]:
    """What differs, as Markdown, and whether a median is worse by more than `tolerance` and than rounds differ.

    Args:
        before: a `report.json`, a folder with one, or a folder of one run.
        after: the same of the later run.
        tolerance: share of the earlier median.

    Raises:
        ValueError: one of them holds no report or run, or nothing was measured in both.
    """
    old, new = _read(before), _read(after)
    old_rows, new_rows = _rows(old), _rows(new)
    both = [cell for cell in old_rows if cell in new_rows]
    if not both:
        raise ValueError(f"{before} and {after}: no cell was measured in both, so that nothing can be compared")
    changes = [change for cell in both for change in _changes(old_rows[cell], new_rows[cell])]
    worse = [change for change in changes if change.is_beyond_rounds and change.share > tolerance]
    better = [change for change in changes if change.is_beyond_rounds and change.share < -tolerance]
    broken = [line for cell in both for line in _broken(old_rows[cell], new_rows[cell], tolerance)]
    parts = [f"# {escape(before)} and {escape(after)}"]
    parts += _listed("What differs beside the numbers", _differences(old, new))
    parts += _listed("Measured before only", map(_named, (cell for cell in old_rows if cell not in new_rows)))
    parts += _listed("Measured after only", map(_named, (cell for cell in new_rows if cell not in old_rows)))
    parts += _table("Worse", worse)
    parts += _listed("No longer as it was", broken)
    parts += _table("Better", better)
    parts.append(
        f"{_count(len(both), 'cell')} in both, {_count(len(changes), 'median')}: {len(worse) + len(broken)} worse, "
        f"{len(better)} better by more than {tolerance:.0%} and than their rounds differ."
    )
    return "\n\n".join(parts), bool(worse or broken)


def _read(path: Path) -> list[Summary]:
    file = path / "report.json" if path.is_dir() else path
    if path.is_dir() and not file.is_file() and (path / "run.json").is_file():
        return [load(path)]
    if not file.is_file():
        raise ValueError(f"{path}: holds no run: neither report.json nor run.json is there")
    try:
        return msgspec.json.decode(file.read_bytes(), type=Report).experiments
    except msgspec.DecodeError as error:
        raise ValueError(f"{file}: no report of this version: {error}") from None


def _rows(summaries: list[Summary]) -> dict[Cell, Row]:
    return {row.cell: row for one in summaries for row in one.rows if row.skipped is None}


def _changes(before: Row, after: Row) -> Iterator[Change]:
    for name, (what, more_is_better) in _NUMBERS.items():
        old: Spread | None = getattr(before, name)
        new: Spread | None = getattr(after, name)
        if old is None or new is None or not old.median or (name == "items_per_second" and before.cell.load == "open"):
            continue
        grown = (new.median - old.median) / old.median
        apart = new.highest < old.lowest or new.lowest > old.highest
        yield Change(before.cell, what, old, new, -grown if more_is_better else grown, apart)


def _broken(before: Row, after: Row, tolerance: float) -> Iterator[str]:
    """What is no median, and worse all the same."""
    if before.counts and not after.counts:
        marks = ", ".join(mark for mark in after.marks if mark.startswith(("saturated", "invalid")))
        yield f"{_named(after.cell)}: {escape(marks or 'not measured')}"
    if after.error_percent > before.error_percent + 100 * tolerance:
        failed, once = (f"{row.error_percent:.3g} %" for row in (after, before))
        yield f"{_named(after.cell)}: {failed} of the requests fail, {once} before"


def _differences(old: list[Summary], new: list[Summary]) -> Iterator[str]:
    theirs = {one.run.experiment.name: one for one in new}
    # Experiments of a run are on one machine: what is said of all is said once.
    said: dict[str, None] = {}
    for one in old:
        other = theirs.get(one.run.experiment.name)
        if other is None:
            continue
        for title, before, after in (
            ("machine", one.run.machine, other.run.machine),
            ("version", one.run.versions, other.run.versions),
            ("working directory", {"git": one.run.git}, {"git": other.run.git}),
        ):
            for key in dict.fromkeys([*before, *after]):
                if before.get(key) != after.get(key) and key not in _PASSING:
                    said[f"{title}: {escape(key)}: {_shown(before.get(key))}, then {_shown(after.get(key))}"] = None
        theirs_said = dict(_keys(other.run.experiment))
        for key, value in _keys(one.run.experiment):
            if key.partition(".")[0] not in _FREE and value != theirs_said[key]:
                there, here = (_shown(each) for each in (value, theirs_said[key]))
                said[f"experiment {escape(one.run.experiment.name)}: {key}: {there}, then {here}"] = None
    yield from said


def _keys(section: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """Keys with dots, as `--set` has them."""
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, msgspec.Struct):
            yield from ((f"{name}.{key}", inner) for key, inner in _keys(value))
        else:
            yield name, value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    return escape(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _named(cell: Cell) -> str:
    return escape(f"{cell.experiment}, {cell.model}, {cell.backend}, {cell.data_set}, {setting(cell)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    found = [f"- {line}" for line in lines]
    return [f"## {title}", "\n".join(found)] if found else []


def _table(title: str, changes: list[Change]) -> list[str]:
    if not changes:
        return []
    rows = [
        [
            _named(change.cell),
            change.what,
            spread(change.before),
            spread(change.after),
            f"{100 * (change.after.median / change.before.median - 1):+.1f} %",
        ]
        for change in sorted(changes, key=lambda change: -abs(change.share))
    ]
    return [f"## {title}", table(["Cell", "Number", "Before", "After", "Change"], rows)]
