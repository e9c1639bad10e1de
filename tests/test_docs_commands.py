"""Commands that README.md and docs/ show are ones that the command line takes."""

import re
import shlex

import pytest
from pages import PAGES, ROOT, blocks
from votive.cli.commands import build_parser

# A program in a pipeline or a list, without what it is redirected to.
PROGRAM = re.compile(r"(?:^|[|&] ?)votive (?P<arguments>[^|&>\n]*)", re.MULTILINE)

COMMANDS = [
    pytest.param(shlex.split(match["arguments"]), id=f"{page.relative_to(ROOT)}:{block.line}: {match['arguments']}")
    for page in PAGES
    for block in blocks(page, "bash")
    for match in PROGRAM.finditer(block.code)
]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_command_is_taken(arguments):
    assert build_parser().parse_args(arguments)
