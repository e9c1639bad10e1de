"""What an experiment file says, after reading: one structure, every default filled in by its type."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Task = Literal["embed", "rerank", "search"]
LoadKind = Literal["single", "closed", "open", "offline", "find_peak"]
Measure = Literal["latency", "throughput", "memory", "cpu", "cold_start", "quality"]
Output = Literal["markdown", "csv", "json", "png", "html"]


class _Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A mapping of the file; a key that it does not have is an error."""


class Model(_Section):
    """The model that all backends load.

    Attributes:
        name: a folder, a file or a name that votive finds.
        max_seq_length: longest input in tokens; None: the model's own.
        share: of the requests, beside the shares of the other models; None: a load of its own.
    """

    name: str
    revision: str | None = None
    max_seq_length: int | None = None
    share: float | None = None


class BackendChoice(_Section):
    """One of the compared systems.

    Attributes:
        kind: a name of `votive.bench.backends.KINDS`.
        name: how the tables call it; None: made of the rest.
        device: "cpu", "mps", "cuda" and so on.
        dtype: votive's number type.
        precision: "float32", "int8" and so on of the runtimes.
        bits: of weights, for MLX.
        compile: by `torch.compile`.
        trust_remote_code: run the Python code that a model brings, for sentence-transformers.
        file: of weights that the backend loads in place of the model's folder, such as GGUF.
        url: of a server.
        dialect: what the server at `url` speaks.
        served: a command that starts that server, and is ended after the cells.
        skip: a reason not to run it, which the report tells.
        environment: variables of its process.
    """

    kind: str
    name: str | None = None
    device: str | None = None
    dtype: str | None = None
    precision: str | None = None
    bits: int | None = None
    compile: bool = False
    trust_remote_code: bool = False
    file: str | None = None
    url: str | None = None
    dialect: Literal["openai", "cohere", "tei", "ollama", "jina"] = "openai"
    served: str | None = None
    skip: str | None = None
    environment: dict[str, str] = {}


class Data(_Section):
    """What is computed.

    Attributes:
        sets: of "short" (10-50 tokens), "medium" (100-300), "long" (500-1000) and "mixed", one cell each.
        file: texts instead of the sets: a line each, or JSON lines with `field`.
        count: texts of a set.
        seed: of their choice and of schedules.
        repeat: ask for the same texts again and again, which caches like.
        documents: a query's documents, for rerank.
        vectors, dimension, k: of the store, for search.
    """

    sets: list[str] = msgspec.field(default_factory=lambda: ["short"])
    file: str | None = None
    field: str = "text"
    count: int = 512
    seed: int = 20
    repeat: bool = False
    documents: int = 20
    vectors: int = 100_000
    dimension: int = 384
    k: int = 10


class Sweep(_Section):
    """The points that are measured: all combinations of the lists, or `zip` for pairs, or `points` one by one.

    Keys of `zip` and `points` are the names of the lists here.

    Attributes:
        batch_size: items of a request: texts, documents of a query, or queries.
        concurrency: callers at a time.
        batching: whether requests of callers may share a pass (`batching.enabled`).
    """

    batch_size: list[int] = msgspec.field(default_factory=lambda: [32])
    concurrency: list[int] = msgspec.field(default_factory=lambda: [1])
    batching: list[bool] | None = None
    zip: dict[str, list[int | bool]] | None = None
    points: list[dict[str, int | bool]] | None = None


class Batching(_Section):
    """How requests of callers share passes.

    Attributes:
        enabled: a backend that has a queue uses it; else callers take turns by a lock.
        max_batch_size: texts of a pass; None: what the backend likes.
        timeout_ms: longest wait of a request for others.
    """

    enabled: bool = True
    max_batch_size: int | None = None
    timeout_ms: float | None = None
    max_batch_tokens: int | None = None
    max_concurrency: int | None = None


class Load(_Section):
    """Who asks when.

    Attributes:
        kind: "single" (one after the other), "closed" (callers that wait for each answer), "open" (by schedule, latency
            from the scheduled instant), "offline" (all at once), "find_peak" (the greatest open rate within `p99_ms`).
        rate: requests a second of an open load, or shares of the closed peak such as "70%".
        arrivals: of requests by schedule: random gaps, or even ones.
        burstiness: of random gaps: 1 are those of a Poisson process, less comes in bursts, more is nearly even.
    """

    kind: LoadKind = "closed"
    rate: list[float | str] = []
    arrivals: Literal["poisson", "constant"] = "poisson"
    burstiness: float = 1.0
    p99_ms: float | None = None


class Objective(_Section):
    """Where a number is worth a warning, and where it is critical."""

    warning: float
    critical: float


class Objectives(_Section):
    """What the numbers of every cell are held to; None: nothing."""

    p95_ms: Objective | None = None
    p99_ms: Objective | None = None
    memory_percent: Objective | None = None
    error_percent: Objective | None = None
    gpu_percent: Objective | None = None


class Quality(_Section):
    """Each backend's numbers against a reference.

    Attributes:
        against: the backend (its name or kind) that is the reference; None: the first.
        texts: so many are compared.
        cosine_min: a smaller cosine is an alert.
        rank_overlap: shares of the first so many neighbours.
    """

    against: str | None = None
    texts: int = 500
    cosine_min: float = 0.999
    rank_overlap: int = 10


class Experiment(_Section, kw_only=True):
    """An experiment as it runs.

    Attributes:
        models: several, each of them measured; with shares all at once, in one load.
        backends: the first is the one that ratios refer to.
        threads: of every backend; None: one for each CPU that the process may use.
        warmup: requests before a cell counts.
        iterations, seconds: least requests and least seconds of a cell.
        max_iterations, max_seconds: the first of them that is reached ends a cell.
        timeout_s: a cell that takes longer is given up; None: 300, or more where its load may take that long.
        start_timeout_s: a backend that takes longer to load its model, and to export it before, is given up.
        rounds: turns of all backends.
        baseline: a `report.json` that `votive bench compare` holds the result against; `tolerance` is the share by
            which a median may be worse.
    """

    version: Literal[1] = 1
    name: str
    description: str = ""
    task: Task = "embed"
    models: list[Model]
    backends: list[BackendChoice]
    threads: int | None = None
    data: Data = msgspec.field(default_factory=Data)
    sweep: Sweep = msgspec.field(default_factory=Sweep)
    batching: Batching = msgspec.field(default_factory=Batching)
    load: Load = msgspec.field(default_factory=Load)
    warmup: int = 10
    iterations: int = 100
    seconds: float = 5.0
    max_iterations: int | None = None
    max_seconds: float = 60.0
    timeout_s: float | None = None
    start_timeout_s: float = 300.0
    rounds: int = 3
    measure: list[Measure] = msgspec.field(default_factory=lambda: ["latency", "throughput", "memory", "cpu"])
    quality: Quality = msgspec.field(default_factory=Quality)
    objectives: Objectives = msgspec.field(default_factory=Objectives)
    outputs: list[Output] = msgspec.field(default_factory=lambda: list(get_args(Output)))
    baseline: str | None = None
    tolerance: float = 0.10
