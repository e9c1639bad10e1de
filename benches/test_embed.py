"""Texts per second of every peer, one group per set: `pytest benches/test_embed.py`.

sentence-transformers computes on Metal where PyTorch finds it, else on the CPU.
For the alternating comparison, with ratios and spread, see `python -m benches embed table`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from votive.bench.backends import engines

from benches.data import corpus
from benches.options import EMBED_SETS
from benches.peers import models
from benches.peers.embedders import PEERS, REFERENCE, SentenceTransformers

pytest.importorskip("pytest_benchmark")

pytestmark = [
    pytest.mark.filterwarnings("default"),  # warnings of other people's packages are theirs
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),  # the long texts are meant to be cut
]

COMPARED = [name for name in PEERS if not name.startswith(f"{REFERENCE}-")]
EVERY = 6  # one text in so many of each set: a whole set takes the slowest peer 20 s
# By the end of the peer's name; OpenVINO's default may be bfloat16. The others compute in float32.
LOWEST_COSINE = {"int8": 0.97, "bfloat16": 0.999, "default": 0.999}


@pytest.fixture(scope="session")
def setup() -> engines.EngineSetup:
    return models.embedder()


@pytest.fixture(scope="session")
def sets(setup: engines.EngineSetup) -> dict[str, list[str]]:
    return {name: texts[::EVERY] for name, texts in corpus.texts(setup.model / "tokenizer.json").sets.items()}


@pytest.fixture(scope="session")
def loaded(setup: engines.EngineSetup) -> Callable[[str], engines.Engine]:
    """The peer of that name, loaded once; skips the test where it cannot be."""
    ready: dict[str, engines.Engine] = {}

    def load(name: str) -> engines.Engine:
        if name not in ready:
            try:
                of_pytorch = name == REFERENCE
                peer = SentenceTransformers(setup, engines.pytorch_device()) if of_pytorch else PEERS[name](setup)
                peer.load()
            except (ImportError, engines.Unavailable) as reason:
                pytest.skip(f"{name}: {reason}")
            ready[name] = peer
        return ready[name]

    return load


@pytest.mark.parametrize("peer", COMPARED)
@pytest.mark.parametrize("name", EMBED_SETS)
def test_encode(benchmark, setup, loaded, sets, name: str, peer: str) -> None:
    texts = sets[name]
    engine = loaded(peer)
    benchmark.group = f"{name}: {len(texts)} texts"
    vectors = benchmark.pedantic(engine.compute, args=(texts,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["texts_per_second"] = len(texts) / benchmark.stats["median"]
    benchmark.extra_info["device"] = getattr(engine, "device", "cpu")
    assert vectors.shape == (len(texts), setup.dimension)


@pytest.mark.parametrize("peer", COMPARED)
def test_same_vectors_as_the_reference(loaded, sets, peer: str) -> None:
    """A peer that computes something else is not a peer."""
    reference, vectors = (loaded(name).compute(sets["mixed"]) for name in (REFERENCE, peer))
    cosines = (reference * vectors).sum(1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > LOWEST_COSINE.get(peer.split("-")[-1], 0.99999)
