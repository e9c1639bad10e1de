"""How rows get into a store: all or none, and never more than its memory may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from votive import _core, _inputs
from votive._progress import Progress
from votive._store import columns as _columns
from votive._store import ids as _ids
from votive._store import vectors as _vectors
from votive._store.contents import Batch, Contents
from votive._store.spill import Spill, compacted
from votive._store.texts import Lines

GB = 10**9


class Beside(NamedTuple):
    """What comes with vectors."""

    ids: _ids.Ids | None
    texts: list[str] | None
    columns: _columns.Values

    @classmethod
    def read(cls, rows: int | None, ids: Any, texts: Any, metadata: Any) -> Beside:
        """The arguments of `EmbeddingStore.add_embeddings`, for so many rows if that is known."""
        keys = None
        if ids is not None:
            if isinstance(ids, Set):
                raise TypeError(f"ids: expected an order, that of the vectors, found {type(ids).__name__}")
            keys, _ = _ids.read(ids)
            _ids.refuse_negative(keys)
        lines = None
        if texts is not None:
            lines = [texts] if isinstance(texts, str) else _inputs.whole(_inputs.column(texts, "texts"))
        found = cls(keys, lines, {} if metadata is None else _columns.read(metadata))
        for name, size in found.sizes():
            if rows is not None and size != rows:
                raise ValueError(f"{name}: expected {rows}, as many as vectors, found {size}")
        return found

    def sizes(self) -> Iterator[tuple[str, int]]:
        """The name of each argument that was given, and for how many rows."""
        if self.ids is not None:
            yield "ids", len(self.ids)
        if self.texts is not None:
            yield "texts", len(self.texts)
        for name, values in self.columns.items():
            yield f"metadata[{name!r}]", len(values)


def batches(vectors: Iterator[_vectors.Floats], beside: Beside) -> Iterator[Batch]:
    """Each block of vectors with what comes with it.

    Raises:
        ValueError: there are not as many of both.
    """
    return _cut(((block, None) for block in vectors), beside)


def embedded(
    texts: Any, embedder: Any, beside: Beside, batch_size: int | None, show_progress_bar: bool | None
) -> Iterator[Batch]:
    """Texts, some at a time, with their embeddings and what comes with them.

    Raises:
        ValueError: there are not as many of each.
    """
    encode = getattr(embedder, "encode_document", None) or embedder.encode
    options: dict[str, Any] = {"show_progress_bar": False}
    if batch_size is not None:
        options["batch_size"] = batch_size
    column = [texts] if isinstance(texts, str) else _inputs.column(texts, "texts")

    def blocks() -> Iterator[tuple[_vectors.Floats, list[str]]]:
        with Progress(show_progress_bar, len(column) if isinstance(column, list) else None) as progress:
            for lines in _pieces(column) if isinstance(column, list) else column:
                vectors, _ = _vectors.matrix(encode(lines, **options), "embeddings")
                if len(vectors) != len(lines):
                    raise ValueError(f"embedder: gave {len(vectors)} embeddings of {len(lines)} texts")
                progress(len(lines))
                progress.next_call(len(lines))
                yield vectors, lines

    return _cut(blocks(), beside)


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + _inputs.CHUNK_TEXTS] for start in range(0, len(texts), _inputs.CHUNK_TEXTS))


def _cut(blocks: Iterator[tuple[_vectors.Floats, list[str] | None]], beside: Beside) -> Iterator[Batch]:
    first = 0
    for vectors, texts in blocks:
        last = first + len(vectors)
        part = slice(first, last)
        for name, size in beside.sizes():
            if size < last:
                raise ValueError(f"{name}: expected as many as vectors, found {size}, and at least {last} vectors")
        if beside.texts is not None:
            texts = beside.texts[part]
        yield Batch(
            vectors,
            None if beside.ids is None else beside.ids[part],
            None if texts is None else Lines.read(texts, "texts", first),
            {name: values[part] for name, values in beside.columns.items()},
        )
        first = last
    for name, size in beside.sizes():
        if size != first:
            raise ValueError(f"{name}: expected {first}, as many as vectors, found {size}")


@dataclass(frozen=True)
class Room:
    """Where rows may go.

    Attributes:
        new_core: makes an empty core of a dimension.
        max_bytes: what a store may take in memory.
        spill_to: a folder for what exceeds that; None for an error.
    """

    new_core: Callable[[int], _core.Store]
    max_bytes: float
    spill_to: str | None

    def lacks(self, contents: Contents, asked: int) -> bool:
        """Whether so many more bytes are too much."""
        return contents.memory()["total"] + asked > self.max_bytes

    def compacted(self, contents: Contents) -> _core.Store:
        """The live rows in one piece of memory, or of a file.

        Raises:
            StoreError: there is not enough room.
        """
        asked = contents.compact_bytes
        if self.spill_to is not None and self.lacks(contents, asked):
            return compacted(contents.core, self.spill_to, self.new_core)
        self.check(contents, len(contents), asked)
        return contents.core.compact()

    def check(self, contents: Contents, rows: int, asked: int) -> None:
        """Raises a StoreError where so many bytes for so many rows are too much."""
        if not self.lacks(contents, asked):
            return
        used = contents.memory()["total"]
        holes = contents.core.rows - len(contents)
        hint = f"; {holes} rows are deleted, and compact() gives their memory back" if holes else ""
        raise _core.StoreError(
            f"max_memory_gb: {rows} rows of dimension {contents.dimension} need {asked / GB:.3g} GB beside the "
            f"{used / GB:.3g} GB in use, more than the limit of {self.max_bytes / GB:.3g} GB{hint}"
        )


def append(contents: Contents, batches: Iterator[Batch], rows: int | None, room: Room) -> tuple[Contents, NDArray[Any]]:
    """`contents` and rows after them, and the ids of those.

    Args:
        contents: stay as they are.
        batches: the rows.
        rows: how many there are; None if that is not known.
        room: for them; nothing is allocated that it has not got.

    Raises:
        StoreError: there is not enough.
        TypeError, ValueError: see `Contents.checked`; or a vector holds NaN or infinity.
    """
    first = 0
    found: list[_ids.Ids] = []
    spill: Spill | None = None
    for batch in batches:
        count, width = batch.vectors.shape
        if not count and not width:
            continue
        fresh = not contents.core.rows and not first
        batch = contents.checked(batch, fresh)
        if not count:
            continue
        if contents.dimension is None:
            contents = replace(contents, core=room.new_core(width), dimension=width)
        expected = max(count, (rows or 0) - first)
        asked = contents.core.size_of(expected) + batch.nbytes
        if spill is None and room.spill_to is not None and room.lacks(contents, asked):
            spill = Spill(contents.core, room.spill_to, room.new_core)
        if spill is None:
            room.check(contents, expected, asked)
            core, ids = contents.core.add(batch.vectors, batch.ids, expected, first)
            contents = replace(contents, core=core)
        else:
            ids = spill.add(batch.vectors, batch.ids, first)
        contents = contents.beside(batch, fresh)
        found.append(ids)
        first += count
    if spill is not None:
        spill.flush()
        contents = replace(contents, core=spill.core)
    return contents, _joined(found, contents)


def _joined(found: list[_ids.Ids], contents: Contents) -> NDArray[Any]:
    parts = [_ids.public(ids) for ids in found]
    if not parts:
        return np.empty(0, object if contents.core.id_kind == "str" else np.int64)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
