"""`_core.Store`: a value whose memory NumPy sees."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from core_stores import DTYPES, empty, filled, ints, rows
from votive import DeviceError
from votive._core import Store, crc32c

HANG = 60.0  # seconds after which a process counts as hanging, on the most loaded machine


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_added_is_there(dtype: str) -> None:
    vectors = rows(3000, 100)
    store, ids = empty(100, dtype, "cosine").add(vectors, None, 3000, 0)
    assert (store.dimension, store.metric, store.dtype, store.num_threads) == (100, "cosine", dtype, 2)
    assert (store.rows, len(store), store.id_kind) == (3000, 3000, "int64")
    np.testing.assert_array_equal(ids, np.arange(3000))
    np.testing.assert_array_equal(store.take(ints(2999, 0, 7)), vectors[[2999, 0, 7]])
    [view] = store.vectors()
    assert view.dtype == dtype
    np.testing.assert_array_equal(view, vectors)
    np.testing.assert_array_equal(store.live(), np.arange(3000))
    assert store.deleted().size == 0
    np.testing.assert_array_equal(store.ids(ints(5, 3)), [5, 3])


def test_an_empty_store() -> None:
    store = empty()
    assert (store.rows, len(store), store.id_kind, store.vectors(), store.segments()) == (0, 0, None, [], [])
    assert (list(store.ids()), store.live().size) == ([], 0)
    np.testing.assert_array_equal(store.find(ints(3, -1)), [-1, -1])
    assert store.take(ints()).shape == (0, 20)
    same, ids = store.add(rows(0), [], 0, 0)
    assert (len(same), ids, same.id_kind, len(same.compact())) == (0, [], None, 0)


def test_strings_are_ids() -> None:
    names = ["a", "", "ä", "雪" * 100, "a\0b", "c"]
    store, ids = empty().add(rows(6), names, 6, 0)
    assert ids == names
    assert store.id_kind == "str"
    np.testing.assert_array_equal(store.find(["c", "d", "", "a\0b", "a"]), [5, -1, 1, 4, 0])
    assert store.without(ints(1, 5)).ids() == ["a", "ä", "雪" * 100, "a\0b"]
    assert store.ids(ints(2, 0)) == ["ä", "a"]
    offsets, data = store.id_slice(1, 4)
    np.testing.assert_array_equal(offsets, [0, 0, 2, 302])
    assert data.tobytes().decode() == "ä" + "雪" * 100
    more, _ = store.add(rows(2, seed=1), ["c", "c"], 2, 0)
    np.testing.assert_array_equal(more.deleted(), [5, 6])
    np.testing.assert_array_equal(more.find(["c"]), [7])


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_are_read_only_and_share_memory(dtype: str) -> None:
    store = filled(500, dtype=dtype)
    more, _ = store.add(rows(1), None, 1, 0)
    [whole], [first, last] = store.vectors(), more.vectors()
    assert np.shares_memory(whole, first)
    assert np.shares_memory(whole, store.without(ints(3)).vectors()[1])
    assert not np.shares_memory(whole, last)
    for view in [whole, first, last, *(part for part in store.segments()[0][1:] if part is not None)]:
        assert not view.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 0


def test_views_stay_when_the_store_changes_or_goes() -> None:
    vectors = rows(1000)
    store = filled(1000)
    view, codes = store.vectors()[0], store.segments()[0][2]
    expected = codes.copy()
    for i in range(50):
        store = store.add(rows(1000, seed=i), ints(*range(1000)), 1000, 0)[0].without(ints(*range(50))).compact()
    del store
    gc.collect()
    np.testing.assert_array_equal(view, vectors)
    np.testing.assert_array_equal(codes, expected)


def test_segments_show_codes_and_bounds() -> None:
    vectors = rows(300, 70)
    view: Any
    [(first, view, codes, bounds, coarse)] = filled(300, 70).without(ints(4)).segments()
    assert (first, codes.shape, bounds.shape, coarse) == (0, (300, 128), (300, 6), None)
    assert (codes.dtype.name, bounds.dtype.name) == ("int8", "float32")
    np.testing.assert_array_equal(view, vectors)
    np.testing.assert_array_equal(codes[:, :70], vectors)
    assert not codes[:, 70:].any()
    assert codes.ctypes.data % 64 == view.ctypes.data % 64 == 0


def test_branches_do_not_see_each_other() -> None:
    stem = filled(10)
    left, right = (stem.add(rows(5, seed=seed), None, 5, 0)[0] for seed in (1, 2))
    shorter = stem.without(ints(0))
    np.testing.assert_array_equal(left.take(ints(*range(10, 15))), rows(5, seed=1))
    np.testing.assert_array_equal(right.take(ints(*range(10, 15))), rows(5, seed=2))
    assert [len(stem), len(left), len(right), len(shorter)] == [10, 15, 15, 9]


def test_a_row_of_an_id_that_is_there_takes_its_place() -> None:
    store, _ = filled(10).add(rows(4, seed=1), ints(3, 12, 3, 9), 4, 0)
    assert (store.rows, len(store)) == (14, 11)
    np.testing.assert_array_equal(store.deleted(), [3, 9, 10])
    np.testing.assert_array_equal(store.find(ints(3, 9, 12, 0, 10)), [12, 13, 11, 0, -1])
    np.testing.assert_array_equal(store.ids(), [0, 1, 2, 4, 5, 6, 7, 8, 12, 3, 9])
    compact = store.compact()
    assert (compact.rows, len(compact.segments())) == (11, 1)
    np.testing.assert_array_equal(compact.ids(), store.ids())
    np.testing.assert_array_equal(compact.vectors()[0], np.concatenate(store.vectors()))
    _, [added] = compact.add(rows(1), None, 1, 0)
    assert added == 13


@pytest.mark.parametrize("n", [3, 3000])
@pytest.mark.parametrize(
    ("dtype", "number", "why"),
    [
        ("float32", np.nan, "row 102 has NaN or infinity"),
        ("int8", -np.inf, "row 102 has NaN or infinity"),
        ("float16", np.inf, "row 102 has NaN or infinity"),
        ("float16", 65536.0, "row 102 has a number beyond 65504"),
        ("float32", 3e38, "row 102 is longer than 1e18"),
    ],
)
def test_a_bad_row_is_named_and_nothing_changes(dtype: str, number: float, why: str, n: int) -> None:
    store = filled(10, 70, dtype)
    before = store.memory
    vectors = rows(n, 70)
    vectors[2, 69] = number
    with pytest.raises(ValueError, match=f"^vectors: {why}"):
        store.add(vectors, None, n, 100)
    assert (len(store), store.rows, store.memory) == (10, 10, before)
    assert store.size_of(1) == store.without(ints()).size_of(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda store: store.add(rows(2), ints(1), 2, 0), "ids: 1 ids for 2 vectors"),
        (lambda store: store.add(rows(2), ints(1, -5), 2, 0), r"ids: ids\[1\] is -5"),
        (lambda store: store.add(rows(2), ["a", "b"], 2, 0), "ids: the ids of this store are int64, found str"),
        (lambda store: store.add(rows(1), ["\ud800"], 1, 0), r"ids\[0\] holds a lone surrogate"),
        (lambda store: store.add(rows(2, 30), None, 2, 0), "vectors: expected 20 columns, found 30"),
        (lambda store: store.add(np.asfortranarray(rows(2)), None, 2, 0), "vectors: expected a C-contiguous array"),
        (lambda store: store.find(["a"]), "ids: the ids of this store are int64, found str"),
        (lambda store: store.without(ints(-1)), "rows: -1 is negative"),
        (lambda store: store.without(ints(10)), "rows: there is no row 10 among 10"),
        (lambda store: store.take(ints(10)), "rows: there is no row 10 among 10"),
        (lambda store: store.without(ints(4)).take(ints(4)), "rows: row 4 is deleted"),
        (lambda store: store.ids(ints(10)), "rows: there is no row 10 among 10"),
        (lambda store: store.id_slice(5, 11), r"5\.\.11 is no part of 10 rows"),
        (lambda _: empty(0), "dimension: 0; accepted: 1 to 65536"),
        (lambda _: empty(dtype="int4"), "accepted: float32, float16, int8"),
        (lambda _: empty(metric="manhattan"), "accepted: cosine, dot, l2"),
        (lambda _: empty(num_threads=0), "num_threads: 0 threads"),
        (lambda _: Store(3, "dot", "int8", "gpu", None), "'gpu'|\"gpu\" is not a device"),
    ],
)
def test_wrong_arguments_are_refused(change: Callable[[Store], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(filled(10))


def test_wrong_types_are_refused() -> None:
    store: Any = filled(10)
    for ids in [[1, 2], ("a", "b"), np.array([1.0, 2.0]), np.array(["a", "b"]), ["a", None]]:
        with pytest.raises(TypeError, match=r"^ids"):
            store.add(rows(2), ids, 2, 0)
    for vectors in [rows(2).astype(np.float64), rows(2)[0], rows(2).tolist()]:
        with pytest.raises(TypeError):
            store.add(vectors, None, 2, 0)
    with pytest.raises(DeviceError, match="available: cpu"):
        Store(3, "dot", "int8", "cuda", None)


def test_more_memory_than_there_is_is_an_error() -> None:
    with pytest.raises(MemoryError, match="bytes"):
        empty().add(rows(1), None, 2**50, 0)
    assert empty().size_of(2**62) > 2**62


def test_memory_is_counted() -> None:
    store = empty(100)
    assert store.memory == dict.fromkeys(["codes", "device", "ids", "mapped", "reserved", "vectors"], 0)
    row = 100 * 4 + 128 + 24
    assert store.size_of(1000) == 1000 * (row + 8)
    store, _ = store.add(rows(1000, 100), np.arange(1000)[::-1].copy(), 1000, 0)
    memory = store.memory
    assert (memory["vectors"], memory["codes"], memory["reserved"]) == (400_000, 152_000, 0)
    assert memory["ids"] == 1000 * (8 + 12)
    assert store.without(ints(3)).memory["ids"] == 1000 * (8 + 12) + 128
    assert store.without(np.arange(1000)).memory["vectors"] == 0


# Threads and processes


def test_readers_are_not_disturbed_by_a_writer() -> None:
    vectors = rows(400)
    shared = [empty().add(vectors[:1], None, 1, 0)[0]]
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                store = shared[0]
                n = store.rows
                np.testing.assert_array_equal(np.concatenate(store.vectors()), vectors[:n])
                np.testing.assert_array_equal(store.find(np.arange(n + 1)), [*range(n), -1])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(1, 400):
        shared[0] = shared[0].add(vectors[i : i + 1], None, 1, 0)[0]
    done.set()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()
    assert failures == []


def test_threads_that_append_to_one_store_do_not_meet() -> None:
    stem = filled(100)
    found: list[Any] = [None] * 6

    def branch(i: int) -> None:
        store = stem
        for j in range(50):
            store = store.add(rows(3, seed=100 * i + j), None, 3, 0)[0]
        found[i] = store

    threads = [threading.Thread(target=branch, args=(i,), daemon=True) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    for i, store in enumerate(found):
        expected = [rows(100), *(rows(3, seed=100 * i + j) for j in range(50))]
        np.testing.assert_array_equal(np.concatenate(store.vectors()), np.concatenate(expected))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")
def test_ctrl_c_is_served_and_nothing_changes() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    store = empty(512, "float16", num_threads=1).add(np.ones((1, 512), np.float32), None, 1, 0)[0]
    vectors = np.ones((100_000, 512), np.float32)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            store.add(vectors, None, len(vectors), 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(store) == 1
    assert len(store.add(vectors[:1000], None, 1000, 0)[0]) == 1001


def test_other_threads_run_while_one_adds() -> None:
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())

    vectors = np.ones((100_000, 256), np.float32)
    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    start = time.perf_counter()
    empty(256, num_threads=1).add(vectors, None, len(vectors), 0)
    end = time.perf_counter()
    stop.set()
    thread.join(HANG)
    assert sum(start < at < end for at in ticks) > 10


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_store_works_in_a_forked_child() -> None:
    vectors = rows(20_000)
    store = empty().add(vectors, None, len(vectors), 0)[0]

    def work() -> None:
        more = store.add(vectors, None, len(vectors), 0)[0]
        same = np.array_equal(more.take(ints(20_007)), vectors[7:8]) and len(more.compact()) == 40_000
        os._exit(0 if same else 1)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(HANG)
    assert child.exitcode == 0


# Checksums


def test_crc32c_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    data = np.arange(100_000).view(np.uint8)
    assert crc32c(data[5000:], crc32c(data[:5000])) == crc32c(data) == crc32c(data.tobytes())
    for wrong in ["123", np.arange(4), np.zeros((2, 2), np.uint8)]:
        with pytest.raises(TypeError, match=r"^data: "):
            crc32c(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^data: "):
        crc32c(data[::2])
