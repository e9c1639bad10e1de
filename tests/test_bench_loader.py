"""Files of experiments: what they become, and how mistakes in them are told."""

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("yaml")

from votive._config_file import ConfigError
from votive.bench.loader import load, quick


def write(folder, text, name="a.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rounds: 1\nname: x\nrounds: 2\n", "a.yaml:3: rounds: stands there twice, in lines 1 and 3"),
        ("rounds: 1\nbackend: votive\n", "a.yaml:2: backend: unknown key; did you mean 'backends'?"),
        ("task: embd\n", 'a.yaml:1: task: accepted: embed, rerank, search; found "embd" (text)'),
        (
            "sweep:\n  batch_size: [8, x]\n",
            'a.yaml:2: sweep.batch_size[1]: accepted: a whole number; found "x" (text)',
        ),
        ("data:\n  sets: [tiny]\n", "a.yaml:2: data.sets[0]: accepted: short, medium, long, mixed; found 'tiny'"),
        (
            "backends:\n  - votive\n  - kind: onnx-runtime\n",
            "a.yaml:3: backends[1].kind: 'onnx-runtime': no kind of backend; there are votive, ",
        ),
        ("rounds: 0\n", "a.yaml:1: rounds: accepted: from 1 up; found 0"),
        ("load: {open: {}}\n", "a.yaml:1: load: an open load has a rate"),
        (
            "rounds: 1\ntimeout_s: 60\n",
            "a.yaml:2: timeout_s: accepted: more than max_seconds, which ends a load that goes on",
        ),
        ("timeout_s: no\n", 'a.yaml:1: timeout_s: accepted: a number or nothing; found "no" (text)'),
        ("start_timeout_s: 0\n", "a.yaml:1: start_timeout_s: accepted: seconds above 0; found 0"),
        (
            "load:\n  open: {rate: 5}\n  burstiness: 0\n",
            "a.yaml:3: load.burstiness: accepted: above 0, where 1 is poisson; found 0",
        ),
        (
            "load: {kind: closed, burstiness: 2}\n",
            "a.yaml:1: load.burstiness: only poisson arrivals of open and find_peak have it, and this one is closed",
        ),
        (
            "load: {open: {rate: 5, arrivals: constant, burstiness: 2}}\n",
            "a.yaml:1: load.open.burstiness: only poisson arrivals of open and find_peak have it, and these are",
        ),
        (
            "models:\n  - {name: a, share: 1}\n  - b\n",
            "a.yaml:3: models[1]: has no share, and models[0] has one: give all or none",
        ),
        (
            "models:\n  - {name: a, share: 1}\n  - {name: b, share: 0}\n",
            "a.yaml:3: models[1].share: accepted: above 0, such as 70 beside 30; found 0",
        ),
        (
            "models: [{name: a, share: 1}, {name: a, share: 2}]\n",
            "a.yaml:1: models[0].share: models of one load have different names; found a, a",
        ),
        (
            "models: [{name: a, share: 1}, {name: b, share: 2}]\nload: offline\n",
            "a.yaml:1: models[0].share: an offline load asks for everything at once, and mixes no models",
        ),
        (
            "task: search\nmodels: [{name: a, share: 1}]\n",
            "a.yaml:2: models[0].share: embed and rerank have traffic to several models; the task is search",
        ),
        ("", "a.yaml: is empty"),
    ],
)
def test_mistakes_have_file_line_and_key(text, said, tmp_path):
    with pytest.raises(ConfigError) as told:
        load(write(tmp_path, text))
    assert str(told.value).startswith(f"{tmp_path}/{said}".replace("//", "/"))


def test_extends_merges_mappings_and_replaces_lists(tmp_path):
    write(tmp_path, "task: rerank\nsweep: {batch_size: [8, 16], concurrency: 2}\n", "base.yaml")
    experiment, _ = load(write(tmp_path, "extends: base.yaml\nsweep: {batch_size: [4]}\n"))
    assert (experiment.task, experiment.sweep.batch_size, experiment.sweep.concurrency) == ("rerank", [4], [2])
    assert experiment.name == "a"


