"""A static embedding beside model2vec: its package for Python and, where a program of it is given, its crate for Rust.

All have the shape of potion-base-8M: 256 numbers for each token of MiniLM's vocabulary, which are random here. In every
round each peer embeds the whole of the mixed texts once, in turns, with all CPUs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from votive._cpus import usable_cpus
from votive.bench import machine

from benches import report
from benches.data.corpus import texts
from benches.measure.comparison import say
from benches.peers.models import embedder

WIDTH = 256
GOAL = 1.5
WARM_UP = 3


def targets(arguments: argparse.Namespace) -> None:
    """Measure, print Markdown, write it and JSON."""
    rounds = 2 if arguments.quick else arguments.rounds
    tokenizer = embedder().model / "tokenizer.json"
    corpus = texts(tokenizer)
    mixed = corpus.sets["mixed"]
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": usable_cpus(),
        "corpus": {"digest": corpus.digest, "texts": len(mixed), "bytes": sum(len(text.encode()) for text in mixed)},
        "times": {},
        "skipped": {},
    }
    with TemporaryDirectory() as folder:
        write_model(Path(folder), tokenizer)
        peers = {}
        for name, make in {"votive": _votive, "model2vec": _model2vec, "model2vec-rs": _crate}.items():
            try:
                peers[name] = make(folder, mixed, arguments)
            except (ImportError, OSError, ValueError) as reason:
                say(f"skipped: {name}: {reason}")
                results["skipped"][name] = str(reason)
        for number in range(WARM_UP + rounds):
            for name, peer in peers.items():
                seconds = peer()
                if number >= WARM_UP:
                    results["times"].setdefault(name, []).append(seconds)
    markdown = _markdown(results)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write(arguments.out, "static_targets", results, markdown)
    print(markdown)


def write_model(folder: Path, tokenizer: Path) -> None:
    """A folder of model2vec with random rows."""
    rows = len(json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"])
    table = np.random.default_rng(0).standard_normal((rows, WIDTH), np.float32)
    header = {"embeddings": {"dtype": "F32", "shape": table.shape, "data_offsets": [0, table.nbytes]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + table.tobytes())
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    shutil.copy(tokenizer, folder / "tokenizer.json")


def _seconds(call: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return timed


def _votive(folder: str, mixed: list[str], arguments: argparse.Namespace) -> Callable[[], float]:
    from votive import Embedder

    model = Embedder(folder, device="cpu")
    return _seconds(lambda: model.encode(mixed))


def _model2vec(folder: str, mixed: list[str], arguments: argparse.Namespace) -> Callable[[], float]:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder)
    return _seconds(lambda: model.encode(mixed))


def _crate(folder: str, mixed: list[str], arguments: argparse.Namespace) -> Callable[[], float]:
    """`benches/peers/model2vec_rs.rs`, which is given the model and the texts, and says how long each call takes."""
    if arguments.rust is None:
        raise ValueError("no program is given by --rust")
    file = Path(folder) / "texts.json"
    file.write_text(json.dumps(mixed), encoding="utf-8")
    program = subprocess.Popen(
        [arguments.rust, folder, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert program.stdin is not None
    assert program.stdout is not None
    ask, answer = program.stdin, program.stdout

    def timed() -> float:
        ask.write("encode\n")
        ask.flush()
        return float(answer.readline().split()[0])

    return timed


def _markdown(results: dict[str, Any]) -> str:
    own = results["times"]["votive"]
    lines = []
    for name, seconds in results["times"].items():
        rate = results["corpus"]["texts"] / median(seconds)
        faster = "" if name == "votive" else report.times_faster(report.speedups(seconds, own))
        lines.append(
            [name, f"{1000 * median(seconds):.2f} ms", report.short(rate), faster, "" if not faster else f"{GOAL:g}x"]
        )
    corpus = results["corpus"]
    header = (
        f"{corpus['texts']} mixed texts of {corpus['bytes']:,} bytes in one call, {WIDTH} numbers for each token. "
        f"{report.machine_line(results)}"
    )
    skipped = "".join(f"\n- {name} was skipped: {reason}" for name, reason in results["skipped"].items())
    columns = ["", "time", "texts per second", "votive is faster", "asked"]
    return f"{header}\n\n{report.table(columns, lines)}\n{skipped}\n"
