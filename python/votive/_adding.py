"""How rows get into a store: all or none, and never more than its memory may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _columns, _core, _ids, _inputs, _vectors
from votive._contents import Batch, Contents

GB = 10**9


def batches(vectors: Any, ids: Any, texts: Any, metadata: Any) -> tuple[int | None, Iterator[Batch]]:
    """The arguments of `EmbeddingStore.add_embeddings` as how many rows there are, if that is known, and the rows.

    Raises:
        TypeError, ValueError: see there. What can be told before a vector is read is told at once.
    """
    rows, blocks = _vectors.read(vectors, "vectors")
    keys = None
    if ids is not None:
        if isinstance(ids, set | frozenset):
            raise TypeError(f"ids: expected an order as of the vectors, found {type(ids).__name__}")
        keys, _ = _ids.read(ids)
        _ids.refuse_negative(keys)
    listed = None
    if texts is not None:
        listed = [texts] if isinstance(texts, str) else _inputs.whole(_inputs.column(texts, "texts"))
    columns = {} if metadata is None else _columns.read(metadata)
    sizes = {f"metadata[{name!r}]": len(values) for name, values in columns.items()}
    sizes |= {name: len(values) for name, values in (("ids", keys), ("texts", listed)) if values is not None}
    for name, size in sizes.items():
        if rows is not None and size != rows:
            raise ValueError(f"{name}: expected {rows}, as many as vectors, found {size}")
    return rows, _cut(blocks, Batch(np.empty((0, 0), np.float32), keys, listed, columns), sizes)


def _cut(blocks: Iterator[_vectors.Floats], whole: Batch, sizes: dict[str, int]) -> Iterator[Batch]:
    """Each block of vectors with its part of `whole`."""
    first = 0
    for block in blocks:
        end = first + len(block)
        for name, size in sizes.items():
            if size < end:
                raise ValueError(f"{name}: expected as many as vectors, found {size}, and at least {end} vectors")
        part = slice(first, end)
        yield Batch(
            block,
            None if whole.ids is None else whole.ids[part],
            None if whole.texts is None else whole.texts[part],
            {name: values[part] for name, values in whole.columns.items()},
        )
        first = end
    for name, size in sizes.items():
        if size != first:
            raise ValueError(f"{name}: expected {first}, as many as vectors, found {size}")


def append(
    contents: Contents,
    batches: Iterator[Batch],
    rows: int | None,
    new_core: Callable[[int], _core.Store],
    max_bytes: float,
) -> tuple[Contents, NDArray[Any]]:
    """`contents` and rows after them, and the ids of those.

    Args:
        contents: stay as they are.
        batches: the rows.
        rows: how many there are; None if that is not known.
        new_core: makes an empty core of a dimension.
        max_bytes: what the result may take at most; nothing is allocated that would exceed it.

    Raises:
        StoreError: it would take more.
        TypeError, ValueError: see `Contents.checked`; or a vector holds NaN or infinity.
    """
    first = 0
    found: list[_ids.Ids] = []
    for batch in batches:
        count, width = batch.vectors.shape
        if not count and not width:
            continue
        batch = contents.checked(batch)
        if not count:
            continue
        if contents.dimension is None:
            contents = replace(contents, core=new_core(width), dimension=width)
        expected = max(count, (rows or 0) - first)
        check_room(contents, expected, batch.nbytes, max_bytes)
        contents, ids = contents.appended(batch, expected, first)
        found.append(ids)
        first += count
    return contents, _joined(found, contents)


def check_room(contents: Contents, rows: int, others: int, max_bytes: float) -> None:
    """Accepts so many more rows, and so many bytes beside their vectors and ids, if they fit into `max_bytes`."""
    used, asked = contents.memory()["total"], contents.core.size_of(rows) + others
    if used + asked <= max_bytes:
        return
    holes = contents.core.rows - len(contents)
    hint = f"; {holes} rows are deleted, and compact() gives their memory back" if holes else ""
    raise _core.StoreError(
        f"max_memory_gb: {rows} rows of dimension {contents.dimension} need {asked / GB:.3f} GB beside the "
        f"{used / GB:.3f} GB in use, more than the limit of {max_bytes / GB:.3f} GB{hint}"
    )


def _joined(found: list[_ids.Ids], contents: Contents) -> NDArray[Any]:
    parts = [_ids.public(ids) for ids in found]
    if not parts:
        return np.empty(0, object if contents.core.id_kind == "str" else np.int64)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
