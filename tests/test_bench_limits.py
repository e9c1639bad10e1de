"""Backends that do not answer, and such that do not start: the run goes on without them, and says why."""

from __future__ import annotations

from pathlib import Path

import msgspec
from bench_stubs import choice, experiment
from votive.bench import plan
from votive.bench.experiment import Load, Quality
from votive.bench.log import read_cells, read_run
from votive.bench.report import markdown
from votive.bench.report.summary import Report, load
from votive.bench.run import run

WAS_ENDED = "and was ended: raise {}, or leave the backend out by its key skip"
NO_ANSWER = f"no answer after 3 seconds, {WAS_ENDED.format('timeout_s')}"
NOT_LOADED = f"it had not loaded its model after 0.5 seconds, {WAS_ENDED.format('start_timeout_s')}"


def test_a_backend_that_does_not_answer_is_ended_and_then_given_up(stub_model: Path, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    asked = experiment(
        stub_model,
        choice("stalling", environment={"LOADED": str(loaded)}),
        choice("counting"),
        rounds=3,
        timeout_s=3.0,
        max_seconds=1.0,
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    lines = read_cells(folder)
    assert [plan.key(line.cell, line.round) for line in lines] == [plan.key(*turn) for turn in plan.turns(asked)]
    stalling = [line for line in lines if line.cell.backend == "stalling"]
    given_up = f"given up after 2 times: {NO_ANSWER}"
    said = [line.skipped or next(iter(line.errors), None) or line.requests for line in stalling]
    # Batches of one, two and three texts, in three rounds.
    assert said == [4, NO_ANSWER, 4, 4, NO_ANSWER, given_up, given_up, given_up, given_up]
    assert all(line.requests == 4 for line in lines if line.cell.backend == "counting")
    # One process until the first stall, another one until the second.
    assert len(loaded.read_text().splitlines()) == 2
    report = markdown.text(Report(experiments=[load(folder)]))
    assert f"## Failed\n\n- stalling, first at batch 2, 1 caller: {NO_ANSWER} (times: 2)" in report
    # What was not answered has no speed.
    assert "| 2 |  |  |  |  | 100 % errors |" in report


def test_a_backend_that_does_not_load_is_given_up(stub_model: Path, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    asked = experiment(
        stub_model, choice("sleeping", environment={"LOADED": str(loaded)}), rounds=1, start_timeout_s=0.5
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    said = [line.skipped or next(iter(line.errors)) for line in read_cells(folder)]
    assert said == [NOT_LOADED, NOT_LOADED, f"given up after 2 times: {NOT_LOADED}"]


def test_a_run_goes_on_with_other_limits(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("sleeping"), choice("counting"), rounds=1, start_timeout_s=0.01)
    [folder] = run([asked], tmp_path / "out", False, False)
    assert not any(line.is_finished for line in read_cells(folder))
    skipped = [msgspec.structs.replace(asked.backends[0], skip="too slow"), asked.backends[1]]
    asked = msgspec.structs.replace(asked, start_timeout_s=300.0, timeout_s=200.0, backends=skipped)
    run([asked], tmp_path / "out", True, False)
    assert read_run(folder).experiment == asked
    assert [line.requests for line in read_cells(folder) if line.cell.backend == "counting"] == [4, 4, 4]


def test_a_reference_that_does_not_answer_spoils_no_numbers(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(
        stub_model,
        choice("counting"),
        choice("stalling"),
        rounds=1,
        timeout_s=3.0,
        max_seconds=1.0,
        measure=["quality"],
        quality=Quality(against="stalling", texts=2),
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    lines = read_cells(folder)
    counting = [line for line in lines if line.cell.backend == "counting"]
    assert all(line.requests == 4 for line in counting)
    assert f"not compared: {NO_ANSWER}" in counting[0].marks
    # It is given up when it does not compute for its own cell, either.
    assert not any(mark.startswith("not compared") for line in counting[1:] for mark in line.marks)
    assert all(row.counts for row in load(folder).rows if row.cell.backend == "counting")


def test_a_cell_has_longer_than_its_load_may_take() -> None:
    closed = experiment(Path("m"), choice("counting"))
    assert plan.cell_seconds(closed) == 300
    for kind, loads in (("closed", 2), ("open", 4), ("find_peak", 18)):
        asked = experiment(Path("m"), choice("counting"), load=Load(kind=kind), max_seconds=1000.0)
        assert plan.cell_seconds(asked) == 1000 * loads + 60
    assert plan.cell_seconds(experiment(Path("m"), choice("counting"), timeout_s=7.0)) == 7
