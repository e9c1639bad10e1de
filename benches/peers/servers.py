"""Servers of OpenAI's interface: votive's, infinity, and sentence-transformers behind FastAPI as people write it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from votive.bench.backends.engines import Setup

FASTAPI = """
import sys
import torch, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

torch.set_num_threads(int(sys.argv[3]))
model = SentenceTransformer(sys.argv[1], device="cpu")
app = FastAPI()


class Body(BaseModel):
    input: list[str]
    model: str = "m"


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/embeddings")
def embeddings(body: Body):
    rows = model.encode(body.input, normalize_embeddings=True)
    data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
    return {"object": "list", "data": data, "model": body.model}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
"""

# It was written for transformers 4, whose tokenizers have one more name for being called.
INFINITY = """
from transformers import PreTrainedTokenizerBase

if not hasattr(PreTrainedTokenizerBase, "batch_encode_plus"):
    PreTrainedTokenizerBase.batch_encode_plus = PreTrainedTokenizerBase.__call__
from infinity_emb.cli import cli

cli()
"""

START_SECONDS = 180.0


class RunningServer:
    """A process that answers POST /embeddings.

    Attributes:
        port: where it listens, on 127.0.0.1.
        ready_seconds: from its start to the first time that it said that it is healthy.
    """

    def __init__(self, command: list[str], environment: dict[str, str], port: int) -> None:
        self.port = port
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not self._is_healthy():
            if self.process.poll() is not None or time.perf_counter() - start > START_SECONDS:
                self.close()
                raise RuntimeError(f"{command[:4]} does not start")
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
        self.process.kill()
        self.process.wait()


def _votive(dtype: str) -> Callable[[Setup, int], RunningServer]:
    def start(setup: Setup, port: int) -> RunningServer:
        command = [sys.executable, "-m", "votive", "serve", "--model", f"{setup.model}=m", "--port", str(port)]
        return RunningServer([*command, "--dtype", dtype, "--num-threads", str(setup.threads)], {}, port)

    return start


def _infinity(engine: str) -> Callable[[Setup, int], RunningServer]:
    def start(setup: Setup, port: int) -> RunningServer:
        if find_spec("infinity_emb") is None:
            raise RuntimeError("infinity_emb is not installed")
        command = [sys.executable, "-c", INFINITY, "v2", "--model-id", str(setup.model), "--served-model-name", "m"]
        command += ["--port", str(port), "--host", "127.0.0.1"]
        threads = {"OMP_NUM_THREADS": str(setup.threads), "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        return RunningServer([*command, "--device", "cpu", "--engine", engine], threads, port)

    return start


def _fastapi(setup: Setup, port: int) -> RunningServer:
    return RunningServer([sys.executable, "-c", FASTAPI, str(setup.model), str(port), str(setup.threads)], {}, port)


PEERS: dict[str, Callable[[Setup, int], RunningServer]] = {
    "votive": _votive("float32"),
    "votive-int8": _votive("int8"),
    "infinity": _infinity("torch"),
    "infinity-onnx": _infinity("optimum"),
    "fastapi": _fastapi,
}


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
