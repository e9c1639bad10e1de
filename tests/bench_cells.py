"""What the tests of reports and of comparisons share: cells that were not measured."""

from votive.bench.plan import Cell


def cell(backend: str, batch: int, load: str = "closed", rate: float | None = None) -> Cell:
    """One of the experiment "one", of short texts and one caller."""
    return Cell(
        experiment="one",
        model="m",
        backend=backend,
        data_set="short",
        batch_size=batch,
        concurrency=1,
        batching=True,
        load=load,
        rate=rate,
    )
