"""The code and the prose of README.md and of the pages in docs/."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(
    r"^(?P<above>.*)\n(?P<indent> *)```(?P<language>\w+).*\n(?P<code>(?s:.*?))^(?P=indent)```$", re.MULTILINE
)


class Block(NamedTuple):
    """Code between two fences, without the indentation that it has in lists and tabs."""

    page: Path
    line: int  # of the first line of code
    above: str  # the line above the fence
    code: str

    @property
    def needs(self) -> tuple[str, ...]:
        """The packages that `<!-- needs: faiss, pyarrow -->` above the fence names: it runs where all are there."""
        marked = re.fullmatch(r"\s*<!-- needs: ([\w, ]+) -->", self.above)
        return tuple(re.split(r",\s*", marked[1])) if marked else ()


def blocks(page: Path, language: str) -> list[Block]:
    """All blocks of a page in a language."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start("code")) + 1, match["above"], _dedented(match))
        for match in FENCE.finditer(text)
        if match["language"] == language
    ]


def _dedented(match: re.Match[str]) -> str:
    return re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)


def run(these: list[Block]) -> dict[str, object]:
    """The names that blocks, run one after another, leave behind. Those that need a missing package are left out."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in these:
        if all(map(find_spec, block.needs)):
            # Blank lines in front make tracebacks point into the page.
            exec(compile("\n" * (block.line - 1) + block.code, str(block.page), "exec"), namespace)
    return namespace


def sentences(page: Path) -> list[str]:
    """The sentences of a page's prose: neither code, tables and headings, nor what only links and images hold."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^---\n(?s:.*?)\n---\n", "", text)
    text = re.sub(r"^ *```(?s:.*?)^ *```$", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"<!--(?s:.*?)-->", "", text)
    text = re.sub(r"^ *(\||#|:::|!!!|\?\?\?|===|<).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "code", text)
    paragraphs = re.split(r"\n\s*\n|\n(?= *(?:[-*]|\d+\.) )", text)
    joined = (" ".join(re.sub(r"^\s*(?:[-*]|\d+\.)\s", "", paragraph).split()) for paragraph in paragraphs)
    return [sentence for paragraph in joined if paragraph for sentence in re.split(r"(?<=[.!?:])\s+", paragraph)]
