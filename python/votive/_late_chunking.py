"""The steps of `Embedder.encode_chunks`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from votive import _inputs
from votive._arguments import check_count, check_flag, check_priority, check_truncate_dim
from votive._embedding import DOCUMENT_TASK
from votive._progress import Progress
from votive._steps import BatchRequest, Steps
from votive.chunking import Chunk
from votive.report import Report, warn_of_truncation

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from votive.embedder import Embedder
    from votive.typing import Matrix, Texts


def encode_chunks_steps(
    model: Embedder,
    texts: Texts,
    chunks: Iterable[Chunk],
    *,
    prompt: str,
    batch_size: int | None,
    show_progress_bar: bool | None,
    normalize_embeddings: bool,
    truncate_dim: int | None,
    priority: float,
) -> Steps[Matrix[np.float32]]:
    """A call of `encode_chunks`: see there."""
    import numpy as np

    check_count("batch_size", batch_size)
    normalize = check_flag("normalize_embeddings", normalize_embeddings)
    core = model._model
    check_truncate_dim(truncate_dim, core.dimension)
    width = truncate_dim or model.get_embedding_dimension()
    given = [texts] if isinstance(texts, str) else _inputs.whole(_inputs.column(texts, "texts"))
    listed = _checked(chunks, given)

    # Texts of which there is a chunk, and the places of their chunks in what was given.
    places: dict[int, list[int]] = {}
    for place, chunk in enumerate(listed):
        places.setdefault(chunk.document, []).append(place)
    documents = sorted(places)
    wanted = [given[document] for document in documents]
    characters = [[(listed[place].start, listed[place].end) for place in places[document]] for document in documents]

    start = time.monotonic()
    max_length = model._wanted_length
    task = model._task(None, DOCUMENT_TASK)
    tokens = core.chunk_tokens(wanted, characters, prompt=prompt, max_length=max_length, task=task)
    ranges: list[list[tuple[int, int]]] = []
    for document, found in zip(documents, tokens, strict=True):
        ranges.append([])
        for place, pair in zip(places[document], found, strict=True):
            if pair is None:
                most = max_length or model.max_seq_length
                raise ValueError(
                    f"chunks[{place}]: is beyond the {most} tokens that the model reads of texts[{document}]; cut "
                    "that text first: votive.chunk(texts, model) gives sections that it reads "
                    "whole, and chunks of their texts can be encoded with these as the texts"
                )
            ranges[-1].append(pair)
    with Progress(show_progress_bar, len(wanted)) as progress:
        request = BatchRequest(
            wanted,
            None,
            prompt,
            task,
            max_length,
            batch_size,
            width,
            check_priority(priority),
            model._current_profile(),
            normalize=normalize,
            every_token=True,
            chunks=ranges,
            progress=progress,
        )
        _, token_count, truncated, halved, states = yield request
    seconds = time.monotonic() - start
    model.last_report = Report(len(wanted), token_count, truncated, seconds, halved, model._assumptions)
    if truncated:
        warn_of_truncation("texts", model.last_report, max_length or model.max_seq_length)
    assert states is not None
    rows = np.empty((len(listed), width), np.float32)
    rows[[place for document in documents for place in places[document]]] = states[0]
    return rows


def _checked(chunks: Any, texts: list[str]) -> list[Chunk]:
    """The chunks as a list, each of which is of a text.

    Raises:
        TypeError: they are no collection of chunks, or a text is no str.
        ValueError: one is not of these texts.
    """
    if isinstance(chunks, (str, Chunk)) or not hasattr(chunks, "__iter__"):
        raise TypeError(f"chunks: expected an iterable of votive.Chunk, found {type(chunks).__name__}")
    listed = list(chunks)
    for place, chunk in enumerate(listed):
        if not isinstance(chunk, Chunk):
            raise TypeError(f"chunks[{place}]: expected a votive.Chunk, found {type(chunk).__name__}")
        if not 0 <= chunk.document < len(texts):
            raise ValueError(
                f"chunks[{place}]: is of text {chunk.document}, and there are {len(texts)} texts; give those that were "
                "cut into chunks"
            )
        text = texts[chunk.document]
        if not isinstance(text, str):
            raise TypeError(f"texts[{chunk.document}]: expected a str, found {type(text).__name__}")
        if text[chunk.start : chunk.end] != chunk.text or not 0 <= chunk.start < chunk.end:
            raise ValueError(
                f"chunks[{place}]: its text is not at {chunk.start}:{chunk.end} of texts[{chunk.document}]; give the "
                "texts that were cut into chunks"
            )
    return listed
