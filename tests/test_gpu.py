"""GPUs by votive's own kernels: every family against the references, and what a GPU may do wrong.

They run where `VOTIVE_SOFTWARE_GPU` is 1, on the first GPU that a driver offers, or on a driver that computes on the
CPU, as Mesa's lavapipe.
"""

import gc
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import FIXTURES
from process_memory import resident_bytes
from test_fidelity import EMBEDDINGS, TEXTS, TOKENS, EmbedderCase, assert_close, named
from test_overflow import RERANKERS, overflowing
from test_rerank_fidelity import CASES as RERANKED
from test_rerank_fidelity import TOLERANCE, RerankerCase
from votive import (
    DeviceError,
    Embedder,
    EmbeddingStore,
    FallbackWarning,
    Reranker,
    _core,
    available_backends,
    get_backend,
)

pytestmark = [
    pytest.mark.skipif(os.environ.get("VOTIVE_SOFTWARE_GPU") != "1", reason="needs a GPU, and VOTIVE_SOFTWARE_GPU=1"),
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
    pytest.mark.filterwarnings("ignore:.* was saved from a SparseEncoder:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*the model's activation function is other:UserWarning"),
]

DEVICE = {"darwin": "wgpu", "win32": "dx12"}.get(sys.platform, "vulkan")
MODEL = str(FIXTURES / "bert_312")
# Least cosine of a text's vector in that type with the reference's.
COSINES = {"float16": 0.9995, "bfloat16": 0.999, "int8": 0.99}


# A case of each fixture, and fixtures of all kinds of blocks.
FIRST = list({case.fixture: case for case in reversed(EMBEDDINGS)}.values())
TYPED = ("bert_312", "modernbert", "mpnet", "qwen3_embedding", "gemma", "deberta_v3", "nomic_moe")


@pytest.mark.parametrize("case", named(EMBEDDINGS))
def test_embeddings_are_the_references(case: EmbedderCase, tmp_path: Path) -> None:
    model = case.load(tmp_path, device=DEVICE)
    found = case.call(model, case.texts)
    assert_close(found, case.expected()["embeddings"])
    alone = np.stack([case.call(model, text) for text in case.texts[:5]])
    assert np.array_equal(alone, found[:5])
    assert np.array_equal(case.call(model, case.texts[::-1]), found[::-1])


@pytest.mark.parametrize("case", named(TOKENS))
def test_token_embeddings_are_the_references(case: EmbedderCase, tmp_path: Path) -> None:
    rows = case.call(case.load(tmp_path, device=DEVICE), case.texts)
    assert_close(np.concatenate(rows), case.expected()["token_embeddings"])


@pytest.mark.parametrize("case", RERANKED)
def test_scores_are_the_references(case: RerankerCase, tmp_path: Path) -> None:
    scores = case.predict(case.load(tmp_path, device=DEVICE), case.pairs)
    assert np.abs(scores - case.expected()["scores"]).max() <= TOLERANCE


@pytest.mark.parametrize("case", named(FIRST))
def test_float16_is_near(case: EmbedderCase, tmp_path: Path) -> None:
    assert_near(case, "float16", tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
@pytest.mark.parametrize("case", named([case for case in FIRST if case.fixture in TYPED]))
def test_weights_of_other_types_are_near(case: EmbedderCase, dtype: str, tmp_path: Path) -> None:
    assert_near(case, dtype, tmp_path)


def assert_near(case: EmbedderCase, dtype: str, tmp_path: Path) -> None:
    """The vectors of the case in that type are near the reference's."""
    model = case.load(tmp_path, device=DEVICE, dtype=dtype)
    assert model.dtype == dtype
    found, expected = case.call(model, case.texts), case.expected()["embeddings"]
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = np.where(lengths == 0, 1, (found * expected).sum(axis=1) / np.where(lengths == 0, 1, lengths))
    least = cosines.mean() if dtype == "int8" else cosines.min()
    assert least >= COSINES[dtype], f"text {cosines.argmin()}: {cosines.min()}"


def test_it_is_a_backend() -> None:
    backend = get_backend(DEVICE)
    assert (backend.name, backend.device) == (DEVICE, f"{DEVICE}:0")
    assert backend.device_name
    assert {"float32", "bfloat16", "int8"} <= set(backend.dtypes)
    assert backend in available_backends()
    assert Embedder(MODEL, device=backend).device == backend.device
    with pytest.raises(DeviceError, match=rf'device "{DEVICE}:99": there is {DEVICE}:0'):
        get_backend(f"{DEVICE}:99")


def test_auto_takes_no_gpu_that_is_not_discrete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOTIVE_DEVICE", raising=False)
    auto, others = get_backend().device, [gpu for gpu in _core.gpus() if gpu["kind"] != "discrete"]
    assert auto not in [gpu["device"] for gpu in others]
    assert {gpu["not_automatic"] for gpu in others} <= {"is no discrete GPU", None}


@pytest.mark.parametrize(("dtype", "weight"), [("float32", 3e38), ("bfloat16", 3e38), ("int8", 3e38), ("float16", 6e4)])
@pytest.mark.parametrize("fixture", RERANKERS)
def test_scores_that_overflow_are_none(fixture: str, dtype: str, weight: float, tmp_path: Path) -> None:
    model = Reranker(overflowing(fixture, tmp_path / "model", weight), device=DEVICE, dtype=dtype)
    assert np.isnan(model.predict([("a", "b"), ("c d", "e")])).all()


def test_a_stage_of_a_profile_ends_when_it_is_computed() -> None:
    model = Embedder(MODEL, device=DEVICE, dtype="float32")
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS * 20)]
    model.encode(texts)
    profile, expected = model.profile(texts), Embedder(MODEL, device="cpu", dtype="float32").profile(texts)
    # A part of the whole that copying alone does not take.
    products = sum(profile[name].seconds for name in ("qkv", "out", "mlp up", "mlp down", "attention"))
    assert profile.seconds / 3 < products < profile.seconds
    for stage in profile.stages:
        assert stage.operations == expected[stage.name].operations, stage.name
        assert stage.share is None
    assert profile.peaks is None
    assert str(profile).endswith(f"{model.device}: each stage waits until it is computed; its peaks are not known")


