"""Tasks of engines that share a worker process load weights once, though each unpickles a model of its own."""

import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import votive
from conftest import FIXTURES

TEXTS = ["one text", "another text, which is longer"]
MODEL = str(FIXTURES / "bert_40")
OPTIONS = {"num_threads": 1, "device": "cpu", "dtype": "float32"}
TASKS = 3

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")


class Done(NamedTuple):
    """What a task saw in its process.

    Attributes:
        process: its id.
        earlier: tasks that were there before it.
        own: no earlier task had its model object.
        refused: what loading other weights raised, after this one's were found.
        vectors: of `TEXTS`.
    """

    process: int
    earlier: int
    own: bool
    refused: str
    vectors: Any


def task_with(model: Any) -> Callable[[int], tuple[Any, ...]]:
    """A task that holds the model. Its process may load weights until the first task ends, and none after that."""
    texts, folder, options = TEXTS, MODEL, OPTIONS

    def task(number: int) -> tuple[Any, ...]:
        # Its workers have no tests to import.
        import os

        import votive
        from votive._model import Model

        # No object is kept here: what has the weights from task to task is votive's to keep.
        earlier = vars(votive).get("tasks", 0)
        votive.tasks = earlier + 1
        own = "task" not in vars(model)
        model.task = number
        vectors = model.encode(texts)

        def refuse(self: Any) -> None:
            raise RuntimeError("no more weights")

        Model._load = refuse
        try:
            votive.Embedder(folder, **options | {"max_batch_size": 3 + number})
        except RuntimeError as error:
            refused = str(error)
        return os.getpid(), earlier, own, refused, vectors.tolist()

    return task


def by_spark(task: Callable[[int], tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        numbers = spark.sparkContext.parallelize(range(TASKS), TASKS)  # a task for each
        return numbers.map(task).collect()
    finally:
        spark.stop()


def by_dask(task: Callable[[int], tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # One after the other, as a task is a message of its own then.
        return [client.submit(task, number, pure=False).result() for number in range(TASKS)]


def by_ray(task: Callable[[int], tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    import ray

    ray.init(num_cpus=1, include_dashboard=False)
    try:
        # Made anew each time: Ray keeps a function that it knows.
        return [ray.get(ray.remote(task).remote(number)) for number in range(TASKS)]
    finally:
        ray.shutdown()


@pytest.mark.parametrize(("needed", "run"), [("pyspark", by_spark), ("distributed", by_dask), ("ray", by_ray)])
def test_tasks_of_a_process_load_once(needed: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(needed)
    if needed == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    model = votive.shared(votive.Embedder, MODEL, **OPTIONS)
    done = [Done(*each) for each in run(task_with(model))]
    assert len({each.process for each in done}) == 1, "the tasks had processes of their own"
    assert [each.earlier for each in done] == [*range(TASKS)]
    # Each had an object that was unpickled for it, and all but the first could have loaded nothing.
    assert [each.own for each in done] == [True] * TASKS
    assert [each.refused for each in done] == ["no more weights"] * TASKS
    for each in done:
        np.testing.assert_array_equal(np.array(each.vectors, np.float32), model.encode(TEXTS))
