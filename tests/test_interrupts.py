"""What interrupts a call: Ctrl-C, signal handlers, progress bars, generators. The object works afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bodies import same

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# Seconds of work, even for a tiny model, in so many copies of its inputs: what interrupts it does not find it finished.
COPIES = 2000
HANG = 60.0  # seconds after which a process counts as hanging, on the most loaded machine


INTERRUPTED = {
    "list": f"compute(list(differing(INPUTS, {COPIES})), show_progress_bar=True)",
    "tokens": f"compute(list(differing(INPUTS, {COPIES})), show_progress_bar=True, output_value='token_embeddings')",
    "generator": "compute(differing(INPUTS, 10**9), show_progress_bar=True)",
    # Without a bar for each call: what a signal raises in a finalizer of tqdm's, Python ignores.
    "one input": "print('Texts', file=sys.stderr, flush=True)\n    while True: compute(INPUTS[0])",
}


@posix
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", INTERRUPTED.values(), ids=INTERRUPTED)
def test_ctrl_c_is_served_and_the_object_works_afterwards(tiny: "Tiny", call: str, threads: int) -> None:
    if "token_embeddings" in call and tiny.method != "encode":
        pytest.skip("only an Embedder gives them")
    program = f"""
import sys, time
{tiny.program(threads)}
before = compute(INPUTS)
try:
    {call}
except KeyboardInterrupt:
    caught = time.monotonic()
print(caught, (compute(INPUTS) == before).all())
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        # The bar is shown from inside the call; calls with one input say themselves that they begin.
        while b"Texts" not in process.stderr.read1(64):
            assert process.poll() is None
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=HANG)
    finally:
        process.kill()
    assert process.returncode == 0, errors.decode()
    caught, same = output.split()
    assert same == b"True"
    # Within 0.2 s on a machine that does nothing else.
    assert float(caught) - sent < 2.0


class TimeIsUpError(Exception):
    """Raised by a signal handler."""


@posix
def test_what_a_signal_handler_raises_ends_the_call(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    def ring(*_: Any) -> None:
        raise TimeIsUpError

    compute, many = tiny.of(tiny_model), tiny.differing(COPIES)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeIsUpError):
            compute(many)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert same(compute(tiny.inputs), tiny_rows)


def test_what_a_progress_bar_raises_ends_the_call(
    tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar:
        n = 0

        def __init__(self, **_: Any) -> None: ...

        def update(self, count: int) -> None:
            raise OSError(f"no room for {count} more")

        def close(self) -> None: ...

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    compute, many = tiny.of(tiny_model), tiny.differing(20)
    for inputs in (many, iter(many), many[0]):
        with pytest.raises(OSError, match="no room for"):
            compute(inputs, show_progress_bar=True)
    assert same(compute(tiny.inputs), tiny_rows)


def test_what_a_generator_raises_ends_the_call(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    def inputs() -> Iterator[Any]:
        yield from tiny.differing(100)
        raise TimeIsUpError

    compute = tiny.of(tiny_model)
    with pytest.raises(TimeIsUpError):
        compute(inputs())
    assert same(compute(tiny.inputs), tiny_rows)


def test_a_generator_may_use_the_model_that_reads_it(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    compute = tiny.of(tiny_model)

    def inputs() -> Iterator[Any]:
        for given, row in zip(tiny.inputs, tiny_rows, strict=True):
            assert same(compute(given), row)
            yield given

    assert same(compute(inputs()), tiny_rows)
