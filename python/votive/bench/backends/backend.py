"""What all backends have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from votive.bench.experiment import BackendChoice, Batching, Data, Task


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend's process is given.

    Attributes:
        task: what it computes.
        model: the model's folder, or the name that was given where it is not a folder.
        cache: folder of what is made once from a model, such as exports.
    """

    task: Task
    model: Path
    choice: BackendChoice
    batching: Batching
    data: Data
    threads: int
    max_seq_length: int | None
    cache: Path


class Backend(ABC):
    """A system with the model loaded, in a process of its own.

    Attributes:
        tasks: what it can compute.
        devices: where it can, the first by default; None where `load` finds out.
        is_concurrent: callers may call `compute` at the same time; else the runner puts a lock before it.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("embed",)
    devices: ClassVar[tuple[str, ...] | None] = None
    is_concurrent: ClassVar[bool] = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @abstractmethod
    def load(self) -> None:
        """Make ready for `compute`. Raises `ImportError` or `Unavailable` where that cannot be."""

    @abstractmethod
    def compute(self, items: list[Any]) -> np.ndarray:
        """A float32 row for each item in their order.

        embed: items are texts; their vectors `[texts, dimension]`. rerank: one item is `(query, documents)`; its scores
        `[documents]`. search: items are query vectors; places of the nearest `[queries, k]`, int64.
        """

    def pass_sizes(self) -> float | None:
        """Mean number of texts in a pass since the last call; None where it has no queue."""
        return None

    def device_memory(self) -> int | None:
        """Bytes taken on the device; None on the CPU."""
        return None

    def process_ids(self) -> list[int]:
        """Further processes that compute for it, such as a server's."""
        return []

    def close(self) -> None:  # noqa: B027
        """End what it has started; most have started nothing."""
