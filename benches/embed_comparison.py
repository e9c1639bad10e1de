"""Embedders that take turns on the corpus, and what is measured of them once."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import model
import numpy as np
from comparison import QUICK_EVERY, Comparison, options
from peers import PEERS
from worker import WorkerError, environment

MEMORY_TEXTS = 1000
FIRST_VECTOR = Path(__file__).with_name("first_vector.py")


def embed_options(description: str) -> argparse.ArgumentParser:
    """The arguments of a comparison of embedders."""
    return options(description, model.MODELS, "minilm; base has random weights")


class EmbedComparison(Comparison):
    """The peers of `PEERS` and the sets of texts."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import corpus  # not above: the workers import the script again, and must import nothing of votive

        setup = model.setup(arguments.model, arguments.cache, arguments.threads)
        every = model.MODELS[arguments.model] * (QUICK_EVERY if arguments.quick else 1)
        super().__init__(arguments, PEERS, setup, corpus.read(setup.model / "tokenizer.json"), every)

    def first_vector_seconds(self, peer: str) -> float:
        """A fresh process: start Python, import, load, and encode one short text."""
        setup = self.setup
        command = [sys.executable, str(FIRST_VECTOR), peer, str(setup.model), str(setup.cache), str(setup.threads)]
        start = time.perf_counter()
        with subprocess.Popen(
            [*command, self.sets["short"][0]], env=os.environ | environment(setup), stdout=subprocess.PIPE, text=True
        ) as process:
            if not any(line == "ready\n" for line in process.stdout):
                raise WorkerError(f"{peer}: its process ended before its first vector")
            return time.perf_counter() - start

    def memory(self, peer: str) -> np.ndarray:
        """Note what a fresh worker takes after 1,000 texts; gives its vectors of the mixed set."""
        mixed = self.sets["mixed"]
        texts = mixed if self.quick else list(islice(cycle(mixed), MEMORY_TEXTS))
        vectors = self.workers[peer].call("compute", texts)
        self.results["peers"][peer]["memory_bytes"] = self.workers[peer].call("memory")
        return vectors[: len(mixed)]
