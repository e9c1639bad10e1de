"""All commands with their arguments."""

from __future__ import annotations

import argparse
from typing import Any

from votive.cli import descriptions
from votive.cli.commands import experiments, machines, models, programs, servers, stores, texts
from votive.cli.parser import Parser


def build_parser() -> Parser:
    """The parser of `votive`."""
    parser = Parser(prog="votive", description=descriptions.DESCRIPTION, epilog=descriptions.EPILOG)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    texts.add_demo(commands)
    texts.add_encode(commands)
    texts.add_search(commands, descriptions.SEARCH_USAGE)
    texts.add_rerank(commands)
    stores.add_store(commands)
    models.add_quantize(commands)
    models.add_models(commands)
    models.add_inspect(commands)
    machines.add_devices(commands)
    machines.add_check(commands)
    machines.add_bench_cpu(commands)
    experiments.add_bench(commands)
    servers.add_serve(commands)
    servers.add_monitor(commands)
    programs.add_run(commands)
    programs.add_completion(commands)
    return parser


class _Version(argparse.Action):
    """Like argparse's own, but the version is looked up only when asked for."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_unused: Any) -> None:
        from votive import __version__

        print(f"votive {__version__}")
        parser.exit()
