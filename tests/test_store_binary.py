"""Stores of bits: Hamming distances as NumPy and FAISS count them, and the second look of sentence-transformers."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from votive import EmbeddingStore, quantize_embeddings
from votive._core import Store, StoreError

Bits = NDArray[np.uint8]


def random_bits(rows: int, dimension: int, seed: int = 0) -> Bits:
    return np.random.default_rng(seed).integers(0, 256, (rows, dimension // 8), dtype=np.uint8)


def random_floats(rows: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, dimension), np.float32)


def binary_store(bits: Any, **arguments: Any) -> EmbeddingStore:
    store = EmbeddingStore(metric="hamming", dtype="ubinary")
    store.add_embeddings(bits, **arguments)
    return store


def distances(queries: Bits, bits: Bits) -> NDArray[np.int64]:
    return np.array([np.unpackbits(query ^ bits, axis=1).sum(axis=1, dtype=np.int64) for query in queries])


def nearest(queries: Bits, bits: Bits, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Scores and rows of brute force, ties by the lower row."""
    apart = distances(queries, bits)
    rows = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return -np.take_along_axis(apart, rows, axis=1), rows


@pytest.mark.parametrize(("rows", "dimension"), [(1, 8), (300, 8), (5000, 1024), (3000, 384), (2000, 1000), (77, 4104)])
@pytest.mark.parametrize("queries", [1, 3, 33])
def test_searches_find_what_brute_force_finds(rows: int, dimension: int, queries: int) -> None:
    bits, asked = random_bits(rows, dimension), random_bits(queries, dimension, 1)
    store = binary_store(bits)
    for k in (1, 10, 100, 2 * rows):
        scores, ids = store.search(asked, k)
        expected_scores, expected = nearest(asked, bits, k)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(scores, expected_scores)
    assert store.last_search is not None
    assert store.last_search.rows == rows


def test_filters_and_deleted_rows_do_not_count() -> None:
    bits, asked = random_bits(4000, 256), random_bits(5, 256, 1)
    store = binary_store(bits[:1500])
    store.add_embeddings(bits[1500:])
    store.delete(np.arange(0, 4000, 7))
    left = np.flatnonzero(np.arange(4000) % 7)
    _, expected = nearest(asked, bits[left], 50)
    np.testing.assert_array_equal(store.search(asked, 50)[1], left[expected])
    mask = left % 3 == 0
    _, expected = nearest(asked, bits[left[mask]], 50)
    np.testing.assert_array_equal(store.search(asked, 50, filter=mask)[1], left[mask][expected])
    _, expected = nearest(asked, bits[[5, 8, 3999]], 50)
    found = store.search(asked, 50, filter=[5, 8, 3999, 7])[1]
    np.testing.assert_array_equal(found, np.array([5, 8, 3999])[expected])
    assert store.search(asked, 3, filter=np.zeros(len(left), bool))[1].shape == (5, 0)
    store.compact()
    _, expected = nearest(asked, bits[left], 50)
    np.testing.assert_array_equal(store.search(asked, 50)[1], left[expected])
    np.testing.assert_array_equal(store.vectors, bits[left])


def test_equal_rows_come_in_the_order_in_which_they_were_added() -> None:
    store = binary_store(np.tile(random_bits(2, 64), (20_000, 1)))
    scores, ids = store.search(random_bits(1, 64)[0], 300)
    np.testing.assert_array_equal(ids, np.arange(0, 600, 2))
    assert not scores.any()


