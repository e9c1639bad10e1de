"""Threads and processes: the interpreter stays free, and objects are shared, forked and left alone without harm.

VOTIVE_SOAK_SECONDS sets how long the soak test runs: 3 s if it is not set.
"""

import json
import logging
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bodies import PORTABLE, kernels_only, same
from process_memory import resident_bytes
from votive import Embedder

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork() of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
# From 3.12 on, Python warns of any fork() beside threads.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

FIXTURES = Path(__file__).parent / "fixtures"
HANG = 60.0  # seconds after which a process counts as hanging, on the most loaded machine


def in_thread(work: Callable[[], None]) -> threading.Thread:
    """A started thread, which a failing test does not wait for."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# The interpreter's lock


def test_other_threads_run_while_one_computes(tiny: "Tiny", tiny_model: Any) -> None:
    for options in [{}, {"output_value": "token_embeddings"}] if tiny.kind is Embedder else [{}]:
        ticks: list[float] = []
        stop = threading.Event()

        def tick(ticks: list[float] = ticks, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                ticks.append(time.perf_counter())

        many = tiny.differing(20)
        thread = in_thread(tick)
        start = time.perf_counter()
        tiny.of(tiny_model)(many, **options)
        end = time.perf_counter()
        stop.set()
        thread.join()
        # With the lock held, the ticks would all lie at one end.
        tenths = {int(10 * (at - start) / (end - start)) for at in ticks if start <= at < end}
        assert len(tenths) >= 5


# Processes


def computed_in_a_child(tiny: "Tiny", model: Any) -> np.ndarray:
    """What a forked child of this process finds for the inputs, flat; a child that hangs is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(int(HANG))
            os.write(write, tiny.of(model)(tiny.inputs).tobytes())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        found = np.frombuffer(pipe.read(), np.float32)
    assert os.waitpid(child, 0)[1] == 0
    return found


@posix
@forks
@kernels_only("candle's own threads are not there in a child of fork()")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_used_model_works_in_a_forked_child(tiny: "Tiny", tiny_rows: np.ndarray, threads: int) -> None:
    model = tiny.load(threads)
    assert same(tiny.of(model)(tiny.inputs), tiny_rows)
    for _ in range(3):
        assert same(computed_in_a_child(tiny, model), tiny_rows.ravel())
    assert same(tiny.of(model)(tiny.inputs), tiny_rows)


@posix
@forks
@kernels_only("candle's own threads are not there in a child of fork()")
def test_a_child_that_is_forked_while_threads_compute_works(
    tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray
) -> None:
    stop = threading.Event()
    wrong: list[int] = []
    compute = tiny.of(tiny_model)

    def work() -> None:
        while not stop.is_set():
            # One input and many: both ways of sharing work are under way when the process is forked.
            if not np.array_equal(compute(tiny.inputs), tiny_rows) or not np.array_equal(
                compute(tiny.inputs[0]), tiny_rows[0]
            ):
                wrong.append(1)

    threads = [in_thread(work) for _ in range(3)]
    for _ in range(10):
        assert same(computed_in_a_child(tiny, tiny_model), tiny_rows.ravel())
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


@posix
@forks
@kernels_only("candle's own threads are not there in a child of fork()")
def test_a_child_that_is_forked_while_a_thread_loads_loads_too(tiny: "Tiny", tiny_rows: np.ndarray) -> None:
    loading, go_on = threading.Event(), threading.Event()

    class Pause(logging.Handler):
        """Holds up the first load, in the midst of which it is logged."""

        def emit(self, _: logging.LogRecord) -> None:
            if not loading.is_set():
                loading.set()
                go_on.wait(HANG)

    logger, handler = logging.getLogger("votive"), Pause()
    # No other model has as many threads, so that it finds no weights here.
    model = pickle.loads(pickle.dumps(tiny.load(num_threads=3)))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        thread = in_thread(lambda: tiny.of(model)(tiny.inputs))
        loading.wait(HANG)
        assert same(computed_in_a_child(tiny, model), tiny_rows.ravel())
        go_on.set()
        thread.join()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


shared: Callable[..., Any]


