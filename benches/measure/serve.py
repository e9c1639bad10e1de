"""votive's server beside others, and beside the same model in the process of its callers."""

from __future__ import annotations

import argparse
import threading
import time
from itertools import cycle
from statistics import median
from typing import Any

from votive.bench.backends.servers import RunningServer, free_port

from benches.data import corpus
from benches.data.load import Load, closed, opened, requests
from benches.measure.comparison import Comparison, say
from benches.peers import models
from benches.peers.servers import PEERS
from benches.report import serve

IN_PROCESS = "votive, in process"
SHARES = (0.5, 0.7, 0.9)
SIZES = (1, 32)


def table(arguments: argparse.Namespace) -> None:
    """Every server and number of connections; the latencies of votive's at shares of its peak; what HTTP costs."""
    comparison = ServeComparison(arguments)
    try:
        comparison.start(arguments.peers)
        comparison.measure_peaks(arguments.connections)
        comparison.measure_shares()
        comparison.measure_cost()
    finally:
        comparison.close()
    comparison.write("serve", serve.markdown(comparison.results))
    print(serve.markdown(comparison.results))


class ServeComparison(Comparison):
    """All servers at once, of which one is asked at a time.

    `results["cells"]` has the rates and the quantiles of times of every cell, `results["open"]` those of open loads,
    `results["servers"]` what each takes, and `results["cost"]` CPU seconds of a request.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.setup = models.embedder(threads=arguments.threads)
        texts = corpus.texts(self.setup.model / "tokenizer.json")
        self.texts, self.mixed = texts.sets["short"], texts.sets["mixed"]
        self.servers: dict[str, RunningServer] = {}
        described = {"model": "minilm", "corpus": {"digest": texts.digest}, "skipped": {}}
        super().__init__(arguments, self.setup.threads, described | {"servers": {}, "cells": [], "open": []})

    def start(self, peers: list[str]) -> None:
        """Every server that can be, one after the other."""
        for name in peers:
            say(f"starting {name}")
            try:
                self.servers[name] = server = PEERS[name](self.setup, free_port())
            except (RuntimeError, OSError) as reason:
                self.skip(name, reason)
                continue
            self.ask(name, 1, 1, 0.5)
            self.results["servers"][name] = {"ready": server.ready_seconds, "memory": server.memory()}

    def ask(self, name: str, connections: int, size: int, seconds: float | None = None) -> Load:
        """A closed load, once."""
        each = requests(self.texts, size, base64=name != "fastapi")
        return closed(self.servers[name].port, each, connections, seconds or self.seconds)

    def measure_peaks(self, connections: list[int]) -> None:
        """Rates of every server, taking turns; and of threads in a process with the same model."""
        from votive import Embedder

        model = Embedder(self.setup.model, num_threads=self.setup.threads)
        for size in SIZES:
            for count in connections if size == 1 else [c for c in connections if c <= 8]:
                runs: dict[str, list[Load]] = {name: [] for name in [IN_PROCESS, *self.servers]}
                for _ in range(self.rounds):
                    for name, loads in runs.items():
                        load = self._threads(model, count, size) if name == IN_PROCESS else self.ask(name, count, size)
                        loads.append(load)
                for name, loads in runs.items():
                    self._note("cells", name, {"connections": count, "texts": size}, loads)
                say(f"{count} connections, {size} texts")

    def measure_shares(self) -> None:
        """Latencies of votive's servers, by schedule, at shares of what they do at most; mixed texts."""
        for name in [name for name in self.servers if name.startswith("votive")]:
            port = self.servers[name].port
            peak = closed(port, requests(self.mixed, 1, base64=True), 32, self.seconds).rate
            for share in SHARES:
                each = requests(self.mixed, 1, base64=True)
                loads = [opened(port, each, share * peak, self.seconds) for _ in range(self.rounds)]
                self._note("open", name, {"share": share, "peak": peak}, loads)
                late = sorted(late for load in loads for late in load.late)
                self.results["open"][-1]["generator_late_p99"] = late[int(0.99 * (len(late) - 1))]
                say(f"{name}: {share:.0%} of {peak:.0f} a second")

    def measure_cost(self) -> None:
        """CPU seconds of a request to a model that computes next to nothing, less those of its call in a process."""
        from votive import Embedder

        folder = models.FIXTURE.parent / "bert_40"
        model = Embedder(folder, num_threads=1)
        text, calls = self.texts[0], 200 if self.quick else 5000
        model.encode([text])
        before = time.process_time()
        for _ in range(calls):
            model.encode([text], normalize_embeddings=True)
        inside = (time.process_time() - before) / calls
        self.setup = self.setup._replace(model=folder, threads=1)
        server = PEERS["votive"](self.setup, free_port())
        cost = {}
        try:
            for form in ("base64", "float"):
                each = cycle([next(requests([text], 1, base64=form == "base64"))])
                closed(server.port, each, 1, 0.2)
                before = server.cpu_seconds()
                load = closed(server.port, each, 1, self.seconds * 3)
                cost[form] = (server.cpu_seconds() - before) / len(load.latencies)
        finally:
            server.close()
        self.results["cost"] = {"inside": inside, **cost}

    def _threads(self, model: Any, count: int, size: int) -> Load:
        latencies: list[float] = []
        start = time.perf_counter()

        def work(caller: int) -> None:
            place = caller * 37
            while (before := time.perf_counter()) < start + self.seconds:
                batch = [self.texts[(place + i) % len(self.texts)] for i in range(size)]
                model.encode(batch, normalize_embeddings=True)
                latencies.append(time.perf_counter() - before)
                place += size

        threads = [threading.Thread(target=work, args=(caller,)) for caller in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Load(time.perf_counter() - start, latencies, [], 0)

    def _note(self, kind: str, peer: str, described: dict[str, Any], loads: list[Load]) -> None:
        quantiles = [median(load.quantile(share) for load in loads) for share in (0.5, 0.95, 0.99)]
        rates = [load.rate for load in loads]
        errors = sum(load.errors for load in loads)
        self.results[kind].append({"peer": peer, **described, "rates": rates, "quantiles": quantiles, "errors": errors})

    def close(self) -> None:
        """End all servers."""
        for server in self.servers.values():
            server.close()
        super().close()
