"""The commands of `votive bench`."""

from __future__ import annotations

import argparse

from votive.cli import descriptions
from votive.cli.arguments import DEFAULT_MODEL
from votive.cli.parser import Commands, Parser, add_command


def add_bench(commands: Commands) -> None:
    parser: Parser = commands.add_parser(
        "bench",
        help="measure votive and other programs as a file says, and report it",
        usage=descriptions.BENCH_USAGE,
        description=descriptions.BENCH,
        epilog=descriptions.BENCH_EPILOG,
    )
    parser.default_command = "run"
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands", prog="votive bench")
    run = _add_bench_command(
        commands, "run", "measure; what `votive bench` does where no command is named", "[FILE ...] [options]"
    )
    run.add_argument(
        "files",
        nargs="*",
        default=[],
        metavar="FILE",
        help="experiments, folders of them, or names of examples; examples is all of those (default: dtypes)",
    )
    run.add_argument(
        "--only", metavar="GLOB", help="measure experiments of such a name, or else backends of such a name"
    )
    run.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="put a value in place of the file's, as sweep.batch_size=[8,16]; may be given several times",
    )
    run.add_argument("--quick", action="store_true", help="a trial run: a round, few requests, every backend")
    run.add_argument("--dry-run", action="store_true", help="print what would be measured, and exit")
    run.add_argument("--list", action="store_true", help="print names and descriptions (of the examples), and exit")
    run.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped or killed, and try what failed"
    )
    _add_results(run)
    compare = _add_bench_command(commands, "compare", "say what got worse from one run to another", "BEFORE AFTER")
    compare.add_argument("before", metavar="BEFORE", help="the folder of an experiment's run, or its report.json")
    compare.add_argument("after", metavar="AFTER", help="that of a later one")
    compare.add_argument(
        "--tolerance",
        type=_share,
        default=0.10,
        metavar="SHARE",
        help="how much worse a median may be (default: %(default)s)",
    )
    report = _add_bench_command(commands, "report", "write the reports of a run anew", "FOLDER")
    report.add_argument("folder", metavar="FOLDER", help="of one experiment's run, or of several")
    datasheet = _add_bench_command(commands, "datasheet", "fill in a datasheet for this machine", "[options]")
    datasheet.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="a name on the Hugging Face Hub, or a folder (default: %(default)s)",
    )
    datasheet.add_argument("--quick", action="store_true", help="a trial run: fewer and shorter measurements")
    _add_results(datasheet)


def _add_bench_command(commands: Commands, name: str, summary: str, arguments: str) -> Parser:
    parser = add_command(
        commands,
        name,
        summary,
        descriptions.BENCH_COMMANDS[name],
        descriptions.BENCH_EXAMPLES[name],
        module="bench",
        usage=f"votive bench {name} {arguments}",
    )
    parser.set_defaults(action=name)
    return parser


def _add_results(parser: Parser) -> None:
    parser.add_argument("--out", default="results", metavar="FOLDER", help="where it is written (default: %(default)s)")


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError(f"want a share such as 0.1, got {text!r}")
    return number