def test_auto_is_float16_where_the_gpu_has_it() -> None:
    has_it = "float16" in get_backend(DEVICE).dtypes
    assert Embedder(MODEL, device=DEVICE, dtype="auto").dtype == ("float16" if has_it else "float32")
    with pytest.raises(ValueError, match=r"dtype: int4 needs the CPU's kernels; the device is"):
        Embedder(MODEL, device=DEVICE, dtype="int4")


def test_stores_search_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="searches no vectors"):
        EmbeddingStore(backend=DEVICE, dimension=4)
    with pytest.warns(FallbackWarning, match="going on with 'cpu'"):
        EmbeddingStore(backend=DEVICE, dimension=4, fallback=True)
    monkeypatch.setenv("VOTIVE_DEVICE", DEVICE)
    store = EmbeddingStore(dimension=4)
    store.add_embeddings(np.eye(4, dtype=np.float32), ids=["a", "b", "c", "d"])
    _, ids = store.search(np.eye(4, dtype=np.float32)[2], k=1)
    assert list(ids) == ["c"]


def test_a_prefix_that_texts_share_changes_little() -> None:
    """Its keys and values are computed once, and looked back at by later passes."""
    texts = [f"the same words before all else, and then {word}" for word in ("one", "two", "three", "four")] * 8
    texts = [f"{text} {i}" for i, text in enumerate(texts)]
    on = {
        device: Embedder(str(FIXTURES / "qwen3_embedding"), device=device, dtype="float32")
        for device in (DEVICE, "cpu")
    }
    found, expected = (model.encode(texts, prompt="Instruct: find it\nQuery: ") for model in on.values())
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_shapes_take_no_more_memory() -> None:
    model = Embedder(MODEL, device=DEVICE, dtype="float32")
    expected = Embedder(MODEL, device="cpu", dtype="float32").encode(TEXTS)
    random = np.random.default_rng(1)
    model.encode(TEXTS * 3)
    gc.collect()
    before = resident_bytes()
    for _ in range(200):
        rows = random.permutation(len(TEXTS))[: random.integers(1, 6)]
        found = model.encode([TEXTS[row] for row in rows])
        assert np.abs(found - expected[rows]).max() <= 1e-5
    assert resident_bytes() - before < 40e6


def test_callers_of_many_threads() -> None:
    models = [Embedder(MODEL, device=DEVICE, dtype="float32"), Reranker(str(FIXTURES / "bert_rerank"), device=DEVICE)]
    pairs = [("a candle", text) for text in TEXTS[:8]]
    vectors, scores = models[0].encode(TEXTS), models[1].predict(pairs)

    def call(number: int) -> bool:
        if number % 2:
            return np.array_equal(models[0].encode(TEXTS), vectors)
        return np.array_equal(models[1].predict(pairs), scores)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(32)))


def in_child(queue: Any) -> None:
    """Loads a model, and says how it went."""
    try:
        Embedder(MODEL, device=DEVICE)
    except DeviceError as error:
        queue.put(str(error))
    else:
        queue.put("no error")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked")
def test_a_child_of_fork_is_told_what_to_do() -> None:
    Embedder(MODEL, device=DEVICE)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    message = queue.get(timeout=60)
    child.join()
    assert "opened before fork()" in message
    assert "device=" in message
