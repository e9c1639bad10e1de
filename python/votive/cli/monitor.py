"""`votive monitor`: how a server does, as a table on the terminal, as JSON lines, or as files for other programs."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from votive.cli.failure import CommandFailed
from votive.cli.hits import print_json
from votive.cli.monitor_files import grafana_dashboard, prometheus_rules
from votive.cli.monitor_table import table
from votive.cli.terminal import is_terminal

# What the address of a socket begins with, as `Server.url` does.
_UNIX = "unix:"

# What takes longer is no answer.
_PATIENCE = 10

# To the upper left corner, and nothing below it.
_CLEAR = "\x1b[H\x1b[J"


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive monitor` say. Ctrl-C is how it ends."""
    if arguments.rules is not None:
        print({"prometheus": prometheus_rules, "grafana": grafana_dashboard}[arguments.rules](), end="")
        return
    key = _key(arguments.api_key_file)
    try:
        _watch(arguments, key)
    except KeyboardInterrupt:
        if not arguments.json:
            print()


def _watch(arguments: argparse.Namespace, key: str | None) -> None:
    before: dict[str, Any] | None = None
    clears = is_terminal(sys.stdout) and not arguments.once and not arguments.json
    while True:
        try:
            stats = _ask(arguments.url, "/stats", key)
        except CommandFailed as failure:
            # One that answered once may do so again.
            if before is None:
                raise
            shown = {"time": time.time(), "url": arguments.url, "error": str(failure)}
            text = str(failure)
        else:
            shown = {"time": time.time(), "url": arguments.url} | _with_rates(stats, before)
            text = table(shown)
            before = stats
        if arguments.json:
            print_json(shown)
        else:
            print(f"{_CLEAR}{text}" if clears else f"{text}\n", flush=True)
        if arguments.once:
            return
        time.sleep(arguments.interval)


def _with_rates(stats: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a server tells, with `per_second`: since the look before, else over the last minute."""
    totals = stats["totals"]
    minute = stats["last_minute"]
    seconds = stats["uptime_seconds"] - before["uptime_seconds"] if before else minute["seconds"]
    # After a new start it counts from 0.
    if before is not None and seconds > 0:
        done = {name: max(0, total - before["totals"][name]) for name, total in totals.items()}
    else:
        seconds, done = minute["seconds"], {name: minute[name] for name in totals}
    return dict(stats) | {"per_second": {name: count / max(seconds, 1e-3) for name, count in done.items()}}


def _key(path: str | None) -> str | None:
    if path is None:
        return os.environ.get("VOTIVE_API_KEY") or None
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    key = next((line for line in lines if line and not line.startswith("#")), None)
    if key is None:
        raise CommandFailed(f"{path}: holds no key")
    return key


def _ask(url: str, path: str, key: str | None) -> Any:
    """The JSON that a server answers.

    Raises:
        CommandFailed: there is no server, or it answers something else.
    """
    if not url.startswith(("http://", "https://", _UNIX)):
        raise CommandFailed(f"{url}: want an address such as http://127.0.0.1:8000, or unix: and the path of a socket")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        status, body = _answer(url, path, headers)
        found = json.loads(body) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CommandFailed(f"no answer from {url}: {reason}") from error
    if status == 401:
        raise CommandFailed(f"{url} wants a key: set VOTIVE_API_KEY, or give --api-key-file")
    if status != 200:
        raise CommandFailed(f"{url}{path}: status {status}; is it a server of votive?")
    if not isinstance(found, dict) or "totals" not in found:
        raise CommandFailed(f"{url}: its answer is not that of a server of votive")
    return found


def _answer(url: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    if url.startswith(_UNIX):
        connection = _UnixConnection(url.removeprefix(_UNIX))
        try:
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
    try:
        request = urllib.request.Request(url.rstrip("/") + path, headers=dict(headers))
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


class _UnixConnection(http.client.HTTPConnection):
    """A connection to the socket at a path."""

    def __init__(self, socket_path: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._socket_path = socket_path

    def connect(self) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("there are no unix sockets on this system")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)
