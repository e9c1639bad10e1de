"""Servers of OpenAI's interface: votive's, infinity, and sentence-transformers behind FastAPI as people write it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec

from votive.bench.backends.engines import EngineSetup
from votive.bench.backends.servers import INFINITY, RunningServer

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


def _votive(dtype: str) -> Callable[[EngineSetup, int], RunningServer]:
    def start(setup: EngineSetup, port: int) -> RunningServer:
        command = [sys.executable, "-m", "votive", "serve", "--model", f"{setup.model}=m", "--port", str(port)]
        return RunningServer([*command, "--dtype", dtype, "--num-threads", str(setup.threads)], {}, port)

    return start


def _infinity(engine: str) -> Callable[[EngineSetup, int], RunningServer]:
    def start(setup: EngineSetup, port: int) -> RunningServer:
        if find_spec("infinity_emb") is None:
            raise RuntimeError("infinity_emb is not installed")
        command = [sys.executable, "-c", INFINITY, "v2", "--model-id", str(setup.model), "--served-model-name", "m"]
        command += ["--port", str(port), "--host", "127.0.0.1"]
        threads = {"OMP_NUM_THREADS": str(setup.threads), "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        return RunningServer([*command, "--device", "cpu", "--engine", engine], threads, port)

    return start


def _fastapi(setup: EngineSetup, port: int) -> RunningServer:
    return RunningServer([sys.executable, "-c", FASTAPI, str(setup.model), str(port), str(setup.threads)], {}, port)


PEERS: dict[str, Callable[[EngineSetup, int], RunningServer]] = {
    "votive": _votive("float32"),
    "votive-int8": _votive("int8"),
    "infinity": _infinity("torch"),
    "infinity-onnx": _infinity("optimum"),
    "fastapi": _fastapi,
}
