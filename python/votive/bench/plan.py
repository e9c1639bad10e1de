"""The cells of an experiment, and the order in which they are measured."""

from __future__ import annotations

import msgspec


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one backend, taken once in each round.

    Attributes:
        experiment: name of the experiment.
        model: name of the model.
        backend: name of the backend in this experiment.
        data_set: name of the set of texts; "file" for those of a file.
        batch_size: items of a request.
        concurrency: callers at a time.
        batching: whether callers share passes.
        load: kind of load.
        rate: requests a second of an open load; a share such as "70%" of the peak; None in others.
    """

    experiment: str
    model: str
    backend: str
    data_set: str
    batch_size: int
    concurrency: int
    batching: bool
    load: str
    rate: float | str | None = None
