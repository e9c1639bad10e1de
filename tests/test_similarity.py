"""The similarity functions: by hand, against sentence-transformers, and within bounded memory."""

import tracemalloc

import numpy as np
import pytest
from votive import similarity
from votive.similarity import PAIRWISE_SIMILARITY_FUNCTIONS, SIMILARITY_FUNCTIONS

NAMES = ["cosine", "dot", "euclidean", "manhattan"]

A = [[3, 4], [0, 0], [1, 0]]
B = [[4, 3], [-3, -4], [1, 0]]
BY_HAND = {
    "cosine": [[0.96, -1, 0.6], [0, 0, 0], [0.8, -0.6, 1]],
    "dot": [[24, -25, 3], [0, 0, 0], [4, -3, 1]],
    "euclidean": [[-(2**0.5), -10, -(20**0.5)], [-5, -5, -1], [-(18**0.5), -(32**0.5), 0]],
    "manhattan": [[-2, -14, -6], [-7, -7, -1], [-6, -8, 0]],
}

# What `cos_sim`, `dot_score`, `euclidean_sim` and `manhattan_sim` of sentence_transformers.util 6.2.0 (torch 2.15.0, on
# an x86-64 CPU) returned for these two as float32 arrays, printed with every digit of float32.
REFERENCE_A = [[0.3, -1.2, 0.7, 2.5], [0.0, 0.0, 0.0, 0.0], [-0.8, 0.1, 4.4, -3.6]]
REFERENCE_B = [[1.1, 0.6, -0.9, 0.2], [-0.8, 0.1, 4.4, -3.6], [5.3, -2.7, 0.4, 1.9]]
REFERENCE = {
    "cosine": [[-0.11623661, -0.3803184, 0.5479719], [0, 0, 0], [-0.6157374, 0.9999999, -0.26692745]],
    "dot": [[-0.52, -6.2799997, 9.860001], [0, 0, 0], [-5.5, 32.97, -9.59]],
    "euclidean": [
        [-3.4249086, -7.3348484, -5.263079],
        [-1.555635, -5.741951, -6.256996],
        [-6.811021, -0.0, -9.555103],
    ],
    "manhattan": [[-6.5, -12.200001, -7.4], [-2.8, -8.9, -10.299999], [-11.5, -0.0, -18.400002]],
}


def test_tables_have_the_same_names():
    assert list(SIMILARITY_FUNCTIONS) == list(PAIRWISE_SIMILARITY_FUNCTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [list, np.float16, np.float32, np.float64, np.int8, np.int64])