@pytest.mark.parametrize("name", ["uint8", "int8", "float32", "float64", "float16", "reversed", "list"])
def test_all_forms_of_rows_are_the_same_bits(name: str) -> None:
    floats = random_floats(500, 128)
    bits = np.packbits(floats > 0, axis=1)
    forms: dict[str, Any] = {
        "uint8": bits,
        "int8": quantize_embeddings(floats, "binary"),
        "float32": floats,
        "float64": floats.astype(np.float64),
        "float16": floats.astype(np.float16),
        "reversed": np.asfortranarray(bits[::-1])[::-1],
        "list": floats.tolist(),
    }
    given = forms[name]
    store = binary_store(given)
    assert (store.dimension, store.metric, store.dtype, len(store)) == (128, "hamming", "ubinary", 500)
    np.testing.assert_array_equal(store.vectors, bits)
    np.testing.assert_array_equal(store.get([3, 0]), bits[[3, 0]])
    np.testing.assert_array_equal(store.search(given, 4)[1], nearest(bits, bits, 4)[1])
    scores, ids = store.search(given[7], 1)
    assert (scores.tolist(), ids.tolist()) == ([0], [7])
    assert store.get(7).shape == (16,)


def test_streams_and_the_order_of_bits() -> None:
    def blocks() -> Iterator[Any]:
        yield np.array([[1.0, -1.0, 0.0, -0.0, 1e-30, 2.0, -3.0, 4.0]])
        yield np.array([[255]], np.uint8)
        yield np.array([[-128]], np.int8)

    store = binary_store(blocks())
    np.testing.assert_array_equal(store.vectors, [[0b10001101], [255], [0]])
    assert store.search(np.zeros(8, np.float32), 3)[1].tolist() == [2, 0, 1]


def test_large_floats_are_packed_piece_by_piece() -> None:
    floats = random_floats(6000, 1024)
    np.testing.assert_array_equal(binary_store(floats).vectors, np.packbits(floats > 0, axis=1))


@pytest.mark.parametrize("packed", ["ubinary", "binary"])
def test_it_agrees_with_faiss(packed: Any) -> None:
    faiss = pytest.importorskip("faiss")
    for rows, dimension in ((5000, 1024), (3000, 104)):
        bits, asked = random_bits(rows, dimension), random_bits(9, dimension, 1)
        index = faiss.IndexBinaryFlat(dimension)
        index.add(bits)
        apart, _ = index.search(asked, 20)
        store = binary_store(bits if packed == "ubinary" else (bits ^ 0x80).view(np.int8))
        scores, ids = store.search(asked, 20)
        np.testing.assert_array_equal(scores, -apart)
        np.testing.assert_array_equal(np.take_along_axis(distances(asked, bits), ids, axis=1), apart)


def rescored(queries: NDArray[np.float32], bits: Bits, k: int, multiplier: int) -> tuple[Any, Any]:
    _, candidates = nearest(np.packbits(queries > 0, axis=1), bits, k * multiplier)
    signs = np.unpackbits(bits, axis=1).astype(np.float64) * 2 - 1
    scores, ids = [], []
    for query, rows in zip(queries.astype(np.float64), candidates, strict=True):
        rows = np.sort(rows)
        products = signs[rows] @ query
        best = np.argsort(-products, kind="stable")[:k]
        scores.append(products[best])
        ids.append(rows[best])
    return np.array(scores), np.array(ids)


def test_a_second_look_ranks_by_the_floats_of_the_query() -> None:
    bits, queries = random_bits(3000, 256), random_floats(20, 256, 1)
    store = binary_store(bits)
    for k, multiplier in ((10, 4), (1, 1), (100, 2), (3000, 5)):
        scores, ids = store.search(queries, k, rescore_multiplier=multiplier)
        expected_scores, expected = rescored(queries, bits, k, multiplier)
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-6, atol=1e-5)
        np.testing.assert_array_equal(ids, expected)
        assert store.last_search is not None
        assert store.last_search.rescored == 20 * min(3000, k * multiplier)
    single = store.search(queries[3].astype(np.float64), 10, rescore_multiplier=4)
    np.testing.assert_array_equal(single[1], store.search(queries, 10, rescore_multiplier=4)[1][3])
    mask = np.arange(3000) % 100 == 0
    ids = store.search(queries, 10, filter=mask, rescore_multiplier=10)[1]
    np.testing.assert_array_equal(ids, rescored(queries, bits[mask], 10, 10)[1] * 100)
    assert store.search(queries, 10, filter=[], rescore_multiplier=4)[1].shape == (20, 0)


