"""How near backends are to each other, with answers that are known."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

pytest.importorskip("msgspec")

from bench_cells import cell
from votive.bench.agreement import Agreement
from votive.bench.cells import Consistency, Measured, Run
from votive.bench.experiment import BackendChoice, Experiment, Model, Task
from votive.bench.plan import Cell
from votive.bench.report import heat_maps, markdown, style
from votive.bench.report.matrix import Matrix, matrices
from votive.bench.report.summary import Report, summarize
from votive.bench.worker import NotThere, WorkerError

# Of two texts; their cosines are 1 and 0.6 between the first two, 0.8 and 1 between "a" and "c", 0.8 and 0.6 else.
VECTORS = {
    "a": [[1.0, 0.0], [0.0, 1.0]],
    "b": [[2.0, 0.0], [0.8, 0.6]],
    "c": [[0.8, 0.6], [0.0, 3.0]],
    "wide": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
}


class Computing:
    """Counts who was asked; "broken" does not compute, and "gone" cannot run."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, cell: Cell) -> list[list[np.ndarray]]:
        self.asked.append(cell.backend)
        if cell.backend == "gone":
            raise NotThere("pip install gone")
        if cell.backend == "broken":
            raise WorkerError("ValueError: no")
        return [[np.array(VECTORS[cell.backend], np.float32)]]


def experiment(*names: str, task: Task = "embed") -> Experiment:
    backends = [BackendChoice(kind="votive", name=name) for name in names]
    return Experiment(name="one", task=task, models=[Model(name="m")], backends=backends)


def measured(agreement: Agreement, name: str, batch: int = 8) -> Measured:
    of = cell(name, batch)
    pairs = agreement.pairs(of)
    return Measured(cell=of, round=0, requests=5, pairs=pairs, consistency=agreement.with_reference(of))


def cosines(pairs: list[Consistency]) -> dict[str, tuple[float, float]]:
    return {pair.against: (round(pair.cosine_mean or 0, 6), round(pair.cosine_min or 0, 6)) for pair in pairs}


def test_each_is_compared_with_those_before_it_once() -> None:
    compute = Computing()
    agreement = Agreement(experiment("a", "b", "c"), "a", compute, [])
    first, second, third = (measured(agreement, name) for name in "abc")
    assert cosines(first.pairs) == {}
    assert cosines(second.pairs) == {"a": (0.8, 0.6)}
    assert cosines(third.pairs) == {"a": (0.9, 0.8), "b": (0.7, 0.6)}
    assert first.consistency is None
    assert second.consistency == second.pairs[0]
    # Later cells of a backend repeat what is known of the reference, and nothing else.
    again = measured(agreement, "c", 32)
    assert (again.pairs, again.consistency) == ([], third.consistency)
    assert sorted(compute.asked) == ["a", "b", "c"]


def test_the_reference_may_come_last() -> None:
    agreement = Agreement(experiment("a", "b"), "b", Computing(), [])
    first, second = measured(agreement, "a"), measured(agreement, "b")
    assert first.consistency is not None
    assert first.consistency.against == "b"
    assert (cosines(second.pairs), second.consistency) == ({"a": (0.8, 0.6)}, None)


def test_one_alone_is_not_asked() -> None:
    compute = Computing()
    measured(Agreement(experiment("a"), "a", compute, []), "a")
    assert compute.asked == []


def test_what_cannot_be_compared_is_left_out() -> None:
    agreement = Agreement(experiment("a", "wide", "broken", "c"), "a", Computing(), [])
    measured(agreement, "a")
    with pytest.raises(ValueError, match=r"its results have the shape \(2, 3\), the reference's \(2, 2\)"):
        measured(agreement, "wide")
    with pytest.raises(WorkerError, match="ValueError: no"):
        measured(agreement, "broken")
    assert cosines(measured(agreement, "c").pairs) == {"a": (0.9, 0.8)}


def test_without_the_reference_the_others_are_compared() -> None:
    agreement = Agreement(experiment("gone", "a", "b"), "gone", Computing(), [])
    assert measured(agreement, "a").consistency is None
    second = measured(agreement, "b")
    assert (cosines(second.pairs), second.consistency) == ({"a": (0.8, 0.6)}, None)


