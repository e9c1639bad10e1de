"""Times of every store, one group per shape, k and kind of call: `pytest benches/test_store.py -k 100k`.

For the alternating comparison, with ratios, spread and plot, see `python -m benches store table`.
PyTorch computes on Metal where it finds that, else on the CPU.
One store at a time is there: a million rows of all kinds need 11 GB.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from votive._cpus import usable_cpus
from votive.bench.backends import engines, stores

from benches.data.vectors import SHAPES, SHARES, Search
from benches.measure.loaded import LoadedStore, first_search
from benches.measure.store import CHECKED
from benches.options import STORE_KS

pytest.importorskip("pytest_benchmark")

pytestmark = pytest.mark.filterwarnings("default")  # warnings of other people's packages are theirs

# The others find all.
LOWEST_RECALL = {"votive-unproven": 0.99, "votive-int8": 0.95, "faiss-sq8": 0.9, "usearch-int8": 0.9}
CPUS = usable_cpus()
SEARCHES = [(queries, share) for queries, share in ((1, None), (32, None), *((1, share) for share in SHARES))]


class Loaded(NamedTuple):
    """A store with all rows, and its names."""

    shape: str
    peer: str
    measured: LoadedStore


def store(name: str) -> Callable[[int], stores.Store]:
    """What makes the store of this name. Raises `ImportError` where PyTorch is asked for and not there."""
    return partial(stores.PyTorch, device=engines.pytorch_device()) if name == "torch" else stores.PEERS[name]


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=stores.PEERS)
def loaded(shape: str, request: pytest.FixtureRequest) -> Loaded:
    """One store at a time; skips the tests of one that cannot be."""
    try:
        measured = LoadedStore(store(request.param), CPUS, SHAPES[shape])
    except ImportError as reason:
        pytest.skip(f"{request.param}: {reason}")
    measured.add()
    return Loaded(shape, request.param, measured)


@pytest.mark.parametrize(("queries", "share"), SEARCHES)
@pytest.mark.parametrize("k", STORE_KS)
def test_search(benchmark, loaded: Loaded, k: str, queries: int, share: float | None) -> None:
    search = Search(int(k), queries, share)
    if share is not None:
        if not loaded.measured.filters():
            pytest.skip(f"{loaded.peer} filters no exact search")
        benchmark.extra_info["filter"] = loaded.measured.choose(share, search.k)
    benchmark.group = f"{loaded.shape}, k = {k}, {search}"
    benchmark.pedantic(loaded.measured.times, args=(search, 1), rounds=5, warmup_rounds=1)


def test_add(benchmark, loaded: Loaded) -> None:
    if loaded.peer not in stores.ADDING:
        pytest.skip(f"{loaded.peer} keeps the array")
    benchmark.group = f"{loaded.shape}, add"
    benchmark.pedantic(loaded.measured.add, rounds=3)


def test_save_and_open(benchmark, loaded: Loaded, tmp_path: Path) -> None:
    """The time is that of opening and of a first query, with the files in memory."""
    if loaded.peer not in stores.SAVING:
        pytest.skip(f"{loaded.peer} has no files")
    benchmark.extra_info["save_seconds"] = loaded.measured.save(tmp_path / loaded.peer)
    benchmark.group = f"{loaded.shape}, open + first query"
    arguments = (store(loaded.peer), CPUS, tmp_path / loaded.peer, SHAPES[loaded.shape], 100)
    benchmark.pedantic(first_search, args=arguments, rounds=3, warmup_rounds=1)
    shutil.rmtree(tmp_path)  # a million rows are gigabytes


@pytest.mark.parametrize("k", STORE_KS)
def test_finds_what_the_reference_finds(loaded: Loaded, k: str) -> None:
    """A store that finds something else is not a peer."""
    reference = LoadedStore(stores.PEERS[stores.REFERENCE], CPUS, SHAPES[loaded.shape])
    reference.add()
    every = zip(loaded.measured.answers(CHECKED, int(k)), reference.answers(CHECKED, int(k)), strict=True)
    recall = np.mean([len(np.intersect1d(found, true)) / int(k) for found, true in every])
    assert recall >= LOWEST_RECALL.get(loaded.peer, 0.9995)  # float32 products differ in the last bits
