"""Callers that share a model, votive's beside sentence-transformers' behind a lock: one cell of each.

`pytest benches/test_concurrency.py`. sentence-transformers computes on Metal where PyTorch finds it, else on the CPU.
For all cells, with a plot, see `python -m benches callers table`.
"""

from __future__ import annotations

import numpy as np
import pytest
from votive.bench.backends.engines import EngineSetup, pytorch_device

from benches.data import corpus
from benches.measure.callers import WAYS, measure
from benches.peers import models
from benches.peers.embedders import LOCKED, SHARED, SHARED_PEERS, LockedSentenceTransformers

pytest.importorskip("pytest_benchmark")

pytestmark = [
    pytest.mark.filterwarnings("default"),  # warnings of other people's packages are theirs
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
]


@pytest.fixture(scope="module")
def setup() -> EngineSetup:
    return models.embedder()


@pytest.fixture(scope="module")
def texts(setup: EngineSetup) -> list[str]:
    return corpus.texts(setup.model / "tokenizer.json").sets["short"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", SHARED_PEERS)
def test_callers(benchmark, setup: EngineSetup, texts: list[str], peer: str, way: str) -> None:
    count, size = 8, 8
    benchmark.group = f"{count} callers with {size} short texts"
    if peer == LOCKED:
        pytest.importorskip("sentence_transformers")
        loaded = LockedSentenceTransformers(setup, pytorch_device())
    else:
        loaded = SHARED_PEERS[peer](setup, count)
    loaded.load()
    run = benchmark.pedantic(measure, (loaded, way, count, size, texts, 1.0), rounds=3, warmup_rounds=1)
    benchmark.extra_info["texts_per_second"] = run.rate
    benchmark.extra_info["device"] = loaded.device
    assert len(run.latencies) >= count
    found, single = loaded.compute(texts[:size]), SHARED_PEERS[SHARED](setup, 1)
    single.load()
    assert np.abs(found - single.compute(texts[:size])).max() < 1e-5
