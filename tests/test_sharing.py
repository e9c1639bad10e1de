"""Callers that share a model: what waits, what is computed together, who is first, and who hears of an error."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from votive import DeviceError, Embedder, QueueFull, Reranker

TEXTS = [f"the text of number {i}" for i in range(24)]
LONG = "one two three " * 40

# Whatever the machine does meanwhile, calls that are submitted one after the other come within it.
COMPANY_MS = 1000.0

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    return model.encode(TEXTS)


def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """What they give or raise; all are submitted before any of them can end."""

    async def main() -> list[Any]:
        return await asyncio.gather(*coroutines, return_exceptions=True)

    return asyncio.run(main())


def order_of_ends(*coroutines: Coroutine[Any, Any, Any]) -> list[int]:
    """The places of the coroutines in the order in which they end."""
    ends: list[int] = []

    async def noted(place: int, coroutine: Coroutine[Any, Any, Any]) -> None:
        await coroutine
        ends.append(place)

    async def main() -> None:
        await asyncio.gather(*(noted(place, coroutine) for place, coroutine in enumerate(coroutines)))

    asyncio.run(main())
    return ends


# Arguments


@pytest.mark.parametrize("load", [Embedder, Reranker], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("max_batch_tokens", 0, ValueError),
        ("max_batch_tokens", 1.5, TypeError),
        ("max_batch_size", 0, ValueError),
        ("max_batch_size", -3, ValueError),
        ("max_wait_ms", -1, ValueError),
        ("max_wait_ms", -0.001, ValueError),
        ("max_wait_ms", float("nan"), ValueError),
        ("max_wait_ms", float("inf"), ValueError),
        ("max_wait_ms", "1", TypeError),
        ("max_wait_ms", None, TypeError),
        ("max_queue", 0, ValueError),
        ("max_concurrency", 0, ValueError),
        ("when_full", "drop", ValueError),
    ],
)
def test_a_bad_value_is_refused(load: Callable[..., Any], name: str, value: Any, error: type[Exception]) -> None:
    folder = FIXTURES / ("bert_40" if load is Embedder else "bert_rerank")
    with pytest.raises(error, match=f"^{name}: "):
        load(folder, **{name: value})


def test_an_unknown_name_is_refused(folder: str) -> None:
    with pytest.raises(TypeError, match=r"^Embedder.*\(\) got an unexpected keyword argument 'max_threads'"):
        Embedder(folder, max_threads=1)  # type: ignore[call-arg]


# What is computed together


@pytest.mark.parametrize("threads", [1, 2])
def test_results_have_the_same_bits_with_strangers(folder: str, expected: np.ndarray, threads: int) -> None:
    model = Embedder(folder, num_threads=threads, max_wait_ms=5)

    def alone(i: int) -> np.ndarray:
        found: np.ndarray = model.encode(TEXTS[i % len(TEXTS)], batch_size=[None, 3, 100][i % 3])
        return found

    calls = 5 * len(TEXTS)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(alone, range(calls)))
    assert same(np.stack(found), np.tile(expected, (5, 1)))
    # There were strangers.
    assert model.stats().pass_texts.count < calls


def test_calls_that_wait_for_company_are_one_pass(folder: str, expected: np.ndarray) -> None:
    model = Embedder(folder, num_threads=1, max_wait_ms=COMPANY_MS)
    found = together(*(model.aencode(text) for text in TEXTS[:6]))
    assert same(np.stack(found), expected[:6])
    stats = model.stats()
    assert (stats.pass_texts.count, stats.pass_texts.mean) == (1, 6)
    assert stats.queue_wait.p50 > 0


def test_nobody_waits_for_company_where_there_is_enough(folder: str) -> None:
    model = Embedder(folder, num_threads=1, max_wait_ms=60_000, max_batch_tokens=4)
    # Each of them is more than goes into a pass: waiting would last a minute.
    assert model.encode(TEXTS).shape == (len(TEXTS), 48)


@pytest.mark.parametrize(("limit", "value"), [("max_batch_size", 3), ("max_batch_tokens", 30)])
def test_limits_of_a_pass_hold_for_strangers_too(folder: str, expected: np.ndarray, limit: str, value: int) -> None:
    model = Embedder(folder, num_threads=1, max_wait_ms=5, **{limit: value})  # type: ignore[arg-type]
    found = together(*(model.aencode(text) for text in TEXTS))
    assert same(np.stack(found), expected)
    stats = model.stats()
    # Small numbers are exact.
    assert (stats.pass_texts if limit == "max_batch_size" else stats.pass_tokens).p99 <= value


def test_a_callers_batch_size_holds_for_its_company(folder: str, expected: np.ndarray) -> None:
    model = Embedder(folder, num_threads=1, max_wait_ms=5)
    found = together(*(model.aencode(text, batch_size=2) for text in TEXTS))
    assert same(np.stack(found), expected)
    assert model.stats().pass_texts.p99 <= 2


def test_what_is_wanted_differs(folder: str, expected: np.ndarray) -> None:
    model = Embedder(folder, num_threads=1, max_wait_ms=5)
    normalized, plain, prompted, short = together(
        model.aencode(TEXTS, normalize_embeddings=True),
        model.aencode(TEXTS),
        model.aencode(TEXTS, prompt_name="query"),
        model.aencode(TEXTS, truncate_dim=8),
    )
    assert same(plain, expected)
    assert same(short, expected[:, :8])
    assert same(normalized, model.encode(TEXTS, normalize_embeddings=True))
    assert same(prompted, model.encode(TEXTS, prompt_name="query"))


# Whose turn it is


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 1}], ids=str)
def test_a_small_call_does_not_wait_for_a_huge_one(folder: str, options: dict[str, Any]) -> None:
    model = Embedder(folder, num_threads=2, **options)
    huge = [f"{i} {LONG}" for i in range(3000)]
    small = [model.aencode(f"{i} is small") for i in range(5)]
    ends = order_of_ends(model.aencode(huge), *small)
    assert ends[-1] == 0


def test_a_call_of_higher_priority_ends_first(folder: str) -> None:
    model = Embedder(folder, num_threads=1, max_batch_tokens=256)
    many = [f"{i} {LONG}" for i in range(300)]
    last = order_of_ends(
        model.aencode(many), model.aencode([f"a {text}" for text in many], priority=8.0), model.aencode(many[::-1])
    )
    assert last[0] == 1


# Room in the queue


def test_a_full_queue_refuses(folder: str) -> None:
    model = Embedder(folder, num_threads=1, max_queue=100, when_full="raise")
    many = [f"{i} {LONG}" for i in range(1000)]

    async def main() -> Any:
        # More than there is room for, but alone.
        task = asyncio.ensure_future(model.aencode(many))
        await asyncio.sleep(0)
        message = r"^max_queue: 100 inputs may wait; 1000 do, and 1 came$"
        with pytest.raises(QueueFull, match=message):
            await model.aencode("another")
        with pytest.raises(QueueFull, match=message):
            model.encode("another")
        return await task

    assert asyncio.run(main()).shape == (1000, 48)
    assert model.encode("another").shape == (48,)
    assert model.stats().errors == {"QueueFull": 2}


def test_a_full_queue_has_others_wait(folder: str, expected: np.ndarray) -> None:
    model = Embedder(folder, num_threads=2, max_queue=2)
    found = together(*(model.aencode(text) for text in TEXTS), model.aencode(TEXTS))
    assert same(np.stack(found[:-1]), expected)
    assert same(found[-1], expected)
    with ThreadPoolExecutor(8) as pool:
        assert same(np.stack(list(pool.map(model.encode, TEXTS))), expected)


def test_who_waits_outside_can_go(folder: str, expected: np.ndarray) -> None:
    model = Embedder(folder, num_threads=1, max_queue=1)

    async def main() -> Any:
        first = asyncio.ensure_future(model.aencode([f"{i} {LONG}" for i in range(300)]))
        outside = [asyncio.ensure_future(model.aencode(text)) for text in TEXTS]
        await asyncio.sleep(0)
        for task in outside[::2]:
            task.cancel()
        found = await asyncio.gather(*outside, return_exceptions=True)
        await first
        return found

    found = asyncio.run(main())
    assert all(isinstance(gone, asyncio.CancelledError) for gone in found[::2])
    assert same(np.stack(found[1::2]), expected[1::2])


# Errors


def test_errors_reach_whose_texts_caused_them(folder: str, expected: np.ndarray) -> None:
    model = Embedder(folder, num_threads=1, max_wait_ms=20)
    bad = [7, "\ud800"]
    calls = [call for text in TEXTS for call in (model.aencode([text]), model.aencode([text, *bad]))]
    found = together(*calls)
    assert same(np.concatenate(found[::2]), expected)
    assert all(isinstance(error, TypeError) and str(error).startswith("sentences[1]: ") for error in found[1::2])


def test_a_text_that_is_too_much_for_a_device_is_its_callers(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "memory:24")
    model = Embedder(folder, device="fake", max_wait_ms=20)
    plain = np.stack([model.encode(text) for text in TEXTS])
    calls = [call for text in TEXTS for call in (model.aencode(text), model.aencode(f"{text} {LONG}"))]
    found = together(*calls)
    np.testing.assert_allclose(np.stack(found[::2]), plain, atol=1e-6)
    assert all(isinstance(error, DeviceError) for error in found[1::2])
    assert model.stats().errors == {"DeviceError": len(TEXTS)}
