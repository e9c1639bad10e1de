"""`votive.shared`, and weights that unpickled models find: one load for all who ask, and no setting of others."""

import gc
import logging
import os
import pickle
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive
from bodies import kernels_only, same
from conftest import FIXTURES
from votive import Embedder, Reranker, sharing

TEXTS = ["one", "a second text"]
HANG = 60.0


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is shared with another test, nor kept for it."""
    from votive import _living

    monkeypatch.setattr(sharing, "_shared", {})
    monkeypatch.setattr(_living, "_kept", {})
    yield
    gc.collect()


@pytest.fixture
def own(tmp_path: Path, folder: str) -> Path:
    """A folder of a model that nobody else loads."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


@pytest.fixture
def loads(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """A function that gives how many loads there were."""
    with caplog.at_level(logging.INFO, "votive"):
        yield lambda: sum(": from " in record.getMessage() for record in caplog.records)


def cycle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize(("kind", "name"), [(Embedder, "bert_modules"), (Reranker, "bert_rerank")])
def test_threads_that_ask_at_once_get_one_object(kind: Any, name: str, loads: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURES / name, tmp_path / name)
    begin = threading.Barrier(16)

    def ask(_: int) -> Any:
        begin.wait(HANG)
        return votive.shared(kind, folder)

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(ask, range(16)))
    assert {id(model) for model in found} == {id(found[0])}
    assert type(found[0]) is kind
    assert loads() == 1


def test_the_same_arguments_are_the_same_however_they_are_written(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = votive.shared(Embedder, own)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(own)
    assert votive.shared(Embedder, str(own), device=None, max_seq_length=None) is model
    prompts = votive.shared(Embedder, own, prompts={"a": "x", "b": "y"})
    assert votive.shared(Embedder, own, prompts={"b": "y", "a": "x"}) is prompts


def test_a_folder_is_the_same_by_another_path(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = votive.shared(Embedder, own)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(own)
    for path in ("model", "./model/", tmp_path / "link"):
        assert votive.shared(Embedder, path) is model


def test_other_arguments_give_another_object(own: Path, loads: Any) -> None:
    model = votive.shared(Embedder, own)
    assert votive.shared(Embedder, own, num_threads=3) is not model
    assert votive.shared(Embedder, own, dtype="int8") is not model
    assert loads() == 3
    # What differs in settings alone has the same weights.
    short = votive.shared(Embedder, own, truncate_dim=5)
    assert loads() == 3
    assert short.encode(TEXTS).shape == (2, 5)
    assert same(short.encode(TEXTS), model.encode(TEXTS)[:, :5])


def test_a_model_that_is_quantized_is_shared(own: Path, tmp_path: Path, loads: Any) -> None:
    quantized = votive.quantize_model(own, tmp_path / "int8")
    before = loads()
    model = votive.shared(Embedder, quantized, dtype="int8")
    assert votive.shared(Embedder, quantized, dtype="int8") is model
    assert same(cycle(model).encode(TEXTS), model.encode(TEXTS))
    assert loads() == before + 1


def test_a_failure_is_not_kept(tmp_path: Path, folder: str) -> None:
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            votive.shared(Embedder, tmp_path / "model")
    shutil.copytree(folder, tmp_path / "model")
    assert votive.shared(Embedder, tmp_path / "model").encode(TEXTS).shape == (2, 48)


def test_what_cannot_be_compared_is_refused(own: Path) -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, logits: Any) -> Any:
            return logits

    with pytest.raises(TypeError, match=r"^activation_fn: Unhashable has no hash"):
        votive.shared(Reranker, FIXTURES / "bert_rerank", activation_fn=Unhashable())
    with pytest.raises(TypeError, match=r"^kind: expected Embedder or Reranker, found 'Embedder'"):
        votive.shared("Embedder", own)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'max_threads'"):
        votive.shared(Embedder, own, max_threads=1)
    with pytest.raises(ValueError, match=r"^num_threads: "):
        votive.shared(Embedder, own, num_threads=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_seq_length", 5),
        ("truncate_dim", 7),
        ("prompts", {"query": "other: "}),
        ("default_prompt_name", "query"),
        ("similarity_fn_name", "dot"),
    ],
)
def test_a_setting_that_was_changed_is_not_shared_silently(own: Path, loads: Any, setting: str, value: Any) -> None:
    model = votive.shared(Embedder, own)
    as_given = getattr(model, setting)
    setattr(model, setting, value)
    again = votive.shared(Embedder, own)
    assert again is not model
    assert getattr(again, setting) == as_given
    assert votive.shared(Embedder, own) is again
    # What is pickled has the setting, and finds the weights.
    assert getattr(cycle(model), setting) == value
    assert getattr(cycle(again), setting) == as_given
    assert loads() == 1


