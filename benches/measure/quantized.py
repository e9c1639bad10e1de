"""Quantized weights: votive beside llama.cpp on the same GGUF files, and beside runtimes with weights of four bits."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from functools import partial

import numpy as np
from votive.bench.backends import gguf_files
from votive.bench.worker import Worker, WorkerError, environment

from benches import ROOT
from benches.data import corpus
from benches.measure.comparison import ItemComparison, program, say
from benches.measure.embed import QUICK_EVERY, cosines
from benches.measure.loaded import LoadedEngine
from benches.peers import models
from benches.peers.embedders import Votive
from benches.peers.quantized import PEERS, VotiveGguf
from benches.report import quantized

# Of each set, one text in so many is measured.
EVERY = {"minilm": 4, "base": 8, "qwen3": 16}
MANY, ONE = ("mixed", "all"), ("short", "1")


def targets(arguments: argparse.Namespace) -> None:
    """The ratios that votive is held to."""
    comparison = QuantizedComparison(arguments)
    for peer in arguments.peers:
        if comparison.load(peer):
            comparison.choose(peer, ["mixed"])
    comparison.compare_vectors()
    cells = comparison.cells([(*MANY, arguments.peers), (*ONE, arguments.peers)])
    calls = comparison.warm_up(cells)
    name = "quantized_targets" if arguments.model == "minilm" else f"quantized_targets_{arguments.model}"
    for _ in comparison.each_round():
        comparison.round(cells, calls)
        comparison.start_all()
        comparison.write(name, quantized.markdown(comparison.results))
    comparison.close()
    print(quantized.markdown(comparison.results))


class QuantizedComparison(ItemComparison):
    """The peers of `benches.peers.quantized`.

    `results["starts"][peer]` holds for each round what a fresh process measures of its start.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        setup = models.embedder(arguments.model, arguments.cache, arguments.threads)
        every = EVERY[arguments.model] * (QUICK_EVERY if arguments.quick else 1)
        super().__init__(arguments, PEERS, setup, corpus.texts(setup.model / "tokenizer.json"), every)
        self.results["starts"] = {}

    def start_all(self) -> None:
        """Each peer in a fresh process, in turns."""
        setup = self.setup
        for peer in self.workers:
            command = program("start", peer, setup.model, setup.cache, setup.threads, self.sets["short"][0])
            variables = os.environ | environment(setup.threads)
            done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=True)
            self.results["starts"].setdefault(peer, []).append(json.loads(done.stdout.splitlines()[-1]))

    def compare_vectors(self) -> None:
        """Note how near each peer's vectors of the mixed texts are to votive's in float32 from the same numbers.

        For a GGUF file these are its own, for the other peers those of the model before it was quantized.
        """
        for kind in (*gguf_files.TYPES, None):
            peers = [peer for peer in self.workers if (peer.split()[-1] == kind if kind else " " not in peer)]
            if not peers:
                continue
            say(f"float32 of {kind or 'the model'}")
            make = partial(VotiveGguf, kind=kind, dtype="float32") if kind else Votive
            try:
                with Worker(partial(LoadedEngine, make, self.setup), environment(self.setup.threads)) as exact:
                    reference: np.ndarray = exact.call("compute", self.sets["mixed"])
            except WorkerError as reason:
                say(f"not compared: {reason}")
                continue
            for peer in peers:
                near = cosines(self.workers[peer].call("compute", self.sets["mixed"]), reference)
                facts = {"cosine_mean": float(near.mean()), "cosine_lowest": float(near.min())}
                self.results["peers"][peer] |= facts
