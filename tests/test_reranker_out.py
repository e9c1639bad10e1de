"""Where scores go: into the caller's array, of one dimension or two."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import same
from votive import Reranker

FIXTURES = Path(__file__).parent / "fixtures"
QUERY = "what is a candle?"
PAIRS = [[QUERY, f"{i} {text}"] for i in range(5) for text in ("one", "wax with a wick", "", "light, when it burns")]


@pytest.fixture(scope="module")
def ranker() -> Reranker:
    """Of one label."""
    return Reranker(str(FIXTURES / "bert_rerank"), num_threads=2)


@pytest.fixture(scope="module")
def classifier() -> Reranker:
    """Of three labels."""
    return Reranker(str(FIXTURES / "bert_labels"), num_threads=2)


@pytest.fixture(scope="module")
def scores(ranker: Reranker) -> np.ndarray:
    return ranker.predict(PAIRS)


def empty(*shape: int) -> np.ndarray:
    """An array that shows where nothing was written."""
    return np.full(shape or (len(PAIRS),), np.inf, np.float32)


def test_one_dimension_is_filled(ranker: Reranker, scores: np.ndarray) -> None:
    out = empty()
    found = ranker.predict(PAIRS, out=out)
    assert same(out, scores)
    assert found.shape == out.shape
    assert np.shares_memory(found, out)


def test_two_dimensions_are_filled(ranker: Reranker, classifier: Reranker, scores: np.ndarray) -> None:
    out = empty(len(PAIRS), 1)
    ranker.predict(PAIRS, out=out)
    assert same(out[:, 0], scores)
    out = empty(len(PAIRS), 3)
    found = classifier.predict(PAIRS, out=out, activation_fn="tanh", apply_softmax=True)
    assert same(out, classifier.predict(PAIRS, activation_fn="tanh", apply_softmax=True))
    assert same(found, out)
    assert np.shares_memory(found, out)


def test_it_holds_what_the_activation_gives(ranker: Reranker) -> None:
    for activation_fn in ("identity", "tanh", lambda logits: logits.astype(np.float64) * 2):
        out = empty()
        ranker.predict(PAIRS, out=out, activation_fn=activation_fn)
        assert same(out, ranker.predict(PAIRS, activation_fn=activation_fn))


def test_a_part_of_an_array(ranker: Reranker, scores: np.ndarray) -> None:
    whole = empty(len(PAIRS) + 5)
    ranker.predict(PAIRS, out=whole[2:-3])
    assert same(whole[2:-3], scores)
    assert np.isinf(whole[:2]).all()
    assert np.isinf(whole[-3:]).all()


@pytest.mark.parametrize("labels", [1, 3])
def test_a_file(labels: int, ranker: Reranker, classifier: Reranker, tmp_path: Path) -> None:
    model = ranker if labels == 1 else classifier
    expected = model.predict(PAIRS)
    path = tmp_path / "scores.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=expected.shape)
    model.predict(PAIRS, out=out)
    out.flush()
    del out
    assert same(np.load(path), expected)


def test_no_pairs(ranker: Reranker) -> None:
    assert ranker.predict([], out=empty(0)).shape == (0,)
    rest = empty(3)
    assert ranker.predict(iter([]), out=rest).shape == (0,)
    assert np.isinf(rest).all()


@pytest.mark.parametrize("spare", [0, 4])
def test_a_stream_fills_the_first_elements(spare: int, ranker: Reranker, scores: np.ndarray) -> None:
    out = empty(len(PAIRS) + spare)
    found = ranker.predict((pair for pair in PAIRS), out=out)
    assert same(found, scores)
    assert np.shares_memory(found, out)
    assert same(out[: len(PAIRS)], scores)
    assert np.isinf(out[len(PAIRS) :]).all()


def test_a_stream_that_is_too_long_says_how_much_was_filled(ranker: Reranker) -> None:
    out = empty(len(PAIRS) - 1)
    with pytest.raises(ValueError, match=r"^out: has 19 rows, and there are more inputs; the first 0 were filled"):
        ranker.predict(iter(PAIRS), out=out)
    assert np.isinf(out).all()
    out = empty(5_000)
    with pytest.raises(ValueError, match=r"^out: has 5000 rows, and there are more inputs; the first 4096 were filled"):
        ranker.predict(itertools.cycle(PAIRS), out=out)
    # Of what comes before, as the model gives it.
    assert np.isfinite(out[:4096]).all()
    assert np.isinf(out[4096:]).all()


def read_only() -> np.ndarray:
    out = empty()
    out.flags.writeable = False
    return out


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "float64": (empty().astype(np.float64), TypeError, "out: expected an array of float32, found float64 array"),
    "other byte order": (empty().astype(">f4" if sys.byteorder == "little" else "<f4"), TypeError, "found .f4 array"),
    "list": ([0.0] * len(PAIRS), TypeError, "out: expected an array of float32, found list"),
    "no dimension": (np.float32(0), TypeError, "out: expected an array of float32, found float32"),
    "two columns": (empty(20, 2), ValueError, r"out: expected shape .*, found \(20, 2\)"),
    "turned": (empty(1, 20), ValueError, r"out: expected shape .*, found \(1, 20\)"),
    "three dimensions": (empty(20, 1, 1), ValueError, r"out: expected shape .*, found \(20, 1, 1\)"),
    "every other element": (empty(40)[::2], ValueError, "out: expected a C-contiguous, writable array"),
    "backwards": (empty()[::-1], ValueError, "out: expected a C-contiguous, writable array"),
    "a column": (empty(20, 3)[:, 1], ValueError, "out: expected a C-contiguous, writable array"),
    "read-only": (read_only(), ValueError, "out: expected a C-contiguous, writable array"),
    "broadcast": (np.broadcast_to(empty(1), (20,)), ValueError, "out: expected a C-contiguous, writable array"),
}


@pytest.mark.parametrize(("out", "error", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_filled_is_refused(out: Any, error: type[Exception], message: str, ranker: Reranker) -> None:
    for pairs in (PAIRS, iter(PAIRS)):
        with pytest.raises(error, match=message):
            ranker.predict(pairs, out=out)
    if isinstance(out, np.ndarray):
        assert np.isinf(out).all()


@pytest.mark.parametrize("rows", [0, len(PAIRS) - 1, len(PAIRS) + 1])
def test_a_list_has_as_many_elements_as_pairs(rows: int, ranker: Reranker, classifier: Reranker) -> None:
    for model, out in ((ranker, empty(rows)), (ranker, empty(rows, 1)), (classifier, empty(rows, 3))):
        with pytest.raises(ValueError, match=rf"^out: expected shape \(20, \d\), found .{rows}, \d.$"):
            model.predict(PAIRS, out=out)
        assert np.isinf(out).all()


def test_three_labels_need_three_columns(classifier: Reranker) -> None:
    for out in (empty(), empty(20, 1), empty(20, 2), empty(60)):
        with pytest.raises(ValueError, match=r"^out: expected shape .*, 3\), found "):
            classifier.predict(PAIRS, out=out)
        assert np.isinf(out).all()


def test_one_pair_has_no_place_in_it(ranker: Reranker, scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^out: one pair gives a scalar; pass \[pair\]"):
        ranker.predict(PAIRS[0], out=empty(1))
    out = empty(1)
    ranker.predict(PAIRS[:1], out=out)
    assert same(out[0], scores[0])


@pytest.mark.parametrize("bad", [[QUERY, None], [QUERY, "\ud800"], [QUERY], None])
def test_a_bad_pair_leaves_it_as_it_was(bad: Any, ranker: Reranker) -> None:
    out = empty(len(PAIRS) + 1)
    with pytest.raises((TypeError, ValueError), match=r"^inputs\[20\]"):
        ranker.predict([*PAIRS, bad], out=out)
    assert np.isinf(out).all()


def test_a_bad_activation_fails_before_the_array_is_given_back(ranker: Reranker, scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^activation_fn: gave shape"):
        ranker.predict(PAIRS, out=empty(), activation_fn=np.ravel)
    out = empty()
    ranker.predict(PAIRS, out=out)
    assert same(out, scores)


PEAK = """
import sys
import numpy as np
from votive import Reranker

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

def pairs(count):
    # All differ, in few different words: the tokenizer remembers words.
    return ((f"a {i % 100}", " ".join(f"{i:012}")) for i in range(count))

model = Reranker(sys.argv[1], num_threads=2)
model.predict(pairs(10_000))  # what threads and the allocator keep for themselves
before = status("VmHWM:")
scores = model.predict(pairs(40_000), out=np.empty(40_000, np.float32))
assert np.isfinite(scores).all()
print(scores.nbytes, status("VmHWM:") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_pairs(run_python: Callable[..., str]) -> None:
    size, grown = map(int, run_python(PEAK, str(FIXTURES / "bert_rerank")).split())
    assert size == 160_000
    assert grown < size + (4 << 20)
