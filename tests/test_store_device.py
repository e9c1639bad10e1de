"""Searches that begin on a device with an owner, as on a GPU, against those of the CPU's kernels: the same to the bit.

`VOTIVE_PORTABLE=1` makes the CPU such a device for the stores that are made under it.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import DIMENSION
from votive import DeviceError, EmbeddingStore, FallbackWarning, _core

METRICS = ("cosine", "dot", "l2")
DTYPES = ("float32", "float16", "int8")


class Pair:
    """A store on the CPU and one on the device, with the same rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.monkeypatch = monkeypatch
        self.here, self.there = (EmbeddingStore(dimension=DIMENSION, **options) for _ in self.devices())

    def devices(self) -> Iterator[str]:
        for store, portable in (("here", "0"), ("there", "1")):
            self.monkeypatch.setenv("VOTIVE_PORTABLE", portable)
            yield store
        self.monkeypatch.setenv("VOTIVE_PORTABLE", "0")

    def both(self, method: str, *args: Any, **kwargs: Any) -> None:
        for store in self.devices():
            getattr(getattr(self, store), method)(*args, **kwargs)

    def check(self, queries: np.ndarray, k: int, **kwargs: Any) -> None:
        before = len(self.there)
        scores, ids = self.here.search(queries, k, **kwargs)
        found_scores, found_ids = self.there.search(queries, k, **kwargs)
        np.testing.assert_array_equal(found_ids, ids)
        np.testing.assert_array_equal(found_scores.view(np.int32), scores.view(np.int32))
        assert before == 0 or self.there.memory_usage()["device"] > 0
        assert self.here.memory_usage()["device"] == 0


def random_rows(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32)


def clustered_rows(rows: int, seed: int) -> np.ndarray:
    """Rows around few centres, one cluster after the other, as documents come."""
    centres = random_rows(5, seed)[np.arange(rows) * 5 // rows]
    return (centres + 0.05 * random_rows(rows, seed + 1)).astype(np.float32)


def tied_rows(rows: int, seed: int) -> np.ndarray:
    """Few different rows, each many times, and rows of zeros."""
    different = np.concatenate([random_rows(6, seed), np.zeros((1, DIMENSION), np.float32)])
    return different[np.random.default_rng(seed).integers(0, 7, rows)]


KINDS = {"random": random_rows, "clustered": clustered_rows, "tied": tied_rows}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_cpus(kind: str, metric: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, metric=metric, dtype=dtype)
    rows = KINDS[kind](5000, 1)
    queries = np.concatenate([random_rows(5, 3), rows[[7, 4000]], np.zeros((1, DIMENSION), np.float32)])
    for part in np.array_split(rows, [1, 700, 3100]):
        pair.both("add_embeddings", part)
        pair.check(queries[:2], 10)
    for k in (1, 10, 300, 9000):
        pair.check(queries, k)
    pair.both("delete", np.arange(0, 5000, 3))
    pair.check(queries, 40)
    numbers = np.arange(len(pair.here))
    for every in (2, 100, 3000):
        pair.check(queries, 25, filter=numbers % every == 1)
    pair.check(queries, 5, filter=[1, 2, 4, 10**6])
    pair.check(queries, 5, filter=np.zeros(len(pair.here), bool))
    pair.both("compact")
    pair.check(queries, 40)


def test_spilled_and_mapped_rows_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, max_memory_gb=0.0005, spill_to=tmp_path)
    queries = random_rows(3, 3)
    for seed in range(4):
        pair.both("add_embeddings", random_rows(1500, seed))
    assert pair.there.memory_usage()["mapped"] > 0
    pair.check(queries, 20)
    folder = tmp_path / "saved"
    pair.here.save_to_disk(folder)
    pair.both("load_from_disk", folder, mmap=True)
    assert pair.there.memory_usage()["mapped"] > 0
    pair.check(queries, 20)


def test_approximate_search_takes_the_best_float32_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch)
    pair.both("add_embeddings", random_rows(3000, 5))
    queries = random_rows(4, 6)
    _, exact = pair.there.search(queries, 10)
    _, near = pair.there.search(queries, 10, exact=False)
    np.testing.assert_array_equal(near, exact)


