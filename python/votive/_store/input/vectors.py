"""Vectors that may be added or searched with, as blocks that the core can read in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from votive import _arrow
from votive._arguments import refuse_masked
from votive._arrays import as_array

Floats = NDArray[np.float32]
Bits = NDArray[np.uint8]
Rows = NDArray[Any]  # one of these

# Gives an array of vectors, the first of which stands at a position, as blocks of a form that the core reads. Its
# arguments are the array, what messages call it, and the position.
Form = Callable[[NDArray[Any], str, int], Iterator[Rows]]

# What is made at a time of vectors that have to be converted: little beside a store, and enough to hide a call's cost.
BLOCK_BYTES = 16 << 20
# Blocks of a stream below this are copied together.
_SMALL_BYTES = 1 << 20

_TEXTS = "; add_texts, query and search_text take texts"


def form_of(dtype: str) -> Form:
    """What a store of a dtype adds and searches with: blocks of `to_bits`, or of `convert`."""
    return to_bits if dtype == "ubinary" else convert


def dimension_of(rows: Rows) -> int:
    """Numbers in each row of a block: bits, of `to_bits`."""
    return rows.shape[1] * (8 if rows.dtype == np.uint8 else 1)


def read(vectors: Any, name: str, form: Form) -> tuple[int | None, Iterator[Rows]]:
    """Vectors of any kind as C-contiguous blocks, in order.

    Args:
        vectors: an array of floats or integers, whatever its strides and byte order, or what NumPy makes one of: 2-D,
            or 1-D for one vector; a column of lists that speaks Arrow; or an iterator over such blocks.
        name: what messages call them.
        form: of the blocks.

    Returns:
        How many rows there are, None where only reading tells; and the blocks. An array that has the form already is
        one block and not copied; others are converted piece by piece. A block is valid until the next one is asked
        for. No rows at all may have 0 columns.

    Raises:
        TypeError: they are no vectors of floats or integers, or hold nulls.
        ValueError: they are not 1-D or 2-D, differ in length, or hold a number beyond float32.
    """
    if _is_column(vectors):
        rows = len(vectors) if hasattr(vectors, "__len__") else None
        return rows, _read_column(vectors, name, form)
    if _is_stream(vectors):
        return None, _join_small(_read_stream(vectors, name, form))
    table = _as_matrix(vectors, name)
    return len(table), form(table, name, 0)


def read_matrix(vectors: Any, name: str, form: Form) -> tuple[Rows, bool]:
    """All vectors of `read` as one array, and whether they are a single 1-D one."""
    if _is_column(vectors) or _is_stream(vectors):
        single, blocks = False, [block.copy() for block in read(vectors, name, form)[1]]
    else:
        vectors = _array(vectors, name)
        single, blocks = vectors.ndim == 1 and vectors.size > 0, list(read(vectors, name, form)[1])
    if not blocks:
        return np.empty((0, 0), np.float32), False
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), single


def _is_column(vectors: Any) -> bool:
    # pandas would convert its columns through pyarrow, which may not be installed.
    return _arrow.speaks_arrow(vectors) and type(vectors).__module__.partition(".")[0] != "pandas"


def _is_stream(vectors: Any) -> bool:
    return isinstance(vectors, Iterator) and not hasattr(vectors, "__array__")


def _read_column(column: Any, name: str, form: Form) -> Iterator[Rows]:
    position = 0
    for table in _arrow.vector_blocks(column, name):
        yield from form(table, name, position)
        position += len(table)


def _read_stream(blocks: Iterator[Any], name: str, form: Form) -> Iterator[Rows]:
    position, width = 0, None
    for block in blocks:
        # So that an error says where in the stream it is.
        for rows in read(block, f"{name} (from row {position} on)", form)[1]:
            if not len(rows):
                continue
            width = width or rows.shape[1]
            if rows.shape[1] != width:
                raise ValueError(
                    f"{name}: expected {width} columns, as in row 0, found {rows.shape[1]} in row {position}"
                )
            yield rows
            position += len(rows)


def _join_small(blocks: Iterator[Rows]) -> Iterator[Rows]:
    """Small blocks copied together, so that a stream of single vectors does not cost a call for each."""
    pending: list[Rows] = []
    size = 0
    for block in blocks:
        small = block.nbytes < _SMALL_BYTES
        if pending and (not small or size + block.nbytes > BLOCK_BYTES):
            yield np.concatenate(pending)
            pending, size = [], 0
        if small:
            pending.append(block.copy())  # the producer may write the next one to the same memory
            size += block.nbytes
        else:
            yield block
    if pending:
        yield np.concatenate(pending)


def _array(vectors: Any, name: str) -> NDArray[Any]:
    if isinstance(vectors, (str, bytes, bytearray, Mapping, Set)):
        hint = _TEXTS if isinstance(vectors, str) else ""
        raise TypeError(f"{name}: expected an array of floats or integers, found {type(vectors).__name__}{hint}")
    refuse_masked(name, vectors)
    try:
        return as_array(vectors, name)
    except ValueError as error:
        raise ValueError(f"{name}: expected vectors of equal length; {error}") from error


def _as_matrix(vectors: Any, name: str) -> NDArray[Any]:
    """Vectors in memory as an array `[rows, dimension]` of floats or integers."""
    array = _array(vectors, name)
    if array.dtype.kind not in "fiu":
        hints = {"O": "; np.stack makes a matrix of a column of arrays", "U": _TEXTS}
        hint = hints.get(array.dtype.kind, "")
        raise TypeError(f"{name}: expected floats or integers, found {array.dtype}{hint}")
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: expected 2-D [rows, dimension] or 1-D (one vector), found shape {array.shape}")
    if array.ndim == 1:
        array = array[None] if array.size else array.reshape(0, 0)
    if len(array) and not array.shape[1]:
        raise ValueError(f"{name}: expected a dimension of 1 or more, found shape {array.shape}")
    return array


def convert(table: NDArray[Any], name: str, position: int) -> Iterator[Floats]:
    """An array `[rows, dimension]` of floats or integers as float32 of that shape: see `Form`."""
    if table.dtype == np.float32 and table.flags.c_contiguous and table.flags.aligned:
        yield table
        return
    rows = max(1, BLOCK_BYTES // (4 * max(1, table.shape[1])))
    for start in range(0, max(1, len(table)), rows):
        part = table[start : start + rows]
        with np.errstate(over="ignore"):  # becomes infinity, refused below
            block = part.astype(np.float32, order="C")
        if part.dtype.kind == "f" and part.dtype.itemsize > 4:
            beyond = np.isinf(block) & np.isfinite(part)
            if beyond.any():
                row, column = np.argwhere(beyond)[0]
                raise ValueError(
                    f"{name}: row {position + start + row} holds {part[row, column]}, which is beyond float32"
                )
        yield block


def to_bits(table: NDArray[Any], name: str, position: int) -> Iterator[Bits]:
    """Rows of bits `[rows, dimension / 8]`, eight to a byte, as `numpy.packbits` packs them: see `Form`.

    uint8 are such rows. int8 are the same less 128, as precision "binary" of sentence-transformers gives them. Floats
    `[rows, dimension]` have a bit where they are above zero.

    Raises:
        TypeError: they are other integers.
        ValueError: floats have NaN or infinity, or no multiple of 8 columns.
    """
    if table.dtype == np.uint8:
        yield np.ascontiguousarray(table)
    elif table.dtype == np.int8:
        yield np.ascontiguousarray(table).view(np.uint8) ^ np.uint8(0x80)
    elif not table.size:
        yield np.empty((0, table.shape[1] // 8), np.uint8)
    else:
        yield from _signs(table, name, position)


def to_floats(table: NDArray[Any], name: str, position: int) -> Iterator[Floats]:
    """As `convert`, of floats alone, whose signs are bits.

    Raises:
        TypeError: they are bits that are packed already, or other integers.
        ValueError: see `to_bits`.
    """
    if table.dtype in (np.uint8, np.int8) and table.size:
        raise TypeError(f"{name}: expected floats, as rescore_multiplier compares them, found bits in {table.dtype}")
    if table.size:
        _check_signs(table, name, position)
    yield from convert(table, name, position)


def _signs(table: NDArray[Any], name: str, position: int) -> Iterator[Bits]:
    rows = max(1, BLOCK_BYTES // (table.itemsize * table.shape[1]))
    for start in range(0, len(table), rows):
        part = table[start : start + rows]
        _check_signs(part, name, position + start)
        yield np.packbits(part > 0, axis=1)


def _check_signs(table: NDArray[Any], name: str, position: int) -> None:
    """Accepts rows of floats that bits can be made of."""
    if table.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected rows of bits (uint8, or int8 of precision='binary') or floats, found {table.dtype}"
        )
    if table.shape[1] % 8:
        raise ValueError(
            f"{name}: expected a multiple of 8 columns, as eight signs make a byte, found {table.shape[1]}"
        )
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name}: row {position + int(np.argmin(finite))} has NaN or infinity")
