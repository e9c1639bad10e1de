"""Where vectors go: into the caller's array, or into one that is handed over without a copy."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder

TEXTS = ["one", "a second text", "and a third one, which is longer than the others", ""] * 5
DIMENSION = 48


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    return model.encode(TEXTS)


def empty(rows: int = len(TEXTS)) -> np.ndarray:
    """An array for so many vectors, that shows where nothing was written."""
    return np.full((rows, DIMENSION), np.inf, np.float32)


def streamed(texts: list[str]) -> Any:
    """`texts` of unknown number."""
    return (text for text in texts)


def test_an_array_is_filled_and_given_back(model: Embedder, expected: np.ndarray) -> None:
    out = empty()
    assert model.encode(TEXTS, out=out) is out
    assert np.array_equal(out, expected)


def test_a_part_of_an_array(model: Embedder, expected: np.ndarray) -> None:
    whole = empty(len(TEXTS) + 5)
    model.encode(TEXTS, out=whole[2:-3])
    assert np.array_equal(whole[2:-3], expected)
    assert np.isinf(whole[:2]).all()
    assert np.isinf(whole[-3:]).all()


def test_a_file(model: Embedder, expected: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=expected.shape)
    assert model.encode(TEXTS, out=out) is out
    out.flush()
    del out
    assert np.array_equal(np.load(path), expected)


def test_the_end_of_the_pipeline_is_the_same(model: Embedder) -> None:
    options: dict[str, Any] = {"truncate_dim": 7, "normalize_embeddings": True, "prompt_name": "query"}
    out = np.empty((len(TEXTS), 7), np.float32)
    model.encode(TEXTS, out=out, **options)
    assert np.array_equal(out, model.encode(TEXTS, **options))
    documents = empty()
    model.encode_document(TEXTS, out=documents)
    assert np.array_equal(documents, model.encode_document(TEXTS))


def test_no_texts(model: Embedder) -> None:
    out = empty(0)
    assert model.encode([], out=out) is out
    rest = empty(3)
    assert model.encode(streamed([]), out=rest).shape == (0, DIMENSION)
    assert np.isinf(rest).all()


def test_a_stream_fills_the_first_rows(model: Embedder, expected: np.ndarray) -> None:
    for spare in (0, 4):
        out = empty(len(TEXTS) + spare)
        vectors = model.encode(streamed(TEXTS), out=out)
        assert np.array_equal(vectors, expected)
        assert vectors.ctypes.data == out.ctypes.data
        assert np.isinf(out[len(TEXTS) :]).all()


def test_a_long_stream(model: Embedder, expected: np.ndarray) -> None:
    repeats = 501
    out = empty(repeats * len(TEXTS))
    vectors = model.encode(itertools.chain.from_iterable(itertools.repeat(TEXTS, repeats)), out=out)
    assert np.array_equal(vectors, np.tile(expected, (repeats, 1)))
    grown = model.encode(itertools.chain.from_iterable(itertools.repeat(TEXTS, repeats)))
    assert np.array_equal(grown, vectors)


def test_a_stream_that_is_too_long_says_how_much_was_filled(model: Embedder, expected: np.ndarray) -> None:
    out = empty(len(TEXTS) - 1)
    with pytest.raises(ValueError, match=r"^out: has 19 rows, and there are more inputs; the first 0 were filled"):
        model.encode(streamed(TEXTS), out=out)
    assert np.isinf(out).all()
    out = empty(5_000)
    with pytest.raises(ValueError, match=r"^out: has 5000 rows, and there are more inputs; the first 4096 were filled"):
        model.encode(itertools.cycle(TEXTS), out=out)
    assert np.array_equal(out[: len(TEXTS)], expected)
    assert np.isinf(out[4096:]).all()


def read_only() -> np.ndarray:
    out = empty()
    out.flags.writeable = False
    return out


# Rows that share their memory.
OVERLAPPING = np.lib.stride_tricks.as_strided(np.full(100, np.inf, np.float32), (len(TEXTS), DIMENSION), (4, 4))

BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "float64": (empty().astype(np.float64), TypeError, "out: expected an array of float32, found float64 array"),
    "float16": (empty().astype(np.float16), TypeError, "out: expected an array of float32, found float16 array"),
    "other byte order": (empty().astype(">f4" if sys.byteorder == "little" else "<f4"), TypeError, "found .f4 array"),
    "list": ([[0.0] * DIMENSION] * len(TEXTS), TypeError, "out: expected an array of float32, found list"),
    "bytearray": (bytearray(len(TEXTS) * DIMENSION * 4), TypeError, "found bytearray"),
    "one dimension": (empty().ravel(), ValueError, r"out: expected shape \(texts, 48\), found \(960,\)"),
    "three dimensions": (empty()[None], ValueError, r"out: expected shape \(texts, 48\), found \(1, 20, 48\)"),
    "too narrow": (empty()[:, :47].copy(), ValueError, r"out: expected shape \(texts, 48\), found \(20, 47\)"),
    "Fortran's order": (np.asfortranarray(empty()), ValueError, "out: expected a C-contiguous, writable array"),
    "every other row": (empty(2 * len(TEXTS))[::2], ValueError, "out: expected a C-contiguous, writable array"),
    "some columns": (np.full((20, 50), np.inf, np.float32)[:, :48], ValueError, "out: expected a C-contiguous"),
    "backwards": (empty()[::-1], ValueError, "out: expected a C-contiguous, writable array"),
    "read-only": (read_only(), ValueError, "out: expected a C-contiguous, writable array"),
    "broadcast": (np.broadcast_to(empty(1), (len(TEXTS), DIMENSION)), ValueError, "out: expected a C-contiguous"),
    "overlapping rows": (OVERLAPPING, ValueError, "out: expected a C-contiguous, writable array"),
}


@pytest.mark.parametrize(("out", "error", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_filled_is_refused(out: Any, error: type[Exception], message: str, model: Embedder) -> None:
    for texts in (TEXTS, streamed(TEXTS)):
        with pytest.raises(error, match=message):
            model.encode(texts, out=out)
    if isinstance(out, np.ndarray):
        assert np.isinf(out).all()


@pytest.mark.parametrize("rows", [0, len(TEXTS) - 1, len(TEXTS) + 1])
def test_a_list_has_as_many_rows_as_texts(rows: int, model: Embedder) -> None:
    out = empty(rows)
    with pytest.raises(ValueError, match=rf"^out: expected shape \(20, 48\), found .{rows}, 48.$"):
        model.encode(TEXTS, out=out)
    assert np.isinf(out).all()


def test_one_str_and_other_types_have_no_place_in_it(model: Embedder) -> None:
    with pytest.raises(ValueError, match=r"^out: one str gives a vector; pass \[sentence\]"):
        model.encode("text", out=empty(1))
    with pytest.raises(ValueError, match=r"^out: holds float32, and precision='int8' was asked for"):
        model.encode(TEXTS, out=empty(), precision="int8")


@pytest.mark.parametrize("bad", [None, "\ud800"])
def test_a_bad_text_leaves_it_as_it_was(bad: Any, model: Embedder) -> None:
    out = empty(len(TEXTS) + 1)
    with pytest.raises((TypeError, ValueError), match=r"^sentences\[20\]"):
        model.encode([*TEXTS, bad], out=out)
    assert np.isinf(out).all()


def test_a_bad_text_in_a_stream_leaves_the_pieces_before(model: Embedder, expected: np.ndarray) -> None:
    out = empty(5_000)
    with pytest.raises(TypeError, match=r"^sentences\[4500\]"):
        model.encode(itertools.chain(itertools.islice(itertools.cycle(TEXTS), 4_500), [None]), out=out)
    assert np.array_equal(out[: len(TEXTS)], expected)
    assert np.isinf(out[4096:]).all()


def test_memory_of_the_core_is_handed_over(model: Embedder) -> None:
    vectors = model.encode(TEXTS)
    assert vectors.flags.c_contiguous
    assert vectors.flags.writeable
    # The owner at the end of the chain is an object of the extension's, not an array that was copied to.
    owner: Any = vectors
    while isinstance(owner, np.ndarray):
        assert not owner.flags.owndata
        owner = owner.base
    assert owner is not None
    vector = model.encode(TEXTS[0])
    assert vector.base is not None
    assert not vector.flags.owndata


PEAK = """
import sys
import numpy as np
from votive import Embedder

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

model = Embedder(sys.argv[1], num_threads=2)
texts = [f"a {i}" for i in range(100_000)]
model.encode(texts[:5_000])  # what threads and the allocator keep for themselves
before = status("VmRSS:")
result = model.encode(texts)
print(result.nbytes, status("VmHWM:") - before, status("VmRSS:") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_result_is_never_in_memory_twice(folder: str, run_python: Callable[..., str]) -> None:
    size, peak, kept = map(int, run_python(PEAK, folder).split())
    assert size == 100_000 * DIMENSION * 4
    assert kept > 0.8 * size
    # Beside it there are some 70 bytes for each text, a third of a row.
    assert peak < 1.7 * size
