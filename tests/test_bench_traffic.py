"""One load whose requests go to several models."""

from __future__ import annotations

from pathlib import Path

import bench_stubs
import pytest
from bench_stubs import choice, experiment
from votive.bench import plan
from votive.bench.backends.backend import Setup
from votive.bench.data import Items
from votive.bench.experiment import BackendChoice, Batching, Data, Load, Model, Sweep
from votive.bench.loaded import LoadedBackend
from votive.bench.log import read_cells
from votive.bench.plan import Cell
from votive.bench.report import csv, markdown
from votive.bench.report.summary import Report, load
from votive.bench.run import run


@pytest.fixture
def models(tmp_path: Path, stub_model: Path) -> list[Model]:
    """Folders in which there is no model, so that words stand for tokens; the first is asked three times of four."""
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    return [Model(name=str(tmp_path / "small"), share=60), Model(name=str(tmp_path / "large"), share=20)]


def test_models_with_shares_are_one_cell() -> None:
    models = [Model(name="a/small", share=60), Model(name="large/", share=20)]
    asked = experiment(Path("m"), choice("counting"), models=models)
    assert list(plan.traffics(asked)) == ["small 75 %, large 25 %"]
    assert {cell.model for cell in plan.cells(asked)} == {"small 75 %, large 25 %"}
    assert plan.shares(models) == [0.75, 0.25]
    alone = experiment(Path("m"), choice("counting"), models=[Model(name="a"), Model(name="b")])
    assert [cell.model for cell in plan.cells(alone)] == ["a"] * 3 + ["b"] * 3


def setup(name: str) -> Setup:
    return Setup(
        task="embed",
        model=Path(name),
        choice=BackendChoice(kind="counting"),
        batching=Batching(),
        data=Data(),
        threads=1,
        max_seq_length=None,
        cache=Path("cache"),
    )


def test_requests_are_drawn_by_share() -> None:
    loaded = LoadedBackend(bench_stubs.Counting, {name: setup(name) for name in "ab"}, [0.75, 0.25])
    for name in "ab":
        loaded.take("short", name, Items(task="embed", values=[f"{name}{place}" for place in range(50_000)]))
    cell = Cell(
        experiment="e",
        model="m",
        backend="b",
        data_set="short",
        batch_size=2,
        concurrency=1,
        batching=True,
        load="open",
    )
    works = [loaded._works(cell)(number) for number in range(20_000)]
    share = sum(work.model == "a" for work in works) / len(works)
    assert share == pytest.approx(0.75, abs=0.01)
    # Each has texts of its own model, and none that another request has.
    assert all(text.startswith(work.model) for work in works for text in work.values)
    texts = [text for work in works for text in work.values]
    assert len(set(texts)) == len(texts)
    assert works == [loaded._works(cell)(number) for number in range(20_000)]


@pytest.mark.parametrize(
    "asked", [Load(), Load(kind="open", rate=[2000.0], burstiness=0.5)], ids=lambda load: load.kind
)
def test_each_model_has_its_numbers_in_the_lines_and_in_the_reports(
    asked: Load, models: list[Model], tmp_path: Path
) -> None:
    log = tmp_path / "loaded"
    mixed = experiment(
        tmp_path,
        choice("counting", environment={"LOADED": str(log)}),
        choice("other"),
        models=models,
        load=asked,
        iterations=400,
        rounds=1,
        sweep=Sweep(batch_size=[2]),
        measure=["latency", "quality", "cold_start"],
    )
    [folder] = run([mixed], tmp_path / "out", False, False)
    lines = read_cells(folder)
    assert [line.cell.model for line in lines] == ["small 75 %, large 25 %"] * 2
    for line in lines:
        small, large = (line.models[model.name] for model in models)
        assert small.requests + large.requests == line.requests
        assert small.items + large.items == line.items
        assert small.items_per_second + large.items_per_second == pytest.approx(line.items_per_second)
        assert small.requests / line.requests == pytest.approx(0.75, abs=0.06)
        assert small.latency is not None
        assert large.latency is not None
        assert small.latency.samples + large.latency.samples == 400
    assert lines[0].resources.cold_start_seconds is not None
    # Of both models the worst: the second number is one too many in each.
    assert lines[1].consistency is not None
    assert lines[1].consistency.max_difference == 1.0
    # Every process has loaded both: one that exports, three that are timed, and the one that computes.
    processes = log.read_text().splitlines()
    assert len(processes) == 10
    assert len(set(processes)) == 5
    report = Report(experiments=[load(folder)])
    text = markdown.text(report)
    assert "## small 75 %, large 25 %, short" in text
    assert "### Each model" in text
    # As the file has them, and with a star: of 400 requests each has a part.
    each = [line for line in text.splitlines() if line.startswith("| counting, batch 2, ")]
    assert [line.split(" | ")[1] for line in each] == ["small", "large"]
    assert all(line.split(" | ")[7].endswith("\\*") for line in each)
    assert "\\*: a p99 of fewer than 500 requests." in text
    assert '"requests"' in csv.text(report).splitlines()[1].replace('""', '"')


def test_a_model_that_is_not_found_skips_the_traffic(models: list[Model], tmp_path: Path) -> None:
    (tmp_path / "large").rmdir()
    [folder] = run([experiment(tmp_path, choice("counting"), models=models)], tmp_path / "out", False, False)
    assert ["large" in str(line.skipped) for line in read_cells(folder)] == [True] * 6
