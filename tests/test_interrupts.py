"""What interrupts a call: Ctrl-C, signal handlers, progress bars, generators. The object works afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

FIXTURES = Path(__file__).parent / "fixtures"
TINY = str(FIXTURES / "bert_40")
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
# Seconds of work, even for the tiny model: what interrupts it does not find it finished.
MANY = TEXTS * 2000
HANG = 60.0  # seconds after which a process counts as hanging, on the most loaded machine


@pytest.fixture(scope="module")
def model() -> Embedder:
    """Two threads, so that work is shared out wherever the tests run."""
    return Embedder(TINY, num_threads=2)


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    """Of `TEXTS`."""
    return model.encode(TEXTS)


INTERRUPTED = {
    "list": "model.encode(TEXTS * 2000, show_progress_bar=True)",
    "tokens": "model.encode(TEXTS * 2000, show_progress_bar=True, output_value='token_embeddings')",
    "generator": "model.encode((text for text in itertools.cycle(TEXTS)), show_progress_bar=True)",
    # Without a bar for each call: what a signal raises in a finalizer of tqdm's, Python ignores.
    "one text": "print('Texts', file=sys.stderr, flush=True)\n    while True: model.encode(TEXTS[0])",
}


@posix
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", INTERRUPTED.values(), ids=INTERRUPTED)
def test_ctrl_c_is_served_and_the_object_works_afterwards(call: str, threads: int) -> None:
    program = f"""
import itertools, json, signal, sys, time
from votive import Embedder

signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background may inherit that it is ignored
TEXTS = json.loads({json.dumps(json.dumps(TEXTS))})
model = Embedder({TINY!r}, num_threads={threads})
before = model.encode(TEXTS)
try:
    {call}
except KeyboardInterrupt:
    caught = time.monotonic()
print(caught, (model.encode(TEXTS) == before).all())
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        # The bar is shown from inside the call; calls of one text say themselves that they begin.
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
def test_what_a_signal_handler_raises_ends_the_call(model: Embedder, expected: np.ndarray) -> None:
    def ring(*_: Any) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeIsUpError):
            model.encode(MANY)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert np.array_equal(model.encode(TEXTS), expected)


def test_what_a_progress_bar_raises_ends_the_call(
    model: Embedder, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar:
        n = 0

        def __init__(self, **_: Any) -> None: ...

        def update(self, count: int) -> None:
            raise OSError(f"no room for {count} more")

        def close(self) -> None: ...

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    for texts in (TEXTS * 20, iter(TEXTS * 20), TEXTS[0]):
        with pytest.raises(OSError, match="no room for"):
            model.encode(texts, show_progress_bar=True)
    assert np.array_equal(model.encode(TEXTS), expected)


def test_what_a_generator_raises_ends_the_call(model: Embedder, expected: np.ndarray) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS * 100
        raise TimeIsUpError

    with pytest.raises(TimeIsUpError):
        model.encode(texts())
    assert np.array_equal(model.encode(TEXTS), expected)


def test_a_generator_may_use_the_model_that_reads_it(model: Embedder, expected: np.ndarray) -> None:
    def texts() -> Iterator[str]:
        for text, row in zip(TEXTS, expected, strict=True):
            assert np.array_equal(model.encode(text), row)
            yield text

    assert np.array_equal(model.encode(texts()), expected)
