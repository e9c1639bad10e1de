"""Threads and processes: the interpreter stays free, and objects are shared, forked and left alone without harm.

VOTIVE_SOAK_SECONDS sets how long the soak test runs: 3 s if it is not set.
"""

import json
import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from votive import Embedder

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork() of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
# From 3.12 on, Python warns of any fork() beside threads.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

FIXTURES = Path(__file__).parent / "fixtures"
TINY = str(FIXTURES / "bert_40")
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
HANG = 60.0  # seconds after which a process counts as hanging, on the most loaded machine


@pytest.fixture(scope="module")
def model() -> Embedder:
    """Two threads, so that work is shared out wherever the tests run."""
    return Embedder(TINY, num_threads=2)


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    """Of `TEXTS`."""
    return model.encode(TEXTS)


def in_thread(work: Callable[[], None]) -> threading.Thread:
    """A started thread, which a failing test does not wait for."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# The interpreter's lock


@pytest.mark.parametrize("output_value", ["sentence_embedding", "token_embeddings"])
def test_other_threads_run_while_one_encodes(model: Embedder, output_value: str) -> None:
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())

    thread = in_thread(tick)
    start = time.perf_counter()
    model.encode(TEXTS * 20, output_value=output_value)
    end = time.perf_counter()
    stop.set()
    thread.join()
    # With the lock held, the ticks would all lie at one end.
    tenths = {int(10 * (at - start) / (end - start)) for at in ticks if start <= at < end}
    assert len(tenths) >= 5


# Processes


def encoded_in_a_child(model: Embedder) -> np.ndarray:
    """What a forked child of this process finds for `TEXTS`; a child that hangs is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(int(HANG))
            os.write(write, model.encode(TEXTS).tobytes())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        found = np.frombuffer(pipe.read(), np.float32)
    assert os.waitpid(child, 0)[1] == 0
    return found.reshape(len(TEXTS), -1)


@posix
@forks
@pytest.mark.parametrize("threads", [1, 2])
def test_a_used_model_works_in_a_forked_child(threads: int) -> None:
    model = Embedder(TINY, num_threads=threads)
    expected = model.encode(TEXTS)
    for _ in range(3):
        assert np.array_equal(encoded_in_a_child(model), expected)
    assert np.array_equal(model.encode(TEXTS), expected)


@posix
@forks
def test_a_child_that_is_forked_while_threads_encode_works(model: Embedder, expected: np.ndarray) -> None:
    stop = threading.Event()
    wrong: list[int] = []

    def encode() -> None:
        while not stop.is_set():
            # One text and many: both ways of sharing work are under way when the process is forked.
            if not np.array_equal(model.encode(TEXTS), expected) or not np.array_equal(
                model.encode(TEXTS[0]), expected[0]
            ):
                wrong.append(1)

    threads = [in_thread(encode) for _ in range(3)]
    for _ in range(10):
        assert np.array_equal(encoded_in_a_child(model), expected)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


@posix
@forks
def test_a_child_that_is_forked_while_a_thread_loads_loads_too(expected: np.ndarray) -> None:
    loading, go_on = threading.Event(), threading.Event()

    class Pause(logging.Handler):
        """Holds up the first load, in the midst of which it is logged."""

        def emit(self, _: logging.LogRecord) -> None:
            if not loading.is_set():
                loading.set()
                go_on.wait(HANG)

    logger, handler = logging.getLogger("votive"), Pause()
    with Embedder(TINY, num_threads=2) as model:
        pass
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        thread = in_thread(lambda: model.encode(TEXTS))
        loading.wait(HANG)
        assert np.array_equal(encoded_in_a_child(model), expected)
        go_on.set()
        thread.join()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


shared: Embedder


def encode_shared(text: str) -> np.ndarray:
    return shared.encode(text)


@posix
@forks
def test_a_pool_of_forked_processes_uses_the_parents_model(model: Embedder, expected: np.ndarray) -> None:
    global shared
    shared = model
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(encode_shared, TEXTS).get(timeout=HANG)
    assert np.array_equal(np.stack(found), expected)


def test_a_spawned_process_loads_the_model_anew(model: Embedder, expected: np.ndarray) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(model.encode, (TEXTS,)).get(timeout=HANG)
    assert np.array_equal(found, expected)


