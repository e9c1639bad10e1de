"""Two runs compared, from cells with known answers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("msgspec")

import msgspec
from bench_cells import cell
from votive.bench.cells import Latency, Measured, Resources, Run
from votive.bench.compare import compare
from votive.bench.experiment import BackendChoice, Data, Experiment, Model
from votive.bench.report import write_report

DRIFT = (0.95, 1.0, 1.05)


def measured(number: int, rate: float, *, backend: str = "float32", batch: int = 8, load: str = "closed") -> Measured:
    drifted = rate * DRIFT[number]
    latency = Latency(samples=600, mean=1 / drifted, p50=1 / drifted, p95=2 / drifted, p99=3 / drifted, max=4 / drifted)
    return Measured(
        cell=cell(backend, batch, load, 50.0 if load == "open" else None),
        round=number,
        requests=600,
        items=600,
        items_per_second=drifted,
        latency=latency,
    )


def written(folder: Path, cells: list[Measured], *, cpus: int = 2, count: int = 512, git: str | None = None) -> Path:
    experiment = Experiment(
        name="one",
        models=[Model(name="m")],
        backends=[BackendChoice(kind="votive", name="float32")],
        data=Data(count=count),
    )
    machine: dict[str, str | int | float | list[str]] = {"cpus": cpus, "flags": ["avx2"], "load": "0.1"}
    versions = {"votive": "1"}
    run = Run(experiment=experiment, machine=machine, versions=versions, git=git, started="2026-01-01T00:00:00Z")
    folder.mkdir()
    (folder / "run.json").write_bytes(msgspec.json.encode(run))
    (folder / "cells.jsonl").write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in cells))
    return folder


def rounds(rate: float, **of: object) -> list[Measured]:
    return [measured(number, rate, **of) for number in range(3)]  # type: ignore[arg-type]


def test_worse_beyond_tolerance_and_rounds(tmp_path: Path) -> None:
    before = written(tmp_path / "before", rounds(100))
    after = written(tmp_path / "after", rounds(80))
    text, is_worse = compare(before, after, 0.1)
    assert is_worse
    assert "| one, m, float32, short, batch 8, 1 caller | items/s | 100 (95-105) | 80 (76-84) | -20.0 % |" in text
    assert "## Better" not in text
    assert compare(before, after, 0.3)[1] is False
    text, is_worse = compare(after, before, 0.1)
    assert not is_worse
    assert "## Better" in text


def test_what_rounds_differ_by_is_no_change(tmp_path: Path) -> None:
    """The median falls by 8 %, and the fastest round is within those of before."""
    before = written(tmp_path / "before", rounds(100))
    after = written(tmp_path / "after", rounds(92))
    text, is_worse = compare(before, after, 0.05)
    assert not is_worse
    assert text.endswith("1 cell in both, 3 medians: 0 worse, 0 better by more than 5% and than their rounds differ.")


def test_reports_and_folders_are_read(tmp_path: Path) -> None:
    before, after = written(tmp_path / "before", rounds(100)), written(tmp_path / "after", rounds(100))
    write_report([before], tmp_path / "out")
    expected = compare(before, after, 0.1)[0].partition("\n")[2]
    for path in (tmp_path / "out", tmp_path / "out" / "report.json"):
        assert compare(path, after, 0.1)[0].partition("\n")[2] == expected
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: holds no run: neither report.json nor run.json is there"):
        compare(tmp_path / "empty", after, 0.1)
    (tmp_path / "report.json").write_text('{"schema_version": "x"}')
    with pytest.raises(ValueError, match=r"report.json: no report of this version: .*schema_version"):
        compare(before, tmp_path / "report.json", 0.1)


def test_what_differs_beside_the_numbers_is_said(tmp_path: Path) -> None:
    before = written(tmp_path / "before", rounds(100) + rounds(10, batch=1))
    after = written(tmp_path / "after", rounds(100) + rounds(100, backend="<int8>"), cpus=4, count=64, git="1a2b")
    text, is_worse = compare(before, after, 0.1)
    assert not is_worse
    assert "- machine: cpus: 2, then 4" in text
    assert "- working directory: git: nothing, then 1a2b" in text
    assert "- experiment one: data.count: 512, then 64" in text
    assert "load" not in text
    assert "## Measured before only\n\n- one, m, float32, short, batch 1, 1 caller" in text
    assert "## Measured after only\n\n- one, m, &lt;int8&gt;, short" in text


def test_nothing_in_both_is_an_error(tmp_path: Path) -> None:
    before, after = written(tmp_path / "a", rounds(1)), written(tmp_path / "b", rounds(1, batch=1))
    with pytest.raises(ValueError, match="no cell was measured in both"):
        compare(before, after, 0.1)


def test_cells_that_broke_are_worse(tmp_path: Path) -> None:
    before = written(tmp_path / "before", rounds(100, load="open") + rounds(100))
    later = rounds(100, load="open") + rounds(100)
    for each in later[:3]:
        each.marks = ["saturated"]
    for each in later[3:]:
        each.errors = {"500": 300}
    text, is_worse = compare(before, written(tmp_path / "after", later), 0.1)
    assert is_worse
    assert "- one, m, float32, short, batch 8, 50 requests/s: saturated" in text
    assert "33.3 % of the requests fail, 0 % before" in text


def test_memory_that_grew_is_worse(tmp_path: Path) -> None:
    for name, size in (("before", 100), ("after", 130)):
        cells = rounds(100, load="open")
        for each in cells:
            each.resources = Resources(rss_peak_bytes=size)
        written(tmp_path / name, cells)
    text, is_worse = compare(tmp_path / "before", tmp_path / "after", 0.1)
    assert is_worse
    assert "| memory peak (bytes) | 100 | 130 | +30.0 % |" in text
    # A rate by schedule is no result.
    assert "items/s" not in text
