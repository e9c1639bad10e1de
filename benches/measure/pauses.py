"""One short text a call, each after a pause: what a person's query or a quiet server is.

```text
in each round, for each pause, for each peer and number of threads:
    wait until the peer before is idle: its threads ask for work for milliseconds after a call
    so many times: sleep, then time one call
```
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from votive.bench.backends import exports
from votive.bench.backends.engines import ALL_CORES, Engine, EngineSetup, OnnxRuntime
from votive.bench.worker import Worker, WorkerError, environment

from benches.data import corpus
from benches.measure.comparison import Comparison, say
from benches.measure.loaded import LoadedEngine
from benches.peers import models
from benches.peers.embedders import EarlierVotive, Votive
from benches.report import pauses as shown

TOKENS = 17
PAUSES = (0.0, 0.002, 0.012, 0.2)
SETTLE = 0.1
FEWEST_CALLS = 5
WARM_UP = 3  # calls whose times are not kept: caches hold what the peer before worked on
LOADING_CALLS = 10  # after which a peer has started its threads and taken its memory


def pauses(arguments: argparse.Namespace) -> None:
    """Measure, print Markdown, write it and JSON."""
    comparison = PausesComparison(arguments)
    comparison.load()
    for _ in comparison.each_round():
        comparison.round()
        comparison.write("pauses", shown.markdown(comparison.results))
    comparison.close()
    print(shown.markdown(comparison.results))


class PausesComparison(Comparison):
    """`results["times"][pause][peer]` has a list for each round of the seconds that calls took.

    A pause is written in milliseconds, and a peer with its threads: `"votive-int8 2"`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.setup = models.embedder(arguments.model, arguments.cache)
        texts = corpus.texts(self.setup.model / "tokenizer.json")
        self.text = next(text for text in texts.sets["short"] if texts.tokens[text] == TOKENS)
        self.threads: list[int] = arguments.threads or sorted({1, self.setup.threads})
        self.before: Path | None = arguments.before and arguments.before.absolute()
        described = {"model": arguments.model, "corpus": {"digest": texts.digest}, "text": self.text, "tokens": TOKENS}
        described |= {"skipped": {}, "times": {f"{1000 * pause:g}": {} for pause in PAUSES}}
        super().__init__(arguments, max(self.threads), described)

    def makers(self) -> dict[str, Callable[[EngineSetup], Engine]]:
        """What is compared."""
        makers: dict[str, Callable[[EngineSetup], Engine]] = {}
        for dtype in ("float32", "bfloat16", "int8"):
            makers[f"votive-{dtype}"] = partial(Votive, dtype=dtype)
            if self.before is not None:
                makers[f"before-{dtype}"] = partial(EarlierVotive, folder=self.before, dtype=dtype)
        for dtype, export in (("float32", exports.onnx_optimized), ("int8", exports.onnx_int8)):
            makers[f"onnxruntime-{dtype}"] = partial(OnnxRuntime, export=export, choices=ALL_CORES)
        return makers

    def load(self) -> None:
        """All peers' processes."""
        for name, make in self.makers().items():
            for threads in self.threads:
                setup = self.setup._replace(threads=threads)
                # One text is tokenized by the thread that calls: another one would have to be woken first.
                alone = environment(setup.threads) | {"TOKENIZERS_PARALLELISM": "false"}
                peer = f"{name} {threads}"
                say(f"loading {peer}")
                worker = Worker(partial(LoadedEngine, make, setup), alone)
                try:
                    worker.call("times_after", 0.0, LOADING_CALLS, self.text)
                except WorkerError as reason:
                    worker.close()
                    self.skip(peer, reason)
                    continue
                self.workers[peer] = worker

    def round(self) -> None:
        """Each pause once, all peers in turn."""
        for pause in PAUSES:
            for peer, worker in self.workers.items():
                time.sleep(SETTLE)
                warm = worker.call("times_after", pause, WARM_UP, self.text)
                calls = max(FEWEST_CALLS, self.calls(pause + statistics.median(warm)))
                seconds = worker.call("times_after", pause, calls, self.text)
                rounds = self.results["times"][f"{1000 * pause:g}"].setdefault(peer, [])
                rounds.append([round(call, 6) for call in seconds])