def test_circles_are_refused(tmp_path):
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(ConfigError, match="extends: goes in a circle"):
        load(write(tmp_path, "extends: b.yaml\n"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", 'load: {open: {rate: [50, "70%"]}}'),
        ("a.json", '{"load": {"open": {"rate": [50, "70%"]}}}'),
        pytest.param("a.toml", '[load.open]\nrate = [50, "70%"]'),
    ],
)
def test_formats(name, text, tmp_path):
    if name.endswith("toml"):
        pytest.importorskip("tomllib")
    experiment, _ = load(write(tmp_path, text, name))
    assert (experiment.load.kind, experiment.load.rate) == ("open", [50, "70%"])


def test_settings_beat_the_file(tmp_path):
    path = write(tmp_path, "model: x\nsweep: {batch_size: [1]}\n")
    experiment, _ = load(path, ["sweep.batch_size=[8,16]", "model=y"])
    assert experiment.sweep.batch_size == [8, 16]
    assert [model.name for model in experiment.models] == ["y"]


@pytest.mark.parametrize(
    ("text", "setting", "kinds", "dtypes"),
    [
        ("backends: [votive]", "backends[0].dtype=int8", ["votive"], ["int8"]),
        ("backends: votive", "backends[0].dtype=int8", ["votive"], ["int8"]),
        ("rounds: 1", "backends[0].dtype=int8", ["votive"], ["int8"]),
        ("backends: [faiss, votive]\ntask: search", "backends[1].dtype=int8", ["faiss", "votive"], [None, "int8"]),
        ("backends: [{kind: votive, dtype: int4}]", "backends[0].dtype=int8", ["votive"], ["int8"]),
    ],
)
def test_a_setting_goes_into_a_backend_however_it_is_written(text, setting, kinds, dtypes, tmp_path):
    experiment, _ = load(write(tmp_path, text), [setting])
    assert [choice.kind for choice in experiment.backends] == kinds
    assert [choice.dtype for choice in experiment.backends] == dtypes


def test_a_setting_goes_into_models_and_loads_however_they_are_written(tmp_path):
    path = write(tmp_path, "model: x\nload: {open: {rate: 5}}\n")
    settings = ["load.rate=[7]", "load.burstiness=0.5", "model.max_seq_length=64"]
    experiment, _ = load(path, settings)
    assert (experiment.load.kind, experiment.load.rate, experiment.load.burstiness) == ("open", [7], 0.5)
    assert [(each.name, each.max_seq_length) for each in experiment.models] == [("x", 64)]
    experiment, _ = load(path, ["models[0].max_seq_length=32"])
    assert [(each.name, each.max_seq_length) for each in experiment.models] == [("x", 32)]
    experiment, _ = load(path, ["load.open.rate=[9]"])
    assert (experiment.load.kind, experiment.load.rate) == ("open", [9])
    with pytest.raises(ConfigError, match=r"^--set backends\[2\].dtype=int8: .*backends has no place 2"):
        load(path, ["backends[2].dtype=int8"])


def test_a_trial_run_waits_less(tmp_path):
    experiment, _ = load(write(tmp_path, "timeout_s: 70\n"))
    assert quick(experiment).timeout_s == 70
    experiment, _ = load(write(tmp_path, "rounds: 1\n"))
    assert quick(experiment).timeout_s == 90
    assert experiment.timeout_s is None


def test_file_of_a_server(tmp_path):
    text = (
        "model: {name: a/b, device: mps, backend: mlx, mlx: {bits: 8}}\n"
        "batching: {enabled: true, max_batch_size: 32, timeout_ms: 50}\nserver: {max_concurrency: 4, port: 80}\n"
    )
    experiment, notes = load(write(tmp_path, text))
    assert [(each.kind, each.dtype, each.bits) for each in experiment.backends] == [
        ("votive", "int8", None),
        ("mlx", None, 8),
    ]
    batching = experiment.batching
    assert (batching.max_batch_size, batching.timeout_ms, batching.max_concurrency) == (32, 50, 4)
    assert len(notes) == 2
    assert "a.yaml:3: server.port: is ignored" in notes[0]
