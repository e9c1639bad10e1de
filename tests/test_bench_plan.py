"""The cells of experiments, and their order."""

import pytest

pytest.importorskip("msgspec")

from votive.bench import plan
from votive.bench.experiment import BackendChoice, Data, Experiment, Model, Sweep


def experiment(**changes):
    backends = [BackendChoice(kind="votive"), BackendChoice(kind="votive", dtype="int8")]
    return Experiment(**({"name": "e", "models": [Model(name="m")], "backends": backends, "rounds": 2} | changes))


def test_backends_take_turns_at_each_point():
    turns = list(plan.turns(experiment(sweep=Sweep(batch_size=[1, 8]))))
    once = [("votive", 1), ("votive int8", 1), ("votive", 8), ("votive int8", 8)]
    assert [(cell.backend, cell.batch_size) for cell, _ in turns] == once * 2
    assert [number for _, number in turns] == [0] * 4 + [1] * 4
    assert len({plan.key(*turn) for turn in turns}) == 8


def test_key_stays_the_same():
    cell, number = next(plan.turns(experiment()))
    assert plan.key(cell, number) == '["e","m","votive","short",32,1,true,"closed",null,0]'


def test_zip_pairs_and_points_are_listed():
    zipped = experiment(sweep=Sweep(zip={"batch_size": [1, 8], "concurrency": [4, 2]}))
    assert [(each.batch_size, each.concurrency) for each in plan.cells(zipped)[::2]] == [(1, 4), (8, 2)]
    points = experiment(sweep=Sweep(concurrency=[1, 2], points=[{"batch_size": 3}, {"concurrency": 5}]))
    found = [(each.batch_size, each.concurrency) for each in plan.cells(points)[::2]]
    assert found == [(3, 1), (3, 2), (32, 5)]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="10,100 cells are more than 10,000"):
        plan.cells(experiment(sweep=Sweep(batch_size=list(range(1, 5051)))))
    with pytest.raises(ValueError, match="batch_size has 2, concurrency has 1"):
        plan.cells(experiment(sweep=Sweep(zip={"batch_size": [1, 8], "concurrency": [4]})))
    with pytest.raises(ValueError, match="two backends are called 'x'"):
        plan.cells(experiment(backends=[BackendChoice(kind="votive", name="x")] * 2))


def test_sets():
    assert [each.data_set for each in plan.cells(experiment(data=Data(sets=["short", "long"])))[::2]] == [
        "short",
        "long",
    ]
    assert {each.data_set for each in plan.cells(experiment(task="search"))} == {"vectors"}
