"""`votive completion`: what lets a shell complete commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from votive.cli.commands import build_parser
from votive.cli.failure import CommandFailed

# By how the help calls them.
FILES = {"FILE", "VECTORS"}
FOLDERS = {"FOLDER", "STORE", "MODEL"}


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive completion` say."""
    try:
        import shtab
    except ImportError as error:
        raise CommandFailed("needs the package shtab: pip install 'votive[completion]'") from error
    parser = build_parser()
    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=arguments.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
