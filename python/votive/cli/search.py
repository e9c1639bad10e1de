"""`votive search`: the texts whose vectors are nearest to a query."""

from __future__ import annotations

import argparse

import numpy as np

import votive
from votive.cli.failure import CommandFailed
from votive.cli.inputs import Text, TextInputs
from votive.cli.model import load_model

# Bytes of float32 in memory at a time, whatever the size of the file.
BLOCK_BYTES = 64 << 20


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive search` say."""
    inputs = TextInputs([arguments.texts], arguments.field, arguments.column)
    vectors = open_vectors(arguments.vectors)
    model = load_model(votive.Embedder, arguments)
    query = model.encode_query(arguments.query, truncate_dim=arguments.truncate_dim)
    if query.shape[0] != vectors.shape[1]:
        raise CommandFailed(
            f"{arguments.vectors}: {vectors.shape[1]} columns, but {arguments.model} gives {query.shape[0]}; "
            "search with the --model and --truncate-dim that the vectors were made with"
        )
    try:
        scores, rows = nearest(vectors, query, arguments.top_k)
    except ValueError as error:
        raise CommandFailed(f"{arguments.vectors}: {error}") from error
    found = _texts_at(inputs, set(rows.tolist()), arguments.vectors, vectors.shape[0])
    for score, row in zip(scores.tolist(), rows.tolist(), strict=True):
        text = found[row]
        # One line per hit, whatever line ends the text holds.
        print(f"{score:.4f}\t{text.path}:{text.line}\t{' '.join(text.text.split())}")


def open_vectors(path: str) -> np.ndarray:
    """Map a .npy file of floats, `[rows, columns]`, without reading it."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise CommandFailed(f"{path}: not a .npy file of numbers, or cut short") from error
    except EOFError as error:
        raise CommandFailed(f"{path}: empty, not a .npy file") from error
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
        found = f"{vectors.ndim}-D {vectors.dtype}" if isinstance(vectors, np.ndarray) else "an archive"
        raise CommandFailed(f"{path}: holds {found}, want a 2-D array of floats")
    return vectors


def nearest(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarity and row of the `k` rows of `vectors` nearest to `query`, best first; equal scores by row.

    `vectors` is `[rows, columns]`, a memory map perhaps; `query` is `[columns]`. A zero vector scores 0. NaN,
    infinity and numbers whose square is beyond float32 are a ValueError naming the row.
    """
    query = np.asarray(query, dtype=np.float32)
    query = query / (np.linalg.norm(query) or 1.0)
    block_rows = max(1, BLOCK_BYTES // (4 * max(1, vectors.shape[1])))
    best_scores: np.ndarray = np.empty(0, np.float32)
    best_rows: np.ndarray = np.empty(0, np.int64)
    for start in range(0, vectors.shape[0], block_rows):
        block = np.asarray(vectors[start : start + block_rows], dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # reported below
            lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
            scores = block @ query / np.where(lengths == 0, 1, lengths)
        usable = np.isfinite(scores) & np.isfinite(lengths)
        if not usable.all():
            raise ValueError(f"row {start + int(np.argmin(usable))} holds NaN, infinity or numbers too large to square")
        scores = np.concatenate([best_scores, scores])
        rows = np.concatenate([best_rows, np.arange(start, start + block.shape[0])])
        if scores.size > k:
            # Keep every row that ties with the k-th: which of them stays is decided by the row, below.
            kept = scores >= np.partition(scores, -k)[-k]
            scores, rows = scores[kept], rows[kept]
        # Stable, and kept rows precede this block's: equal scores stay in the order of their rows.
        order = np.argsort(-scores, kind="stable")[:k]
        best_scores, best_rows = scores[order], rows[order]
    return best_scores, best_rows


def _texts_at(inputs: TextInputs, rows: set[int], vectors_path: str, expected: int) -> dict[int, Text]:
    found = {}
    count = 0
    for text in inputs:
        if count in rows:
            found[count] = text
        count += 1
    if count != expected:
        raise CommandFailed(
            f"{vectors_path}: {expected} rows, but there are {count} texts in {inputs}; "
            "give the texts that the vectors were made from, in the same order"
        )
    return found
