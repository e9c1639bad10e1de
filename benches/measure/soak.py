"""A server under mixed load for long: whether what it holds of memory stays.

```text
callers, each on a connection of its own:
    a request of a random interface, number of texts and length
    some leave before the answer; some send what is no body
meanwhile, each second: bytes of memory
```
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter

import numpy as np

from benches import report
from benches.data import corpus
from benches.measure.comparison import say
from benches.peers import models
from benches.peers.servers import PEERS, RunningServer, free_port

SEED = 20
QUICK_SECONDS = 10.0
SETTLE = 120.0  # seconds until passes of all sizes have been there
SIZES = (1, 1, 1, 1, 2, 8, 32)
LEAVING, BAD = 0.05, 0.05  # shares of requests
BAD_BODIES = (b"", b"{", b'{"input": 3}', b'{"input": [1, null]}', b"[" * 1000, b'{"input": "\xff"}', b"x" * 100_000)


def soak(arguments: argparse.Namespace) -> None:
    """Load, print Markdown, write it and JSON."""
    setup = models.embedder(threads=arguments.threads)
    texts = corpus.texts(setup.model / "tokenizer.json").sets["mixed"]
    server = PEERS["votive"](setup, free_port())
    try:
        load = MixedLoad(server, texts)
        seconds = QUICK_SECONDS if arguments.quick else 60 * arguments.minutes
        asyncio.run(load.run(arguments.callers, seconds))
    finally:
        server.close()
    shown = load.markdown()
    results = {"memory": load.memory, "answers": load.answers, "seconds": load.seconds, "settle": SETTLE}
    report.write(arguments.out, "soak", results, shown)
    print(shown)


class MixedLoad:
    """Callers of a server.

    `memory` has its bytes at each second of `seconds`, `answers` how often each status came, "left" among them.
    """

    def __init__(self, server: RunningServer, texts: list[str]) -> None:
        self.server, self.texts = server, texts
        self.memory: list[int] = []
        self.seconds: list[float] = []
        self.answers: Counter[str] = Counter()

    async def run(self, callers: int, seconds: float) -> None:
        """So many callers, for so long."""
        start = time.perf_counter()
        working = [asyncio.create_task(self._work(random.Random(SEED + i), start + seconds)) for i in range(callers)]
        while (now := time.perf_counter() - start) < seconds:
            self.seconds.append(now)
            self.memory.append(self.server.memory())
            if len(self.memory) % 60 == 0:
                say(f"{now / 60:.0f} min: {self.memory[-1] / 1e6:.1f} MB, {self.answers.total()} requests")
            await asyncio.sleep(1)
        await asyncio.gather(*working)

    async def _work(self, choice: random.Random, end: float) -> None:
        reader = writer = None
        while time.perf_counter() < end:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 26)
            assert reader is not None
            writer.write(self._request(choice))
            if choice.random() < LEAVING:
                await asyncio.sleep(choice.random() / 20)
                self.answers["left"] += 1
                writer.close()
                writer = None
                continue
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            self.answers[head.split(b" ", 2)[1].decode()] += 1
            if b"connection: close" in head.lower():
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    def _request(self, choice: random.Random) -> bytes:
        texts = choice.sample(self.texts, choice.choice(SIZES))
        path, fields = choice.choice(
            [
                ("/v1/embeddings", {"input": texts, "encoding_format": "base64"}),
                ("/v1/embeddings", {"input": texts}),
                ("/embed", {"inputs": texts}),
                ("/api/embed", {"model": "m", "input": texts}),
                ("/v2/embed", {"model": "m", "texts": texts, "input_type": "search_document"}),
                ("/tokenize", {"inputs": texts}),
                ("/similarity", {"inputs": {"source_sentence": texts[0], "sentences": texts}}),
            ]
        )
        body = choice.choice(BAD_BODIES) if choice.random() < BAD else json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def markdown(self) -> str:
        """What it held first, when it had settled, and last; and whether that is the same."""
        seconds, memory = np.array(self.seconds), np.array(self.memory) / 1e6
        settled = seconds >= min(SETTLE, seconds[-1] / 2)
        first, last = memory[settled][:10].mean(), memory[settled][-10:].mean()
        slope = np.polyfit(seconds[settled] / 60, memory[settled], 1)[0]
        change = last / first - 1
        rows = [
            ["memory at the start", f"{memory[0]:.1f} MB"],
            [f"after {seconds[settled][0]:.0f} s", f"{first:.1f} MB"],
            [f"after {seconds[-1]:.0f} s", f"{last:.1f} MB"],
            ["slope", f"{slope:+.3f} MB a minute"],
            ["change", f"{change:+.2%}: {'within' if abs(change) <= 0.01 else 'NOT within'} 1 %"],
            ["answers", ", ".join(f"{name}: {count}" for name, count in sorted(self.answers.items()))],
        ]
        return report.table(["soak", ""], rows) + "\n"
