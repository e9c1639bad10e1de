"""Commands for other programs: `run` for Python's, `completion` for shells."""

from __future__ import annotations

from votive.cli import descriptions
from votive.cli.parser import Commands, add_command

SHELLS = ("bash", "zsh", "fish", "tcsh")


def add_run(commands: Commands) -> None:
    parser = add_command(
        commands,
        "run",
        "run a Python program with votive in the place of sentence-transformers",
        descriptions.RUN,
        descriptions.RUN_EXAMPLES,
        usage=descriptions.RUN_USAGE,
    )
    parser.add_argument(
        "--tensors",
        choices=("auto", "always", "never"),
        default="auto",
        help="when similarities and the like are tensors of PyTorch: as soon as the program has imported it (auto, the "
        "default), always, or only where it asks for some",
    )
    parser.add_argument("-m", dest="is_module", action="store_true", help="PROGRAM is the name of a module")
    parser.runs_program = True
    parser.add_argument("program", metavar="PROGRAM", help="a file; the arguments after it are its own")


def add_completion(commands: Commands) -> None:
    parser = add_command(
        commands,
        "completion",
        "print what lets a shell complete commands and options",
        descriptions.COMPLETION,
        descriptions.COMPLETION_EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
