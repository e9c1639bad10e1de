"""The code in README.md."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def fenced_blocks(language):
    """Yield the line of the first line of code, the line above the fence, and the code."""
    pattern = rf"^(?P<above>.*)\n```{language}\n(?P<code>(?s:.*?))^```$"
    text = README.read_text(encoding="utf-8")
    for match in re.finditer(pattern, text, re.MULTILINE):
        yield text.count("\n", 0, match.start("code")) + 1, match["above"], match["code"]


def run(blocks):
    """Give the names that the blocks, run one after another, leave behind."""
    namespace = {"__name__": "__main__"}
    assert blocks
    for line, _, code in blocks:
        # Blank lines in front make tracebacks point into README.md.
        exec(compile("\n" * (line - 1) + code, str(README), "exec"), namespace)
    return namespace


def recipe(block):
    """The package of a block that needs one which may be missing; such blocks are run by `test_handover.py`."""
    marked = re.fullmatch(r"<!-- recipe: (\w+) -->", block[1])
    return marked and marked[1]
