"""votive in the place of sentence_transformers: import paths, `install`, `votive run` and the plugin for pytest."""

import importlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import votive.sentence_transformers
from conftest import FIXTURES
from votive.sentence_transformers import CrossEncoder, InputExample, SentenceTransformer, Unsupported

PACKAGE = Path(votive.sentence_transformers.__file__).parent
PATHS = json.loads((PACKAGE / "import_paths.json").read_text(encoding="utf-8"))
WORKING = {"SentenceTransformer": SentenceTransformer, "CrossEncoder": CrossEncoder, "InputExample": InputExample}


def module(path: str, package: str = "votive.sentence_transformers") -> Any:
    return importlib.import_module(f"{package}.{path}" if path else package)


@pytest.mark.parametrize("path", PATHS["modules"], ids=lambda path: path or "the package")
def test_every_name_can_be_imported_and_works_or_refuses(path: str) -> None:
    for name in PATHS["modules"][path]:
        found = getattr(module(path), name)
        if name in WORKING:
            assert found is WORKING[name]
        elif isinstance(found, type) and type(found).__name__ == "RefusingType":
            with pytest.raises(Unsupported, match=rf"^{name}: "):
                found(1, key=2)


@pytest.mark.parametrize("path", PATHS["older"])
def test_older_places_have_the_names_of_todays(path: str) -> None:
    now = module(PATHS["older"][path])
    names = PATHS["modules"].get(PATHS["older"][path]) or now.__all__
    assert [getattr(module(path), name) for name in names] == [getattr(now, name) for name in names]


def test_a_module_does_not_take_the_place_of_the_class_of_its_name() -> None:
    assert module("SentenceTransformer").SentenceTransformer is SentenceTransformer
    assert module("cross_encoder.CrossEncoder").CrossEncoder is CrossEncoder
    assert votive.sentence_transformers.SentenceTransformer is SentenceTransformer
    assert module("cross_encoder").CrossEncoder is CrossEncoder


def test_names_that_are_nowhere_are_not_imported() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from votive.sentence_transformers import nothing")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from votive.sentence_transformers.losses import nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("votive.sentence_transformers.nothing")


def test_members_of_what_refuses_say_why() -> None:
    samplers = module("training_args").BatchSamplers
    assert not hasattr(samplers, "__wrapped__")
    with pytest.raises(Unsupported, match=r"^BatchSamplers\.NO_DUPLICATES: votive does not train"):
        samplers.NO_DUPLICATES()

    class Loss(module("losses").MSELoss):  # type: ignore[misc]
        """Written for training, and never made."""

    with pytest.raises(Unsupported, match=r"^Loss: votive does not train"):
        Loss()


def test_importing_it_imports_neither_numpy_nor_torch(run_python: Callable[..., str]) -> None:
    code = (
        "import sys, votive.sentence_transformers as package\n"
        "from votive.sentence_transformers import losses, models, evaluation, SentenceTransformer\n"
        "from votive.sentence_transformers.models import StaticEmbedding\n"
        "print([name for name in ('numpy', 'torch', 'tqdm') if name in sys.modules])\n"
        "print(package.util.cos_sim([1.0, 0.0], [1.0, 0.0]), 'torch' in sys.modules)"
    )
    assert run_python(code).splitlines() == ["[]", "[[1.]] False"]


# In processes of their own: what is imported under the name stays imported.

INSTALLED = """
import importlib, importlib.util, sys
import votive.sentence_transformers as own
own.install()
own.install()
"""


def test_programs_and_libraries_get_votives(run_python: Callable[..., str]) -> None:
    code = (
        INSTALLED
        + """
import sentence_transformers
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.SentenceTransformer import SentenceTransformer as same
from sentence_transformers.cross_encoder import CrossEncoder
from sentence_transformers.models import StaticEmbedding
import sentence_transformers.util.similarity
import sentence_transformers.losses as losses

assert sentence_transformers is own and same is SentenceTransformer is own.SentenceTransformer
assert CrossEncoder is own.CrossEncoder
assert sentence_transformers.util.similarity.cos_sim is util.cos_sim is own.util.cos_sim
for name in ("sentence_transformers", "sentence_transformers.util", "sentence_transformers.losses"):
    assert importlib.util.find_spec(name) is not None, name
importlib.reload(util)
assert own.util is util
assert int(sentence_transformers.__version__.split(".")[0]) >= 5
"""
    )
    assert run_python(code) == ""


