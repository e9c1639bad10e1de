"""The methods for asyncio: what they give and raise, tasks that are cancelled, and event loops that are no more."""

import asyncio
import gc
import itertools
import pickle
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from votive import Embedder, FallbackWarning, QueueFull, Reranker, TruncationWarning, VotiveError

if TYPE_CHECKING:
    from conftest import Tiny

TEXTS = ["one", "a second text", "and a third one, which is longer than the others", ""]
PAIRS = [["what is a candle?", document] for document in ["wax with a wick", "how to sort a list", ""]]
LONG = "one two three " * 40

ignoring_truncation = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


def awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it gives, in an event loop of its own."""

    async def main() -> Any:
        return await coroutine

    return asyncio.run(main())


def of(tiny: "Tiny", model: Any) -> Callable[..., Any]:
    """The method of `model` that computes, for asyncio."""
    return getattr(model, f"a{tiny.method}")


# What they give


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt_name": "query"},
        {"prompt": "about: ", "batch_size": 1},
        {"normalize_embeddings": True, "truncate_dim": 8},
        {"precision": "ubinary"},
        {"output_value": "token_embeddings"},
        {"output_value": None},
        {"convert_to_numpy": True, "device": "cpu", "priority": 2.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[0], []], ids=["list", "str", "none"])
def test_aencode_gives_what_encode_gives(model: Embedder, texts: Any, options: dict[str, Any]) -> None:
    assert same(awaited(model.aencode(texts, **options)), model.encode(texts, **options))


@pytest.mark.parametrize("options", [{}, {"activation_fn": "identity"}, {"prompt": "x ", "batch_size": 2}], ids=str)
@pytest.mark.parametrize("folder", ["bert_rerank", "bert_labels", "qwen3_rerank"])
def test_apredict_gives_what_predict_gives(folder: str, options: dict[str, Any]) -> None:
    ranker = Reranker(str(FIXTURES / folder), num_threads=2)
    for pairs in (PAIRS, PAIRS[0], []):
        assert same(awaited(ranker.apredict(pairs, **options)), ranker.predict(pairs, **options))
    if ranker.num_labels > 1:
        shares = awaited(ranker.apredict(PAIRS, apply_softmax=True))
        assert same(shares, ranker.predict(PAIRS, apply_softmax=True))


def test_arank_gives_what_rank_gives(ranker: Reranker) -> None:
    query, documents = PAIRS[0][0], [document for _, document in PAIRS]
    for arguments in ((), (2,), (None, True)):
        assert awaited(ranker.arank(query, documents, *arguments)) == ranker.rank(query, documents, *arguments)
    assert awaited(ranker.arank(query, [])) == []


def test_an_iterable_is_read_in_pieces(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("votive._inputs.CHUNK_TEXTS", 3)
    read: list[int] = []

    def texts() -> Iterator[str]:
        for i in range(11):
            read.append(i)
            yield f"text {i}"

    async def main() -> Any:
        task = asyncio.ensure_future(model.aencode(texts()))
        # The first piece is waited for when others have their turn.
        await asyncio.sleep(0)
        assert len(read) == 3
        return await task

    found = asyncio.run(main())
    assert len(read) == 11
    assert same(found, model.encode([f"text {i}" for i in range(11)]))
    assert model.last_report is not None
    assert model.last_report.texts == 11


def test_it_reports_and_warns_of_truncation(folder: str) -> None:
    model = Embedder(folder)
    with pytest.warns(TruncationWarning, match=r"^1 of 2 texts were longer than 48 tokens") as warned:
        awaited(model.aencode(["short", LONG]))
    assert warned[0].filename == __file__
    report = model.last_report
    assert report is not None
    assert (report.texts, report.truncated) == (2, [1])
    assert report.tokens > 48


@ignoring_truncation
def test_many_tasks_get_what_is_theirs(tiny: "Tiny", tiny_model: Any) -> None:
    inputs = tiny.differing(4)
    expected = tiny.of(tiny_model)(inputs)

    async def main() -> list[Any]:
        alone = [of(tiny, tiny_model)(given) for given in inputs]
        return await asyncio.gather(*alone, of(tiny, tiny_model)(inputs))

    *alone, together = asyncio.run(main())
    assert same(together, expected)
    assert same(np.stack(alone), expected)


def test_loops_of_several_threads_share_a_model(model: Embedder) -> None:
    expected = model.encode(TEXTS)

    async def main() -> list[Any]:
        async def loop_of_its_own() -> Any:
            return await asyncio.to_thread(lambda: awaited(model.aencode(TEXTS)))

        return await asyncio.gather(*(loop_of_its_own() for _ in range(4)), model.aencode(TEXTS))

    assert all(same(found, expected) for found in asyncio.run(main()))


def test_an_unpickled_model_loads_while_others_go_on(model: Embedder) -> None:
    twin = pickle.loads(pickle.dumps(model))
    assert same(awaited(twin.aencode(TEXTS)), model.encode(TEXTS))


# What they raise


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (7, {}),
        (["text", 7], {}),
        (["\ud800"], {}),
        (TEXTS, {"prompt_name": "nothing"}),
        (TEXTS, {"batch_size": 0}),
        (TEXTS, {"priority": 0.0}),
        (TEXTS, {"precision": "int8", "output_value": None}),
        (TEXTS, {"convert_to_tensor": True}),
        (TEXTS, {"pool": 1}),
        (iter(["text", None]), {}),
    ],
    ids=str,
)
def test_errors_are_those_of_encode(model: Embedder, texts: Any, options: dict[str, Any]) -> None:
    again = ["text", None] if isinstance(texts, Iterator) else texts
    with pytest.raises(Exception) as expected:  # noqa: PT011  (which one is what the test asks)
        model.encode(again, **options)
    with pytest.raises(expected.type) as raised:
        awaited(model.aencode(texts, **options))
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("option", ["out", "show_progress_bar"])
def test_what_needs_a_waiting_caller_is_refused(model: Embedder, ranker: Reranker, option: str) -> None:
    with pytest.raises(TypeError, match=rf"aencode\(\) got an unexpected keyword argument '{option}'"):
        awaited(model.aencode(TEXTS, **{option: None}))
    with pytest.raises(TypeError, match=rf"arank\(\) got an unexpected keyword argument '{option}'"):
        awaited(ranker.arank("query", TEXTS, **{option: None}))


def test_a_closed_model_is_refused(folder: str) -> None:
    with Embedder(folder) as model:
        pass
    with pytest.raises(VotiveError, match="was closed; load another one"):
        awaited(model.aencode(TEXTS))


def test_a_full_queue_fails_those_that_come_to_it(folder: str) -> None:
    model = Embedder(folder, num_threads=1, max_queue=1, when_full="raise")
    expected = model.encode(TEXTS[:1])

    async def main() -> list[Any]:
        # All are submitted before any of them can be told of its end.
        many = [f"{i} {LONG}" for i in range(100)]
        return await asyncio.gather(model.aencode(many), model.aencode("another"), return_exceptions=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        done, refused = asyncio.run(main())
    assert done.shape == (100, 48)
    assert isinstance(refused, QueueFull)
    assert same(awaited(model.aencode(TEXTS[:1])), expected)


def test_a_device_that_fails_is_followed_by_the_next(
    folder: str, model: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.encode(TEXTS)
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "memory:0")
    failing = Embedder(folder, device="fake", fallback=True)
    with pytest.warns(FallbackWarning, match="going on with 'cpu'"):
        found = awaited(failing.aencode(TEXTS))
    assert failing.device == "cpu"
    assert same(found, expected)


# Tasks that are cancelled


@ignoring_truncation
def test_a_cancelled_task_ends_at_once_and_others_go_on(tiny: "Tiny", tiny_model: Any, tiny_rows: np.ndarray) -> None:
    many = tiny.differing(300)

    async def main() -> Any:
        task = asyncio.ensure_future(of(tiny, tiny_model)(many))
        await asyncio.sleep(0)
        other = asyncio.ensure_future(of(tiny, tiny_model)(tiny.inputs))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await other

    assert same(asyncio.run(main()), tiny_rows)
    assert same(tiny.of(tiny_model)(tiny.inputs), tiny_rows)


def test_a_timeout_cancels(model: Embedder) -> None:
    async def main() -> None:
        endless = (f"text {i}" for i in itertools.count())
        await asyncio.wait_for(model.aencode(endless), 0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())
    assert model.encode("text").shape == (48,)


# Event loops that are no more


@pytest.mark.parametrize("method", ["encode", "rank"])
def test_without_an_event_loop(model: Embedder, ranker: Reranker, method: str) -> None:
    coroutine = model.aencode("text") if method == "encode" else ranker.arank("query", ["document"])
    message = f"^a{method}: needs a running event loop of asyncio; without one, call {method}$"
    with pytest.raises(RuntimeError, match=message):
        coroutine.send(None)


@ignoring_truncation
def test_a_loop_that_closes_first_is_not_told(model: Embedder) -> None:
    loop = asyncio.new_event_loop()
    calls = [model.aencode([f"{i} {LONG}" for i in range(50)])]

    async def start() -> None:
        # Not a task: nobody cancels it when the loop ends.
        calls[0].send(None)

    loop.run_until_complete(start())
    loop.close()
    expected = model.encode(TEXTS)
    # As garbage it is cancelled.
    calls.clear()
    gc.collect()
    assert same(awaited(model.aencode(TEXTS)), expected)


# The end of the interpreter


ENDS = {
    "tasks that nobody awaits": """
