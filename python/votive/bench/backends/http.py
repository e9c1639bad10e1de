"""A server, asked as its clients do: one connection that stays open for each calling thread."""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import threading
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from votive.bench.backends.backend import Backend
from votive.bench.backends.servers import RunningServer, free_port
from votive.bench.backends.unavailable import Unavailable
from votive.bench.worker import environment

EMBED = {"openai": "/embeddings", "jina": "/embeddings", "cohere": "/v2/embed", "tei": "/embed", "ollama": "/api/embed"}
RERANK = {"jina": "/rerank", "openai": "/rerank", "cohere": "/v2/rerank", "tei": "/rerank"}


class Http(Backend):
    """A server at `url`, or one that the command `served` starts, in which `{port}`, `{model}` and `{threads}` are set.

    Attributes:
        dialect: what the server speaks; None: what the experiment says.
        prefixes: where the routes of a dialect begin, on a server that is started here.
    """

    tasks = ("embed", "rerank")
    is_concurrent = True
    dialect: str | None = None
    prefixes: ClassVar[dict[str, str]] = {"openai": "/v1", "jina": "/v1"}

    def load(self) -> None:
        choice = self.setup.choice
        self.spoken = self.dialect or choice.dialect
        paths = EMBED if self.setup.task == "embed" else RERANK
        if self.spoken not in paths:
            raise Unavailable(f"{self.spoken} has no {self.setup.task}; one of {', '.join(paths)}")
        self.kept = threading.local()
        self.opened: list[http.client.HTTPConnection] = []
        self.server: RunningServer | None = None
        port = free_port()
        if choice.url is None or choice.served is not None:
            command = self.command(port)
            try:
                # `start_timeout_s` of the experiment ends a start that takes too long.
                self.server = RunningServer(command, environment(self.setup.threads), port, float("inf"))
            except FileNotFoundError as error:
                raise Unavailable(f"{error.filename or command[0]} is not installed") from error
            except RuntimeError as error:
                raise Unavailable(str(error)) from error
        url = (choice.url or f"http://127.0.0.1:{port}{self.prefixes.get(self.spoken, '')}").replace(
            "{port}", f"{port}"
        )
        parts = urlsplit(url)
        self.address = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
        self.connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.path = parts.path.rstrip("/") + paths[self.spoken]

    def command(self, port: int) -> list[str]:
        """What starts the server. Raises `Unavailable` where nothing does."""
        if self.setup.choice.served is None:
            raise Unavailable("http: give url, or served with a command that starts a server")
        filled = {"{port}": str(port), "{model}": str(self.setup.model), "{threads}": str(self.setup.threads)}
        command = shlex.split(self.setup.choice.served)
        for name, value in filled.items():
            command = [part.replace(name, value) for part in command]
        return command

    def compute(self, items: list[Any]) -> np.ndarray:
        if self.setup.task == "embed":
            return self._vectors(self._ask(self._embed_body(items)))
        return np.concatenate([self._scores(self._ask(self._rerank_body(*item)), len(item[1])) for item in items])

    def _embed_body(self, texts: list[str]) -> dict[str, Any]:
        model = str(self.setup.model)
        if self.spoken == "tei":
            return {"inputs": texts, "truncate": True}
        if self.spoken == "cohere":
            return {
                "model": model,
                "input_type": "search_document",
                "texts": texts,
                "embedding_types": ["float"],
            }
        body = {"model": model, "input": texts}
        return body | ({"encoding_format": "base64"} if self.spoken == "openai" else {})

    def _rerank_body(self, query: str, documents: list[str]) -> dict[str, Any]:
        if self.spoken == "tei":
            return {"query": query, "texts": documents, "truncate": True}
        return {"model": str(self.setup.model), "query": query, "documents": documents, "return_documents": False}

    def _vectors(self, answer: Any) -> np.ndarray:
        dialect = self.spoken
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
        for each in answer if self.spoken == "tei" else answer["results"]:
            scores[each["index"]] = each["score"] if "score" in each else each["relevance_score"]
        return scores

    def _ask(self, body: dict[str, Any]) -> Any:
        if not hasattr(self.kept, "connection"):
            self.kept.connection = self.connection(*self.address, timeout=600)
            self.opened.append(self.kept.connection)
        connection: http.client.HTTPConnection = self.kept.connection
        content = json.dumps(body).encode()
        was_open = connection.sock is not None
        try:
            status, answer = self._exchange(connection, content)
        except ConnectionError:
            if not was_open:
                raise
            # The server has closed it while nothing was asked, as servers do after some seconds.
            status, answer = self._exchange(connection, content)
        if status != 200:
            raise RuntimeError(f"HTTP {status} at {self.path}: {answer[:300].decode(errors='replace')}")
        return json.loads(answer)

    def _exchange(self, connection: http.client.HTTPConnection, content: bytes) -> tuple[int, bytes]:
        """Status and body. Whatever fails, the next request begins with a new connection."""
        try:
            connection.request("POST", self.path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except BaseException:
            connection.close()
            raise

    def process_ids(self) -> list[int]:
        return [] if self.server is None else [self.server.process.pid]

    def close(self) -> None:
        for connection in self.opened:
            connection.close()
        if self.server is not None:
            self.server.close()
