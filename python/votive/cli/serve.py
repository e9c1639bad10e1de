"""`votive serve`: models behind one HTTP server, until a signal ends it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from votive._server_config import SETTINGS, ConfigError, read_config
from votive.cli.failure import CommandFailed, UsageError
from votive.serving import Server

# How soon a signal is served.
_TICK_SECONDS = 0.1


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive serve` say."""
    flags = {setting.name: getattr(arguments, setting.name) for setting in SETTINGS}
    path = arguments.config or os.environ.get("VOTIVE_SERVE_CONFIG")
    try:
        config = read_config(path, flags, arguments.model or ())
    except ConfigError as error:
        raise UsageError(str(error)) from error
    if arguments.print_config:
        print(config.printed())
        return
    for note in config.notes:
        print(f"votive serve: {note}", file=sys.stderr)
    with _signals() as signals:
        try:
            server = Server(config.models, config.options)
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error
        try:
            print(f"votive serve: listening on {server.url}", flush=True)
            start = time.monotonic()
            while not signals.ending.is_set():
                try:
                    server.wait_until_ready(_TICK_SECONDS)
                except TimeoutError:
                    continue
                except RuntimeError as error:
                    raise CommandFailed(str(error)) from error
                print(f"votive serve: ready on {server.url} in {time.monotonic() - start:.2f} s", flush=True)
                break
            while not signals.ending.wait(_TICK_SECONDS):
                if signals.reloading.is_set():
                    signals.reloading.clear()
                    print("votive serve: loading the models again", flush=True)
                    server.reload()
        finally:
            _stop(server)


class _Signals:
    """What was asked for by signals."""

    def __init__(self) -> None:
        self.ending, self.reloading = threading.Event(), threading.Event()

    def end(self, number: int, _frame: FrameType | None) -> None:
        if self.ending.is_set():
            # Whoever asks twice does not want to wait.
            os._exit(128 + number)
        self.ending.set()

    def reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reloading.set()


@contextmanager
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGTERM: signals.end,
        signal.SIGINT: signals.end,
    }
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = signals.reload
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(server: Server) -> None:
    """Ends the server, while this thread still serves signals."""
    in_flight = server.requests_in_flight
    if in_flight:
        print(f"votive serve: ending, after {in_flight} requests", flush=True)
    thread = threading.Thread(target=server.stop)
    thread.start()
    while thread.is_alive():
        thread.join(_TICK_SECONDS)
    print("votive serve: ended", flush=True)