def test_prompts_that_were_changed_where_they_stand_are_not_shared(own: Path) -> None:
    model = votive.shared(Embedder, own)
    model.prompts["query"] = "changed: "
    assert votive.shared(Embedder, own).prompts["query"] != "changed: "


def test_a_model_that_was_closed_is_loaded_anew(own: Path, loads: Any) -> None:
    with votive.shared(Embedder, own) as model:
        pass
    assert votive.shared(Embedder, own) is not model
    assert loads() == 2


def test_files_that_were_written_anew_are_loaded(own: Path, loads: Any) -> None:
    model = votive.shared(Embedder, own)
    twin = cycle(model)
    (own / "README.md").write_text("another version")
    assert votive.shared(Embedder, own) is not model
    assert loads() == 2
    assert same(twin.encode(TEXTS), model.encode(TEXTS))
    (own / "1_Pooling" / "new.json").write_text("{}")
    twin = cycle(model)
    assert same(twin.encode(TEXTS), model.encode(TEXTS))
    assert loads() == 3


def test_what_is_unpickled_finds_the_weights_of_an_equal_model(own: Path, loads: Any) -> None:
    model = Embedder(own)
    twins = [cycle(model) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda twin: twin.encode(TEXTS), twins))
    assert all(same(row, model.encode(TEXTS)) for row in rows)
    assert loads() == 1
    # The constructor loads, and a model that is gone leaves nothing.
    pickled = pickle.dumps(Embedder(own))
    assert loads() == 2
    del model
    for twin in twins:
        twin.close()
    gc.collect()
    pickle.loads(pickled).encode(TEXTS)
    assert loads() == 3
    pickle.loads(pickled).encode(TEXTS)
    assert loads() == 4


def test_what_was_pickled_as_shared_is_kept_for_the_next_one(own: Path, loads: Any) -> None:
    model = votive.shared(Embedder, own)
    expected, pickled = model.encode(TEXTS), pickle.dumps(model)
    model.close()
    for _ in range(3):
        # As the tasks of an engine do, one after the other.
        task = pickle.loads(pickled)
        assert same(task.encode(TEXTS), expected)
        del task
        gc.collect()
    assert loads() == 2
    assert same(votive.shared(Embedder, own).encode(TEXTS), expected)
    assert loads() == 2


def test_unpickled_models_load_once_when_they_begin_at_once(own: Path, loads: Any) -> None:
    pickled = pickle.dumps(Embedder(own))
    begin = threading.Barrier(8)

    def work(_: int) -> np.ndarray:
        model = pickle.loads(pickled)
        begin.wait(HANG)
        found: np.ndarray = model.encode(TEXTS)
        begin.wait(HANG)
        return found

    with ThreadPoolExecutor(8) as threads:
        assert len({rows.tobytes() for rows in threads.map(work, range(8))}) == 1
    assert loads() == 2


def test_a_changed_environment_is_not_shared(own: Path, loads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = votive.shared(Embedder, own)
    monkeypatch.setenv("VOTIVE_NUM_THREADS", "3")
    assert votive.shared(Embedder, own).num_threads == 3
    assert cycle(model).num_threads == 3
    assert loads() == 2


@pytest.mark.skipif(os.name != "posix", reason="fork() of POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@kernels_only("candle's own threads are not there in a child of fork()")
def test_a_child_of_fork_goes_on_with_the_weights(own: Path, folder: str) -> None:
    model = votive.shared(Embedder, own)
    expected = model.encode(TEXTS)
    # Another thread holds the lock of a load when the process forks.
    key = sharing.one_at_a_time("held")
    with key:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                again = votive.shared(Embedder, own)
                with sharing.one_at_a_time("held"):
                    status = 0 if again is model and same(again.encode(TEXTS), expected) else 2
            finally:
                os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("module", "engine"), [("ray", "Ray"), ("pyspark", "Spark"), ("distributed", "Dask")])
def test_one_thread_of_an_engine_is_logged(
    own: Path, module: str, engine: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys
    import types

    for other in ("ray", "pyspark", "distributed"):
        monkeypatch.delitem(sys.modules, other, raising=False)
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    monkeypatch.setattr("votive._engines.usable_cpus", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    message = f"computes on 1 thread of 4 CPUs: {engine} sets OMP_NUM_THREADS=1"
    with caplog.at_level(logging.INFO, "votive"):
        assert Embedder(own).num_threads == 1
        assert sum(message in record.getMessage() for record in caplog.records) == 1
        caplog.clear()
        Embedder(own, num_threads=1)
        monkeypatch.setenv("VOTIVE_NUM_THREADS", "1")
        Embedder(own)
    assert not any("OMP_NUM_THREADS" in record.getMessage() for record in caplog.records)
