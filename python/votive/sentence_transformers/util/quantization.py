"""Embeddings in fewer bits and searches among them, as `sentence_transformers.util.quantization` has them."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive.sentence_transformers._log import logger
from votive.sentence_transformers._tensors import as_array

__all__ = ["quantize_embeddings", "semantic_search_faiss", "semantic_search_usearch"]

Array = NDArray[Any]
Hits = list[list[dict[str, Any]]]


_PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
# Ranges from fewer embeddings are reported.
_FEW = 100


def quantize_embeddings(embeddings: Any, precision: str, ranges: Any = None, calibration_embeddings: Any = None) -> Any:
    """Embeddings as bytes or bits.

    "int8" and "uint8" cut the range of each dimension into 256 equal buckets and keep the bucket's number ("int8": less
    128). "binary" and "ubinary" keep for each dimension whether it is above zero, eight to a byte ("binary": less 128).

    Args:
        embeddings: `[texts, dimension]`, or a list of vectors; or a list of matrices, which share ranges.
        precision: "float32", "int8", "uint8", "binary" or "ubinary".
        ranges: `[2, dimension]`, the smallest and the largest value of each dimension.
        calibration_embeddings: `[rows, dimension]` to take the ranges from.

    Returns:
        An array, or for a list of matrices a list of arrays.

    Raises:
        ValueError: an unknown precision, or ranges from a single embedding.
        TypeError: the embeddings are bytes already.
    """
    if isinstance(embeddings, list):
        if not embeddings:
            return []
        if getattr(embeddings[0], "ndim", 1) == 2:
            matrices = [np.asarray(as_array(matrix)) for matrix in embeddings]
            if precision in ("int8", "uint8") and ranges is None:
                rows = np.concatenate(matrices) if calibration_embeddings is None else calibration_embeddings
                ranges = _ranges(rows, precision, calibration_embeddings) if len(rows) else None
            return [quantize_embeddings(matrix, precision, ranges, calibration_embeddings) for matrix in matrices]
    rows = np.asarray(as_array(embeddings))
    if rows.dtype in (np.uint8, np.int8):
        raise TypeError("Embeddings to quantize must be float rather than int8 or uint8.")
    if precision not in _PRECISIONS:
        raise ValueError(f"Precision {precision!r} is not supported; accepted are {', '.join(_PRECISIONS)}")
    if precision == "float32":
        return rows.astype(np.float32)
    if precision.endswith("binary"):
        bits = np.packbits(rows > 0, axis=-1)
        return bits if precision == "ubinary" else _less_128(bits)
    if rows.ndim == 2 and not len(rows):
        return rows.astype(precision)
    low, step = _buckets(_ranges(rows, precision, calibration_embeddings) if ranges is None else ranges)
    numbers = np.clip(np.floor((rows - low) / step), 0, 255).astype(np.uint8)
    return numbers if precision == "uint8" else _less_128(numbers)


def semantic_search_faiss(
    query_embeddings: Any,
    corpus_embeddings: Any = None,
    corpus_index: Any = None,
    corpus_precision: str = "float32",
    top_k: int = 10,
    ranges: Any = None,
    calibration_embeddings: Any = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """The nearest rows by the package faiss, which must be installed.

    Args:
        query_embeddings: `[queries, dimension]`, floats to have quantized and rescored, or quantized ones.
        corpus_embeddings: `[rows, dimension]` in `corpus_precision`; or `corpus_index`.
        corpus_index: an index of faiss, as `output_index` gives it.
        corpus_precision: "float32", "uint8" or "ubinary".
        top_k: how many rows for each query.
        ranges: `[2, dimension]` that the corpus was quantized with.
        calibration_embeddings: embeddings to take ranges from, as for the corpus.
        rescore: take more rows, and rank them by the dot product of the query with what their bytes stand for.
        rescore_multiplier: how many times `top_k` those are.
        exact: False for a graph (HNSW), which may miss rows.
        output_index: whether to give the index, too.

    Returns:
        For each query a list of {"corpus_id", "score"}, at most `top_k`; the seconds that it took; and the index.

    Raises:
        ImportError: faiss is not installed.
        ValueError: both or neither of `corpus_embeddings` and `corpus_index`, or another precision.
    """
    faiss = importlib.import_module("faiss")
    _check_corpus(corpus_embeddings, corpus_index)
    if corpus_precision not in ("float32", "uint8", "ubinary"):
        raise ValueError('corpus_precision must be "float32", "uint8", or "ubinary" for faiss')
    is_bits = corpus_precision == "ubinary"
    if corpus_index is None:
        rows = np.asarray(as_array(corpus_embeddings))
        if is_bits:
            dimension = rows.shape[1] * 8
            corpus_index = faiss.IndexBinaryFlat(dimension) if exact else faiss.IndexBinaryHNSW(dimension, 16)
        elif exact:
            corpus_index = faiss.IndexFlatIP(rows.shape[1])
        else:
            corpus_index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        corpus_index.add(rows)
    queries, floats, ranges = _queries(
        "semantic_search_faiss", query_embeddings, corpus_precision, ranges, calibration_embeddings, rescore
    )
    start = time.time()
    scores, ids = corpus_index.search(queries, top_k if floats is None else top_k * rescore_multiplier)
    # Fewer rows than asked for are filled up with -1.
    valid = ids != -1
    if floats is not None:
        found = np.zeros(
            (*ids.shape, corpus_index.d // 8 if is_bits else corpus_index.d), np.uint8 if is_bits else "f4"
        )
        for place in np.argwhere(valid):
            found[tuple(place)] = corpus_index.reconstruct(int(ids[tuple(place)]))
        scores, ids, valid = _rescored(floats, found, ids, valid, corpus_precision, ranges, top_k)
    seconds = time.time() - start
    found_hits = _hits(scores, ids, valid)
    return (found_hits, seconds, corpus_index) if output_index else (found_hits, seconds)


def semantic_search_usearch(
    query_embeddings: Any,
    corpus_embeddings: Any = None,
    corpus_index: Any = None,
    corpus_precision: str = "float32",
    top_k: int = 10,
    ranges: Any = None,
    calibration_embeddings: Any = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """The nearest rows by the package usearch, which must be installed.

    Args:
        query_embeddings: see `semantic_search_faiss`.
        corpus_embeddings: `[rows, dimension]` in `corpus_precision`; or `corpus_index`.
        corpus_index: an index of usearch.
        corpus_precision: "float32", "int8", "ubinary" or "binary".
        top_k: how many rows for each query.
        ranges: `[2, dimension]` that the corpus was quantized with.
        calibration_embeddings: embeddings to take ranges from, as for the corpus.
        rescore: see `semantic_search_faiss`.
        rescore_multiplier: see `semantic_search_faiss`.
        exact: False for a graph, which may miss rows.
        output_index: whether to give the index, too.

    Returns:
        As `semantic_search_faiss`; scores that were not rescored are distances.

    Raises:
        ImportError: usearch is not installed.
        ValueError: both or neither of `corpus_embeddings` and `corpus_index`, or another precision.
    """
    index_of = importlib.import_module("usearch.index")
    _check_corpus(corpus_embeddings, corpus_index)
    if corpus_precision not in ("float32", "int8", "ubinary", "binary"):
        raise ValueError('corpus_precision must be "float32", "int8", "ubinary", or "binary" for usearch')
    if corpus_index is None:
        rows = np.asarray(as_array(corpus_embeddings))
        if corpus_precision == "float32":
            corpus_index = index_of.Index(ndim=rows.shape[1], metric="cos", dtype="f32")
        elif corpus_precision == "int8":
            corpus_index = index_of.Index(ndim=rows.shape[1], metric="ip", dtype="i8")
        else:
            corpus_index = index_of.Index(ndim=rows.shape[1] * 8, metric="hamming", dtype="b1")
            rows = _as_bits(rows)
        corpus_index.add(np.arange(len(rows)), rows)
    is_quantized = corpus_index.dtype != index_of.ScalarKind.F32
    queries, floats, ranges = _queries(
        "semantic_search_usearch",
        query_embeddings,
        corpus_precision,
        ranges,
        calibration_embeddings,
        rescore,
        is_quantized,
    )
    start = time.time()
    if corpus_precision in ("ubinary", "binary"):
        queries = _as_bits(queries)
    matches = corpus_index.search(queries, count=top_k if floats is None else top_k * rescore_multiplier, exact=exact)
    scores, ids = np.atleast_2d(matches.distances), np.atleast_2d(matches.keys)
    # Of one query the answer has none: nothing fills it up.
    counts: Any = getattr(matches, "counts", ids.shape[1])
    valid = np.broadcast_to(np.arange(ids.shape[1]) < np.reshape(counts, (-1, 1)), ids.shape)
    if floats is not None and valid.any():
        # What fills a short answer up has no key.
        keys = np.where(valid, ids, ids[valid][0])
        found = np.array([corpus_index.get(of_query) for of_query in keys])
        if corpus_precision in ("ubinary", "binary"):
            found = found.astype(np.uint8)
        scores, ids, valid = _rescored(floats, found, ids, valid, corpus_precision, ranges, top_k)
    seconds = time.time() - start
    found_hits = _hits(scores, ids, valid)
    return (found_hits, seconds, corpus_index) if output_index else (found_hits, seconds)


def _check_corpus(embeddings: Any, index: Any) -> None:
    if embeddings is not None and index is not None:
        raise ValueError("Only corpus_embeddings or corpus_index should be used, not both.")
    if embeddings is None and index is None:
        raise ValueError("Either corpus_embeddings or corpus_index should be used.")


def _queries(
    function: str,
    embeddings: Any,
    precision: str,
    ranges: Any,
    calibration_embeddings: Any,
    rescore: bool,
    is_quantized: bool | None = None,
) -> tuple[Array, Array | None, Any]:
    """Queries in the corpus's precision, their floats if answers are to be rescored, and the ranges of both."""
    queries = np.asarray(as_array(embeddings))
    if queries.dtype in (np.uint8, np.int8):
        if rescore:
            logger.warning(
                "Rescoring is enabled but the query embeddings are quantized. Either pass `rescore=False` or don't "
                "quantize the query embeddings."
            )
        return queries, None, ranges
    floats = queries if rescore and (precision != "float32" if is_quantized is None else is_quantized) else None
    if rescore and floats is None:
        logger.warning(
            "Rescoring is enabled but the corpus is not quantized. Either pass `rescore=False` or quantize the corpus "
            'embeddings with `quantize_embeddings(embeddings, precision="...") ` and pass `corpus_precision="..."` to '
            "`%s`.",
            function,
        )
    if floats is not None and precision in ("int8", "uint8") and ranges is None:
        ranges = _ranges(queries, precision, calibration_embeddings)
    return quantize_embeddings(queries, precision, ranges, calibration_embeddings), floats, ranges


