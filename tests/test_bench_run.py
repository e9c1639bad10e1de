"""Runs of stub backends: what is on the disk after what may happen."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bench_stubs import choice, experiment
from votive.bench import plan, resources, statistics
from votive.bench.cells import Measured
from votive.bench.data import Items, items, words
from votive.bench.experiment import Data, Load, Model, Quality, Sweep
from votive.bench.log import RunError, read_cells, read_run
from votive.bench.models import cache_folder
from votive.bench.run import run
from votive.bench.worker import NotThere, Worker, WorkerError, environment


def measured(folder: Path) -> list[Measured]:
    assert (folder / "cells.jsonl").read_bytes().endswith(b"\n")
    return read_cells(folder)


def test_every_cell_and_round_is_a_line(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("counting"), choice("other"))
    [folder] = run([asked], tmp_path / "out", False, False)
    assert folder == tmp_path / "out" / "tiny"
    described = read_run(folder)
    assert described.experiment == asked
    assert {"processor", "cpus", "memory_bytes"} <= described.machine.keys()
    lines = measured(folder)
    assert [plan.key(line.cell, line.round) for line in lines] == [plan.key(*turn) for turn in plan.turns(asked)]
    for line in lines:
        assert (line.skipped, line.errors, line.marks) == (None, {}, ["p99 from 4 samples"])
        assert (line.requests, line.items) == (4, 4 * line.cell.batch_size)
        assert line.latency is not None
        assert line.latency.samples == line.histogram[-1] == 4
        assert line.items_per_second == pytest.approx(line.items / line.seconds)
        assert line.tokens_per_second is None
        assert line.samples_file is not None
        with np.load(folder / line.samples_file) as samples:
            counted = samples["counted"] & ~samples["failed"]
            assert len(counted) == 5
            assert statistics.latency(samples["latency_ms"][counted].tolist()) == line.latency
            assert samples["items"][counted].sum() == line.items
    # A file for each line, written whole.
    assert sorted(path.name for path in (folder / "samples").iterdir()) == [f"{n:05d}.npz" for n in range(1, 13)]


def test_a_process_computes_all_cells_of_its_backend(stub_model: Path, tmp_path: Path) -> None:
    log = tmp_path / "loaded"
    run([experiment(stub_model, choice("counting", environment={"LOADED": str(log)}))], tmp_path / "out", False, False)
    assert len(log.read_text().splitlines()) == 1


def test_what_is_not_there_is_skipped_with_the_reason(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("missing"), choice("counting", skip="not today"), choice("other"), rounds=1)
    [folder] = run([asked], tmp_path / "out", False, False)
    reasons = {line.cell.backend: line.skipped for line in measured(folder)}
    assert reasons == {"missing": "no such engine here: pip install engine", "counting": "not today", "other": None}


def test_a_kind_that_there_is_not_is_said_before_anything_runs(stub_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"tiny: backends: 'contuing': no kind .*did you mean 'counting'"):
        run([experiment(stub_model, choice("contuing"))], tmp_path / "out", False, False)
    assert not (tmp_path / "out").exists()


def test_a_task_that_a_backend_does_not_do_is_skipped(stub_model: Path, tmp_path: Path) -> None:
    [folder] = run([experiment(stub_model, choice("faiss"))], tmp_path / "out", False, False)
    assert {line.skipped for line in measured(folder)} == {"faiss does search, not embed"}


def test_a_process_that_dies_is_a_cell_with_errors(stub_model: Path, tmp_path: Path) -> None:
    [folder] = run([experiment(stub_model, choice("dying"), choice("counting"))], tmp_path / "out", False, False)
    lines = measured(folder)
    assert len(lines) == 12
    for line in lines:
        died = line.cell.backend == "dying" and line.cell.batch_size == 2
        assert line.errors == ({"its process ended with exit code 9": 1} if died else {})
        assert (line.requests == 0) == died


def test_failures_of_requests_are_counted(stub_model: Path, tmp_path: Path) -> None:
    [folder] = run([experiment(stub_model, choice("failing"), rounds=1)], tmp_path / "out", False, False)
    assert [(line.errors, line.latency) for line in measured(folder)] == [({"ValueError: no": 5}, None)] * 3


def test_folders_of_other_runs_are_left_alone(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("counting"), rounds=1)
    [folder] = run([asked], tmp_path / "out", False, False)
    before = (folder / "cells.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"holds a run: go on with it by --resume, or give another --out"):
        run([asked], tmp_path / "out", False, False)
    other = msgspec.structs.replace(asked, rounds=2, seconds=1.0)
    with pytest.raises(RunError, match=r"differs in seconds, rounds: give another --out, or undo the change"):
        run([other], tmp_path / "out", True, False)
    assert (folder / "cells.jsonl").read_bytes() == before
    with pytest.raises(RunError, match="two experiments have the same name"):
        run([asked, asked], tmp_path / "elsewhere", False, False)


def test_a_damaged_line_is_named(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("counting"), rounds=1)
    [folder] = run([asked], tmp_path / "out", False, False)
    lines = (folder / "cells.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "cells.jsonl").write_bytes(b"".join([lines[0], b"nonsense\n", lines[2]]))
    with pytest.raises(RunError, match=r"cells.jsonl, line 2: .*: remove the line to measure its cell again"):
        run([asked], tmp_path / "out", True, False)


def test_models_that_are_not_found_are_said_before_anything_runs(
    stub_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = [Model(name=str(tmp_path / "nowhere"))]
    second = experiment(stub_model, choice("counting"), name="second", models=absent)
    with pytest.raises(RunError, match="nowhere"):
        run([second], tmp_path / "out", False, False)
    assert not (tmp_path / "out").exists()
    folders = run([experiment(stub_model, choice("counting")), second], tmp_path / "out", False, False)
    assert "nowhere" in capsys.readouterr().err
    first, other = map(measured, folders)
    assert all(line.skipped is None for line in first)
    assert all("nowhere" in str(line.skipped) for line in other)


def test_what_is_made_of_a_model_is_kept_apart(stub_model: Path) -> None:
    before = cache_folder(stub_model, "embed")
    assert before == cache_folder(stub_model, "embed")
    (stub_model / "weights").write_text("changed")
    assert len({before, cache_folder(stub_model, "embed"), cache_folder(stub_model, "rerank")}) == 3


def test_what_cannot_be_read_or_compared_is_said_before_anything_runs(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("counting"), data=Data(file=str(tmp_path / "texts.txt")))
    with pytest.raises(RunError, match=r"tiny: data.file: .*No such file"):
        run([asked], tmp_path / "out", False, False)
    asked = experiment(stub_model, choice("counting"), quality=Quality(against="torch"))
    with pytest.raises(RunError, match=r"tiny: quality.against: no backend is named 'torch': there are counting"):
        run([asked], tmp_path / "out", False, False)
    assert not (tmp_path / "out").exists()


def test_vectors_are_compared_with_the_reference(stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(
        stub_model,
        choice("counting"),
        choice("other"),
        choice("missing"),
        measure=["quality"],
        quality=Quality(against="counting", texts=10, rank_overlap=3),
        rounds=1,
        sweep=Sweep(batch_size=[1]),
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    found = {line.cell.backend: line.consistency for line in measured(folder)}
    assert found["counting"] is None
    assert found["missing"] is None
    other = found["other"]
    assert other is not None
    assert (other.against, other.max_difference, other.nan_count) == ("counting", 1.0, 0)
    assert other.cosine_min is not None
    assert 0 < other.cosine_min < 1


@pytest.mark.parametrize("task", ["rerank", "search"])
def test_the_other_tasks(task: str, stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(
        stub_model,
        choice("counting"),
        choice("other"),
        task=task,
        data=Data(count=40, vectors=100, dimension=8, k=3),
        measure=["quality"],
        rounds=1,
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    lines = measured(folder)
    assert {line.cell.backend for line in lines} == {"counting", "other"}
    for line in lines:
        assert (line.requests, line.items, line.errors) == (4, 4 * line.cell.batch_size, {})
        if line.cell.backend == "other":
            assert line.consistency is not None
            assert line.consistency.rank_overlap == 1.0


@pytest.mark.parametrize(
    "load", [Load(kind="single"), Load(kind="offline"), Load(kind="open", rate=[1000.0, "50%"])], ids=lambda x: x.kind
)
def test_the_other_loads(load: Load, stub_model: Path, tmp_path: Path) -> None:
    asked = experiment(stub_model, choice("counting"), load=load, rounds=1, max_seconds=1.0)
    [folder] = run([asked], tmp_path / "out", False, False)
    lines = measured(folder)
    assert len(lines) == 3 * max(1, len(load.rate))
    for line in lines:
        assert line.errors == {}
        assert line.items == (12 if load.kind == "offline" else 4 * line.cell.batch_size)


def test_the_peak_is_searched_for(stub_model: Path, tmp_path: Path) -> None:
    load = Load(kind="find_peak", p99_ms=1e6, arrivals="constant")
    asked = experiment(stub_model, choice("counting"), load=load, rounds=1, sweep=Sweep(batch_size=[1]))
    [folder] = run([asked], tmp_path / "out", False, False)
    [line] = measured(folder)
    assert line.requests_per_second > 0
    assert line.resources.cpu_seconds_per_item is None


def test_resources_and_cold_starts(stub_model: Path, tmp_path: Path) -> None:
    log = tmp_path / "loaded"
    asked = experiment(
        stub_model,
        choice("counting", environment={"LOADED": str(log)}),
        measure=["memory", "cpu", "cold_start"],
        sweep=Sweep(batch_size=[1]),
    )
    [folder] = run([asked], tmp_path / "out", False, False)
    first, second = (line.resources for line in measured(folder))
    assert first.rss_peak_bytes is not None
    assert first.rss_sustained_bytes is not None
    assert first.rss_peak_bytes >= first.rss_sustained_bytes > 10_000_000
    assert first.cpu_seconds_per_item is not None
    assert first.cold_start_seconds == second.cold_start_seconds
    assert first.cold_start_seconds is not None
    # One that exports, three that are timed, and the one that computes.
    assert len(set(log.read_text().splitlines())) == 5


def test_a_worker_that_hangs_is_ended() -> None:
    worker = Worker(Endless, environment(1))
    with pytest.raises(WorkerError, match=r"no answer within 0\.1 seconds"):
        worker.call("wait", seconds=0.1)
    worker.close()
    assert resources.tree([worker.process_id]) == []


def test_a_worker_has_its_variables_from_the_beginning() -> None:
    with Worker(Endless, {"VOTIVE_TEST_VARIABLE": "7"}) as worker:
        assert worker.call("variable") == "7"
        with pytest.raises(NotThere, match="nothing there"):
            worker.call("miss")
        with pytest.raises(WorkerError, match="TypeError: "):
            worker.call("variable", 1)
    assert "VOTIVE_TEST_VARIABLE" not in os.environ


class Endless:
    """What a worker holds in these tests."""

    def wait(self) -> None:
        signal.pause()

    def variable(self) -> str | None:
        return os.environ.get("VOTIVE_TEST_VARIABLE")

    def miss(self) -> None:
        raise ImportError("nothing there")


@pytest.mark.parametrize(
    ("name", "shortest", "longest"), [("short", 10, 50), ("medium", 100, 300), ("long", 500, 1000), ("mixed", 10, 1000)]
)
def test_sets_have_texts_of_their_lengths_and_none_twice(name: str, shortest: int, longest: int) -> None:
    made = items("embed", Data(count=300), name, words)
    assert len(made.values) == len(set(made.values)) == 300
    assert all(shortest <= tokens <= longest for tokens in words(made.values))
    assert made.tokens == words(made.values)
    assert made.values == items("embed", Data(count=300), name, words).values
    assert made.values != items("embed", Data(count=300, seed=21), name, words).values


def test_no_request_has_the_text_of_another_unless_it_is_repeated() -> None:
    made = Items(task="embed", values=["a", "b", "c"], tokens=[5, 6, 7])
    works = [made.work(number, 2) for number in range(3)]
    assert [work.values for work in works] == [["a", "b"], ["c", "1: a"], ["1: b", "1: c"]]
    assert [work.tokens for work in works] == [11, 14, 17]
    repeated = msgspec.structs.replace(made, repeat=True)
    assert [repeated.work(number, 2).values for number in range(3)] == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_a_request_of_rerank_is_a_query_with_documents() -> None:
    made = Items(task="rerank", values=["a", "b", "c"], tokens=[5, 6, 7], queries=["p", "q"], query_tokens=[1, 2])
    work = made.work(1, 2)
    assert (work.values, work.items, work.tokens) == ([("q", ["c", "1: a"])], 2, 7 + 5 + 2 + 2 * 2)


def test_texts_of_a_file(tmp_path: Path) -> None:
    lines = tmp_path / "texts.txt"
    lines.write_text("one\n\n two \n")
    assert items("embed", Data(file=str(lines)), "file", None).values == ["one", "two"]
    objects = tmp_path / "texts.jsonl"
    objects.write_text('{"body": "one"}\n{"body": "two"}\n')
    assert items("embed", Data(file=str(objects), field="body"), "file", None).values == ["one", "two"]
    with pytest.raises(ValueError, match=r"texts.jsonl, line 1: no JSON object with a 'text' \(data.field\)"):
        items("embed", Data(file=str(objects)), "file", None)


def test_vectors_are_those_of_the_seed() -> None:
    one = items("search", Data(vectors=10, dimension=8), "short", None)
    again = items("search", Data(vectors=10, dimension=8), "short", None)
    other = items("search", Data(vectors=10, dimension=8, seed=21), "short", None)
    assert np.array_equal(one.values, again.values)
    assert not np.array_equal(one.values, other.values)
