"""Embedders: texts per second, times of calls, start, memory, and how near their vectors are."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from itertools import cycle, islice

import numpy as np
from votive.bench.worker import WorkerError, environment
from votive.demo_corpus import passages

from benches import ROOT
from benches.data import corpus
from benches.measure.comparison import Cells, ItemComparison, program
from benches.peers import models
from benches.peers.embedders import PEERS, REFERENCE
from benches.report import embed
from benches.targets import BFLOAT16, EMBED, FLOAT32, INT8

QUICK_EVERY = 6
QUICK_PASSAGES_EVERY = 20
MEMORY_TEXTS = 1000
NEAREST = 10
BLOCK_ROWS = 512  # of similarities in memory at a time


def targets(arguments: argparse.Namespace) -> None:
    """The ratios that votive is held to."""
    comparison = EmbedComparison(arguments)
    trained = arguments.model == "minilm"  # what vectors, start and memory are held to is MiniLM's
    held = [target for target in EMBED if trained or target.size == "all"]

    for peer in dict.fromkeys(peer for target in held for peer in (target.subject, *target.settings)):
        if comparison.load(peer):
            if peer in (FLOAT32, REFERENCE):
                comparison.memory(peer)
            sets = {target.set for target in held if peer in target.settings and target.size == "all"}
            comparison.choose(peer, sorted(sets))
    if trained and FLOAT32 in comparison.workers:
        _compare_vectors(comparison)

    cells = comparison.cells((each.set, each.size, [each.subject, *each.settings]) for each in held)
    calls = comparison.warm_up(cells)
    for _ in comparison.each_round():
        comparison.round(cells, calls)
        if trained:
            for peer in (FLOAT32, REFERENCE):
                if peer in comparison.workers:
                    seconds = comparison.results["peers"][peer].setdefault("first_vector_seconds", [])
                    seconds.append(comparison.first_vector_seconds(peer))
        comparison.write("targets", embed.targets_markdown(held, comparison.results))
    comparison.close()
    print(embed.targets_markdown(held, comparison.results))


def table(arguments: argparse.Namespace) -> None:
    """Every peer, set and number of texts per call, and a plot."""
    comparison = EmbedComparison(arguments)
    vectors = {}
    for peer in arguments.peers:
        if comparison.load(peer):
            vectors[peer] = comparison.memory(peer)
            _time_starts(comparison, peer)
            comparison.choose(peer, arguments.sets)
    if not vectors:
        sys.exit("no peer could be loaded")
    if REFERENCE in vectors:
        for peer, facts in comparison.results["peers"].items():
            facts |= _agreement(vectors[peer], vectors[REFERENCE])

    cells: Cells = {(name, size): list(vectors) for name in arguments.sets for size in arguments.sizes}
    calls = comparison.warm_up(cells)
    for _ in comparison.each_round():
        comparison.round(cells, calls)
        comparison.write("embed", embed.markdown(comparison.results))
        embed.plot(comparison.results, comparison.out / "embed.png")
    comparison.close()
    print(embed.markdown(comparison.results))


class EmbedComparison(ItemComparison):
    """The peers of `PEERS` and the sets of texts."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        setup = models.embedder(arguments.model, arguments.cache, arguments.threads)
        every = models.EMBEDDERS[arguments.model] * (QUICK_EVERY if arguments.quick else 1)
        super().__init__(arguments, PEERS, setup, corpus.texts(setup.model / "tokenizer.json"), every)

    def first_vector_seconds(self, peer: str) -> float:
        """A fresh process: start Python, import, load, and encode one short text."""
        setup = self.setup
        arguments = (peer, setup.model, setup.cache, setup.threads, self.sets["short"][0])
        command = program("first_vector", *arguments)
        start = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment(setup.threads), stdout=subprocess.PIPE, text=True
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


def _compare_vectors(comparison: EmbedComparison) -> None:
    """Note how near the vectors of votive's types are to float32's, of the mixed texts and of the demo corpus."""
    every = QUICK_PASSAGES_EVERY if comparison.quick else 1
    corpora = {"mixed": comparison.sets["mixed"], "demo": [passage.text for passage in passages()][::every]}
    vectors = {
        peer: {name: comparison.workers[peer].call("compute", texts) for name, texts in corpora.items()}
        for peer in (FLOAT32, BFLOAT16, INT8)
        if peer in comparison.workers
    }
    for peer, each in vectors.items():
        mixed = cosines(each["mixed"], vectors[FLOAT32]["mixed"])
        comparison.results["peers"][peer] |= {
            "cosine_mean": float(mixed.mean()),
            "cosine_lowest": float(mixed.min()),
            "nearest_overlap": _nearest_overlap(each["demo"], vectors[FLOAT32]["demo"]),
        }


def _time_starts(comparison: EmbedComparison, peer: str) -> None:
    repeats = range(1 if comparison.quick else 3)
    facts = comparison.results["peers"][peer]
    facts["first_vector_seconds"] = [comparison.first_vector_seconds(peer) for _ in repeats]
    facts["import_seconds"] = [_import_seconds(PEERS[peer](comparison.setup).modules) for _ in repeats]


def _import_seconds(modules: tuple[str, ...]) -> float:
    """What `import` takes in a fresh process, without the start of Python itself."""
    code = f"import time; start = time.perf_counter(); import {', '.join(modules)}; print(time.perf_counter() - start)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()[-1])


def _agreement(vectors: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """How near a peer's vectors are to the reference's; both `[texts, dimension]`."""
    each = cosines(vectors, reference)
    return {
        "cosine_mean": float(each.mean()),
        "cosine_lowest": float(each.min()),
        "largest_difference": float(np.abs(vectors - reference).max()),
    }


def cosines(vectors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Cosine similarity of each text's two vectors, `[texts]` float64."""
    vectors, reference = vectors.astype(np.float64), reference.astype(np.float64)
    return (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)


def _nearest_overlap(vectors: np.ndarray, reference: np.ndarray) -> float:
    """Of each text's ten nearest others among `reference`, the share that is so among `vectors` too; the mean.

    Both hold unit vectors, of more than ten texts.
    """
    shares = [
        (_nearest(vectors, start)[:, :, None] == _nearest(reference, start)[:, None, :]).any(2).mean(1)
        for start in range(0, len(vectors), BLOCK_ROWS)
    ]
    return float(np.concatenate(shares).mean())


def _nearest(vectors: np.ndarray, start: int) -> np.ndarray:
    """Rows nearest to each of a block's, itself left out: `[block, 10]`, in no order."""
    similarities = vectors[start : start + BLOCK_ROWS] @ vectors.T
    rows = np.arange(len(similarities))
    similarities[rows, start + rows] = -np.inf
    return np.argpartition(-similarities, NEAREST, axis=1)[:, :NEAREST]
