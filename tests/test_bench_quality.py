"""How near results are, with answers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from votive.bench import quality


def test_cosines_and_differences() -> None:
    reference = np.array([[1, 0], [0, 2], [3, 4]], np.float32)
    vectors = np.array([[2, 0], [1, 1], [3, 4]], np.float32)
    found = quality.of_vectors(vectors, reference, "torch", 1)
    assert found.against == "torch"
    assert found.cosine_mean == pytest.approx((1 + 0.5**0.5 + 1) / 3)
    assert found.cosine_min == pytest.approx(0.5**0.5)
    assert found.max_difference == 1.0
    assert found.nan_count == 0


def test_the_same_vectors_are_the_same() -> None:
    vectors = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)
    found = quality.of_vectors(vectors, vectors.copy(), "it", 10)
    assert (found.max_difference, found.rank_overlap) == (0.0, 1.0)
    assert found.spearman == pytest.approx(1.0)
    assert found.cosine_min == pytest.approx(1.0)


def test_neighbours_are_counted_without_the_text_itself() -> None:
    angles = np.radians([0, 10, 50, 180])
    reference = np.stack([np.cos(angles), np.sin(angles)], 1)
    turned = np.radians([0, 10, 175, 180])
    vectors = np.stack([np.cos(turned), np.sin(turned)], 1)
    # Nearest of each: 1, 0, 1, 2 in the reference; 1, 0, 3, 2 here.
    assert quality.of_vectors(vectors, reference, "it", 1).rank_overlap == 0.75


def test_rows_that_are_no_numbers_are_counted_and_left_out() -> None:
    reference = np.eye(4, dtype=np.float32)
    vectors = reference.copy()
    vectors[1] = np.nan
    found = quality.of_vectors(vectors, reference, "it", 1)
    assert (found.nan_count, found.cosine_min, found.max_difference) == (4, 1.0, 0.0)
    nothing = quality.of_vectors(np.full((2, 2), np.nan), np.eye(2), "it", 1)
    assert (nothing.nan_count, nothing.cosine_mean, nothing.max_difference) == (4, None, None)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the shape \(2, 3\), the reference's \(2, 4\)"):
        quality.of_vectors(np.zeros((2, 3)), np.zeros((2, 4)), "it", 1)


def test_spearman_by_hand() -> None:
    # Differences of ranks 1, 1, 1, 1, 0: 1 - 6 * 4 / (5 * 24).
    assert quality.spearman(np.array([1, 2, 3, 4, 5]), np.array([2, 1, 4, 3, 5])) == pytest.approx(0.8)
    assert quality.spearman(np.array([1, 2, 3]), np.array([9, 5, 1])) == pytest.approx(-1)
    # Equal ones share the mean of their ranks: [1.5, 1.5, 3] and [1, 2, 3].
    assert quality.spearman(np.array([7, 7, 8]), np.array([1, 2, 3])) == pytest.approx(0.8660254)
    assert quality.spearman(np.array([7, 7, 7]), np.array([1, 2, 3])) is None


def test_scores_are_compared_within_each_query() -> None:
    reference = [np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0])]
    scores = [np.array([3.0, 2.5, 1.0]), np.array([3.0, 2.0, 1.0])]
    found = quality.of_scores(scores, reference, "it", 1)
    assert (found.max_difference, found.rank_overlap, found.cosine_mean) == (2.0, 0.5, None)
    assert found.spearman == pytest.approx(0.0)


def test_hits_are_compared_in_any_order() -> None:
    found = quality.of_hits(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 2, 1], [4, 8, 9]]), "numpy")
    assert found.rank_overlap == pytest.approx((1 + 1 / 3) / 2)