def test_it_ranks_as_sentence_transformers_rescores() -> None:
    """There bits are 1 and 0, here 1 and -1: a score is twice theirs less the sum of the query, and ranks are equal."""
    quantization = pytest.importorskip("sentence_transformers.util.quantization")
    pytest.importorskip("faiss")
    bits, queries = random_bits(2000, 256), random_floats(8, 256, 1)
    theirs, _ = quantization.semantic_search_faiss(
        queries, corpus_embeddings=bits, corpus_precision="ubinary", top_k=10, rescore=True, rescore_multiplier=4
    )[:2]
    scores, ids = binary_store(bits).search(queries, 10, rescore_multiplier=4)
    for query, hits, own_scores, own_ids in zip(queries, theirs, scores, ids, strict=True):
        found = [2 * hit["score"] - float(query.sum(dtype=np.float64)) for hit in hits]
        np.testing.assert_allclose(own_scores, found, rtol=1e-4, atol=1e-3)
        assert len(np.intersect1d(own_ids, [hit["corpus_id"] for hit in hits])) >= 9  # FAISS breaks ties otherwise


def test_metric_and_dtype_need_each_other() -> None:
    assert EmbeddingStore(metric="hamming").dtype == "ubinary"
    assert EmbeddingStore().dtype == EmbeddingStore(dtype=None, metric="l2").dtype == "float32"
    with pytest.raises(ValueError, match=r"metric, dtype: .*'hamming' and 'float32'; leave dtype out"):
        EmbeddingStore(metric="hamming", dtype="float32")
    with pytest.raises(ValueError, match=r"metric, dtype: .*'cosine' and 'ubinary'; give metric='hamming'"):
        EmbeddingStore(dtype="ubinary")
    with pytest.raises(ValueError, match=r"dimension: expected a multiple of 8, .* found 12"):
        EmbeddingStore(metric="hamming", dimension=12)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.zeros((2, 12), np.float32), ValueError, r"vectors: expected a multiple of 8 columns, .* found 12"),
        (np.zeros((2, 16), np.int16), TypeError, r"vectors: expected rows of bits .* or floats, found int16"),
        ([[1, 2, 3, 4, 5, 6, 7, 8]], TypeError, r"vectors: expected rows of bits .* found int64"),
        (np.zeros((2, 16), bool), TypeError, r"vectors: expected floats or integers, found bool"),
        (np.array([[0.0] * 8, [np.nan] * 8]), ValueError, r"vectors: row 1 has NaN or infinity"),
        (np.array([[0.0] * 8, [np.inf] * 8], np.float16), ValueError, r"vectors: row 1 has NaN or infinity"),
        (random_bits(2, 72), ValueError, r"vectors: expected dimension 64, found 72"),
        (random_floats(2, 8), ValueError, r"vectors: expected dimension 64, found 8"),
    ],
)
def test_rows_that_are_no_bits_are_refused_and_change_nothing(rows: Any, error: type[Exception], message: str) -> None:
    for store in (binary_store(random_bits(3, 64)), EmbeddingStore(metric="hamming")):
        before = np.copy(store.vectors)
        if "dimension 64" in message and not len(store):
            continue
        with pytest.raises(error, match=message):
            store.add_embeddings(rows)
        np.testing.assert_array_equal(store.vectors, before)
        with pytest.raises(error, match=message.replace("vectors", "queries")):
            store.search(rows)


def test_a_second_look_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"rescore_multiplier: only rows of bits .* dtype='float32'"):
        EmbeddingStore().search(np.ones(8), rescore_multiplier=2)
    store = binary_store(random_bits(3, 64))
    for query in (random_bits(1, 64), random_bits(1, 64).view(np.int8)):
        with pytest.raises(
            TypeError, match=r"queries: expected floats, as rescore_multiplier compares them, found bits"
        ):
            store.search(query, rescore_multiplier=2)
    with pytest.raises(ValueError, match=r"rescore_multiplier: expected 1 or more, found 0"):
        store.search(random_floats(1, 64), rescore_multiplier=0)
    with pytest.raises(TypeError, match=r"rescore_multiplier: expected an int, found float"):
        store.search(random_floats(1, 64), rescore_multiplier=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"queries: row 0 has NaN"):
        store.search(np.full((1, 64), np.nan), rescore_multiplier=2)
    with pytest.raises(ValueError, match=r"queries: expected dimension 64, found 8"):
        store.search(random_floats(1, 8), rescore_multiplier=2)


