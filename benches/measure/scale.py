"""Engines that spread work over machines, on this one: their speed beside plain `encode`, and memory over many rows."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import votive
from votive._cpus import usable_cpus
from votive.bench import machine

from benches import report
from benches.data.corpus import texts
from benches.measure.comparison import say
from benches.peers.models import embedder

ROWS_A_BATCH = 256  # four batches of the mixed texts
ROWS_A_STUB_BATCH = 4096
STUB_WIDTH = 8
STORE_BYTES = 512 << 20  # of Ray's object store

Times = tuple[float, float]
"""Seconds of the whole, and from the begin of the first batch to the end of the last."""


def engines(arguments: argparse.Namespace) -> None:
    """Measure, print Markdown, write it and JSON."""
    rounds = 1 if arguments.quick else arguments.rounds
    folder = embedder().model
    mixed = texts(folder / "tokenizer.json").sets["mixed"]
    mixed = mixed[::8] if arguments.quick else mixed
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": usable_cpus(),
        "texts": len(mixed),
        "times": {},
        "skipped": {},
    }
    peers: dict[str, Callable[[str, list[str]], Times]] = {"encode": _encode, "Ray Data": _ray, "Dask": _dask}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, peer in peers.items():
            if name in results["skipped"]:
                continue
            try:
                results["times"].setdefault(name, []).append(peer(str(folder), mixed))
            except ImportError as reason:
                results["skipped"][name] = str(reason)
        _write(arguments.out, "scale_engines", results, _markdown(results))
    print(_markdown(results))


def _markdown(results: dict[str, Any]) -> str:
    plain = [batches for _, batches in results["times"]["encode"]]
    lines = []
    for name, times in results["times"].items():
        if not times:
            continue
        ratios = [ours / theirs for ours, (_, theirs) in zip(plain, times, strict=True)]
        whole, batches = median(whole for whole, _ in times), median(batches for _, batches in times)
        ratio = "" if name == "encode" else report.spread(ratios, lambda value: f"{value:.2f}")
        rate = f"{results['texts'] / batches:.0f}"
        lines.append([name, f"{batches:.1f} s", rate, ratio, f"{whole - batches:.1f} s"])
    columns = ["", "all texts", "texts per second", "of encode", "start and end"]
    skipped = "".join(f"\n- {name} was skipped: {reason}" for name, reason in results["skipped"].items())
    header = f"{results['texts']} mixed texts. {report.machine_line(results)}"
    return f"{header}\n\n{report.table(columns, lines)}\n{skipped}\n"


def _encode(folder: str, mixed: list[str]) -> Times:
    began = time.time()
    model = votive.Embedder(folder, num_threads=usable_cpus())
    loaded = time.time()
    model.encode(mixed)
    ended = time.time()
    return ended - began, ended - loaded


class Encode:
    """The actor of docs/guide/scale-out.md, which also says when each batch began and ended."""

    def __init__(self, folder: str, num_threads: int) -> None:
        self.model = votive.shared(votive.Embedder, folder, num_threads=num_threads)

    def __call__(self, batch: Any) -> Any:
        """The batch and its vectors."""
        began = time.time()
        vectors = self.model.encode(batch["text"])
        return _with(_with(batch, vectors), np.full((len(batch), 2), (began, time.time())), "times")


def _with(batch: Any, values: np.ndarray, name: str = "vector") -> Any:
    import pyarrow as pa

    return batch.append_column(name, pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1]))


@contextmanager
def _started(**options: Any) -> Iterator[None]:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    ray.init(num_cpus=max(2, usable_cpus()), include_dashboard=False, log_to_driver=False, **options)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _pool(call: type, rows: int, *arguments: Any) -> dict[str, Any]:
    from ray.data import ActorPoolStrategy

    return {
        "fn": call,
        "fn_constructor_args": arguments,
        "compute": ActorPoolStrategy(size=1),
        "num_cpus": max(1, usable_cpus() - 1),
        "batch_size": rows,
        "batch_format": "pyarrow",
    }


def _ray(folder: str, mixed: list[str]) -> Times:
    import pyarrow as pa
    import ray.data

    began = time.time()
    with _started(object_store_memory=STORE_BYTES):
        rows = ray.data.from_arrow(pa.table({"text": mixed}))
        encoded = rows.map_batches(**_pool(Encode, ROWS_A_BATCH, folder, usable_cpus())).take_all()
        spans = np.array([row["times"] for row in encoded])
    return time.time() - began, float(spans[:, 1].max() - spans[:, 0].min())


def _part(part: list[str], model: Any) -> tuple[np.ndarray, Times]:
    began = time.time()
    vectors = model.encode(part)
    return vectors, (began, time.time())


def _dask(folder: str, mixed: list[str]) -> Times:
    from distributed import Client, LocalCluster

    began = time.time()
    threads = usable_cpus()
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        [model] = client.scatter([votive.shared(votive.Embedder, folder, num_threads=threads)], broadcast=True)
        client.submit(_part, ["the first task loads"], model).result()
        parts = [mixed[start : start + ROWS_A_BATCH] for start in range(0, len(mixed), ROWS_A_BATCH)]
        spans = np.array([span for _, span in client.gather(client.map(_part, parts, model=model, pure=False))])
    return time.time() - began, float(spans[:, 1].max() - spans[:, 0].min())


class Stub:
    """An actor without a model."""

    def __call__(self, batch: Any) -> Any:
        """The batch and rows of zeros."""
        return _with(batch, np.zeros((len(batch), STUB_WIDTH), np.float32))


def rows(arguments: argparse.Namespace) -> None:
    """Rows through Ray Data to Parquet, with a stub of the model, and memory by the second."""
    import pyarrow as pa
    import ray.data
    from pyarrow.parquet import read_metadata

    count = 200_000 if arguments.quick else arguments.rows
    with TemporaryDirectory() as folder, _started(object_store_memory=STORE_BYTES):

        def text(batch: Any) -> Any:
            return batch.append_column("text", pa.array([f"text {number}" for number in batch["id"].to_pylist()]))

        encoded = (
            ray.data.range(count)
            .map_batches(text, batch_size=ROWS_A_STUB_BATCH, batch_format="pyarrow")
            .map_batches(**_pool(Stub, ROWS_A_STUB_BATCH))
        )
        with _sampled() as samples:
            start = time.monotonic()
            encoded.write_parquet(folder)
            seconds = time.monotonic() - start
        written = sum(read_metadata(file).num_rows for file in Path(folder).rglob("*.parquet"))
    if written != count:
        raise RuntimeError(f"{written:,} of {count:,} rows were written")
    results = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": usable_cpus(),
        "rows": count,
        "seconds": seconds,
        "bytes": samples,
    }
    lines = []
    for name, values in zip(("of the processes", "of Ray's object store"), np.array(samples).T, strict=True):
        quarters = [float(np.median(part)) for part in np.array_split(values, 4)]
        lines.append([name, *(f"{value / 2**30:.2f} GiB" for value in (*quarters, values.max()))])
    columns = ["memory", "first quarter", "second", "third", "last", "most"]
    header = f"{count:,} rows in {seconds:.0f} s. {report.machine_line(results)}"
    markdown = f"{header}\n\n{report.table(columns, lines)}\n"
    _write(arguments.out, "scale_rows", results, markdown)
    print(markdown)


@contextmanager
def _sampled() -> Iterator[list[tuple[int, int]]]:
    """Bytes of this process and of those below it, every second: what is their own, and the most that one shares.

    Shared is the object store, of which a page counts from its first use on.
    """
    samples: list[tuple[int, int]] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(1):
            own, shared = 0, 0
            me = psutil.Process()
            for process in [me, *me.children(recursive=True)]:
                try:
                    memory = process.memory_info()
                except psutil.Error:
                    continue
                own += memory.rss - memory.shared
                shared = max(shared, memory.shared)
            samples.append((own, shared))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        over.set()
        sampler.join()


def _write(folder: Path, name: str, results: dict[str, Any], markdown: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder, name, results, markdown)
