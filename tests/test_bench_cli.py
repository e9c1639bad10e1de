"""The command `votive bench`, without measuring."""

import pytest
import votive.cli

pytest.importorskip("msgspec")
pytest.importorskip("yaml")
pytest.importorskip("psutil")


def test_examples_are_listed(capsys):
    assert votive.cli.main(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 23
    assert all(len(line.split()) > 1 for line in lines)
    assert any(line.startswith("01_backend_pytorch ") for line in lines)


def test_all_examples_have_a_plan(capsys):
    assert votive.cli.main(["bench", "examples", "--dry-run", "--quick"]) == 0
    assert "minilm_mlx_int4: embed, " in capsys.readouterr().out


def test_only_and_set(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text("backends: [votive, {kind: votive, dtype: int8}]\n")
    command = ["bench", str(path), "--dry-run", "--only", "*int8", "--set", "rounds=1"]
    assert votive.cli.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("a: embed, 1 cell in 1 round, ")
    assert "backends  votive int8\n" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["05a_batch_sice"], "no such file, folder or example; did you mean 05a_batch_size?"),
        (["dtypes", "--set", "rouns=1"], "--set rouns=1: rouns: unknown key; did you mean 'rounds'?"),
        (["dtypes", "--only", "x"], "matches neither a backend nor an experiment; there are dtypes"),
    ],
)
def test_mistakes_are_status_2(arguments, said, capsys):
    assert votive.cli.main(["bench", *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("votive bench run: ")
    assert said in printed


def test_other_commands_have_their_own_arguments(capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        votive.cli.main(["bench", "compare", "a"])
    assert "required: AFTER" in capsys.readouterr().err


def test_reports_have_phases_in_the_order_of_their_beginnings(tmp_path, capsys):
    from msgspec import json
    from votive.bench.cells import Run
    from votive.bench.experiment import BackendChoice, Experiment, Model

    for name, minute in (("second", 2), ("third", 3), ("zero", 1)):
        asked = Experiment(name=name, models=[Model(name="m")], backends=[BackendChoice(kind="votive")])
        run = Run(experiment=asked, machine={}, versions={}, started=f"2026-01-01T00:0{minute}:00Z")
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(json.encode(run))
    assert votive.cli.main(["bench", "report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("# ")][1:] == ["# zero", "# second", "# third"]
