"""Engines that spread work over machines, on this one: their speed beside plain `encode`, and memory over many rows."""

from __future__ import annotations

import argparse
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
import psutil
import votive
from votive._cpus import usable_cpus
from votive.bench import machine

from benches import report
from benches.data.corpus import texts
from benches.measure.comparison import say
from benches.peers.models import embedder

ROWS_A_BATCH = 1024  # as in docs/guide/scale-out.md
TURNS = 4  # of the mixed texts, each with another number before it: equal ones would be computed once
ROWS_A_STUB_BATCH = 4096
STUB_WIDTH = 8
STORE_BYTES = 512 << 20  # of Ray's object store


class Span(NamedTuple):
    """Of a batch in the process that computes: seconds since 1970, and CPU seconds of that process."""

    began: float
    ended: float
    cpu_began: float
    cpu_ended: float


class Times(NamedTuple):
    """Seconds of a run.

    Attributes:
        whole: with the start and the end of the engine.
        batches: from the begin of the first batch to the end of the last.
        between: of these, without any batch.
        cpu: CPU seconds of the process that computes, within `batches`.
        engine: CPU seconds of all other processes, within `batches`.
    """

    whole: float
    batches: float
    between: float
    cpu: float
    engine: float

    @classmethod
    def of(cls, whole: float, spans: list[Span], samples: list[tuple[float, float]]) -> Times:
        """Of a run with these batches, some of them at the same time, and samples of `_cpu_seconds`."""
        begin = end = min(spans).began
        between = 0.0
        for span in sorted(spans):
            between += max(0.0, span.began - end)
            end = max(end, span.ended)
        cpu = max(span.cpu_ended for span in spans) - min(span.cpu_began for span in spans)
        first, last = np.interp((begin, end), *zip(*samples, strict=True))
        return cls(whole, end - begin, between, cpu, max(0.0, float(last - first) - cpu))

    @property
    def all_cpu(self) -> float:
        """CPU seconds of all processes: what a machine that does nothing else needs, times its cores."""
        return self.cpu + self.engine


def engines(arguments: argparse.Namespace) -> None:
    """Measure, print Markdown, write it and JSON."""
    rounds = 1 if arguments.quick else arguments.rounds
    folder = embedder().model
    base = texts(folder / "tokenizer.json").sets["mixed"]
    base = base[::8] if arguments.quick else base
    mixed = [f"{turn} {text}" for turn in range(TURNS) for text in base]
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": usable_cpus(),
        "texts": len(mixed),
        "rows": ROWS_A_BATCH,
        "times": {},
        "skipped": {},
    }
    peers: dict[str, Callable[[str, list[str]], Times]] = {
        "encode": _encode,
        "encode, a call for each batch": _calls,
        "Ray Data": _ray,
        "Dask": _dask,
    }
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, peer in peers.items():
            if name in results["skipped"]:
                continue
            try:
                results["times"].setdefault(name, []).append(peer(str(folder), mixed))
            except ImportError as reason:
                results["skipped"][name] = str(reason)
        named = {name: [each._asdict() for each in times] for name, times in results["times"].items()}
        _write(arguments.out, "scale_engines", results | {"times": named}, _markdown(results))
    print(_markdown(results))


def _markdown(results: dict[str, Any]) -> str:
    plain = results["times"]["encode"]
    lines = []
    for name, times in results["times"].items():
        if not times:
            continue
        pairs = [*zip(plain, times, strict=True)]
        ratios = [theirs.batches / ours.batches for theirs, ours in pairs]
        by_cpu = [theirs.all_cpu / ours.all_cpu for theirs, ours in pairs]
        speeds = ["", ""] if name == "encode" else [report.spread(each, "{:.2f}".format) for each in (ratios, by_cpu)]
        batches = median(each.batches for each in times)
        lines.append(
            [
                name,
                f"{batches:.1f} s",
                f"{results['texts'] / batches:.0f}",
                *speeds,
                f"{median(each.cpu for each in times):.1f} s",
                f"{median(each.engine for each in times):.1f} s",
                f"{median(each.between for each in times):.2f} s",
                f"{median(each.whole - each.batches for each in times):.1f} s",
            ]
        )
    columns = ["", "all texts", "texts per second", "of encode", "by CPU seconds", "CPU of encode", "CPU of the engine"]
    columns += ["between batches", "start and end"]
    skipped = "".join(f"\n- {name} was skipped: {reason}" for name, reason in results["skipped"].items())
    header = f"{results['texts']} mixed texts, {results['rows']} in a batch. {report.machine_line(results)}"
    return f"{header}\n\n{report.table(columns, lines)}\n{skipped}\n"


