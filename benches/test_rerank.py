"""Pairs per second of every reranker, one group per number of pairs in a call: `pytest benches/test_rerank.py`.

For the alternating comparison, with several calling threads, ratios, spread and plot, see `rerank_table.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import engines
import model
import pairs
import reranker_model
from fidelity import rank_correlation
from rerank_table import SIZES
from rerankers import ENCODER_REFERENCE, ENCODERS

pytest.importorskip("pytest_benchmark")

pytestmark = pytest.mark.filterwarnings("default")  # warnings of other people's packages are theirs

COMPARED = 96  # pairs
LOWEST_CORRELATION = {"int8": 0.99}  # by the end of the peer's name, less "-all-cores"; the others compute in float32
LARGEST_DIFFERENCE = 1e-4  # of float32's scores


@pytest.fixture(scope="session")
def setup() -> model.Setup:
    return reranker_model.setup()


@pytest.fixture(scope="session")
def sets(setup: model.Setup) -> dict[str, list[tuple[str, str]]]:
    return pairs.read(setup.model / "tokenizer.json", pairs.SHAPES["minilm"]).sets


@pytest.fixture(scope="session")
def loaded(setup: model.Setup) -> Callable[[str], engines.Peer]:
    """The peer of that name, loaded once; skips the test where it cannot be."""
    ready: dict[str, engines.Peer] = {}

    def load(name: str) -> engines.Peer:
        if name not in ready:
            peer = ENCODERS[name](setup)
            try:
                peer.load()
            except (ImportError, engines.Unavailable) as reason:
                pytest.skip(f"{name}: {reason}")
            ready[name] = peer
        return ready[name]

    return load


@pytest.mark.parametrize("peer", ENCODERS)
@pytest.mark.parametrize("size", SIZES)
def test_pairs(benchmark, loaded, sets, size: str, peer: str) -> None:
    score(benchmark, loaded(peer), f"{size} pairs", sets["pairs"][: int(size)])


@pytest.mark.parametrize("peer", ENCODERS)
def test_question(benchmark, loaded, sets, peer: str) -> None:
    score(benchmark, loaded(peer), "one query, 20 documents", sets["question"][: pairs.DOCUMENTS])


def score(benchmark, engine: engines.Peer, group: str, items: list[tuple[str, str]]) -> None:
    benchmark.group = group
    scores = benchmark.pedantic(engine.compute, args=(items,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["pairs_per_second"] = len(items) / benchmark.stats["median"]
    assert scores.shape == (len(items),)


@pytest.mark.parametrize("peer", ENCODERS)
def test_same_scores_as_the_reference(loaded, sets, peer: str) -> None:
    """A peer that computes something else is not a peer."""
    reference, scores = (loaded(name).compute(sets["pairs"][:COMPARED]) for name in (ENCODER_REFERENCE, peer))
    kind = peer.removesuffix("-all-cores").split("-")[-1]
    assert rank_correlation(scores, reference) > LOWEST_CORRELATION.get(kind, 0.9999)
    if kind not in LOWEST_CORRELATION:
        np.testing.assert_allclose(scores, reference, atol=LARGEST_DIFFERENCE)