def test_what_is_undone_is_gone(run_python: Callable[..., str]) -> None:
    code = (
        INSTALLED
        + """
from sentence_transformers import util
own.uninstall()
own.uninstall()
assert not [name for name in sys.modules if name.split(".")[0] == "sentence_transformers"]
own.install("never")
from sentence_transformers import SentenceTransformer
"""
    )
    assert run_python(code) == ""


def test_two_kinds_of_objects_do_not_meet(run_python: Callable[..., str]) -> None:
    code = """
import sys, types
sys.modules["sentence_transformers"] = real = types.ModuleType("sentence_transformers")
import votive.sentence_transformers as own
try:
    own.install()
except RuntimeError as error:
    print(error)
own.uninstall()
assert sys.modules["sentence_transformers"] is real
"""
    assert run_python(code).startswith("install: sentence_transformers was imported already")


def test_an_unknown_rule_changes_nothing(run_python: Callable[..., str]) -> None:
    code = """
import sys
import votive.sentence_transformers as own
try:
    own.install("sometimes")
except ValueError as error:
    print(error)
assert "sentence_transformers" not in sys.modules
"""
    assert run_python(code).strip() == "tensors: expected one of auto, always, never, found 'sometimes'"


def test_no_distribution_is_made_up(run_python: Callable[..., str]) -> None:
    code = (
        INSTALLED
        + """
from importlib.metadata import PackageNotFoundError, packages_distributions
assert "votive" not in packages_distributions().get("sentence_transformers", [])
"""
    )
    assert run_python(code) == ""


# votive run

