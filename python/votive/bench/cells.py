"""What was measured: one `Measured` for each cell and round, kept as lines of `cells.jsonl` as they come.

A line is written and flushed to the disk when its cell ends, so that a run that is killed goes on where it was.
"""

from __future__ import annotations

import msgspec

from votive.bench.experiment import Experiment
from votive.bench.plan import Cell


class Latency(msgspec.Struct, kw_only=True):
    """Milliseconds of the requests of one cell in one round."""

    samples: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class Resources(msgspec.Struct, kw_only=True):
    """What the backend's process took; None where the machine does not say it.

    Attributes:
        cpu_mhz_min, cpu_mhz_mean: of the fastest CPU at each instant of the cell, as idle ones slow down by themselves.
    """

    rss_peak_bytes: int | None = None
    rss_sustained_bytes: int | None = None
    cpu_seconds_per_item: float | None = None
    device_memory_bytes: int | None = None
    cold_start_seconds: float | None = None
    cpu_mhz_min: float | None = None
    cpu_mhz_mean: float | None = None


class Consistency(msgspec.Struct, kw_only=True):
    """A backend's vectors, scores or hits against those of another."""

    against: str
    cosine_mean: float | None = None
    cosine_min: float | None = None
    max_difference: float | None = None
    spearman: float | None = None
    rank_overlap: float | None = None
    nan_count: int = 0


class OfModel(msgspec.Struct, kw_only=True):
    """What one model of mixed traffic answered, in the steady window of all of it."""

    requests: int = 0
    items: int = 0
    items_per_second: float = 0.0
    latency: Latency | None = None
    errors: dict[str, int] = {}


class Measured(msgspec.Struct, kw_only=True):
    """One cell in one round.

    Attributes:
        round: counted from 0.
        skipped: why it was not measured; everything else is then empty.
        seconds: of the steady window.
        requests, items, tokens: answered in it.
        requests_per_second, items_per_second, tokens_per_second: of it. Items are texts, pairs or queries.
        histogram: counts of latencies below each of `votive.bench.statistics.EDGES` milliseconds, for plots of all.
        errors: failed requests by kind.
        models: numbers of each model by its name, in mixed traffic.
        consistency: with the reference.
        pairs: consistency with each backend that was there before, in a backend's first cell of a model and a set.
        pass_sizes: mean number of texts in a pass, where the backend says so.
        samples_file: beside `cells.jsonl`, with every request; see `votive.bench.statistics.samples`.
        marks: what makes the cell doubtful: "saturated", "invalid: ...", "warm-up counts", "short: N of M requests",
            "p99 from N samples".
    """

    cell: Cell
    round: int
    skipped: str | None = None
    seconds: float = 0.0
    requests: int = 0
    items: int = 0
    tokens: int = 0
    requests_per_second: float = 0.0
    items_per_second: float = 0.0
    tokens_per_second: float | None = None
    latency: Latency | None = None
    histogram: list[int] = []
    errors: dict[str, int] = {}
    models: dict[str, OfModel] = {}
    resources: Resources = msgspec.field(default_factory=Resources)
    consistency: Consistency | None = None
    pairs: list[Consistency] = []
    pass_sizes: float | None = None
    load_average: tuple[float, float] | None = None
    samples_file: str | None = None
    marks: list[str] = []

    @property
    def is_finished(self) -> bool:
        """Whether it has numbers: it was not skipped, and not all of it failed."""
        return self.skipped is None and (self.requests > 0 or not self.errors)


class Run(msgspec.Struct, kw_only=True):
    """What a folder's `run.json` says, written before the first cell; `cells.jsonl` lies beside it.

    Attributes:
        schema_version: of this structure and of the lines of `cells.jsonl`.
        experiment: as resolved.
        machine: as `votive.bench.machine.describe` gives it.
        versions: of the packages that were compared.
        git: the commit of the working directory, as `votive.bench.machine.git_commit` gives it.
        started: time in UTC, ISO 8601.
    """

    schema_version: int = 1
    experiment: Experiment
    machine: dict[str, str | int | float | list[str]]
    versions: dict[str, str]
    git: str | None = None
    started: str
