"""The command line `votive`: what each command does, `votive --help` prints.

Exit status: 0 success; 1 failure; 2 wrong usage; 3 worse than before (`bench`); 130 interrupted; 141 the reader of our
output went away; 143 terminated. A failure is a message on standard error that names the command, and leaves no half-
written file.

What is imported here is what `votive --help` needs. A command's own module is imported when it runs.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from votive.cli.commands import build_parser
from votive.cli.failure import CommandFailed

# What a shell reports for a process ended by the signal: 128 + its number.
INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    `argv` are the arguments after the program's name (default: `sys.argv[1:]`). Wrong usage and `--help` leave
    through `SystemExit`, as argparse does.
    """
    command = "votive"
    try:
        try:
            arguments = build_parser().parse_args(argv)
            command = arguments.prog
            with _termination_unwinds(), _any_text_printable():
                import_module(f"votive.cli.{arguments.module}").run(arguments)
        finally:
            # Here and not at interpreter exit, where a closed pipe or a full disk could no longer be reported.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        status = CLOSED_PIPE
    except KeyboardInterrupt:
        status = _complain(command, "interrupted", INTERRUPTED)
    except CommandFailed as failure:
        status = _complain(command, str(failure), failure.exit_status)
    except MemoryError as error:
        status = _complain(command, str(error) or "out of memory", 1)
    except OSError as error:
        status = _complain(command, _describe(error), 1)
    except Exception as error:
        from votive import VotiveError

        # The models name a bad argument (an unknown prompt, a width beyond the model's) with a ValueError.
        if not isinstance(error, (VotiveError, ValueError)):
            raise
        status = _complain(command, str(error), 1)
    else:
        return 0
    _drop_unwritable_output()
    return status


def _complain(command: str, message: str, status: int) -> int:
    lines = [line.rstrip() for line in message.strip().splitlines() if line.strip()]
    try:
        print(f"{command}: " + "\n  ".join(lines), file=sys.stderr)
    except BrokenPipeError:
        return CLOSED_PIPE
    return status


def _describe(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"


def _drop_unwritable_output() -> None:
    """Send what standard output still buffers nowhere if it cannot be written, so that exit stays quiet."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Let SIGTERM leave through the `finally` clauses that remove temporary files."""

    def unwind(_number: int, _frame: object) -> None:
        raise SystemExit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, unwind)
    except ValueError:  # called outside the main thread, where no handler can be set
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _any_text_printable() -> Iterator[None]:
    """Escape characters that the terminal's encoding lacks instead of failing on them."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)
