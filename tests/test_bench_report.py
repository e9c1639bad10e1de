"""Reports of experiments, from cells with known answers."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("msgspec")

from votive.bench.cells import Latency, Measured, Run
from votive.bench.experiment import BackendChoice, Experiment, Model, Objective, Objectives
from votive.bench.plan import Cell
from votive.bench.report import write_report
from votive.bench.report.summary import Report, load

EVIL = "<script>a|b"


def measured(backend: str, batch: int, number: int, rate: float, p95: float) -> Measured:
    cell = Cell(
        experiment="one",
        model="m",
        backend=backend,
        data_set="short",
        batch_size=batch,
        concurrency=1,
        batching=True,
        load="closed",
    )
    latency = Latency(samples=600, mean=p95 / 2, p50=p95 / 2, p95=p95, p99=p95 * 2, max=p95 * 3)
    return Measured(cell=cell, round=number, requests=600, items=600, items_per_second=rate, latency=latency)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Batches 8, 32 and 64: the peak is at 64, and 32 is within 5 % of it at half the latency."""
    backends = [BackendChoice(kind="votive", name=name) for name in ("float32", EVIL, "gone")]
    objectives = Objectives(p95_ms=Objective(warning=15, critical=35))
    experiment = Experiment(name="one", models=[Model(name="m")], backends=backends, objectives=objectives)
    run = Run(experiment=experiment, machine={"cpus": 2}, versions={"votive": "1"}, started="2026-01-01T00:00:00Z")
    lines = []
    for number, drift in enumerate((1.0, 1.1, 1.3)):
        for batch, rate, p95 in ((8, 50.0, 5.0), (32, 98.0, 20.0), (64, 100.0, 40.0)):
            lines.append(measured("float32", batch, number, rate * drift, p95))
            lines.append(measured(EVIL, batch, number, 2 * rate * drift, p95))
        gone = measured("gone", 8, number, 0, 1)
        lines.append(Measured(cell=gone.cell, round=number, skipped="pip install gone"))
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))
    whole = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    (tmp_path / "cells.jsonl").write_bytes(whole + b'{"half')
    return tmp_path


def test_rounds_are_merged(folder: Path) -> None:
    summary = load(folder)
    row = next(row for row in summary.rows if (row.cell.backend, row.cell.batch_size) == (EVIL, 8))
    assert row.items_per_second is not None
    assert (row.items_per_second.median, row.items_per_second.lowest) == (pytest.approx(110), 100)
    # Machines that drift do so for both: the ratio of a round does not.
    assert row.ratio is not None
    assert (row.ratio.lowest, row.ratio.highest) == (pytest.approx(2), pytest.approx(2))
    assert row.marks == ["noisy"]
    assert summary.skipped == {"gone": "pip install gone"}


def test_what_the_rows_say(folder: Path) -> None:
    summary = load(folder)
    (winner,) = summary.winners
    assert (winner.cell.backend, winner.cell.batch_size, winner.clear) == (EVIL, 64, True)
    assert summary.batching == "batching:\n  enabled: true\n  max_batch_size: 32"
    assert [(alert.cell.batch_size, alert.level) for alert in summary.alerts] == [
        (32, "warning"),
        (32, "warning"),
        (64, "critical"),
        (64, "critical"),
    ]
    assert f"{EVIL} is 2.00x float32 at batch 8, 1 caller" in summary.insights
    assert "float32: past a batch of 32 throughput rises by less than 5 %" in summary.insights


def test_files_are_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = write_report([folder], out)
    assert (out / "report.md").read_text(encoding="utf-8") == text
    assert "<script>" not in text
    assert "&lt;script&gt;a\\|b" in text
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    assert {row["backend"] for row in rows} == {"float32", EVIL, "gone"}
    assert rows[0]["latency_p95_ms"] == "5.0"
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Report)
    assert (report.schema_version, len(report.experiments[0].rows)) == (1, 7)
