"""Coarse codes, which few queries among many rows are multiplied with first: the same answers, and fewer bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import kernels_only
from numpy.typing import NDArray
from votive import EmbeddingStore, _core
from votive._store import spill

# Their codes are more than 32 MB.
ROWS, DIMENSION = 90_000, 384

pytestmark = kernels_only("a device scores all rows")


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Rows about centres, and some that are far from all."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((100, DIMENSION), np.float32)
    rows = centres[rng.integers(0, 100, ROWS)] + rng.standard_normal((ROWS, DIMENSION), np.float32) / 2
    rows[::100] *= 30
    return rows


def searched(store: EmbeddingStore, query: NDArray[np.float32]) -> EmbeddingStore:
    """A store whose rows have coarse codes, as searches before this one made them."""
    while store._state.contents.core.lacks_coarse_codes(1):
        store.search(query, 1)
    return store


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_few_queries_find_what_many_find(vectors: NDArray[np.float32], metric: Any, dtype: Any) -> None:
    store = EmbeddingStore(metric=metric, dtype=dtype)
    store.add_embeddings(vectors)
    store.delete(np.arange(7, ROWS, 1000))
    queries = vectors[500:504] + 0.1
    some = np.arange(len(store)) % 3 == 1
    before = [store.search(query, 10) for query in queries]
    searched(store, queries[0])
    for filter in (None, some):
        for exact in (True, False):
            scores, ids = store.search(queries, 10, filter=filter, exact=exact)
            bytes_read = store.last_search.bytes_read / store.last_search.rows
            assert bytes_read > DIMENSION
            for few in (slice(0, 1), slice(1, 4)):
                found_scores, found_ids = store.search(queries[few], 10, filter=filter, exact=exact)
                np.testing.assert_array_equal(found_ids, ids[few])
                np.testing.assert_array_equal(found_scores, scores[few])
                # Not from the first row on: there is no threshold yet.
                if metric == "cosine" and filter is None:
                    assert store.last_search.bytes_read / store.last_search.rows < 0.9 * bytes_read
    for one, query in zip(before, queries, strict=True):
        for values, expected in zip(one, store.search(query, 10), strict=True):
            np.testing.assert_array_equal(values, expected)
    found = store.search(queries[0], 10)[1]
    if metric == "cosine" and dtype == "float32":
        live = np.setdiff1d(np.arange(ROWS), np.arange(7, ROWS, 1000))
        rows = vectors[live].astype(np.float64)
        scores = rows @ queries[0] / np.linalg.norm(rows, axis=1)
        np.testing.assert_array_equal(found, live[np.argsort(-scores, kind="stable")[:10]])


def test_searches_make_them_within_the_memory_limit(vectors: NDArray[np.float32]) -> None:
    row = DIMENSION * 4 + DIMENSION + 24
    coarse = 16 + DIMENSION // 2
    limit = ROWS * row + 30_000 * coarse
    store = EmbeddingStore(max_memory_gb=limit / 10**9)
    store.add_embeddings(vectors)
    assert store.memory_usage()["total"] == ROWS * row
    # Many queries have no use for them.
    expected = store.search(vectors[:4], 10)
    assert store.memory_usage()["codes"] == ROWS * (DIMENSION + 24)
    made = []
    for _ in range(4):
        found = store.search(vectors[0], 10)
        for values, others in zip(found, expected, strict=True):
            np.testing.assert_array_equal(values, others[0])
        made.append((store.memory_usage()["total"] - ROWS * row) / coarse)
    assert made == [1 << 14, 30_000, 30_000, 30_000]
    more = 25_000
    store = EmbeddingStore(max_memory_gb=(ROWS + more) * (row + 8) / 10**9)
    store.add_embeddings(vectors)
    searched(store, vectors[0])
    assert store.memory_usage()["codes"] == ROWS * (DIMENSION + 24 + coarse)
    # Rows are worth more.
    store.add_embeddings(vectors[:more])
    assert store.memory_usage()["codes"] == (ROWS + more) * (DIMENSION + 24)


def test_a_folder_has_those_of_all_rows(vectors: NDArray[np.float32], tmp_path: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(vectors)
    store.search(vectors[0], 10)
    expected = store.search(vectors[:4], 10)
    store.save_to_disk(tmp_path / "store")
    opened = EmbeddingStore.open(tmp_path / "store", mmap=True)
    opened.verify()
    assert not opened._state.contents.core.lacks_coarse_codes(1)
    for i in range(4):
        for values, others in zip(opened.search(vectors[i], 10), expected, strict=True):
            np.testing.assert_array_equal(values, others[i])
        assert opened.last_search.bytes_read < 0.8 * ROWS * DIMENSION
    assert opened.memory_usage()["codes"] == 0


def test_rows_that_were_saved_without_are_searched_and_get_them(
    vectors: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder of version 2, as of any other: some segments have them and some do not."""
    monkeypatch.setattr(spill, "MADE_ROWS", 1000)
    whole, _ = _core.Store(DIMENSION, "cosine", "float32", "cpu", 2).add(vectors, None, ROWS, 0)
    segments: list[Any] = whole.segments()
    [(_, rows, codes, bounds, none)] = segments
    assert none is None
    coarse = whole.coarse_codes(rows)
    coarse.flags.writeable = False
    half = ROWS // 2
    mixed = _core.Store(DIMENSION, "cosine", "float32", "cpu", 2)
    for part, of_part in ((slice(0, half), None), (slice(half, ROWS), coarse[half:])):
        numbers = np.arange(part.start, part.stop)
        mixed = mixed.attach(rows[part], codes[part], bounds[part], of_part, numbers)
    assert [found is None for *_, found in mixed.segments()] == [True, False]
    expected = whole.search(vectors[:1], 20, None, True)
    spilled = _from_file(mixed, tmp_path)
    for core in (mixed, mixed.compact(), spilled):
        found = core.search(vectors[:1], 20, None, True)
        for values, others in zip(found[:2], expected[:2], strict=True):
            np.testing.assert_array_equal(values, others)
    np.testing.assert_array_equal(np.concatenate([found for *_, found in spilled.segments()]), coarse)


def _from_file(core: Any, folder: Path) -> Any:
    """As a store beyond its memory limit has it."""
    return spill.compact(core, str(folder), lambda dimension: _core.Store(dimension, "cosine", "float32", "cpu", 2))