def test_a_run_that_goes_on_compares_what_is_missing() -> None:
    before = Agreement(experiment("a", "b", "c"), "a", Computing(), [])
    lines = [measured(before, "a"), measured(before, "b")]
    compute = Computing()
    after = Agreement(experiment("a", "b", "c"), "a", compute, lines)
    assert measured(after, "b", 32).pairs == []
    assert measured(after, "b", 32).consistency == lines[1].consistency
    assert compute.asked == []
    assert cosines(measured(after, "c").pairs) == {"a": (0.9, 0.8), "b": (0.7, 0.6)}


@pytest.fixture
def matrix() -> Matrix:
    agreement = Agreement(experiment("a", "b", "c"), "a", Computing(), [])
    [found] = matrices([measured(agreement, name) for name in "abc"])
    return found


def test_a_matrix_has_each_pair_on_both_sides(matrix: Matrix) -> None:
    assert (matrix.model, matrix.data_set, matrix.backends) == ("m", "short", ["a", "b", "c"])
    means = [[None, 0.8, 0.9], [0.8, None, 0.7], [0.9, 0.7, None]]
    least = [[None, 0.6, 0.8], [0.6, None, 0.6], [0.8, 0.6, None]]
    for number, expected in (("cosine_mean", means), ("cosine_min", least)):
        assert [pytest.approx(line) for line in matrix.numbers[number]] == expected
    assert matrix.at(0, 2, ("cosine_mean", "cosine_min")) == pytest.approx(0.9)
    assert matrix.at(2, 0, ("cosine_mean", "cosine_min")) == pytest.approx(0.8)


def test_a_matrix_is_a_table_of_means_above_and_least_below(matrix: Matrix) -> None:
    said, table = markdown.consistency(matrix, "embed")
    assert said == "Above the diagonal: the mean cosine of the same texts; below: the smallest cosine."
    assert table.split("\n") == [
        "| Backend | 1 | 2 | 3 |",
        "| --- | ---: | ---: | ---: |",
        "| 1. a |  | 0.800000 | 0.900000 |",
        "| 2. b | 0.600000 |  | 0.700000 |",
        "| 3. c | 0.800000 | 0.600000 |  |",
    ]


def test_a_matrix_of_searches_is_symmetric() -> None:
    line = Measured(cell=cell("b", 8), round=0, pairs=[Consistency(against="a", rank_overlap=0.5)])
    [found] = matrices([Measured(cell=cell("a", 8), round=0), line])
    said, table = markdown.consistency(found, "search")
    assert said == "The share of the neighbours that both found."
    assert table.endswith("| 1. a |  | 0.500000 |\n| 2. b | 0.500000 |  |")


def test_reports_have_the_matrix() -> None:
    pytest.importorskip("matplotlib")
    agreement = Agreement(experiment("a", "b", "c"), "a", Computing(), [])
    lines = [measured(agreement, name) for name in "abc"]
    run = Run(experiment=experiment("a", "b", "c"), machine={}, versions={}, started="2026-01-01T00:00:00Z")
    summary = summarize(run, lines)
    assert "## Consistency of all backends\n\nAbove the diagonal" in markdown.text(Report(experiments=[summary]))
    written = msgspec.json.decode(msgspec.json.encode(summary))
    assert written["matrices"][0]["numbers"]["cosine_min"][1] == [pytest.approx(0.6), None, pytest.approx(0.6)]
    with style.rules():
        [(name, figure)] = heat_maps.heat_maps(summary)
    # Against the reference alone it would be the first column of this.
    assert name == "consistency_of_all"
    axes, bar = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1. a", "2. b", "3. c"]
    assert [text.get_text() for text in axes.texts] == ["0.2", "0.1", "0.4", "0.3", "0.2", "0.4"]
    assert bar.get_ylabel() == "1 - mean cosine above the diagonal,\n1 - smallest cosine below"
    # The page shows no images: what it draws are shapes.
    drawn = style.svg(figure, name)
    assert not re.findall("<image|data:", drawn)