async def main():
    tasks = [asyncio.ensure_future(model.aencode(many(i))) for i in range(8)]
    await asyncio.sleep(0)
    print("working", flush=True)
asyncio.run(main())
""",
    "a loop that is never closed": """
loop = asyncio.new_event_loop()
async def start():
    return [asyncio.ensure_future(model.aencode(many(i))) for i in range(8)]
tasks = loop.run_until_complete(start())
loop.run_until_complete(asyncio.sleep(0))
print("working", flush=True)
""",
    "an exit in a task": """
async def main():
    tasks = [asyncio.ensure_future(model.aencode(many(i))) for i in range(8)]
    await asyncio.sleep(0)
    print("working", flush=True)
    sys.exit(0)
asyncio.run(main())
""",
    "threads": """
working = threading.Event()
def work(i):
    while True:
        model.encode(many(i)[:4])
        working.set()
for i in range(8):
    threading.Thread(target=work, args=(i,), daemon=True).start()
working.wait()
print("working", flush=True)
""",
    "threads with loops": """
working = threading.Event()
def work(i):
    async def forever():
        while True:
            await asyncio.gather(*(model.aencode(many(i)[:4]) for _ in range(4)))
            working.set()
    asyncio.run(forever())
for i in range(4):
    threading.Thread(target=work, args=(i,), daemon=True).start()
working.wait()
print("working", flush=True)
""",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_interpreter_ends_with_work_in_the_queue(run_python: Callable[..., str], folder: str, end: str) -> None:
    program = f"""
import asyncio, sys, threading, warnings
warnings.simplefilter("ignore")
from votive import Embedder

model = Embedder({folder!r}, num_threads=2)

def many(i):
    return [f"{{i}} {{j}} {LONG}" for j in range(400)]
{end}
"""
    assert run_python(program) == "working\n"
