"""One store in many threads, and in the children of its process."""

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from votive import EmbeddingStore

DIMENSION = 32
THREADS = 8


def together(*tasks: Callable[[], None]) -> None:
    """Runs tasks, each in a thread of its own, and raises the first error."""
    errors: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def vector_of(ids: np.ndarray) -> np.ndarray:
    """What the tests store under an id: a direction that tells which it is."""
    angles = np.asarray(ids, np.float64)[:, None] * np.linspace(0.001, 0.1, DIMENSION // 2)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_searches_while_rows_come_and_go() -> None:
    store = EmbeddingStore()
    kept = np.arange(0, 500)
    store.add_embeddings(vector_of(kept), kept, [f"text {id}" for id in kept], {"twice": kept * 2})
    done = threading.Event()
    searched = [0] * THREADS

    def write() -> None:
        try:
            for step in range(60):
                ids = 1000 + np.arange(step * 20, step * 20 + 20)
                store.add_embeddings(vector_of(ids), ids, [f"text {id}" for id in ids], {"twice": ids * 2})
                # Replaced by the same: whoever searches sees one or the other.
                again = kept[step::60]
                store.add_embeddings(vector_of(again), again, [f"text {id}" for id in again], {"twice": again * 2})
                if step % 2:
                    store.delete(ids - 20)
                if step % 7 == 0:
                    store.compact()
        finally:
            done.set()

    def read(thread: int) -> None:
        random = np.random.default_rng(thread)
        while not done.is_set() or searched[thread] < 3:
            wanted = random.choice(kept, 3)
            scores, ids = store.search(vector_of(wanted), 5)
            # A row that was always there is found, its score is that of equal vectors, and no row comes twice.
            assert ids[:, 0].tolist() == wanted.tolist()
            np.testing.assert_allclose(scores[:, 0], 1, atol=1e-6)
            assert all(len({*row}) == 5 for row in ids.tolist())
            np.testing.assert_allclose(
                scores[0], vector_of(ids[0]) @ vector_of(wanted[:1])[0] / (DIMENSION / 2), atol=1e-5
            )
            np.testing.assert_array_equal(store.get(wanted), vector_of(wanted))
            assert store.get_texts(wanted) == [f"text {id}" for id in wanted]
            _, filtered = store.search(vector_of(wanted[:1])[0], 5, lambda rows, id=wanted[0]: rows["twice"] == 2 * id)
            assert filtered.tolist() == [wanted[0]]
            assert len(store) >= 500
            searched[thread] += 1

    together(write, *(lambda thread=thread: read(thread) for thread in range(THREADS)))
    assert len(store) == 500 + 30 * 20
    assert {*kept.tolist()} <= {*store.ids.tolist()}
    assert store.texts == [f"text {id}" for id in store.ids]
    np.testing.assert_array_equal(store.metadata["twice"], 2 * store.ids)
    np.testing.assert_array_equal(store.get(store.ids), vector_of(store.ids))
    used = store.memory_usage()
    store.compact()
    assert store.memory_usage()["vectors"] == len(store) * DIMENSION * 4 <= used["vectors"]


def test_rows_of_many_writers_are_all_there() -> None:
    store = EmbeddingStore(dimension=DIMENSION)
    given: list[np.ndarray] = []

    def write() -> None:
        for _ in range(25):
            given.append(store.add_embeddings(np.ones((4, DIMENSION))))

    together(*[write] * THREADS)
    assert len(store) == THREADS * 100
    assert sorted(np.concatenate(given).tolist()) == store.ids.tolist() == list(range(THREADS * 100))


def test_a_reader_keeps_what_it_has_seen() -> None:
    store = EmbeddingStore()
    store.add_embeddings(vector_of(np.arange(100)))
    view, ids = store.vectors, iter(store)

    def write() -> None:
        for _ in range(20):
            store.add_embeddings(vector_of(np.arange(100)), np.arange(100))
            store.compact()

    together(write, write)
    np.testing.assert_array_equal(view, vector_of(np.arange(100)))
    assert list(ids) == list(range(100))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.skipif(os.environ.get("VOTIVE_PORTABLE") == "1", reason="a device with an owner is not a child's to use")
def test_child_of_a_fork_has_the_store_and_may_change_it() -> None:
    store = EmbeddingStore(num_threads=2)
    store.add_embeddings(vector_of(np.arange(300)))
    before = store.search(vector_of(np.arange(5)), 10)
    adding, go_on = threading.Event(), threading.Event()

    def blocks():
        yield vector_of(np.arange(10))
        adding.set()
        go_on.wait(60)
        yield vector_of(np.arange(10))

    def child(pipe) -> None:
        # The thread that holds the lock for writing is not in this process.
        found = store.search(vector_of(np.arange(5)), 10)
        store.delete([0])
        store.add_embeddings(vector_of(np.arange(7)))
        pipe.send((found, len(store)))

    writer = threading.Thread(target=store.add_embeddings, args=(blocks(),))
    writer.start()
    adding.wait(60)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(sender,))
    with warnings.catch_warnings():
        # That forking beside threads may deadlock is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    try:
        assert receiver.poll(60)
        found, rows = receiver.recv()
    finally:
        go_on.set()
        writer.join(60)
        process.join(60)
        process.kill()
    assert process.exitcode == 0
    assert rows == 306
    for here, there in zip(before, found, strict=True):
        np.testing.assert_array_equal(here, there)
    assert len(store) == 320


def test_store_is_used_by_workers_that_it_was_pickled_for() -> None:
    store = EmbeddingStore()
    store.add_embeddings(vector_of(np.arange(300)))
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.apply(store.search, (vector_of(np.arange(5)), 10))
    for here, there in zip(store.search(vector_of(np.arange(5)), 10), found, strict=True):
        np.testing.assert_array_equal(here, there)
    assert sys.getrefcount(store) < 10