def test_an_empty_store_and_no_rows() -> None:
    store = EmbeddingStore(metric="hamming")
    assert np.asarray(store.vectors).dtype == np.uint8
    assert store.search(random_floats(2, 16), 5)[1].shape == (2, 0)
    assert store.search(random_bits(2, 16), 5, rescore_multiplier=None)[1].shape == (2, 0)
    assert store.search(random_floats(2, 16), 5, rescore_multiplier=2)[1].shape == (2, 0)
    store.add_embeddings(np.empty((0, 2), np.uint8))
    assert (len(store), store.get([]).shape) == (0, (0, 0))
    store.add_embeddings(random_bits(4, 16))
    store.add_embeddings(np.empty((0, 16), np.float32))
    store.add_embeddings([])
    assert len(store) == 4
    assert (store.search(np.empty((0, 2), np.uint8), 5)[1].shape, store.get([]).shape) == ((0, 4), (0, 2))


def test_replaced_rows_copies_texts_and_metadata() -> None:
    bits = random_bits(6, 64)
    store = binary_store(bits[:4], ids=["a", "b", "c", "d"], texts=list("wxyz"), metadata={"n": [1, 2, 3, 4]})
    branch = copy.copy(store)
    store.add_embeddings(bits[4:], ["b", "e"], ["v", "u"], {"n": [5, 6]})
    assert store.ids.tolist() == ["a", "c", "d", "b", "e"]
    np.testing.assert_array_equal(store.get(["b", "a"]), bits[[4, 0]])
    np.testing.assert_array_equal(branch.get(["b"]), bits[[1]])
    assert store.search(bits[4], 1, filter=lambda columns: columns["n"] > 4)[1].tolist() == ["b"]


def test_memory_is_that_of_the_bits_and_is_limited() -> None:
    store = binary_store(random_bits(20_000, 1024))
    usage = store.memory_usage()
    assert (usage["vectors"], usage["codes"]) == (20_000 * 128, 0)
    assert usage["total"] < 20_000 * (128 + 40)
    limited = EmbeddingStore(metric="hamming", max_memory_gb=0.001)
    with pytest.raises(StoreError, match="max_memory_gb"):
        limited.add_embeddings(random_bits(20_000, 1024))
    limited.add_embeddings(random_bits(1000, 1024))


def test_rows_spill_to_files(tmp_path: Any) -> None:
    bits, asked = random_bits(20_000, 1024), random_bits(3, 1024, 1)
    store = EmbeddingStore(metric="hamming", max_memory_gb=0.001, spill_to=tmp_path)
    store.add_embeddings(bits)
    assert store.memory_usage()["mapped"] >= bits.nbytes
    np.testing.assert_array_equal(store.search(asked, 10)[1], nearest(asked, bits, 10)[1])
    store.delete([0, 1])
    store.compact()
    np.testing.assert_array_equal(store.search(asked, 10)[1], nearest(asked, bits[2:], 10)[1] + 2)


def test_files_of_bits_are_searched_in_place(tmp_path: Any) -> None:
    bits, asked = random_bits(1000, 256), random_bits(3, 256, 1)
    np.save(tmp_path / "bits.npy", bits)
    store = EmbeddingStore.from_numpy(tmp_path / "bits.npy", metric="hamming")
    assert (store.dimension, store.memory_usage()["vectors"]) == (256, 0)
    np.testing.assert_array_equal(store.search(asked, 10)[1], nearest(asked, bits, 10)[1])


def test_arrow_tables_go_round() -> None:
    pytest.importorskip("pyarrow")
    bits = random_bits(50, 64)
    table = binary_store(bits).to_arrow()
    assert str(table.schema.field("vector").type) == "fixed_size_list<item: uint8>[8]"
    np.testing.assert_array_equal(EmbeddingStore.from_arrow(table, metric="hamming").vectors, bits)


