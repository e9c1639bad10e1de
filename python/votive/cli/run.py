"""`votive run`: a program for which `sentence_transformers` is votive's."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import traceback
from types import TracebackType

from votive.cli.failure import CommandFailed
from votive.sentence_transformers import install


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive run` say. What the program raises is printed as Python prints it."""
    program: str = arguments.program
    if not arguments.is_module and not os.path.exists(program):
        raise CommandFailed(f"no such file: {program}; a module is run by -m")
    install(arguments.tensors)
    sys.argv = [program, *arguments.arguments]
    # Where Python looks first when it runs a file, and a module.
    sys.path.insert(0, os.getcwd() if arguments.is_module else os.path.dirname(os.path.abspath(program)))
    try:
        if arguments.is_module:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(program, run_name="__main__")
    except Exception as error:
        frames = _of_program(error.__traceback__)
        if frames is None and isinstance(error, ImportError):
            raise CommandFailed(str(error)) from error
        traceback.print_exception(error.with_traceback(frames))
        raise SystemExit(1) from None


def _of_program(frames: TracebackType | None) -> TracebackType | None:
    """The frames from the program's first one on; None where it has none, as when it cannot be read."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
        frames = frames.tb_next
    return frames
