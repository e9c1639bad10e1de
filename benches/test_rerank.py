"""Pairs per second of every reranker, one group per number of pairs in a call: `pytest benches/test_rerank.py`.

sentence-transformers computes on Metal where PyTorch finds it, else on the CPU.
For the alternating comparison, with several calling threads, ratios, spread and plot, see
`python -m benches rerank table`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from votive.bench.backends import engines

from benches.data import corpus
from benches.measure.rerank import rank_correlation
from benches.options import RERANK_SIZES
from benches.peers import models
from benches.peers.rerankers import ENCODER_REFERENCE, ENCODERS, CrossEncoder

pytest.importorskip("pytest_benchmark")

pytestmark = pytest.mark.filterwarnings("default")  # warnings of other people's packages are theirs

PEERS = [name for name in ENCODERS if not name.startswith(f"{ENCODER_REFERENCE}-")]
COMPARED = 96  # pairs
LOWEST_CORRELATION = {"int8": 0.99}  # by the end of the peer's name, less "-all-cores"; the others compute in float32
LARGEST_DIFFERENCE = 1e-4  # of float32's scores


@pytest.fixture(scope="session")
def setup() -> engines.EngineSetup:
    return models.reranker()


@pytest.fixture(scope="session")
def sets(setup: engines.EngineSetup) -> dict[str, list[tuple[str, str]]]:
    return corpus.pairs(setup.model / "tokenizer.json", corpus.SHAPES["minilm"]).sets


@pytest.fixture(scope="session")
def loaded(setup: engines.EngineSetup) -> Callable[[str], engines.Engine]:
    """The peer of that name, loaded once; skips the test where it cannot be."""
    ready: dict[str, engines.Engine] = {}

    def load(name: str) -> engines.Engine:
        if name not in ready:
            try:
                of_pytorch = name == ENCODER_REFERENCE
                peer = CrossEncoder(setup, engines.pytorch_device()) if of_pytorch else ENCODERS[name](setup)
                peer.load()
            except (ImportError, engines.Unavailable) as reason:
                pytest.skip(f"{name}: {reason}")
            ready[name] = peer
        return ready[name]

    return load


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("size", RERANK_SIZES)
def test_pairs(benchmark, loaded, sets, size: str, peer: str) -> None:
    score(benchmark, loaded(peer), f"{size} pairs", sets["pairs"][: int(size)])


@pytest.mark.parametrize("peer", PEERS)
def test_question(benchmark, loaded, sets, peer: str) -> None:
    score(benchmark, loaded(peer), "one query, 20 documents", sets["question"][: corpus.DOCUMENTS])


def score(benchmark, engine: engines.Engine, group: str, items: list[tuple[str, str]]) -> None:
    benchmark.group = group
    scores = benchmark.pedantic(engine.compute, args=(items,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["pairs_per_second"] = len(items) / benchmark.stats["median"]
    benchmark.extra_info["device"] = getattr(engine, "device", "cpu")
    assert scores.shape == (len(items),)


@pytest.mark.parametrize("peer", PEERS)
def test_same_scores_as_the_reference(loaded, sets, peer: str) -> None:
    """A peer that computes something else is not a peer."""
    reference, scores = (loaded(name).compute(sets["pairs"][:COMPARED]) for name in (ENCODER_REFERENCE, peer))
    kind = peer.removesuffix("-all-cores").split("-")[-1]
    assert rank_correlation(scores, reference) > LOWEST_CORRELATION.get(kind, 0.9999)
    if kind not in LOWEST_CORRELATION:
        np.testing.assert_allclose(scores, reference, atol=LARGEST_DIFFERENCE)