def _measured(model: votive.Embedder, part: list[str]) -> tuple[np.ndarray, Span]:
    warnings.simplefilter("ignore", votive.TruncationWarning)  # in the engines' processes, too
    began, cpu_began = time.time(), time.process_time()
    vectors = model.encode(part)
    return vectors, Span(began, time.time(), cpu_began, time.process_time())


def _parts(mixed: list[str]) -> list[list[str]]:
    return [mixed[start : start + ROWS_A_BATCH] for start in range(0, len(mixed), ROWS_A_BATCH)]


def _encode(folder: str, mixed: list[str]) -> Times:
    return _plain(folder, [mixed])


def _calls(folder: str, mixed: list[str]) -> Times:
    return _plain(folder, _parts(mixed))


def _plain(folder: str, parts: list[list[str]]) -> Times:
    began = time.time()
    with _sampled(_cpu_seconds()) as samples:
        model = votive.Embedder(folder, num_threads=usable_cpus())
        spans = [_measured(model, part)[1] for part in parts]
        model.close()
    return Times.of(time.time() - began, spans, samples)


class Encode:
    """The actor of docs/guide/scale-out.md, which also says when each batch began and ended."""

    def __init__(self, folder: str, num_threads: int) -> None:
        self.model = votive.shared(votive.Embedder, folder, num_threads=num_threads)

    def __call__(self, batch: Any) -> Any:
        """The batch and its vectors."""
        vectors, span = _measured(self.model, batch["text"])
        return _with(_with(batch, vectors), np.tile(span, (len(batch), 1)), "span")


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
    from pyarrow.parquet import read_table

    began = time.time()
    with (
        TemporaryDirectory() as written,
        _started(object_store_memory=STORE_BYTES),
        _sampled(_cpu_seconds()) as samples,
    ):
        rows = ray.data.from_arrow(pa.table({"text": mixed}))
        rows.map_batches(**_pool(Encode, ROWS_A_BATCH, folder, usable_cpus())).write_parquet(written)
        whole = time.time() - began
        spans = {Span(*span) for span in read_table(written, columns=["span"])["span"].to_pylist()}
    return Times.of(whole, [*spans], samples)


def _dask(folder: str, mixed: list[str]) -> Times:
    import dask
    from distributed import Client, LocalCluster

    began = time.time()
    threads = usable_cpus()
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
        _sampled(_cpu_seconds()) as samples,
    ):
        [model] = client.scatter([votive.shared(votive.Embedder, folder, num_threads=threads)], broadcast=True)
        client.submit(_measured, model, ["the first task loads"]).result()
        done = client.gather([client.submit(_measured, model, part, pure=False) for part in _parts(mixed)])
    return Times.of(time.time() - began, [span for _, span in done], samples)


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
        with _sampled(_memory) as samples:
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


Sample = TypeVar("Sample")


@contextmanager
def _sampled(sample: Callable[[list[psutil.Process]], Sample]) -> Iterator[list[Sample]]:
    """What `sample` says of this process and of those below it, every second, and when the block is over."""
    samples: list[Sample] = []
    over = threading.Event()

    def take() -> None:
        me = psutil.Process()
        samples.append(sample([me, *me.children(recursive=True)]))

    def sampling() -> None:
        while not over.wait(1):
            take()

    sampler = threading.Thread(target=sampling)
    take()
    sampler.start()
    try:
        yield samples
        take()
    finally:
        over.set()
        sampler.join()


def _memory(processes: list[psutil.Process]) -> tuple[int, int]:
    """Bytes: what is their own, and the most that one shares.

    Shared is the object store, of which a page counts from its first use on.
    """
    own, shared = 0, 0
    for process in processes:
        with suppress(psutil.Error):  # it has ended
            memory = process.memory_info()
            own += memory.rss - memory.shared
            shared = max(shared, memory.shared)
    return own, shared


def _cpu_seconds() -> Callable[[list[psutil.Process]], tuple[float, float]]:
    """Seconds since 1970, and CPU seconds of all processes, those that have ended among them."""
    seen: dict[int, float] = {}

    def sample(processes: list[psutil.Process]) -> tuple[float, float]:
        for process in processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                seen[process.pid] = times.user + times.system
        return time.time(), sum(seen.values())

    return sample


def _write(folder: Path, name: str, results: dict[str, Any], markdown: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder, name, results, markdown)
