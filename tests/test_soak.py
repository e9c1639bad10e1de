"""Many callers of everything at once, some of whom go away: no result is lost or swapped, and memory stays flat.

VOTIVE_SOAK_SECONDS sets how long: 3 s if it is not set. The proof of a release is 60.
"""

import asyncio
import gc
import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from process_memory import resident_bytes
from votive import Embedder, EmbeddingStore, Reranker

CALLERS = 32
TEXTS = [f"the text of number {i}, " + "which goes on " * (i % 7) for i in range(64)]
QUERY = "what is a candle?"

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


class Gone(Exception):
    """A caller's who gives up."""


class Everything:
    """A model of each kind and a store, with what each text gives alone."""

    def __init__(self) -> None:
        self.embedder = Embedder(str(FIXTURES / "bert_modules"), num_threads=2)
        self.ranker = Reranker(str(FIXTURES / "bert_rerank"), num_threads=2)
        self.vectors = np.stack([self.embedder.encode(text) for text in TEXTS])
        self.scores = np.stack([self.ranker.predict([QUERY, text]) for text in TEXTS])
        self.store = EmbeddingStore()
        self.store.add_embeddings(self.vectors)
        self.nearest = self.store.search(self.vectors, k=3)

    def call(self, choice: random.Random) -> None:
        """One call of a thread."""
        rows = choice.sample(range(len(TEXTS)), choice.choice([1, 1, 2, 20]))
        texts = [TEXTS[row] for row in rows]
        match choice.randrange(6):
            case 0:
                assert same(self.embedder.encode(texts, priority=choice.choice([0.5, 1.0, 4.0])), self.vectors[rows])
            case 1:
                assert same(self.embedder.encode(texts[0]), self.vectors[rows[0]])
            case 2:
                assert same(self.ranker.predict([[QUERY, text] for text in texts]), self.scores[rows])
            case 3:
                scores, ids = self.store.search(self.vectors[rows], k=3)
                assert same(scores, self.nearest[0][rows])
                assert same(ids, self.nearest[1][rows])
            case 4:
                self.give_up(choice, texts)
            case 5:
                asyncio.run(self.tasks(choice))

    def give_up(self, choice: random.Random, texts: list[str]) -> None:
        """A stream that breaks."""
        after = choice.randrange(2 * 4096)

        def endless() -> Iterator[str]:
            for i, text in enumerate(itertools.cycle(texts)):
                if i == after:
                    raise Gone
                yield text

        with pytest.raises(Gone):
            self.embedder.encode(endless())

    async def tasks(self, choice: random.Random) -> None:
        """Tasks, some of which are cancelled at some time or other."""
        rows = choice.sample(range(len(TEXTS)), 6)
        encoded = [asyncio.ensure_future(self.embedder.aencode([TEXTS[row]])) for row in rows]
        scored = [asyncio.ensure_future(self.ranker.apredict([[QUERY, TEXTS[row]]])) for row in rows]
        for _ in range(choice.randrange(4)):
            await asyncio.sleep(0)
        gone = [task for task in encoded + scored if choice.random() < 0.3 and task.cancel()]
        for tasks, expected in ((encoded, self.vectors), (scored, self.scores)):
            found = await asyncio.gather(*tasks, return_exceptions=True)
            for row, task, result in zip(rows, tasks, found, strict=True):
                if task in gone:
                    assert isinstance(result, asyncio.CancelledError)
                else:
                    assert same(result, expected[[row]])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_callers_of_everything() -> None:
    seconds = float(os.environ.get("VOTIVE_SOAK_SECONDS", "3"))
    everything = Everything()
    stop = threading.Event()

    def work(seed: int) -> int:
        choice = random.Random(seed)
        calls = 0
        while not stop.is_set():
            everything.call(choice)
            calls += 1
        return calls

    resident: list[float] = []
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(CALLERS) as threads:
        running = [threads.submit(work, seed) for seed in range(CALLERS)]
        while time.monotonic() < end and not any(caller.done() for caller in running):
            stop.wait(seconds / 60)
            resident.append(resident_bytes() / 2**20)
        stop.set()
        calls = [caller.result() for caller in running]
    print(f"{sum(calls)} calls in {seconds:.0f} s, MB resident: {' '.join(f'{each:.0f}' for each in resident)}")
    print(everything.embedder.stats())
    assert min(calls) > 0
    # Nothing is left behind in the queues, and nobody waits for it.
    gc.collect()
    found: Any = everything.embedder.encode(TEXTS)
    assert same(found, everything.vectors)
    # The first third warms up: each thread's share of the allocator grows to what its calls need.
    warm = resident[len(resident) // 3 :]
    assert max(warm) - warm[0] < 48