def _rescored(
    queries: Array, found: Array, ids: Array, valid: Array, precision: str, ranges: Any, top_k: int
) -> tuple[Array, Array, Array]:
    """The `top_k` rows whose bytes, `found [queries, rows, bytes]`, have the largest dot products with the query."""
    if precision in ("ubinary", "binary"):
        # Bits fill up whole bytes.
        found = np.unpackbits(found, axis=-1)[..., : queries.shape[-1]]
    else:
        low, step = _buckets(ranges)
        found = (found.astype(np.float64) + (128 if precision == "int8" else 0)) * step + low
    scores = np.einsum("ij,ikj->ik", queries, found.astype(np.float64))
    scores[~valid] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return tuple(np.take_along_axis(values, best, axis=1) for values in (scores, ids, valid))  # type: ignore[return-value]


def _hits(scores: Array, ids: Array, valid: Array) -> Hits:
    of_queries = zip(ids.tolist(), scores.tolist(), valid.tolist(), strict=True)
    return [
        [{"corpus_id": row, "score": float(score)} for row, score, is_there in zip(*lists, strict=True) if is_there]
        for lists in of_queries
    ]


def _ranges(embeddings: Any, precision: str, calibration_embeddings: Any) -> Array:
    rows = np.asarray(as_array(embeddings))
    if calibration_embeddings is None:
        if rows.ndim == 1 or len(rows) == 1:
            raise ValueError(
                f"Cannot compute {precision} quantization ranges from a single embedding. Call `quantize_embeddings` "
                "with `ranges` or `calibration_embeddings` from a representative set of embeddings instead."
            )
        if len(rows) < _FEW:
            logger.warning(
                "Computing %s quantization buckets based on %d embeddings. %s quantization is more stable with "
                "`ranges` calculated from more embeddings or a `calibration_embeddings` that can be used to calculate "
                "the buckets.",
                precision,
                len(rows),
                precision,
            )
    else:
        rows = np.asarray(as_array(calibration_embeddings))
    return np.stack([rows.min(axis=0), rows.max(axis=0)])


def _buckets(ranges: Any) -> tuple[Array, Array]:
    """Where the first bucket of each dimension starts, and how wide its buckets are."""
    low, high = np.asarray(as_array(ranges)).astype(np.float32, copy=False)
    width = (high - low) / 255
    return low, np.where(width == 0, 1, width)


def _less_128(numbers: NDArray[np.uint8]) -> NDArray[np.int8]:
    return (numbers ^ 0x80).view(np.int8)


def _as_bits(rows: Array) -> Array:
    return rows.view(np.uint8) ^ 0x80 if rows.dtype == np.int8 else rows
