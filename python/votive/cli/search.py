"""`votive search`: the texts that are nearest to a query."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections.abc import Iterator

import numpy as np

import votive
from votive.cli.failure import CommandFailed, UsageError
from votive.cli.hits import Hit, print_hits
from votive.cli.inputs import STANDARD_INPUT, Text, TextInputs
from votive.cli.model import load_model
from votive.cli.store.folder import manifest_of
from votive.cli.store.model import load_model_of, naming_options

# Of vectors in a file, which stay there, the codes that a search reads first; beyond it they go to a file, too.
MAX_MEMORY_GB = 1.0


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive search` say."""
    _refuse_old_order(arguments)
    if not os.path.exists(arguments.source):
        raise CommandFailed(f"{arguments.source}: No such file or directory")
    if os.path.isdir(arguments.source):
        hits = _search_store(arguments)
    elif arguments.texts is None:
        raise UsageError(
            f"{arguments.source}: is a file; give its texts, too: votive search QUERY VECTORS FILE. "
            "A store is a folder, and has its texts"
        )
    else:
        hits = _search_vectors(arguments)
    print_hits(hits, arguments.json)


def _refuse_old_order(arguments: argparse.Namespace) -> None:
    first, last = arguments.query, arguments.texts or arguments.source
    is_source = os.path.isdir(first) or (os.path.isfile(first) and first.lower().endswith(".npy"))
    if is_source and last != STANDARD_INPUT and not os.path.exists(last):
        rest = [first] if arguments.texts is None else [first, arguments.source]
        raise UsageError(f"QUERY comes first: votive search {shlex.join([last, *rest])}")


def _search_store(arguments: argparse.Namespace) -> Iterator[Hit]:
    if arguments.texts is not None or arguments.field is not None or arguments.column is not None:
        raise UsageError(f"{arguments.source}: a store has its texts; no FILE, --field or --column goes with it")
    manifest_of(arguments.source)
    store = votive.EmbeddingStore.open(arguments.source, device=arguments.device, num_threads=arguments.num_threads)
    model = load_model_of(store, arguments)
    try:
        with naming_options():
            hits = store.query(
                arguments.query,
                model,
                arguments.top_k,
                filter=arguments.filter,
                min_score=arguments.min_score,
                allow_other_model=arguments.allow_other_model,
            )
    except (KeyError, TypeError) as error:  # of a filter
        raise CommandFailed(str(error.args[0])) from error
    return map(of_store, hits)


def of_store(hit: votive.Hit) -> Hit:
    """A hit of a store, to print."""
    return Hit(hit.score, str(hit.id), hit.text, {"id": hit.id}, hit.metadata)


def _search_vectors(arguments: argparse.Namespace) -> Iterator[Hit]:
    path = arguments.source
    if arguments.filter is not None:
        raise UsageError("--filter is for stores, which have metadata")
    inputs = TextInputs([arguments.texts], arguments.field, arguments.column)
    with tempfile.TemporaryDirectory(prefix="votive-search-") as spill_to:
        store = _open_vectors(path, spill_to, arguments)
        model = load_model(votive.Embedder, arguments, truncate_dim=arguments.truncate_dim)
        query = model.encode_query(arguments.query)
        if len(store) and query.shape[0] != store.dimension:
            raise CommandFailed(
                f"{path}: {store.dimension} columns, but the model gives {query.shape[0]}; "
                "search with the --model and --truncate-dim that the vectors were made with"
            )
        scores, rows = store.search(query, arguments.top_k, min_score=arguments.min_score)
    found = _texts_at(inputs, set(rows.tolist()), path, len(store))
    return (
        Hit(score, found[row].place, found[row].text, {"path": found[row].path, "line": found[row].line})
        for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
    )


def _open_vectors(path: str, spill_to: str, arguments: argparse.Namespace) -> votive.EmbeddingStore:
    """The rows of a .npy file, which stay there, with the numbers of rows as ids.

    Raises:
        CommandFailed: it holds something else.
    """
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise CommandFailed(f"{path}: not a .npy file of numbers, or cut short") from error
    except EOFError as error:
        raise CommandFailed(f"{path}: empty, not a .npy file") from error
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
        found = f"{vectors.ndim}-D {vectors.dtype}" if isinstance(vectors, np.ndarray) else "an archive"
        raise CommandFailed(f"{path}: holds {found}, want a 2-D array of floats")
    try:
        return votive.EmbeddingStore.from_numpy(
            path,
            device=arguments.device,
            num_threads=arguments.num_threads,
            max_memory_gb=MAX_MEMORY_GB,
            spill_to=spill_to,
        )
    except ValueError as error:
        raise CommandFailed(f"{path}: {error}") from error


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
