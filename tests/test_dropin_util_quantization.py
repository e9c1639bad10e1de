"""`util.quantization` of the drop-in against sentence-transformers' answers, with faiss and usearch where they are."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from fixtures.dropin_util import PRECISIONS, QUANTIZED_SEARCHES, arguments
from test_dropin_util import ARRAYS, LISTS, assert_same_hits
from votive.sentence_transformers import util


@pytest.mark.parametrize("name", PRECISIONS)
def test_quantization(name: str) -> None:
    precision, given = PRECISIONS[name]
    more, wide = arguments(given, ARRAYS, util), ARRAYS["wide"]
    for key, rows in {
        name: wide,
        f"{name}.float64": wide.astype(np.float64) / 3,
    }.items():
        expected = ARRAYS[f"quantize_embeddings.{key}"]
        found = util.quantize_embeddings(rows, precision, **more)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        util.quantize_embeddings(list(wide), precision, **more), ARRAYS[f"quantize_embeddings.{name}"]
    )
    matrices = util.quantize_embeddings([wide[:3], wide[3:]], precision, **more)
    assert len(matrices) == 2
    for number, matrix in enumerate(matrices):
        np.testing.assert_array_equal(matrix, ARRAYS[f"quantize_embeddings.{name}.matrix{number}"])


def test_quantization_of_little() -> None:
    assert util.quantize_embeddings([], "int8") == []
    for precision, columns in {"int8": 20, "uint8": 20, "binary": 3, "ubinary": 3, "float32": 20}.items():
        assert util.quantize_embeddings(np.empty((0, 20)), precision).shape == (0, columns)
    with pytest.raises(ValueError, match="Cannot compute int8 quantization ranges from a single embedding"):
        util.quantize_embeddings(ARRAYS["wide"][:1], "int8")
    with pytest.raises(TypeError, match="must be float rather than int8 or uint8"):
        util.quantize_embeddings(np.ones((2, 3), np.int8), "binary")
    with pytest.raises(ValueError, match="'int4' is not supported"):
        util.quantize_embeddings(ARRAYS["wide"], "int4")
    assert util.quantize_embeddings(ARRAYS["wide"][0], "ubinary").shape == (3,)


def test_quantization_by_few_embeddings_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sentence_transformers"):
        util.quantize_embeddings(ARRAYS["calibration"], "int8")
        assert caplog.records == []
        util.quantize_embeddings(ARRAYS["wide"], "int8")
    assert "Computing int8 quantization buckets based on 20 embeddings" in caplog.text


@pytest.mark.parametrize("name", QUANTIZED_SEARCHES)
@pytest.mark.filterwarnings("default")
def test_quantized_searches(name: str) -> None:
    package, precision, given = QUANTIZED_SEARCHES[name]
    pytest.importorskip(package)
    search = getattr(util.quantization, f"semantic_search_{package}")
    corpus = util.quantize_embeddings(ARRAYS["calibration"], precision)
    more, queries = arguments(given, ARRAYS, util), ARRAYS["wide"][:2]
    found, seconds, index = search(queries, corpus, None, precision, output_index=True, **more)
    assert_same_hits(found, LISTS[name])
    assert seconds >= 0
    again, _ = search(queries, None, index, precision, **more)
    assert again == found
    one, _ = search(queries[:1], None, index, precision, **more)
    assert one == found[:1]


@pytest.mark.parametrize("package", ["faiss", "usearch"])
@pytest.mark.filterwarnings("default")
def test_quantized_searches_refuse_and_tell(package: str, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip(package)
    search = getattr(util.quantization, f"semantic_search_{package}")
    rows = ARRAYS["calibration"]
    with pytest.raises(ValueError, match=r"^Only corpus_embeddings or corpus_index should be used, not both\.$"):
        search(rows, rows, object())
    with pytest.raises(ValueError, match=r"^Either corpus_embeddings or corpus_index should be used\.$"):
        search(rows)
    with pytest.raises(ValueError, match="corpus_precision must be"):
        search(rows, rows, corpus_precision="int4")
    with caplog.at_level(logging.WARNING, "sentence_transformers"):
        search(rows, rows)
        assert "the corpus is not quantized" in caplog.text
        caplog.clear()
        bits = util.quantize_embeddings(rows, "ubinary")
        search(bits, bits, corpus_precision="ubinary")
        assert "the query embeddings are quantized" in caplog.text
