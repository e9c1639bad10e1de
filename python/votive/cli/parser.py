"""The parser of one command: suggestions for what is misspelt, and help that fits the terminal."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

# Longer lines are hard to read.
MAX_HELP_WIDTH = 100

# What `subparsers.add_parser` is a method of.
Commands = Any

_OPTION = re.compile(r"-[^\W\d]|--.")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps paragraphs to the terminal's width, and leaves those with an indented line as they are."""

    def __init__(self, prog: str, **options: Any) -> None:
        width = min(shutil.get_terminal_size().columns, MAX_HELP_WIDTH) - 1
        super().__init__(prog, **({"max_help_position": 26, "width": width} | options))

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            # Without a line for the list itself, and not indented below it.
            return "".join(map(super()._format_action, action._get_subactions()))
        return super()._format_action(action)

    def _split_lines(self, text: str, width: int) -> list[str]:
        # Names of models stay in one piece.
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if re.search(r"^ ", paragraph, re.MULTILINE) else "\n".join(self._split_lines(paragraph, width))
            for paragraph in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes options anywhere, and whose complaints are short.

    It knows the options that it was given before it looks at what is missing: a misspelt option is named as such.

    Attributes:
        runs_program: the first argument is a program, and those behind it are the program's own, kept as `arguments`.
        default_command: of a parser of commands: what runs where the first argument names none of them.
    """

    runs_program = False
    default_command: str | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **options)
        self._positionals.title = "arguments"
        # argparse changes `usage` while it parses.
        self._call = self.usage
        self._is_intermixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but what is not known is an error, and options may stand between arguments."""
        if self.default_command is not None and self._subparsers is not None:
            (commands,) = self._subparsers._group_actions
            named = {"-h", "--help", *(commands.choices or ())}
            if not args or args[0] not in named:
                args = [self.default_command, *(args or ())]
        if self._subparsers is not None or self._is_intermixing:
            return super().parse_known_args(args, namespace)
        assert args is not None, "the parser of all commands gives those of the command"
        if self.runs_program:
            end = self._program_end(args)
            args, arguments = args[:end], args[end:]
        self._refuse_unknown_options(args)
        self._is_intermixing = True
        try:
            found, left = super().parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixing = False
        if left or found is None:
            self.error(f"too many arguments: {' '.join(left)}")
        if self.runs_program:
            found.arguments = list(arguments)
        return found, []

    def _program_end(self, args: Sequence[str]) -> int:
        """The place behind the first argument that is neither an option nor the value of one."""
        place = 0
        while place < len(args):
            action = self._option_string_actions.get(args[place])
            if action is None and not _OPTION.match(args[place]):
                return place + 1
            place += 2 if action is not None and action.nargs is None else 1
        return place

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, how the command is called, and where help is, and leaves with status 2."""
        lines = [f"{self.prog}: {message}", f"see `{self.prog} --help`"]
        if self._call is not None:
            lines.insert(1, f"usage: {self._call}")
        self.exit(2, "\n".join(lines) + "\n")

    def _refuse_unknown_options(self, args: Sequence[str]) -> None:
        known = self._option_string_actions
        for arg in args:
            if arg == "--":
                return
            # With a space it is a text.
            if " " in arg or not _OPTION.match(arg):
                continue
            name = arg.split("=", 1)[0] if arg.startswith("--") else arg[:2]
            if name not in known:
                self.error(f"unknown option {name}{suggestion(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        hint = suggestion(str(value), choices) or f"; choose from {', '.join(choices)}"
        if action.nargs == argparse.PARSER:
            self.error(f"unknown command {str(value)!r}{hint}")
        raise argparse.ArgumentError(action, f"unknown choice {str(value)!r}{hint}")


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    description: str,
    examples: str,
    *,
    module: str | None = None,
    usage: str | None = None,
) -> Parser:
    """A command's parser.

    What it parses has the command's `prog`, and as `module` the one of `votive.cli` that runs it, by default of its
    name.
    """
    parser: Parser = commands.add_parser(name, help=summary, description=description, epilog=examples, usage=usage)
    parser.set_defaults(module=module or name.replace("-", "_"), prog=parser.prog)
    return parser


def suggestion(word: str, known: Iterable[str]) -> str:
    """What may have been meant by `word`, to put after a complaint; empty where nothing is like it."""
    names = list(known)
    near = [name for name in names if len(word) > 2 and name.startswith(word)]
    near = near or difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
