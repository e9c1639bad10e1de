"""Rows that are to be added, as batches: vectors, and what comes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

from votive import _inputs
from votive._progress import Progress, watched_by
from votive._store.contents import Batch
from votive._store.input import ids as _ids
from votive._store.input import metadata as _metadata
from votive._store.input import vectors as _vectors
from votive._store.input.text_encoder import text_encoder
from votive._store.table.columns import TEXT, Values, label


class RowExtras(NamedTuple):
    """What comes with vectors, for all rows of a call.

    Attributes:
        ids: one for each row; None to number them.
        columns: metadata, and texts.
    """

    ids: _ids.Ids | None
    columns: Values

    @classmethod
    def read(cls, rows: int | None, ids: Any, texts: Any, metadata: Any) -> RowExtras:
        """Reads the arguments of `EmbeddingStore.add_embeddings`.

        Args:
            rows: how many vectors there are; None where that is not known.
            ids: see there.
            texts: see there.
            metadata: see there.

        Raises:
            TypeError: an argument is of a type that is not accepted.
            ValueError: one is not of `rows` rows, or has a value that is not accepted.
        """
        keys = None
        if ids is not None:
            if isinstance(ids, Set):
                raise TypeError(f"ids: expected an order, that of the vectors, found {type(ids).__name__}")
            keys, _ = _ids.read(ids)
            _ids.refuse_negative(keys)
        columns: Values = {}
        if texts is not None:
            columns[TEXT] = _metadata.read_texts(texts, "texts")
        if metadata is not None:
            columns |= _metadata.read(metadata, rows)
        extras = cls(keys, columns)
        if rows is not None:
            extras.check_rows(rows, "vectors")
        return extras

    def check_rows(self, rows: int, counted: str) -> None:
        """Accepts what is for as many rows as there are of what was `counted`.

        Raises:
            ValueError: an argument is not.
        """
        for name, size in self.sizes():
            if size != rows:
                raise ValueError(f"{name}: expected {rows}, as many as {counted}, found {size}")

    def sizes(self) -> Iterator[tuple[str, int]]:
        """The name of each argument that was given, and for how many rows."""
        if self.ids is not None:
            yield "ids", len(self.ids)
        for name, values in self.columns.items():
            yield label(name), values.rows


def join(vectors: Iterator[_vectors.Rows], extras: RowExtras) -> Iterator[Batch]:
    """Each block of vectors with what comes with it.

    Raises:
        ValueError: there are not as many of both.
    """
    return _join(((block, None) for block in vectors), extras)


def embed(
    texts: Any,
    embedder: Any,
    extras: RowExtras,
    batch_size: int | None,
    show_progress_bar: bool | None,
    form: _vectors.Form,
) -> Iterator[Batch]:
    """Texts, some at a time, with their embeddings, of a form, and what comes with them.

    Raises:
        ValueError: there are not as many of each.
    """
    encode = text_encoder(texts, embedder, "encode_document")
    options: dict[str, Any] = {"show_progress_bar": False}
    if batch_size is not None:
        options["batch_size"] = batch_size
    column = [texts] if isinstance(texts, str) else _inputs.column(texts, "texts")
    if isinstance(column, list):
        extras.check_rows(len(column), "texts")

    def blocks() -> Iterator[tuple[_vectors.Rows, list[str]]]:
        with Progress(show_progress_bar, len(column) if isinstance(column, list) else None) as progress:
            first = 0
            for piece in _pieces(column) if isinstance(column, list) else column:
                _check_texts(piece, first)
                first += len(piece)
                with watched_by(progress):
                    found = encode(piece, **options)
                vectors, _ = _vectors.read_matrix(found, "embeddings", form)
                if len(vectors) != len(piece):
                    raise ValueError(f"embedder: gave {len(vectors)} embeddings of {len(piece)} texts")
                progress(len(piece))
                progress.next_call(len(piece))
                yield vectors, piece

    return _join(blocks(), extras)


def _check_texts(texts: list[Any], first: int) -> None:
    """Accepts str; messages call the first one `texts[first]`."""
    for place, text in enumerate(texts, first):
        if not isinstance(text, str):
            hint = "; what belongs to a text is given as metadata=" if isinstance(text, Mapping) else ""
            raise TypeError(f"texts[{place}]: expected a str, found {type(text).__name__}{hint}")


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + _inputs.CHUNK_TEXTS] for start in range(0, len(texts), _inputs.CHUNK_TEXTS))


def _join(blocks: Iterator[tuple[_vectors.Rows, list[str] | None]], extras: RowExtras) -> Iterator[Batch]:
    first = 0
    for vectors, texts in blocks:
        last = first + len(vectors)
        for name, size in extras.sizes():
            if size < last:
                raise ValueError(f"{name}: expected as many as vectors, found {size}, and at least {last} vectors")
        columns = {name: values[first:last].trimmed() for name, values in extras.columns.items()}
        if texts is not None:
            columns[TEXT] = _metadata.read_texts(texts, "texts", first)
        yield Batch(vectors, None if extras.ids is None else extras.ids[first:last], columns)
        first = last
    for name, size in extras.sizes():
        if size != first:
            raise ValueError(f"{name}: expected {first}, as many as vectors, found {size}")