def test_what_the_core_shows_can_be_attached() -> None:
    bits = random_bits(40, 64)
    core, _ = Store(64, "hamming", "ubinary", "cpu", 2).add(bits, None, 40, 0)
    [(first, vectors, codes, bounds, coarse)] = core.segments()
    assert (first, codes, bounds, coarse) == (0, None, None, None)
    assert vectors is not None
    assert not vectors.flags.writeable
    np.testing.assert_array_equal(vectors, bits)
    again = Store(64, "hamming", "ubinary", "cpu", 2).attach(vectors, None, None, None, np.arange(40), np.array([3]))
    assert (len(again), again.memory["mapped"], again.memory["codes"]) == (39, bits.nbytes, 0)
    np.testing.assert_array_equal(again.take(np.array([39, 0])), bits[[39, 0]])
    with pytest.raises(StoreError, match=r"vectors: expected a read-only C-contiguous array \(40, 8\) of uint8"):
        core.attach(np.zeros((40, 64), np.float32), None, None, None, np.arange(40, 80))
    codes = np.zeros((40, 64), np.int8)
    bounds = np.zeros((40, 6), np.float32)
    codes.flags.writeable = bounds.flags.writeable = False
    with pytest.raises(StoreError, match="codes: found codes, where a store of ubinary has none"):
        core.attach(vectors, codes, bounds, None, np.arange(40, 80))
    gone = core.attach(None, None, None, None, np.arange(40, 80), np.arange(40, 80))
    assert (gone.rows, len(gone)) == (80, 40)


def test_embeddings_of_texts_are_bits() -> None:
    class Encoder:
        def encode(self, texts: Any, **options: Any) -> Any:
            table = np.array([[float(len(text) >> i & 1) - 0.5 for i in range(8)] for text in np.atleast_1d(texts)])
            return table[0] if isinstance(texts, str) else table

    store = EmbeddingStore(metric="hamming")
    store.add_texts(["a", "bb", "ccc", "dddd"], Encoder())
    assert store.dimension == 8
    scores, ids = store.search_text("xyz", Encoder(), 2)
    assert (scores.tolist(), ids.tolist()) == ([0, -1], [2, 0])
    assert store.search_text("xyz", Encoder(), 1, rescore_multiplier=4)[1].tolist() == [2]


@pytest.mark.parametrize("mmap", [True, False])
def test_bits_are_saved_committed_compacted_copied_and_spilled(tmp_path: Path, mmap: bool) -> None:
    rows = np.random.default_rng(4).integers(0, 256, (3000, 24), np.uint8)
    folder = tmp_path / "store"
    store = EmbeddingStore(metric="hamming", max_memory_gb=1e-9, spill_to=tmp_path)
    store.add_embeddings(rows[:2500], texts=["a"] * 2500)
    store.save_to_disk(folder)
    assert np.load(folder / "vectors-1-0.npy").dtype == np.uint8
    with EmbeddingStore.open(folder, "a", mmap=mmap) as opened:
        opened.delete(range(100))
        for row in rows[2500:2510]:
            opened.add_embeddings(row)
            opened.commit()
        opened.add_embeddings(rows[2510:])
    for again in (EmbeddingStore.open(folder, mmap=mmap), pickle.loads(pickle.dumps(copy.copy(opened)))):
        assert (again.metric, again.dtype, again.dimension) == ("hamming", "ubinary", 192)
        np.testing.assert_array_equal(again.get(again.ids), rows[100:])
        scores, ids = again.search(rows[:3], 5)
        expected, places = nearest(rows[:3], rows[100:], 5)
        np.testing.assert_array_equal(ids, places + 100)
        np.testing.assert_array_equal(scores, expected)
    EmbeddingStore.open(folder).verify()
    with EmbeddingStore.open(folder, "a", mmap=mmap) as opened:
        opened.compact()
    assert EmbeddingStore.open(folder).vectors.shape == (2900, 24)
