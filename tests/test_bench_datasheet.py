"""The datasheet, from folders with known answers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("msgspec")

import msgspec
from votive.bench import datasheet, plan, run
from votive.bench.cells import Consistency, Latency, Measured, Resources, Run
from votive.bench.experiment import BackendChoice, Experiment
from votive.bench.report.summary import load

CHOICES = [BackendChoice(kind="votive", name=name) for name in ("float32", "<int8>", "gone")]
MIB = 2**20


def measure(experiments: list[Experiment], out: Path) -> list[Path]:
    """int8 is twice as fast as float32, and both are faster for greater batches and more users."""
    folders = []
    for experiment in experiments:
        lines = []
        for cell, number in plan.turns(experiment):
            if cell.backend == "gone":
                lines.append(Measured(cell=cell, round=number, skipped="pip install gone"))
                continue
            speed = 2 if cell.backend == "<int8>" else 1
            rate = 100.0 * speed * cell.batch_size * cell.concurrency
            ms = 1000 / rate
            lines.append(
                Measured(
                    cell=cell,
                    round=number,
                    requests=600,
                    items=600 * cell.batch_size,
                    requests_per_second=rate / cell.batch_size,
                    items_per_second=rate,
                    latency=Latency(samples=600, mean=ms, p50=ms, p95=2 * ms, p99=3 * ms, max=4 * ms),
                    resources=Resources(
                        rss_peak_bytes=(100 // speed + cell.concurrency) * MIB,
                        rss_sustained_bytes=80 // speed * MIB,
                        cold_start_seconds=0.5 / speed if "cold_start" in experiment.measure else None,
                        cpu_seconds_per_item=0.001,
                    ),
                    consistency=Consistency(
                        against="float32", cosine_mean=0.9999, cosine_min=0.999, max_difference=0.01
                    )
                    if speed == 2 and "quality" in experiment.measure
                    else None,
                )
            )
        folder = out / experiment.name
        folder.mkdir(parents=True)
        described = Run(
            experiment=experiment, machine={"cpus": 2, "load": "1.5"}, versions={}, started="2026-01-01T00:00:00Z"
        )
        (folder / "run.json").write_bytes(msgspec.json.encode(described))
        (folder / "cells.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        folders.append(folder)
    return folders


def section(text: str, title: str) -> list[str]:
    """Lines of a table below its head."""
    lines = text.split(f"## {title}\n\n")[1].split("\n\n## ")[0].split("\n")
    return [line for line in lines if line.startswith("|")][2:]


def test_tables_of_an_embedding_model(tmp_path: Path) -> None:
    folders = measure(datasheet.experiments("m", ["embed"], CHOICES), tmp_path)
    text = datasheet.text("m", [load(folder) for folder in folders])
    assert (
        "\n\nMedians of 3 rounds of at least 2 s a cell. Other programs kept the machine busy: a load of 1.5 on" in text
    )
    assert section(text, "Single text") == [
        "| float32 | 100 | 10 | 10 | 20 | 30 | 1 |",
        "| &lt;int8&gt; | **200** | 5 | 5 | 10 | 15 | 1 |",
    ]
    batches = section(text, "Batches: texts/s")
    assert batches[0] == "| float32 | 100 | 200 | 500 | 1,000 | 2,000 | 5,000 | 10,000 |"
    assert batches[1].startswith("| &lt;int8&gt; | **200** | **400** |")
    assert (
        section(text, "Users at a time, a text each: requests/s")[0] == "| float32 | 100 | 200 | 500 | 1,000 | 2,000 |"
    )
    assert section(text, "Memory (MiB)")[0] == "| float32 | 101 | 101 | 120 | 80 |  |"
    assert section(text, "Memory by users (MiB)")[0] == "| float32 | 101 | 102 | 105 | 110 | 120 |"
    assert section(text, "Cold start") == ["| float32 | 0.5 |", "| &lt;int8&gt; | 0.25 |"]
    assert section(text, "Consistency") == ["| &lt;int8&gt; | 0.999900 | 0.999000 | 0.01 | 0 |"]
    assert "\n| Backend | Cosine mean | Cosine min | Largest difference | NaN |\n" in text
    assert "- gone: pip install gone\n- Tables of rerank: the model is not a reranker" in text


def test_it_says_when_the_machine_was_busy(tmp_path: Path) -> None:
    [folder, *_] = measure(datasheet.experiments("m", ["embed"], CHOICES), tmp_path)
    lines = [msgspec.json.decode(line, type=Measured) for line in (folder / "cells.jsonl").read_bytes().splitlines()]
    for line, load_average in zip(lines, ((0.5, 2.0), (7.25, 3.0)), strict=False):
        line.load_average = load_average
    (folder / "cells.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    said = "Other programs kept the machine busy: a load of 1.5 on 2 CPUs before it began and 7.2 while it ran.\n"
    assert said in datasheet.text("m", [load(folder)])


def test_all_backends_are_compared(tmp_path: Path) -> None:
    [folder, *_] = measure(datasheet.experiments("m", ["embed"], CHOICES), tmp_path)
    first, second, *others = (folder / "cells.jsonl").read_bytes().splitlines(keepends=True)
    line = msgspec.json.decode(second, type=Measured)
    line.pairs = [Consistency(against="float32", cosine_mean=0.75, cosine_min=0.5)]
    (folder / "cells.jsonl").write_bytes(b"".join([first, msgspec.json.encode(line) + b"\n", *others]))
    assert section(datasheet.text("m", [load(folder)]), "Consistency")[-2:] == [
        "| 1. float32 |  | 0.750000 |",
        "| 2. &lt;int8&gt; | 0.500000 |  |",
    ]


def test_tables_of_a_reranker(tmp_path: Path) -> None:
    folders = measure(datasheet.experiments("m", ["rerank"], CHOICES), tmp_path)
    text = datasheet.text("m", [load(folder) for folder in folders])
    assert section(text, "Reranking: pairs/s by documents")[0] == "| float32 | 200 | 500 | 1,000 | 2,000 |"
    assert section(text, "Reranking: latency by documents (ms)")[0] == "| float32 | 5 | 2 | 1 | 0.5 |"
    assert "## Single text" not in text
    assert "- Tables of embed: the model is not an embedding model" in text


def test_a_run_that_was_stopped_says_so(tmp_path: Path) -> None:
    folders = measure(datasheet.experiments("m", ["embed"], CHOICES)[:1], tmp_path)
    text = datasheet.text("m", [load(folder) for folder in folders])
    assert "## Batches: texts/s\n\nNot measured." in text
    assert "- batches, users of embed: the run was stopped before" in text


def test_failures_are_named(tmp_path: Path) -> None:
    (folder, *_) = measure(datasheet.experiments("m", ["embed"], CHOICES)[:1], tmp_path)
    lines = (folder / "cells.jsonl").read_bytes().split(b"\n")
    failed = msgspec.json.decode(lines[0], type=Measured)
    (folder / "cells.jsonl").write_bytes(
        msgspec.json.encode(Measured(cell=failed.cell, round=0, errors={"out of memory": 1})) + b"\n"
    )
    assert "- float32, embed_single: out of memory" in datasheet.text("m", [load(folder)])


def test_the_command_measures_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stub(experiments: list[Experiment], out: Path, resume: bool, progress: bool) -> list[Path]:
        asked.extend(experiments)
        return measure(experiments, out)

    asked: list[Experiment] = []
    monkeypatch.setattr(run, "run", stub)
    model = Path(__file__).parent / "fixtures" / "bert_plain"
    text = datasheet.datasheet(str(model), tmp_path / "out", quick=True)
    assert "\n\nOne round of at least 0.5 s a cell: a trial." in text
    assert (tmp_path / "out" / "datasheet.md").read_text(encoding="utf-8") == text
    assert "<td" in (tmp_path / "out" / "datasheet.html").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "report.json").is_file()
    assert [each.name for each in asked] == ["embed_single", "embed_batches", "embed_users"]
    names = plan.backend_names(asked[0])
    assert names[:4] == ["votive float32", "votive bfloat16", "votive int8", "votive int4"]
    assert "onnxruntime int8" in names
    assert asked[1].sweep.batch_size == [1, 10, 100]
    assert capsys.readouterr().err == ""