def test_by_hand(name, kind):
    a, b = (A, B) if kind is list else (np.array(A, kind), np.array(B, kind))
    all_pairs = SIMILARITY_FUNCTIONS[name](a, b)
    pairs = PAIRWISE_SIMILARITY_FUNCTIONS[name](a, b)
    assert (all_pairs.dtype, pairs.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(all_pairs, BY_HAND[name], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pairs, np.diag(BY_HAND[name]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_as_sentence_transformers(name):
    a, b = np.array(REFERENCE_A, np.float32), np.array(REFERENCE_B, np.float32)
    np.testing.assert_allclose(SIMILARITY_FUNCTIONS[name](a, b), REFERENCE[name], rtol=1e-6, atol=1e-6)
    pairs = PAIRWISE_SIMILARITY_FUNCTIONS[name](a, b)
    np.testing.assert_allclose(pairs, np.diag(REFERENCE[name]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_vector_is_one_row(name):
    function = SIMILARITY_FUNCTIONS[name]
    np.testing.assert_array_equal(function(A[0], B), function(A[:1], B))
    np.testing.assert_array_equal(function(A, np.array(B[2])), function(A, B[2:]))
    assert function(A[0], B[0]).shape == (1, 1)
    assert PAIRWISE_SIMILARITY_FUNCTIONS[name](A[0], B[0]).shape == (1,)


@pytest.mark.parametrize("name", NAMES)
def test_no_rows(name):
    nothing = np.empty((0, 2), np.float32)
    assert SIMILARITY_FUNCTIONS[name](nothing, B).shape == (0, 3)
    assert SIMILARITY_FUNCTIONS[name](A, nothing).shape == (3, 0)
    assert PAIRWISE_SIMILARITY_FUNCTIONS[name](nothing, nothing).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_stay_as_they_are(name):
    a, b = np.array(REFERENCE_A, np.float32), np.array(REFERENCE_B, np.float32)
    a.flags.writeable = b.flags.writeable = False
    SIMILARITY_FUNCTIONS[name](a, b)
    PAIRWISE_SIMILARITY_FUNCTIONS[name](a, b)
    np.testing.assert_array_equal(a, np.array(REFERENCE_A, np.float32))
    np.testing.assert_array_equal(b, np.array(REFERENCE_B, np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_any_memory_layout(name):
    a, b = np.array(REFERENCE_A, np.float32), np.array(REFERENCE_B, np.float32)
    function = SIMILARITY_FUNCTIONS[name]
    np.testing.assert_allclose(function(np.asfortranarray(a)[::-1], b), function(a, b)[::-1], rtol=1e-6)
    np.testing.assert_allclose(function(a[:, ::2], b[:, ::2]), function(a[:, ::2].copy(), b[:, ::2].copy()), rtol=1e-6)


def test_numbers_whose_squares_float32_cannot_hold():
    large, small = [[1e30, 0], [0, 1e30]], [[1e-30, 0], [0, 1e-30]]
    np.testing.assert_allclose(similarity.cos_sim(large, large), np.eye(2))
    np.testing.assert_allclose(similarity.pairwise_cos_sim(large, large), [1, 1])
    np.testing.assert_allclose(similarity.euclidean_sim(large, large)[0], [0, -(2**0.5) * 1e30], rtol=1e-6)
    np.testing.assert_allclose(similarity.pairwise_euclidean_sim(large, large[::-1]), [-(2**0.5) * 1e30] * 2, rtol=1e-6)
    np.testing.assert_allclose(similarity.euclidean_sim(small, small)[0], [0, -(2**0.5) * 1e-30], rtol=1e-6)
    # As in sentence-transformers, what is shorter than 1e-12 is taken for zero.
    np.testing.assert_allclose(similarity.cos_sim(small, small), np.zeros((2, 2)), atol=1e-30)
    np.testing.assert_allclose(similarity.pairwise_cos_sim(small, small), [0, 0], atol=1e-30)


@pytest.mark.parametrize("columns", [1, 3, 33, 384, 4096])
def test_cosines_have_an_angle(columns):
    generator = np.random.default_rng(columns)
    vectors = generator.standard_normal((1100, columns), dtype=np.float32)
    vectors *= np.float32(10) ** generator.integers(-9, 9, (1100, 1)).astype(np.float32)
    vectors[::100] = 1 / 3
    both = np.concatenate([vectors, -vectors])
    for cosines in (
        similarity.cos_sim(vectors, both),
        similarity.cos_sim(both[0], both),
        similarity.cos_sim(both, both[0]),
        similarity.pairwise_cos_sim(both, both),
        similarity.pairwise_cos_sim(both, -both),
        similarity.pairwise_cos_sim(both, both * np.float32(3)),
    ):
        assert np.isfinite(np.arccos(cosines)).all()
        assert np.abs(cosines).max() > 0.99999


@pytest.mark.parametrize("offset", [0, 1e-3])
def test_near_vectors_keep_their_distance(offset):
    a = np.random.default_rng(0).standard_normal((40, 384), dtype=np.float32)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = a.copy()
    b[:, 0] += np.float32(offset)
    distances = np.abs(a[:, 0].astype(np.float64) - b[:, 0])
    np.testing.assert_allclose(np.diag(similarity.euclidean_sim(a, b)), -distances, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(similarity.pairwise_euclidean_sim(a, b), -distances, rtol=1e-6)


# Beyond one tile on both sides, with a rest: tiles are of 1024 rows, or of 2^18 differences.
@pytest.mark.parametrize(("n", "m", "columns"), [(1030, 2060, 8), (1, 5000, 96), (5000, 1, 96), (3, 2, 300_000)])
def test_tiles_make_the_whole(n, m, columns):
    generator = np.random.default_rng(1)
    a, b = generator.standard_normal((n, columns)), generator.standard_normal((m, columns))
    a, b = a.astype(np.float32), b.astype(np.float32)
    euclidean, manhattan = similarity.euclidean_sim(a, b), similarity.manhattan_sim(a, b)
    for i in {0, n // 2, n - 1}:
        differences = a[i].astype(np.float64) - b
        np.testing.assert_allclose(euclidean[i], -np.sqrt((differences**2).sum(axis=1)), rtol=1e-6)
        np.testing.assert_allclose(manhattan[i], -np.abs(differences).sum(axis=1), rtol=1e-6)


def test_blocks_of_pairs_make_the_whole():
    generator = np.random.default_rng(2)
    a, b = generator.standard_normal((2, 1500, 384), dtype=np.float32)
    differences = a.astype(np.float64) - b
    euclidean, manhattan = -np.sqrt((differences**2).sum(axis=1)), -np.abs(differences).sum(axis=1)
    np.testing.assert_allclose(similarity.pairwise_euclidean_sim(a, b), euclidean, rtol=1e-6)
    np.testing.assert_allclose(similarity.pairwise_manhattan_sim(a, b), manhattan, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "n", "m", "most_bytes"),
    [
        # All differences at once would be 200 MB.
        (similarity.manhattan_sim, 500, 500, 4 << 20),
        # b in float64 would be 64 MB.
        (similarity.euclidean_sim, 10, 40_000, 8 << 20),
        # A copy of either would be 32 MB.
        (similarity.pairwise_manhattan_sim, 40_000, 40_000, 4 << 20),
        (similarity.pairwise_euclidean_sim, 40_000, 40_000, 4 << 20),
    ],
)
def test_memory_beside_the_result_is_bounded(function, n, m, most_bytes):
    a, b = np.ones((n, 200), np.float32), np.zeros((m, 200), np.float32)
    tracemalloc.start()
    try:
        similarities = function(a, b)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - similarities.nbytes < most_bytes


WRONG = [
    (np.zeros((2, 2, 2)), ValueError, r"expected 1-D \(one vector\) or 2-D, found shape \(2, 2, 2\)"),
    (1.5, ValueError, r"expected 1-D \(one vector\) or 2-D, found shape \(\)"),
    ([[1, 2], [3]], ValueError, "expected vectors of equal length"),
    (np.array([[1, None]], object), TypeError, "expected floats or integers, found object"),
    (None, TypeError, "expected floats or integers, found object"),
    ([["a", "b"]], TypeError, "expected floats or integers, found <U1"),
    ([[True, False]], TypeError, "expected floats or integers, found bool"),
    ([[1j, 0]], TypeError, "expected floats or integers, found complex128"),
    ([[1, 2], [np.nan, 2]], ValueError, "row 1 holds NaN, infinity or a number beyond float32"),
    ([[1, 2], [1, 2], [0, -np.inf]], ValueError, "row 2 holds NaN, infinity or a number beyond float32"),
    (np.ma.array([[1, 2]], mask=[[0, 1]]), ValueError, "holds masked elements; fill them first"),
    ([[1e39, 0]], ValueError, "row 0 holds NaN, infinity or a number beyond float32"),
]


@pytest.mark.parametrize("functions", [SIMILARITY_FUNCTIONS, PAIRWISE_SIMILARITY_FUNCTIONS], ids=["all", "pairwise"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_arguments_are_named(functions, name, wrong, error, message):
    with pytest.raises(error, match=f"^a: {message}"):
        functions[name](wrong, B)
    with pytest.raises(error, match=f"^b: {message}"):
        functions[name](A, wrong)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_match(name):
    for functions in (SIMILARITY_FUNCTIONS, PAIRWISE_SIMILARITY_FUNCTIONS):
        with pytest.raises(ValueError, match="b: expected 2 columns, as many as a has, found 3"):
            functions[name](A, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="b: expected 3 rows, as many as a has, found 2"):
        PAIRWISE_SIMILARITY_FUNCTIONS[name](A, B[:2])
