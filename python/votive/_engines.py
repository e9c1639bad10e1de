"""What engines that run votive in their workers do to it."""

from __future__ import annotations

import os
import sys

from votive._cpus import usable_cpus

# By the module that their workers have imported.
_ENGINES = {"ray": "Ray", "pyspark": "Spark", "distributed": "Dask"}


def note_on_threads(num_threads: int | None) -> str | None:
    """That an engine, not the user, has a model compute on one thread; None where that is not so.

    `num_threads` is the argument of the model's constructor.
    """
    if num_threads is not None or os.environ.get("OMP_NUM_THREADS") != "1":
        return None
    if "VOTIVE_NUM_THREADS" in os.environ or "RAYON_NUM_THREADS" in os.environ:
        return None
    engine = next((name for module, name in _ENGINES.items() if module in sys.modules), None)
    cpus = usable_cpus()
    if engine is None or cpus == 1:
        return None
    return (
        f"computes on 1 thread of {cpus} CPUs: {engine} sets OMP_NUM_THREADS=1 in its workers; "
        "give num_threads= where the worker may use more"
    )