def test_copies_are_counted_and_go_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, metric="dot")
    store = pair.there
    store.add_embeddings(random_rows(3000, 5))
    assert store.memory_usage()["device"] == 0
    assert " on cpu" not in repr(store)
    store.search(random_rows(1, 6), 1)
    usage = store.memory_usage()
    assert usage["device"] == 3000 * DIMENSION * 4
    assert usage["total"] == sum(usage.values()) - usage["total"] - usage["mapped"] - usage["device"]
    assert "MB on cpu" in repr(store)
    store.clear()
    assert store.memory_usage()["device"] == 0


def test_memory_stays_bounded_over_many_additions_and_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, metric="dot")
    query = random_rows(1, 6)
    for i in range(300):
        pair.both("add_embeddings", random_rows(3, i))
        if i % 100 == 0:
            pair.check(query, 5)
        pair.there.search(query, 5)
        assert pair.there.memory_usage()["device"] == 3 * (i + 1) * DIMENSION * 4


def test_threads_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch)
    pair.both("add_embeddings", random_rows(4000, 1))
    queries = random_rows(8, 2)
    expected = [pair.here.search(query, 10) for query in queries]
    wrong = []

    def work(query: np.ndarray, expected: tuple[np.ndarray, np.ndarray]) -> None:
        for _ in range(10):
            found = pair.there.search(query, 10)
            if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=pair_of) for pair_of in zip(queries, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_core_store_moves_between_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOTIVE_PORTABLE", "1")
    store, _ = _core.Store(DIMENSION, "l2", "float32", "cpu", 2).add(random_rows(3000, 1), None, 3000, 0)
    queries = random_rows(3, 2)
    scores, rows, _ = store.search(queries, 7, None, True)
    assert (store.device, store.memory["device"]) == ("cpu", 3000 * (DIMENSION + 1) * 4)
    monkeypatch.setenv("VOTIVE_PORTABLE", "0")
    moved = store.on("cpu")
    found_scores, found_rows, _ = moved.search(queries, 7, None, True)
    np.testing.assert_array_equal(found_scores, scores)
    np.testing.assert_array_equal(found_rows, rows)
    assert moved.memory == {**store.memory, "device": 0}
    [view], [moved_view] = store.vectors(), moved.vectors()
    assert np.shares_memory(view, moved_view)
    with pytest.raises(ValueError, match="gpu"):
        store.on("gpu")


def test_less_memory_takes_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = random_rows(6000, 1), random_rows(40, 2)
    here = EmbeddingStore(backend="cpu")
    here.add_embeddings(rows)
    expected = here.search(queries, 20)
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", f"memory:{1500 * DIMENSION}")
    there = EmbeddingStore(backend="fake", dimension=DIMENSION)
    there.add_embeddings(rows)
    for found, same in zip(there.search(queries, 20), expected, strict=True):
        np.testing.assert_array_equal(found, same)
    assert there.memory_usage()["device"] >= rows.nbytes


@pytest.mark.parametrize("fault", ["memory:1000", "operation:1", "operation:4"])
def test_a_device_that_fails_is_told_of_or_left(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = random_rows(3000, 1), random_rows(3, 2)
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", fault)
    store = EmbeddingStore(backend="fake", dimension=DIMENSION)
    store.add_embeddings(rows)
    with pytest.raises(DeviceError, match="memory" if "memory" in fault else "lost"):
        store.search(queries, 5)
    assert store.last_search is None
    other = EmbeddingStore(backend="fake", dimension=DIMENSION, fallback=True)
    other.add_embeddings(rows)
    with pytest.warns(FallbackWarning, match="going on with 'cpu'"):
        found = other.search(queries, 5)
    expected = EmbeddingStore(backend="cpu")
    expected.add_embeddings(rows)
    for again in (found, other.search(queries, 5)):
        for scores, same in zip(again, expected.search(queries, 5), strict=True):
            np.testing.assert_array_equal(scores, same)
