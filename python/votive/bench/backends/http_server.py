"""A server, asked as its clients do: one connection that stays open for each calling thread."""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import socket
import subprocess
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from votive.bench.backends.backend import Backend
from votive.bench.backends.unavailable import Unavailable

START_SECONDS = 180.0
EMBED = {"openai": "/embeddings", "jina": "/embeddings", "cohere": "/v2/embed", "tei": "/embed", "ollama": "/api/embed"}
RERANK = {"jina": "/rerank", "openai": "/rerank", "cohere": "/v2/rerank", "tei": "/rerank"}


class Http(Backend):
    """One dialect at `url`; `served` is a command that starts the server, in which `{port}` is a free port."""

    tasks = ("embed", "rerank")
    is_concurrent = True

    def load(self) -> None:
        choice = self.setup.choice
        url, self.process = choice.url or "http://127.0.0.1:{port}", None
        paths = EMBED if self.setup.task == "embed" else RERANK
        if choice.dialect not in paths:
            raise Unavailable(f"{choice.dialect} has no {self.setup.task}; one of {', '.join(paths)}")
        if choice.served is None and choice.url is None:
            raise Unavailable("http: give url, or served with a command that starts a server")
        port = str(_free_port())
        url = url.replace("{port}", port)
        parts = urlsplit(url)
        self.address = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
        self.connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.path = parts.path.rstrip("/") + paths[choice.dialect]
        self.kept = threading.local()
        self.opened: list[http.client.HTTPConnection] = []
        if choice.served is not None:
            command = [part.replace("{port}", port) for part in shlex.split(choice.served)]
            try:
                self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except FileNotFoundError as error:
                raise Unavailable(f"{command[0]} is not installed") from error
            self._wait(command)

    def _wait(self, command: list[str]) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                self.close()
                raise Unavailable(f"{shlex.join(command)} does not start")
            time.sleep(0.02)

    def _is_healthy(self) -> bool:
        connection = self.connection(*self.address, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def compute(self, items: list[Any]) -> np.ndarray:
        if self.setup.task == "embed":
            return self._vectors(self._ask(self._embed_body(items)))
        return np.concatenate([self._scores(self._ask(self._rerank_body(*item)), len(item[1])) for item in items])

    def _embed_body(self, texts: list[str]) -> dict[str, Any]:
        model = str(self.setup.model)
        if self.setup.choice.dialect == "tei":
            return {"inputs": texts, "truncate": True}
        if self.setup.choice.dialect == "cohere":
            return {
                "model": model,
                "input_type": "search_document",
                "texts": texts,
                "embedding_types": ["float"],
            }
        body = {"model": model, "input": texts}
        return body | ({"encoding_format": "base64"} if self.setup.choice.dialect == "openai" else {})

    def _rerank_body(self, query: str, documents: list[str]) -> dict[str, Any]:
        if self.setup.choice.dialect == "tei":
            return {"query": query, "texts": documents, "truncate": True}
        return {"model": str(self.setup.model), "query": query, "documents": documents, "return_documents": False}

    def _vectors(self, answer: Any) -> np.ndarray:
        dialect = self.setup.choice.dialect
        if dialect == "tei":
            rows = answer
        elif dialect == "cohere":
            rows = answer["embeddings"]["float"]
        elif dialect == "ollama":
            rows = answer["embeddings"]
        else:
            rows = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
        if rows and isinstance(rows[0], str):
            return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in rows])
        return np.asarray(rows, np.float32)

    def _scores(self, answer: Any, count: int) -> np.ndarray:
        scores = np.full(count, np.nan, np.float32)
        for each in answer if self.setup.choice.dialect == "tei" else answer["results"]:
            scores[each["index"]] = each["score"] if "score" in each else each["relevance_score"]
        return scores

    def _ask(self, body: dict[str, Any]) -> Any:
        if not hasattr(self.kept, "connection"):
            self.kept.connection = self.connection(*self.address, timeout=600)
            self.opened.append(self.kept.connection)
        connection: http.client.HTTPConnection = self.kept.connection
        connection.request("POST", self.path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {content[:300].decode(errors='replace')}")
        return json.loads(content)

    def process_ids(self) -> list[int]:
        return [] if self.process is None else [self.process.pid]

    def close(self) -> None:
        for connection in self.opened:
            connection.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