EXITS = {
    "one text": "while True: model.encode(TEXTS[0]); started.set()",
    "list": "started.set(); model.encode(TEXTS * 2000)",
    "generator": "started.set(); model.encode(iter(TEXTS * 2000))",
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", EXITS.values(), ids=EXITS)
def test_a_program_ends_while_a_daemon_thread_encodes(work: str, threads: int) -> None:
    program = f"""
import json, threading
from votive import Embedder

TEXTS = json.loads({json.dumps(json.dumps(TEXTS))})
started = threading.Event()
model = Embedder({TINY!r}, num_threads={threads})

def encode():
    {work}

threading.Thread(target=encode, daemon=True).start()
started.wait()
model.encode(TEXTS)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=HANG, check=False
    )
    assert (ended.returncode, ended.stderr.decode()) == (0, "")


# Many threads, one object


def test_eight_threads_share_a_model(model: Embedder, expected: np.ndarray) -> None:
    begin = threading.Barrier(8)

    def encode(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(TEXTS))
        begin.wait(HANG)
        for _ in range(3):
            assert np.array_equal(model.encode([TEXTS[index] for index in order]), expected[order])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(encode, range(8)))


def test_threads_that_find_a_model_not_loaded_load_it_once(
    expected: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with Embedder(TINY) as model:
        pass
    begin = threading.Barrier(8)

    def encode(_: int) -> None:
        begin.wait(HANG)
        assert np.array_equal(model.encode(TEXTS), expected)

    with caplog.at_level(logging.INFO, "votive"), ThreadPoolExecutor(8) as threads:
        list(threads.map(encode, range(8)))
    # Each load is logged.
    assert len(caplog.records) == 1


def test_the_greatest_length_may_change_while_others_encode() -> None:
    model = Embedder(TINY, num_threads=2)
    text = " ".join(TEXTS)
    lengths = (10, 20, 40)
    accepted = set()
    for model.max_seq_length in lengths:
        accepted.add(model.encode(text).tobytes())
    assert len(accepted) == len(lengths)
    stop = threading.Event()

    def encode(_: int) -> set[bytes]:
        found = set()
        while not stop.is_set():
            found |= {row.tobytes() for row in model.encode([text] * 20)}
        return found

    with ThreadPoolExecutor(4) as threads:
        found = threads.map(encode, range(4))
        for length in random.Random(0).choices(lengths, k=300):
            model.max_seq_length = length
        stop.set()
        assert all(rows <= accepted for rows in found)
    assert len(model.tokenize(text)["input_ids"]) == model.max_seq_length


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@linux
def test_threads_work_for_long_in_flat_memory(model: Embedder, expected: np.ndarray) -> None:
    seconds = float(os.environ.get("VOTIVE_SOAK_SECONDS", "3"))
    normalized = model.encode(TEXTS, normalize_embeddings=True)
    tokens = np.concatenate(model.encode(TEXTS, output_value="token_embeddings"))
    ids = model.tokenize(TEXTS)
    stop = threading.Event()

    def mixed(seed: int) -> int:
        choice = random.Random(seed)
        out = np.empty_like(expected)
        calls = 0
        while not stop.is_set():
            row = choice.randrange(len(TEXTS))
            match choice.randrange(8):
                case 0 | 1 | 2:
                    assert np.array_equal(model.encode(TEXTS[row]), expected[row])
                case 3:
                    assert np.array_equal(model.encode(TEXTS[row:], batch_size=5), expected[row:])
                case 4:
                    assert np.array_equal(model.encode(iter(TEXTS), out=out), expected)
                case 5:
                    assert np.array_equal(model.encode(TEXTS, normalize_embeddings=True), normalized)
                case 6:
                    parts = model.encode(TEXTS, output_value="token_embeddings")
                    assert np.array_equal(np.concatenate(parts), tokens)
                case 7:
                    assert model.tokenize(TEXTS) == ids
            calls += 1
        return calls

    resident = []
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(mixed, seed) for seed in range(8)]
        while time.monotonic() < end and not any(thread.done() for thread in running):
            stop.wait(seconds / 60)
            resident.append(resident_megabytes())
        stop.set()
        calls = sum(thread.result() for thread in running)
    print(f"{calls} calls in {seconds:.0f} s, MB resident: {' '.join(f'{megabytes:.1f}' for megabytes in resident)}")
    assert calls > 8
    # The first sixth warms up: each thread's share of the allocator grows to what its calls need.
    warm = resident[len(resident) // 6 :]
    assert max(warm) - warm[0] < 16


# The threads themselves


def thread_names() -> dict[str, str]:
    """Of this process's threads that have one of votive's names, by their number."""
    names = {}
    for path in Path("/proc/self/task").iterdir():
        try:
            names[path.name] = (path / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
    return {number: name for number, name in names.items() if re.match("votive", name)}


@linux
@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_threads_are_started_as_were_asked_for(threads: int) -> None:
    before = thread_names()
    model = Embedder(TINY, num_threads=threads)
    for texts in (TEXTS[0], TEXTS, iter(TEXTS)):
        model.encode(texts)
    model.tokenize(TEXTS)
    after = thread_names()
    started = sorted(name for number, name in after.items() if number not in before)
    # Those that help with one text have a CPU each, beside the caller's.
    helpers = [f"votive-crew-{i}" for i in range(1, min(threads, len(os.sched_getaffinity(0))))]
    assert [name for name in started if "crew" not in name] == [f"votive-{i}" for i in range(threads) if threads > 1]
    assert [name for name in started if "crew" in name] == helpers


@linux
def test_threads_sleep_when_no_call_runs(model: Embedder) -> None:
    for texts in (TEXTS[0], TEXTS, TEXTS[0]):
        model.encode(texts)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_the_callers_arithmetic_keeps_its_denormals(model: Embedder) -> None:
    small = np.full(100, 1e-30, np.float32)

    def products() -> bytes:
        return (small * np.float32(1e-10)).tobytes() + np.float64(5e-324).tobytes()

    def broken() -> Iterator[str]:
        yield from TEXTS * 100
        raise EOFError

    before = products()
    assert np.frombuffer(before[:400], np.float32).min() > 0
    for each in (Embedder(TINY, num_threads=1), model):
        for texts in (TEXTS[0], TEXTS, iter(TEXTS)):
            each.encode(texts)
            assert products() == before
        with pytest.raises(EOFError):
            each.encode(broken())
        assert products() == before
