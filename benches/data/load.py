"""Requests to a server: of callers that wait for each answer (closed), or by a schedule (open).

In a closed load nobody asks while the server hangs, so that it says what the server can do. An open load says what a
client sees: a request is due at its instant, and its latency counts from there.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

SEED = 20


class Load(NamedTuple):
    """What a server did.

    `seconds`: of all of it. `latencies`: seconds of each request. `late`: seconds by which the generator was behind its
    schedule at each; empty in a closed load. `errors`: answers that were not 200.
    """

    seconds: float
    latencies: list[float]
    late: list[float]
    errors: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds that so great a share of the requests took at most."""
        return float(np.quantile(self.latencies, share))


def requests(texts: list[str], size: int, base64: bool) -> Iterator[bytes]:
    """Without end, of `size` texts each, as the bytes of HTTP."""
    endless = cycle(texts)
    while True:
        batch = list(islice(endless, size))
        fields = {"input": batch, "model": "m"} | ({"encoding_format": "base64"} if base64 else {})
        body = json.dumps(fields).encode()
        head = (
            "POST /embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def closed(port: int, each: Iterator[bytes], connections: int, seconds: float) -> Load:
    """So many callers, each with one request after the other, for so long."""
    return asyncio.run(_closed(port, each, connections, seconds))


def opened(port: int, each: Iterator[bytes], rate: float, seconds: float) -> Load:
    """So many requests per second, at random instants from a fixed seed."""
    return asyncio.run(_opened(port, each, rate, seconds))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> _Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    async def ask(self, request: bytes) -> bool:
        """Whether the answer is 200."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self.reader.readexactly(int(length.split(b":")[1]))
        return head.startswith(b"HTTP/1.1 200")


async def _closed(port: int, each: Iterator[bytes], connections: int, seconds: float) -> Load:
    latencies: list[float] = []
    errors = 0
    start = time.perf_counter()

    async def work(connection: _Connection) -> None:
        nonlocal errors
        while (before := time.perf_counter()) < start + seconds:
            errors += not await connection.ask(next(each))
            latencies.append(time.perf_counter() - before)
        connection.writer.close()

    opened = [await _Connection.to(port) for _ in range(connections)]
    start = time.perf_counter()
    await asyncio.gather(*map(work, opened))
    return Load(time.perf_counter() - start, latencies, [], errors)


async def _opened(port: int, each: Iterator[bytes], rate: float, seconds: float) -> Load:
    latencies: list[float] = []
    late: list[float] = []
    errors = 0
    free: list[_Connection] = [await _Connection.to(port) for _ in range(16)]
    chance = random.Random(SEED)

    async def one(due: float, request: bytes) -> None:
        nonlocal errors
        connection = free.pop() if free else await _Connection.to(port)
        errors += not await connection.ask(request)
        latencies.append(time.perf_counter() - due)
        free.append(connection)

    start = due = time.perf_counter()
    running = set()
    while (due := due + chance.expovariate(rate)) < start + seconds:
        request = next(each)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append(max(0.0, time.perf_counter() - due))
        task = asyncio.create_task(one(due, request))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for connection in free:
        connection.writer.close()
    return Load(time.perf_counter() - start, latencies, late, errors)
