"""Processes that answer HTTP on this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

START_SECONDS = 180.0
END_SECONDS = 10.0

# infinity was written for transformers 4, whose tokenizers have one more name for being called.
INFINITY = """
from transformers import PreTrainedTokenizerBase

if not hasattr(PreTrainedTokenizerBase, "batch_encode_plus"):
    PreTrainedTokenizerBase.batch_encode_plus = PreTrainedTokenizerBase.__call__
from infinity_emb.cli import cli

cli()
"""


class RunningServer:
    """A process that says at /health when it is ready.

    Args:
        seconds: after so many it is ended, and does not start.

    Attributes:
        port: where it listens, on 127.0.0.1.
        ready_seconds: from its start to the first time that it said that it is healthy.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], port: int, seconds: float = START_SECONDS
    ) -> None:
        self.port = port
        start = time.perf_counter()
        with tempfile.TemporaryFile() as said:
            self.process = subprocess.Popen(
                command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=said
            )
            while not self._is_healthy():
                late = time.perf_counter() - start > seconds
                if late or self.process.poll() is not None:
                    self.close()
                    how = f"was not ready after {seconds:g} seconds" if late else "ended when it was started"
                    said.seek(0)
                    raise RuntimeError(f"the server {how}: {_reason(said.read().decode(errors='replace'))}")
                time.sleep(0.005)
        self.ready_seconds = time.perf_counter() - start

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def cpu_seconds(self) -> float:
        """What its threads have computed; Linux alone says it."""
        numbers = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes of memory that it holds; Linux alone says it."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _reason(said: str) -> str:
    """The last error in what a process said, else its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|error): ", line)]
    return (errors or lines or ["it says nothing"])[-1]


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
