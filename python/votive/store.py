"""Vectors that are searched exactly, in memory that is bounded."""

from __future__ import annotations

import copy
import errno
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar

from votive import _core
from votive._arguments import check_choice, check_count, check_flag, check_memory_limit
from votive._store import adding as _adding
from votive._store import exchange as _exchange
from votive._store import ids as _ids
from votive._store import vectors as _vectors
from votive._store.adding import Room, RowExtras
from votive._store.columns import Columns
from votive._store.contents import Batch, Contents
from votive._store.view import View
from votive.backend import device_after, device_name, device_of, on_device
from votive.persistence import Saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from votive.backend import Backend

_S = TypeVar("_S", bound="EmbeddingStore")

METRICS = ("cosine", "dot", "l2")
DTYPES = ("float32", "float16", "int8")

# Those of this process, for its children.
_stores: weakref.WeakSet[EmbeddingStore] = weakref.WeakSet()


class EmbeddingStore(Saved, View):
    """Vectors with ids, texts and metadata, for exact search.

    A search gives the rows that comparing the query with every stored vector gives, ranked by scores in float64, ties
    by the row that was added first. Any number of threads search while one adds, deletes or compacts: each call sees
    the rows as they were when it began, and a call that changes them changes all that it was asked for, or nothing.

    `copy.copy` and `copy.deepcopy` give a store of its own with the same rows, which share memory and files. A pickle
    of a store whose folder holds what it does is the path, and which generation that is: loading it opens the folder,
    and raises where it is gone (FileNotFoundError) or was written to (StoreError). A pickle of any other, also of a
    copy, has the rows in it, up to 256 MB.

    Args:
        backend: what computes, by the names that `get_backend` takes, or a `Backend`; None for "auto".
        device: which device, where `backend` does not say.
        max_memory_gb: most memory for vectors, codes, ids, texts and metadata, in 10^9 bytes; checked before any is
            taken. None for no limit.
        metric: how vectors are compared: "cosine"; "dot" for the dot product; "l2" for the Euclidean distance, negated,
            so that more is always nearer. A vector of zeros has a cosine of 0 with all others.
        dimension: of the vectors; None to let the first ones tell.
        dtype: how they are stored: "float32"; "float16" takes half the memory, and answers are exact for the rounded
            vectors; "int8" takes a quarter, and answers are exact for vectors rounded to 127 steps of their largest
            element.
        num_threads: None for `VOTIVE_NUM_THREADS`, `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`, or the CPUs that the process
            may use.
        spill_to: a folder. Vectors, codes and bounds of rows that would exceed `max_memory_gb` go to files there, which
            searches read in place, some 256 MB at a time. The files are nameless and go with the store. None for a
            StoreError instead.
        fallback: where the device is not there, or fails in a search, warn with a `FallbackWarning` and take the next
            one that is.

    Raises:
        DeviceError: the backend or device is not there.
        NotADirectoryError: `spill_to` is no folder.
        ValueError, TypeError: an argument has a value that is not accepted.
    """

    def __init__(
        self,
        backend: str | Backend | None = None,
        device: str | Backend | None = None,
        max_memory_gb: float | None = 20.0,
        metric: str = "cosine",
        dimension: int | None = None,
        dtype: str = "float32",
        num_threads: int | None = None,
        spill_to: str | PathLike[str] | None = None,
        fallback: bool = False,
    ) -> None:
        check_count("dimension", dimension)
        check_count("num_threads", num_threads)
        check_choice("metric", metric, METRICS)
        check_choice("dtype", dtype, DTYPES)
        if spill_to is not None and not os.path.isdir(spill_to):
            raise NotADirectoryError(errno.ENOTDIR, "spill_to: expected a folder", fspath(spill_to))
        if not isinstance(fallback, bool):
            raise TypeError(f"fallback: expected a bool, found {type(fallback).__name__}")

        def on(device: str) -> tuple[str, _core.Store]:
            return device, _core.Store(1, metric, dtype, device, num_threads)

        found, _ = on_device(device_of(backend, device, "backend"), fallback, on)
        self._options: dict[str, Any] = {
            "backend": device_name(backend),
            "device": device_name(device),
            "max_memory_gb": max_memory_gb,
            "metric": metric,
            "dimension": dimension,
            "dtype": dtype,
            "num_threads": num_threads,
            "spill_to": None if spill_to is None else fspath(spill_to),
            "fallback": fallback,
        }
        # Without a reference to the store: in a cycle it would stay in memory after its last use.
        self._room = Room(
            lambda dimension: _core.Store(dimension, metric, dtype, found, num_threads),
            check_memory_limit(max_memory_gb),
            self._options["spill_to"],
        )
        self._begin(self._empty())

    def _begin(self, contents: Contents) -> None:
        """Makes what no two stores share."""
        self._state = contents
        self._writing = threading.RLock()
        self._busy = False
        self._home = None
        self._saving = threading.RLock()
        self._stats = _core.Stats()
        self.last_search = None
        _stores.add(self)

    def _empty(self) -> Contents:
        dimension = self._options["dimension"]
        # While the dimension is not known, a core of 1 stands in: it checks the other arguments, and holds no rows.
        return Contents(self._room.new_core(dimension or 1), Columns({}), None, dimension)

    def _found(self, contents: Contents, *arguments: Any) -> Any:
        """What the core finds; with `fallback`, where its device fails, that on the next device."""
        while True:
            try:
                return contents.core.search(*arguments)
            except _core.DeviceError as error:
                if not self._options["fallback"]:
                    raise
                following = device_after(contents.core.device, error)
                moved = replace(contents, core=contents.core.on(following))
                # The store goes on there too, unless somebody is changing it: then the next search sees to it.
                if self._writing.acquire(blocking=False):
                    try:
                        if self._state is contents and not self._busy:
                            self._state = moved
                    finally:
                        self._writing.release()
                contents = moved

    @contextmanager
    def _changing(self) -> Iterator[Contents]:
        """One writer at a time. What it makes of the contents replaces them in one assignment, as its last step."""
        with self._writing:
            if self._busy:
                raise _core.StoreError("the store is being added to; what it reads for that may not change it")
            self._busy = True
            try:
                yield self._state
            finally:
                self._busy = False

    def add_embeddings(
        self,
        vectors: Any,
        ids: Any = None,
        texts: Any = None,
        metadata: Any = None,
        dimension: int | None = None,
    ) -> NDArray[Any]:
        """Adds rows, all of them or, after an error, none.

        Args:
            vectors: `[rows, dimension]` of any type of floats or integers, strides and byte order; `[dimension]` for
                one row; what NumPy makes such an array of, a memory map for instance; an Arrow column of lists; or an
                iterator over any of these, which is read block by block. C-contiguous float32 is not copied before it
                is stored. Values are stored as they are: not normalized. While an iterator is read, other threads that
                change the store wait for its end, and searches go on: so it must not wait for one of those threads,
                which would be for ever, and one that is slow is better added a piece at a time.
            ids: integers from 0, or str; one kind in a store. None to count on from the largest that was ever
                there. A row whose id is in the store already, or comes again, is replaced: the last one wins, and
                stands last in the order of rows.
            texts: a str for each row, which `texts` gives back.
            metadata: columns with a value for each row: a dict of arrays or lists, a DataFrame, an Arrow table. Values
                are booleans, integers, floats, str, bytes or points in time. The first rows of a store say which
                columns there are and of which type, and whether rows have texts.
            dimension: what the vectors must have; None for whatever the store has.

        Returns:
            The ids of the rows, in their order: int64, or an object array of str.

        Raises:
            TypeError: an argument is of a type that is not accepted.
            ValueError: vectors have another dimension, or a row holds NaN, infinity or a number beyond the range of
                float32 (or of `dtype`), or there are not as many ids, texts or values of metadata as vectors.
            StoreError: the rows would take more memory than `max_memory_gb`.
        """
        check_count("dimension", dimension)
        rows, blocks = _vectors.read(vectors, "vectors")
        beside = RowExtras.read(rows, ids, texts, metadata)
        with self._changing() as contents:
            if contents.dimension is None and dimension is not None:
                contents = Contents(self._room.new_core(dimension), contents.columns, None, dimension)
            if dimension not in (None, contents.dimension):
                raise ValueError(f"dimension: the store has {contents.dimension}, found {dimension}")
            return self._append(contents, _adding.batches(blocks, beside), rows)

    def _append(self, contents: Contents, batches: Iterator[Batch], rows: int | None) -> NDArray[Any]:
        contents, ids = _adding.append(contents, batches, rows, self._room)
        if len(ids):
            self._state = contents
        return ids

    def add_texts(
        self,
        texts: Any,
        embedder: Any,
        ids: Any = None,
        metadata: Any = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[Any]:
        """Adds the embeddings of texts, and the texts, all of them or, after an error, none.

        Args:
            texts: one str, or any column or iterable of str, which is read piece by piece. Other threads that change
                the store wait until all are embedded, as for an iterator of `add_embeddings`.
            embedder: a `votive.Embedder`, or anything with its `encode`; `encode_document` is used where it has that.
            ids: as for `add_embeddings`.
            metadata: as for `add_embeddings`.
            batch_size: of the embedder.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.

        Returns:
            The ids of the rows.

        Raises:
            TypeError, ValueError, StoreError: see `add_embeddings`.
        """
        beside = RowExtras.read(None, ids, None, metadata)
        with self._changing() as contents:
            batches = _adding.embedded(texts, embedder, beside, batch_size, show_progress_bar)
            return self._append(contents, batches, None)

    def delete(self, ids: Any) -> int:
        """Deletes rows, all of them or, after an error, none. Their memory is given back by `compact`.

        Args:
            ids: one, or an array or other iterable of them; twice the same counts once.

        Returns:
            How many rows were deleted.

        Raises:
            KeyError: an id is not in the store; the message says which.
            TypeError: they are no ids.
        """
        keys, _ = _ids.read(ids)
        with self._changing() as contents:
            left = contents.without(contents.rows_of(keys))
            self._state = left
            return len(contents) - len(left)

    def compact(self) -> None:
        """Puts the rows into one piece of memory, and gives back that of deleted and replaced ones.

        Searches go on meanwhile. Takes memory for the rows that are left beside what there is; where that would be
        more than `max_memory_gb`, they go to a file in `spill_to`. Files of a store that rows are in are read all
        through first, and checked.

        Raises:
            CorruptStoreError: a file that rows are in is damaged; nothing changed.
            StoreError: that would be more than `max_memory_gb`, and there is no `spill_to`.
        """
        with self._changing() as contents:
            if contents.live() is not None or len(contents.core.vectors()) > 1:
                contents.check_files()
                self._state = contents.compacted(self._room.compacted(contents))
            elif self._in_pieces:
                # For the next commit to write as one, though nothing is to be done in memory.
                self._state = replace(contents, numbering=object())

    def clear(self) -> None:
        """Forgets all rows, and what the first ones said of the kind of ids, texts and metadata, as if newly made."""
        with self._changing():
            self._state = self._empty()

    def __repr__(self) -> str:
        contents = self._state
        parts = [f"{len(contents)} rows", f"dimension={contents.dimension}", f"metric={self.metric!r}"]
        memory = contents.memory()
        parts += [f"dtype={self.dtype!r}", f"{memory['total'] / 1e6:.1f} MB"]
        if memory["mapped"]:
            parts.append(f"{memory['mapped'] / 1e6:.1f} MB mapped")
        if memory["device"]:
            parts.append(f"{memory['device'] / 1e6:.1f} MB on {contents.core.device}")
        if contents.texts is not None:
            parts.append("texts")
        if contents.columns:
            parts.append(f"metadata={list(contents.columns)}")
        return f"EmbeddingStore({', '.join(parts)})"

    def __copy__(self: _S) -> _S:
        """A store of its own with the same rows, which share memory and files with these, and take no time.

        What is changed in one is not in the other. The copy is in no folder: `save_to_disk` puts it there.
        """
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._options = dict(self._options)
        new._begin(self._state.sealed())
        return new

    def __deepcopy__(self: _S, memo: dict[int, Any]) -> _S:
        """As `copy.copy`: rows that are stored never change, so that sharing them cannot be seen."""
        new = copy.copy(self)
        memo[id(self)] = new
        for name, value in vars(self).items():
            if getattr(new, name) is value:
                setattr(new, name, copy.deepcopy(value, memo))
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        """What `pickle` makes the store of again.

        Of a store whose folder holds all that it does, that is the path and which generation it is, checked when it is
        loaded: a folder that is gone is a FileNotFoundError then, one that was written to a StoreError. Of others, and
        of copies, it is the rows, up to 256 MB of vectors and codes.
        """
        return self._pickled_by_path() or _exchange.pickled(type(self), self._options, self._state)

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        vectors: str = "vector",
        ids: str | None = None,
        texts: str | None = None,
        metadata: list[str] | None = None,
        **options: Any,
    ) -> EmbeddingStore:
        """A new store with the rows of a table, which is read piece by piece. pyarrow is not needed.

        Args:
            table: of anything that speaks Arrow: pyarrow, polars, DuckDB, a reader of record batches, and so on.
            vectors: the column of vectors: lists of numbers of the same length.
            ids: that of ids, integers or strings; None for "id" where there is one, else rows are numbered.
            texts: that of texts; None for "text" where there is one.
            metadata: those of metadata; None for all others.
            **options: of the store, as for `EmbeddingStore`.

        Raises:
            TypeError, ValueError, StoreError: see `add_embeddings`; or the table has no such column.
        """
        store = cls(**options)
        with store._changing() as contents:
            store._append(contents, _exchange.batches(table, vectors, ids, texts, metadata), None)
        return store

    @classmethod
    def from_numpy(
        cls,
        vectors: Any,
        ids: Any = None,
        texts: Any = None,
        metadata: Any = None,
        mmap: bool = True,
        **options: Any,
    ) -> EmbeddingStore:
        """A new store with vectors of an array, or of a file that `numpy.save` wrote.

        Args:
            vectors: an array as for `add_embeddings`, or the path of a `.npy` file.
            ids: as for `add_embeddings`, but no id may come twice.
            texts: as for `add_embeddings`.
            metadata: as for `add_embeddings`.
            mmap: of a file of C-contiguous vectors in the store's dtype, keep none in memory: they are read where they
                are when a search needs them. The file must stay as it is for as long as the store is used: where it is
                cut, the operating system ends the process (SIGBUS). False to read it into memory.
            **options: of the store, as for `EmbeddingStore`.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError, ValueError, StoreError: see `add_embeddings`; or the file holds no array.
        """
        check_flag("mmap", mmap)
        store = cls(**options)
        if not isinstance(vectors, str | os.PathLike):
            store.add_embeddings(vectors, ids, texts, metadata)
            return store
        mapped = _exchange.load(vectors, mmap)
        if not mmap or not _exchange.is_stored_form(mapped, store.dtype):
            store.add_embeddings(mapped, ids, texts, metadata)
            return store
        with store._changing() as contents:
            beside = RowExtras.read(len(mapped), ids, texts, metadata)
            store._state = _exchange.attached(contents, mapped, beside, store._room)
        return store


def _after_fork() -> None:
    # A thread that was writing is not in this process, and what it wrote was not finished.
    for store in _stores:
        store._writing, store._saving, store._busy = threading.RLock(), threading.RLock(), False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
