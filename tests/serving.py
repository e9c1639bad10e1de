"""What the tests of servers share: a client that shows everything of an answer."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from votive.serving import Server

JSON = {"Content-Type": "application/json"}


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@contextmanager
def connect(server: Server, timeout: float = 60) -> Iterator[http.client.HTTPConnection]:
    """A connection to the server."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    server: Server, path: str, body: Any = None, headers: Mapping[str, str] = JSON, method: str | None = None
) -> Answer:
    """The answer to a request: POST with a body, which is JSON unless it is bytes, else GET."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with connect(server) as connection:
        connection.request(method or ("GET" if body is None else "POST"), path, data, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def decoded(text: str) -> Any:
    """The row that base64 stands for."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.002)