PROGRAM = """
import sys
import warnings
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
print(__name__, sys.argv[2:], type(model).__mro__[2].__name__, len(model.encode("a text")), sys.path[0])
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def votive_run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "votive", "run", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("way", [["program.py"], ["-m", "program"]], ids=["file", "module"])
def test_a_program_runs_as_it_is(way: list[str], program: Path, folder: str) -> None:
    done = votive_run(*way, folder, "--tensors", "-m", "x", cwd=program.parent)
    assert done.stderr == ""
    expected = f"__main__ ['--tensors', '-m', 'x'] Embedder 48 {program.parent}\n"
    assert done.stdout == expected


def test_its_errors_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("def f():\n    raise KeyError('lost')\nf()\n")
    done = votive_run("fails.py", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "fails.py" in lines[1]
    assert lines[-1] == "KeyError: 'lost'"
    assert "runpy" not in done.stderr
    assert "votive" not in done.stderr

    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(7)\n")
    assert votive_run("leaves.py", cwd=tmp_path).returncode == 7


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    for arguments, complaint in (
        (["nowhere.py"], "votive run: no such file: nowhere.py; a module is run by -m"),
        (["-m", "nowhere"], "votive run: No module named nowhere"),
    ):
        done = votive_run(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr.strip()) == (1, complaint)
    done = votive_run("--tensor", "always", "x.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown option --tensor; did you mean --tensors?" in done.stderr


def test_tests_of_a_program_run_with_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sentence_transformers\n")
    (tmp_path / "test_program.py").write_text(
        "from sentence_transformers import SentenceTransformer\n"
        "import votive\n"
        "def test_which():\n"
        "    assert issubclass(SentenceTransformer, votive.Embedder)\n"
    )
    plugin = "votive.sentence_transformers.pytest_plugin"
    command = [sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


# What no single call shows


def test_pools_hold_no_processes(caplog: pytest.LogCaptureFixture, folder: str) -> None:
    model = SentenceTransformer(folder)
    caplog.set_level("INFO", "sentence_transformers")
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    assert pool == {"input": None, "output": None, "processes": []}
    assert len(caplog.records) == 1
    expected = model.encode(["a", "b"])
    for found in (
        model.encode_multi_process(["a", "b"], pool, chunk_size=1),
        model.encode(["a", "b"], pool=pool),
        model.encode(["a", "b"], device=["cpu", "cpu"]),
    ):
        assert (found == expected).all()
    SentenceTransformer.stop_multi_process_pool(pool)
    with pytest.raises(ValueError, match=r"^chunk_size must be a positive integer, got 0\.$"):
        model.encode(["a"], pool=pool, chunk_size=0)


def test_a_length_beyond_the_model_becomes_its_own(caplog: pytest.LogCaptureFixture, folder: str) -> None:
    model = SentenceTransformer(folder)
    model.max_seq_length = 100_000
    assert model.max_seq_length == model._model.position_limit
    assert "positions, so that 100000 becomes" in caplog.text
    assert CrossEncoder(str(FIXTURES / "bert_rerank"), max_length=512).max_length == 64


def test_another_backend_is_said_once(caplog: pytest.LogCaptureFixture, folder: str) -> None:
    model = SentenceTransformer(folder, backend="onnx")
    assert "backend='onnx': votive computes the same model with its own engine" in caplog.text
    assert model.get_backend() == "torch"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"model_kwargs": {"quantization_config": 1}}, r"^model_kwargs\['quantization_config'\]: "),
        ({"processor_kwargs": {"chat_template": "x"}}, r"^processor_kwargs\['chat_template'\]: "),
        ({"config_kwargs": {"hidden_size": 1}}, r"^config_kwargs\['hidden_size'\]: "),
    ],
)
def test_what_would_change_results_is_refused(options: dict[str, Any], complaint: str, folder: str) -> None:
    with pytest.raises(Unsupported, match=complaint):
        SentenceTransformer(folder, **options)


def test_calls_of_other_lengths_do_not_meet(folder: str) -> None:
    model = SentenceTransformer(folder)
    text = "one two three four five six seven eight nine ten"
    lengths = [4, 5, 9, 48]

    def encoded(length: int) -> Any:
        return model.encode(text, processing_kwargs={"text": {"max_length": length}})

    with warnings.catch_warnings(), ThreadPoolExecutor(4) as threads:
        warnings.simplefilter("ignore", votive.TruncationWarning)
        expected = {length: encoded(length) for length in lengths}
        found = list(threads.map(encoded, lengths * 20))
    assert all((vector == expected[length]).all() for vector, length in zip(found, lengths * 20, strict=True))
    assert not (expected[4] == expected[5]).all()
    assert (model.encode(text) == expected[48]).all()


def test_a_function_in_the_place_of_encode_is_called_with_keywords(folder: str) -> None:
    model = SentenceTransformer(folder)
    calls: list[dict[str, Any]] = []
    model.encode = lambda **options: calls.append(options)  # type: ignore[method-assign]
    model.encode_query("a")
    model.encode_document(["a"], batch_size=4, task="other")
    assert [(call["inputs"], call["task"], call["prompt_name"]) for call in calls] == [
        ("a", "query", "query"),
        (["a"], "other", "document"),
    ]
    assert calls[1]["batch_size"] == 4


def test_a_saved_ranker_keeps_its_activation(tmp_path: Path) -> None:
    model = CrossEncoder(str(FIXTURES / "bert_rerank"), activation_fn="identity")
    pair = ("what is a candle?", "wax with a wick")
    model.save_pretrained(str(tmp_path))
    assert CrossEncoder(str(tmp_path)).predict(pair) == model.predict(pair)
    assert CrossEncoder(str(FIXTURES / "bert_rerank")).predict(pair) != model.predict(pair)


def test_the_folder_of_an_evaluation_is_made(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "results" / "today"
    assert SentenceTransformer(folder).evaluate(lambda model, output_path: output_path, str(path)) == str(path)
    assert path.is_dir()