def compute_shared(given: Any) -> Any:
    return shared(given)


@posix
@forks
@kernels_only("candle's own threads are not there in a child of fork()")
def test_a_pool_of_forked_processes_uses_the_parents_model(
    tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray
) -> None:
    global shared
    shared = tiny.of(tiny_model)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(compute_shared, tiny.inputs).get(timeout=HANG)
    assert same(np.stack(found), tiny_rows)


def test_a_spawned_process_loads_the_model_anew(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(tiny.of(tiny_model), (tiny.inputs,)).get(timeout=HANG)
    assert same(found, tiny_rows)


EXITS = {
    "one input": "while True: compute(INPUTS[0]); started.set()",
    "list": "many = list(differing(INPUTS, 2000)); started.set(); compute(many)",
    "generator": "started.set(); compute(differing(INPUTS, 2000))",
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", EXITS.values(), ids=EXITS)
def test_a_program_ends_while_a_daemon_thread_computes(tiny: "Tiny", work: str, threads: int) -> None:
    program = f"""
import threading
{tiny.program(threads)}
started = threading.Event()

def work():
    {work}

threading.Thread(target=work, daemon=True).start()
started.wait()
compute(INPUTS)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=HANG, check=False
    )
    assert (ended.returncode, ended.stderr.decode()) == (0, "")


# Many threads, one object


def test_eight_threads_share_a_model(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    begin = threading.Barrier(8)

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(tiny_rows))
        begin.wait(HANG)
        for _ in range(3):
            rows = tiny.of(tiny_model)([tiny.inputs[index] for index in order])
            assert same(rows, tiny_rows[order])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


def test_threads_that_find_a_model_not_loaded_load_it_once(
    tiny: "Tiny", tiny_rows: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    # No other model has as many threads, so that it finds no weights here.
    model = pickle.loads(pickle.dumps(tiny.load(num_threads=3)))
    begin = threading.Barrier(8)

    def work(_: int) -> None:
        begin.wait(HANG)
        assert same(tiny.of(model)(tiny.inputs), tiny_rows)

    with caplog.at_level(logging.INFO, "votive"), ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    # Each load is logged.
    assert len(caplog.records) == 1


def test_the_greatest_length_may_change_while_others_encode() -> None:
    model = Embedder(str(FIXTURES / "bert_40"), num_threads=2)
    text = " ".join(json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8")))
    # What differs lies behind what is cut.
    texts = [f"{text} {i}" for i in range(20)]
    lengths = (10, 20, 40)
    accepted = set()
    for model.max_seq_length in lengths:
        accepted.add(model.encode(text).tobytes())
    assert len(accepted) == len(lengths)
    stop = threading.Event()

    def encode(_: int) -> set[bytes]:
        found = set()
        while not stop.is_set():
            found |= {row.tobytes() for row in model.encode(texts)}
        return found

    with ThreadPoolExecutor(4) as threads:
        found = threads.map(encode, range(4))
        for length in random.Random(0).choices(lengths, k=300):
            model.max_seq_length = length
        stop.set()
        assert all(rows <= accepted for rows in found)
    assert len(model.tokenize(text)["input_ids"]) == model.max_seq_length


def other_calls(tiny: "Tiny", model: Any) -> list[Callable[[], Any]]:
    """What else may be asked of a model."""
    calls: list[Callable[[], Any]] = [lambda: model.tokenize(tiny.inputs)]
    if tiny.kind is Embedder:
        calls += [
            lambda: model.encode(tiny.inputs, normalize_embeddings=True),
            lambda: np.concatenate(model.encode(tiny.inputs, output_value="token_embeddings")),
        ]
    else:
        query, document = tiny.inputs[0]
        calls += [
            lambda: model.predict(tiny.inputs, activation_fn="tanh", prompt="x "),
            lambda: model.rank(query, [other for _, other in tiny.inputs], return_documents=True),
            lambda: model.rank(query, [document], top_k=1),
        ]
    return calls


@linux
def test_threads_work_for_long_in_flat_memory(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    seconds = float(os.environ.get("VOTIVE_SOAK_SECONDS", "3"))
    compute, inputs = tiny.of(tiny_model), tiny.inputs
    others = [(call, call()) for call in other_calls(tiny, tiny_model)]
    stop = threading.Event()

    def mixed(seed: int) -> int:
        choice = random.Random(seed)
        out = np.empty_like(tiny_rows)
        calls = 0
        while not stop.is_set():
            row = choice.randrange(len(inputs))
            match choice.randrange(8):
                case 0 | 1 | 2:
                    assert same(compute(inputs[row]), tiny_rows[row])
                case 3:
                    assert same(compute(inputs[row:], batch_size=5), tiny_rows[row:])
                case 4:
                    assert same(compute(iter(inputs), out=out), tiny_rows)
                case _:
                    call, expected = choice.choice(others)
                    assert same(call(), expected)
            calls += 1
        return calls

    resident = []
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(mixed, seed) for seed in range(8)]
        while time.monotonic() < end and not any(thread.done() for thread in running):
            stop.wait(seconds / 60)
            resident.append(resident_bytes() / 2**20)
        stop.set()
        calls = sum(thread.result() for thread in running)
    print(f"{calls} calls in {seconds:.0f} s, MB resident: {' '.join(f'{megabytes:.1f}' for megabytes in resident)}")
    assert calls > 8
    # The first sixth warms up: each thread's share of the allocator grows to what its calls need.
    warm = resident[len(resident) // 6 :]
    # Of candle's operations each allocates its result.
    assert max(warm) - warm[0] < (64 if PORTABLE else 16)


# The threads themselves


# The threads of a new interpreter, among them those of NumPy's libraries.
BEFORE = """
import os
import numpy
before = set(os.listdir("/proc/self/task"))
"""

# Names of the threads that votive or a library below it has started since. A thread that has not run yet has the name
# of the one that started it: the program waits until it has its own.
STARTED = """
import json, pathlib, time, warnings
warnings.simplefilter("ignore")
for inputs in (INPUTS[0], INPUTS, iter(INPUTS)):
    compute(inputs)
model.tokenize(INPUTS)
def name(thread):
    return pathlib.Path(f"/proc/self/task/{thread}/comm").read_text().strip()
while any(name(thread) == name(os.getpid()) for thread in set(os.listdir("/proc/self/task")) - before):
    time.sleep(0.001)
names = [name(thread) for thread in os.listdir("/proc/self/task")]
print(json.dumps(sorted(name for name in names if name.startswith(("votive", "candle", "rayon")))))
"""


@linux
@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_threads_are_started_as_were_asked_for(
    tiny: "Tiny", threads: int, run_python: Callable[..., str]
) -> None:
    # Those that help with one input have a CPU each, beside the caller's.
    helpers = [f"votive-team-{i}" for i in range(1, min(threads, len(os.sched_getaffinity(0))))]
    workers = [f"votive-{i}" for i in range(threads)]
    started = json.loads(run_python(BEFORE + tiny.program(threads) + STARTED))
    # What one thread does in one go, the caller's does.
    assert started == sorted(helpers + workers) or (threads == 1 and started == [])


@linux
def test_threads_sleep_when_no_call_runs(tiny: "Tiny", tiny_model: Any) -> None:
    for inputs in (tiny.inputs[0], tiny.inputs, tiny.inputs[0]):
        tiny.of(tiny_model)(inputs)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_the_callers_arithmetic_keeps_its_denormals(tiny: "Tiny", tiny_model: Any) -> None:
    small = np.full(100, 1e-30, np.float32)

    def products() -> bytes:
        return (small * np.float32(1e-10)).tobytes() + np.float64(5e-324).tobytes()

    def broken() -> Iterator[Any]:
        yield from tiny.differing(100)
        raise EOFError

    before = products()
    assert np.frombuffer(before[:400], np.float32).min() > 0
    for compute in (tiny.of(tiny.load(1)), tiny.of(tiny_model)):
        for inputs in (tiny.inputs[0], tiny.inputs, iter(tiny.inputs)):
            compute(inputs)
            assert products() == before
        with pytest.raises(EOFError):
            compute(broken())
        assert products() == before
