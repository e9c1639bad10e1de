"""What `stats()` counts."""

import asyncio
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bodies import INT8, kernels_only
from votive import Embedder, EmbeddingStore, FallbackWarning
from votive.stats import Spread

if TYPE_CHECKING:
    from conftest import Tiny

TEXTS = ["one", "a second text", "one", ""]
LONG = "one two three " * 40


@pytest.fixture
def fresh(folder: str) -> Embedder:
    """A model that was not called yet."""
    return Embedder(folder, num_threads=2)


def test_a_new_object_has_done_nothing(fresh: Embedder) -> None:
    stats = fresh.stats()
    assert (stats.calls, stats.texts, stats.tokens, stats.truncated, stats.halved, stats.errors) == (0, 0, 0, 0, 0, {})
    assert stats.queue_wait == stats.latency == stats.pass_texts == stats.pass_tokens == Spread(0, 0.0, 0.0, 0.0, 0.0)
    assert stats.texts_per_second == stats.tokens_per_second_in_all == 0


@pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
def test_calls_texts_and_tokens(tiny: "Tiny") -> None:
    model = tiny.load()
    tokens = truncated = 0
    calls = [tiny.inputs, tiny.inputs[0], iter(tiny.inputs), [*tiny.inputs, *tiny.inputs], []]
    for inputs in calls:
        tiny.of(model)(inputs)
        tokens += model.last_report.tokens
        truncated += len(model.last_report.truncated)
    stats = model.stats()
    assert (stats.calls, stats.texts, stats.tokens) == (len(calls), 4 * len(tiny.inputs) + 1, tokens)
    assert stats.truncated == truncated
    assert stats.latency.count == stats.queue_wait.count == len(calls)
    assert 0 < stats.latency.p50 <= stats.latency.p95 <= stats.latency.p99 < stats.seconds * 65 / 64
    assert 0 <= stats.queue_wait.mean <= stats.latency.mean


def test_passes(fresh: Embedder) -> None:
    texts = [f"text {i}" for i in range(10)]
    fresh.encode(texts, batch_size=4)
    stats = fresh.stats()
    assert stats.pass_texts.count == stats.pass_tokens.count >= 3
    assert stats.pass_texts.mean == 10 / stats.pass_texts.count
    assert stats.pass_texts.p50 <= stats.pass_texts.p99 <= 4
    assert stats.pass_tokens.mean == stats.tokens / stats.pass_tokens.count


def test_equal_texts_are_counted_each_and_computed_once(fresh: Embedder) -> None:
    fresh.encode(TEXTS)
    stats = fresh.stats()
    assert stats.texts == 4
    assert stats.pass_texts.mean * stats.pass_texts.count == 3


def test_throughput(fresh: Embedder) -> None:
    fresh.encode(TEXTS)
    stats = fresh.stats()
    # Younger than a minute, both are about the same time.
    assert stats.texts_per_second_in_all == 4 / stats.seconds
    assert stats.texts_per_second == pytest.approx(4 / stats.seconds, rel=0.5)
    assert stats.tokens_per_second == pytest.approx(stats.tokens * stats.texts_per_second / 4)


def test_errors_by_kind(fresh: Embedder) -> None:
    async def cancelled() -> None:
        task = asyncio.ensure_future(fresh.aencode(LONG))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for _ in range(2):
        with pytest.raises(ValueError, match="lone surrogate"):
            fresh.encode("\ud800")
    with pytest.raises(TypeError):
        fresh.encode([None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="batch_size"):
        asyncio.run(fresh.aencode(TEXTS, batch_size=0))
    asyncio.run(cancelled())
    assert fresh.stats().errors == {"ValueError": 3, "TypeError": 1, "CancelledError": 1}


def test_truncated_rows(fresh: Embedder) -> None:
    with pytest.warns(match="were cut"):
        fresh.encode([LONG, "short", LONG])
    assert fresh.stats().truncated == 2


def test_reset(fresh: Embedder) -> None:
    fresh.encode(TEXTS)
    with pytest.raises(TypeError):
        fresh.encode(7)  # type: ignore[arg-type]
    before = fresh.stats()
    fresh.reset_stats()
    stats = fresh.stats()
    assert (stats.calls, stats.texts, stats.latency.count, stats.errors) == (0, 0, 0, {})
    assert stats.seconds < before.seconds + stats.seconds
    fresh.encode(TEXTS)
    assert fresh.stats().calls == 1
    # What was given out stays as it was.
    assert (before.calls, before.errors) == (1, {"TypeError": 1})


@INT8
def test_memory_of_weights(folder: str) -> None:
    file = next(Path(folder).rglob("model.safetensors")).stat().st_size
    weights = {dtype: Embedder(folder, dtype=dtype).stats().memory.weights for dtype in ("float32", "float16", "int8")}
    # The file may hold tensors that are not used.
    assert file / 2 < weights["float32"] <= file
    assert weights["int8"] < weights["float32"]
    assert weights["float16"] < weights["float32"]


@kernels_only("other bodies keep none")
def test_memory_that_kernels_keep(fresh: Embedder) -> None:
    fresh.encode(TEXTS)
    assert 0 < fresh.stats().memory.scratch < 1 << 30


def test_halved_passes_and_the_device_that_follows(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {i}" for i in range(16)]
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "memory:20")
    model = Embedder(folder, device="fake", fallback=True)
    model.encode(texts)
    assert model.last_report is not None
    assert model.stats().halved == model.last_report.halved > 0
    with pytest.warns(FallbackWarning), pytest.warns(match="were cut"):
        model.encode(LONG)
    # It goes on counting.
    assert model.device == "cpu"
    assert model.stats().calls == 2


def test_it_is_shown(fresh: Embedder) -> None:
    fresh.encode(TEXTS)
    shown = repr(fresh.stats())
    assert "1 calls, 4 texts, " in shown
    for name in ("queue wait, ms", "latency, ms", "texts a pass", "tokens a pass", "last minute", "errors: none"):
        assert name in shown


@pytest.mark.skipif(os.name != "posix", reason="fork() of POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_begins_at_zero(fresh: Embedder) -> None:
    fresh.encode(TEXTS)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = fresh.stats().calls
            fresh.encode(["another"])
            os.write(write, f"{before} {fresh.stats().calls}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        assert pipe.read() == "0 1"
    assert os.waitpid(child, 0)[1] == 0
    assert fresh.stats().calls == 1


def test_a_pickle_begins_at_zero_where_it_loads_its_own_weights(folder: str) -> None:
    # No other model of these tests has as many threads, so that there are no other weights to find.
    model = Embedder(folder, num_threads=5)
    model.encode(TEXTS)
    pickled = pickle.dumps(model)
    assert pickle.loads(pickled).stats().calls == 1
    model.close()
    assert pickle.loads(pickled).stats().calls == 0


def test_of_a_store(store: EmbeddingStore, queries: np.ndarray) -> None:
    assert store.stats().calls == 0
    store.search(queries)
    store.search(queries[0], k=3)
    calls: list[Callable[[], Any]] = [lambda: store.search(queries[:, :3]), lambda: store.search(queries, k=0)]
    for call in calls:
        with pytest.raises(ValueError, match=r"queries|k"):
            call()
    stats = store.stats()
    assert (stats.calls, stats.texts, stats.tokens) == (2, len(queries) + 1, 0)
    assert stats.latency.count == 2
    assert 0 < stats.latency.p50 <= stats.latency.p99
    assert stats.errors == {"ValueError": 2}
    assert stats.memory.rows > 0
    store.reset_stats()
    assert store.stats().calls == 0
