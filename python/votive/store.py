"""Vectors that are searched exactly, in memory that is bounded; and the types of its choices, for annotations."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from votive._arguments import DefaultCount, one_count
from votive._hints import missing_attribute
from votive._store import changes as _changes
from votive._store import exchange as _exchange
from votive._store import pickling as _pickling
from votive._store import query as _query
from votive._store import rows as _rows
from votive._store import saving as _saving
from votive._store import search as _search
from votive._store.loading import LoadMethod
from votive._store.options import Metric, MetricName, OpenMode, StoreDtype, StoreOptions
from votive._store.state import StoreState
from votive._tracebacks import short_tracebacks
from votive.stats import Memory, Stats, read

if TYPE_CHECKING:
    import numpy as np
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from numpy.typing import NDArray
    from typing_extensions import Self

    from votive._store.arguments import (
        ArrowArray,
        ArrowStream,
        Filter,
        Id,
        Ids,
        ManyIds,
        Matrix,
        Metadata,
        NestedIds,
        TextColumn,
        TextEncoder,
        Vector,
        Vectors,
    )
    from votive.backend import Backend
    from votive.embedder_info import EmbedderInfo
    from votive.hits import Hits
    from votive.report import SearchReport

__all__ = ["EmbeddingStore", "Metric", "MetricName", "OpenMode", "StoreDtype"]

_SEARCH_K = DefaultCount(100)
_QUERY_K = DefaultCount(10)


@short_tracebacks
class EmbeddingStore:
    """Vectors with ids, texts and metadata, for exact search.

    A search gives the rows that comparing the query with every stored vector gives, ranked by scores in float64, ties
    by the row that was added first. Any number of threads search while one adds, deletes or compacts: each call sees
    the rows as they were when it began, and a call that changes them changes all that it was asked for, or nothing.

    `copy.copy` and `copy.deepcopy` give a store of its own with the same rows, which share memory and files. A pickle
    of a store whose folder holds what it does is the path, and which generation that is: loading it opens the folder,
    and raises where it is gone (FileNotFoundError) or was written to (StoreError). A pickle of any other, also of a
    copy, has the rows in it, up to 256 MB.

    A store that is open for writing (`open` with mode "a") and is closed or collected with rows that were added or
    changed and not committed warns with a ResourceWarning that says how many.

    Args:
        backend: what computes, by the names that `get_backend` takes, or a `Backend`; None for "auto".
        device: which device, where `backend` does not say.
        max_memory_gb: most memory for vectors, codes, ids, texts and metadata, in 10^9 bytes; checked before any is
            taken. None for no limit.
        metric: how vectors are compared: "cosine"; "dot" for the dot product; "l2" or "euclidean" for the Euclidean
            distance, negated, so that more is always nearer; "hamming" for the number of bits that differ, negated. A
            vector of zeros has a cosine of 0 with all others.
        dimension: numbers in a vector; None to let the first ones tell. Of binary vectors, bits: a multiple of 8.
        dtype: how vectors are stored: "float32"; "float16" takes half the memory, and answers are exact for the rounded
            vectors; "int8" takes a quarter, and answers are exact for vectors rounded to 127 steps of their largest
            element; "ubinary" takes a bit for each element, whether it is above zero, which "hamming" compares, on the
            CPU whatever the device. These two go together. None for "float32", or "ubinary" where `metric` is
            "hamming".
        num_threads: None for `VOTIVE_NUM_THREADS`, `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`, or the CPUs that the process
            may use.
        spill_to: a folder. Vectors, codes, bounds, texts and metadata of rows that would exceed `max_memory_gb` go to
            files there, which are read in place, some 256 MB at a time. The files are nameless and go with the store.
            None for a StoreError instead.
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
        metric: MetricName = "cosine",
        dimension: int | None = None,
        dtype: StoreDtype | None = None,
        num_threads: int | None = None,
        spill_to: str | PathLike[str] | None = None,
        fallback: bool = False,
    ) -> None:
        self._state = StoreState.new(
            StoreOptions.read(backend, device, max_memory_gb, metric, dimension, dtype, num_threads, spill_to, fallback)
        )

    def add_embeddings(
        self,
        vectors: Vectors,
        ids: Ids | None = None,
        texts: TextColumn | None = None,
        metadata: Metadata | None = None,
        dimension: int | None = None,
    ) -> NDArray[Any]:
        """Adds rows, all of them or, after an error, none.

        To a store that was opened with mode "r" they are added in memory alone, and the first call warns (UserWarning)
        that they will not be saved in its folder.

        Args:
            vectors: `[rows, dimension]` of any type of floats or integers, strides and byte order; `[dimension]` for
                one row; what NumPy makes such an array of, a memory map for instance; an Arrow column of lists; or an
                iterator over any of these, which is read block by block. C-contiguous float32 is not copied before it
                is stored. Values are stored as they are: not normalized. With dtype "ubinary": floats, of which it is
                stored whether they are above zero; or bits `[rows, dimension / 8]` as `quantize_embeddings` gives
                them, uint8 of precision "ubinary" or int8 of "binary". While an iterator is read, other threads that
                change the store wait for its end, and searches go on: so it must not wait for one of those threads,
                which would be for ever, and one that is slow is better added a piece at a time.
            ids: integers from 0, or str; one kind in a store. None to count on from the largest that was ever
                there. A row whose id is in the store already, or comes again, is replaced: the last one wins, and
                stands last in the order of rows.
            texts: a str or None for each row, which `texts` gives back.
            metadata: columns with a value for each row: a dict of arrays or lists, a DataFrame, an Arrow table; or a
                list of dicts, one for each row. Values are booleans, integers, floats of up to 64 bits, str, bytes,
                points in time (with a time zone: in UTC), UUIDs (as str), or lists and dicts of what JSON holds; None
                is null. A column that rows have not is null in them, and one that is new is null in the rows before.
                Integers become floats where floats come, unless one would lose digits.
            dimension: what the vectors must have; None for whatever the store has.

        Returns:
            The ids of the rows, in their order: int64, or an object array of str.

        Raises:
            TypeError: an argument is of a type that is not accepted.
            ValueError: vectors have another dimension, or a row holds NaN, infinity or a number beyond the range of
                float32 (or of `dtype`), or there are not as many ids, texts or values of metadata as vectors.
            StoreError: the rows would take more memory than `max_memory_gb`.
        """
        return _changes.add_embeddings(self._state, vectors, ids, texts, metadata, dimension)

    def add_texts(
        self,
        texts: TextColumn,
        embedder: TextEncoder,
        ids: Ids | None = None,
        metadata: Metadata | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        allow_other_model: bool = False,
    ) -> NDArray[Any]:
        """Adds the embeddings of texts, and the texts, all of them or, after an error, none.

        The first embedder that says what it is becomes the store's `embedder_info`.

        Args:
            texts: one str, or any column or iterable of str, which is read piece by piece. Other threads that change
                the store wait until all are embedded, as for an iterator of `add_embeddings`.
            embedder: a `votive.Embedder`, or anything with its `encode`; `encode_document` is used where it has that.
            ids: as for `add_embeddings`.
            metadata: as for `add_embeddings`.
            batch_size: of the embedder.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.
            allow_other_model: take embeddings of another model than `embedder_info`, or with another prompt.

        Returns:
            The ids of the rows.

        Raises:
            TypeError, ValueError, StoreError: see `add_embeddings`.
            StoreError: the embedder is another model than the one that made the store's vectors, or puts another
                prompt before documents.
        """
        return _changes.add_texts(
            self._state, texts, embedder, ids, metadata, batch_size, show_progress_bar, allow_other_model
        )

    def upsert(
        self, vectors: Vectors, ids: Ids, texts: TextColumn | None = None, metadata: Metadata | None = None
    ) -> NDArray[Any]:
        """Adds rows whose ids are new, and gives other vectors to those that are there, all of them or none.

        Rows that are there keep their texts and metadata where none are given, and stand last from then on, as those
        that `add_embeddings` replaces.

        Args:
            vectors: as for `add_embeddings`.
            ids: one for each row.
            texts: as for `add_embeddings`.
            metadata: as for `add_embeddings`; a column that is given is given to all rows.

        Returns:
            The ids of the rows.

        Raises:
            TypeError, ValueError, StoreError: see `add_embeddings`.
        """
        return _changes.upsert(self._state, vectors, ids, texts, metadata)

    def update(
        self,
        ids: Ids | None = None,
        *,
        filter: Filter | None = None,
        texts: TextColumn | None = None,
        metadata: Metadata | None = None,
    ) -> int:
        """Changes texts and metadata of rows in place, all of them or, after an error, none.

        Vectors and the order of rows stay, and so do columns that are not given. A value of None makes it null.

        Args:
            ids: of the rows. Of an id that comes twice the last values count.
            filter: instead of ids, as for `search`.
            texts: one for each id; with a filter or a single id one str, for all.
            metadata: as for `add_embeddings`, with a value for each id; of dicts for each row, a key that one has not
                stays as it is. With a filter or a single id a dict of one value for each name, for all rows.

        Returns:
            How many rows were changed.

        Raises:
            KeyError: an id is not in the store; the message says which.
            TypeError: an argument is of a type that is not accepted, or a column holds another one.
            ValueError: there are not as many values as ids, or one is not accepted.
            StoreError: that would take more memory than `max_memory_gb`, and there is no `spill_to`.
        """
        return _changes.update(self._state, ids, filter, texts, metadata)

    @overload
    def delete(self, ids: Ids) -> int: ...
    @overload
    def delete(self, *, filter: Filter) -> int: ...
    def delete(self, ids: Ids | None = None, *, filter: Filter | None = None) -> int:
        """Deletes rows, all of them or, after an error, none. Their memory is given back by `compact`.

        Args:
            ids: one, or an array or other iterable of them; twice the same counts once.
            filter: instead of ids, as for `search`.

        Returns:
            How many rows were deleted.

        Raises:
            KeyError: an id is not in the store; the message says which.
            TypeError: they are no ids.
        """
        return _changes.delete(self._state, ids, filter)

    def compact(self) -> None:
        """Puts the rows into one piece of memory, and gives back that of deleted and replaced ones, and of old values.

        Searches go on meanwhile. Takes memory for the rows that are left beside what there is; where that would be
        more than `max_memory_gb`, they go to a file in `spill_to`. Files of a store that rows are in are read all
        through first, and checked.

        Raises:
            CorruptStoreError: a file that rows are in is damaged; nothing changed.
            StoreError: that would be more than `max_memory_gb`, and there is no `spill_to`.
        """
        _changes.compact(self._state)

    def clear(self) -> None:
        """Forgets all rows, what the first ones said of kinds of ids, texts and metadata, and `embedder_info`."""
        _changes.clear(self._state)

    @overload
    def search(
        self,
        queries: Vectors,
        k: int = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: None = None,
        rescore_multiplier: int | None = None,
        *,
        top_k: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]: ...
    @overload
    def search(
        self,
        queries: Sequence[float | np.number[Any]],
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        *,
        top_k: int | None = None,
        min_score: float,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]: ...
    @overload
    def search(
        self,
        queries: Sequence[Vector] | Iterator[Matrix],
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        *,
        top_k: int | None = None,
        min_score: float,
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[Any]]]: ...
    # Of an array the type does not say whether it is 1-D.
    @overload
    def search(
        self,
        queries: Vectors,
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        *,
        top_k: int | None = None,
        min_score: float,
    ) -> tuple[NDArray[np.float32], NDArray[Any]] | tuple[list[NDArray[np.float32]], list[NDArray[Any]]]: ...
    def search(
        self,
        queries: Vectors,
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
        *,
        top_k: int | None = None,
    ) -> tuple[Any, Any]:
        """The `k` rows that are nearest to each query, the best first; with `min_score`, only those that are near.

        Args:
            queries: `[queries, dimension]`, or `[dimension]` for one; types as for `add_embeddings`.
            k: how many; where fewer rows count, all of them. None, with `min_score`, for as many as there are.
            top_k: `k` by its other name.
            filter: None; a dict of columns ("id", "text" and those of metadata) and what is asked of them, as MongoDB
                and Chroma have it: `{"year": {"$gt": 2020}, "topic": {"$in": ["a", "b"]}, "author.name": "c"}`; a
                boolean array over the rows in the order of `ids`; ids, of which those that are not in the store are
                passed over; or a function, called once with a mapping of names to arrays, which gives a boolean array.
                Integers are ids, also if they are 0 and 1.

                In a dict, a value is to be equal, and all keys are to hold. Of a column are asked `$eq`, `$ne`, `$gt`,
                `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`, `$contains` and `$not_contains` (a part of a str, an
                element of a list) and `$not`; filters are joined by `{"$and": [...]}`, `{"$or": [...]}` and
                `{"$not": {...}}`. A row without a value is kept by `{"$exists": False}` alone, not by `$ne`, `$nin` or
                `$not` either. Numbers are compared exactly, whatever their types; points in time with a datetime, a
                date or a str of ISO 8601.
            exact: False to choose rows by their codes of a byte for each element alone (on a GPU by float32 scores),
                without the proof that no other row is better. Scores are computed from the vectors all the same. Some
                rows, mostly near the end of the answer, may be others: 97 to 99 of 100 were the same for embeddings of
                texts and for clustered and uniform random vectors on the CPU. Hamming distances are always exact.
            min_score: the least score of a row that is wanted; None for no least. It is compared with the score in
                float64 that rows are ranked by, before that is rounded to the float32 that is given: a cosine, a dot
                product, or a negated distance. With `exact` no such row is missing. Memory is taken for what is found
                alone.
            rescore_multiplier: of a store of bits, for queries of floats: take `k * rescore_multiplier` rows by Hamming
                distance of the query's signs, and rank these by the dot product of the query itself with the row's
                bits as 1 and -1. Scores are these products. None to rank by Hamming distance. Not
                beside `min_score`.

        Returns:
            Scores in float32 and ids (int64, or an object array of str), `[queries, columns]`, or `[columns]` for a 1-D
            query. `columns` is the lesser of `k` and the number of rows that the filter keeps, the same for all
            queries: nothing is padded. With `min_score` each query has its own number of rows: two lists with a 1-D
            array for each query, or two 1-D arrays for a 1-D query.

        Raises:
            KeyError: the filter names a column that is not there.
            TypeError: an argument is of a type that is not accepted, or a filter compares a column with another type;
                or `k` is None without `min_score`.
            ValueError: queries have another dimension, or hold NaN or infinity; or the filter has another length, or an
                operator that is not known; or there is no second look, as the store's vectors are not bits; or
                `min_score` is NaN.
        """
        k = one_count("search", k, top_k)
        return _search.search(self._state, queries, k, filter, exact, min_score, rescore_multiplier)

    @overload
    def search_text(
        self,
        texts: TextColumn,
        embedder: TextEncoder,
        k: int = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: None = None,
        rescore_multiplier: int | None = None,
        *,
        top_k: int | None = None,
        allow_other_model: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]: ...
    # A str is an iterable of str, too, as for `get_texts`.
    @overload
    def search_text(  # type: ignore[overload-overlap]
        self,
        texts: str,
        embedder: TextEncoder,
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        *,
        top_k: int | None = None,
        min_score: float,
        allow_other_model: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]: ...
    @overload
    def search_text(
        self,
        texts: Iterable[str] | NDArray[Any] | ArrowStream | ArrowArray,
        embedder: TextEncoder,
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        *,
        top_k: int | None = None,
        min_score: float,
        allow_other_model: bool = False,
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[Any]]]: ...
    def search_text(
        self,
        texts: TextColumn,
        embedder: TextEncoder,
        k: int | None = _SEARCH_K,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
        *,
        top_k: int | None = None,
        allow_other_model: bool = False,
    ) -> tuple[Any, Any]:
        """`search` with the embeddings of texts.

        Args:
            texts: one str for 1-D results, or a column of str.
            embedder: a `votive.Embedder`, or anything with its `encode`; `encode_query` is used where it has that.
            k: as for `search`.
            top_k: as for `search`.
            filter: as for `search`.
            exact: as for `search`.
            min_score: as for `search`.
            rescore_multiplier: as for `search`.
            allow_other_model: search with another model than `embedder_info`.

        Returns:
            Scores and ids.

        Raises:
            KeyError, TypeError, ValueError: see `search`.
            StoreError: the embedder is another model than the one that made the store's vectors.
        """
        k = one_count("search_text", k, top_k)
        return _search.search_text(
            self._state, texts, embedder, k, filter, exact, min_score, rescore_multiplier, allow_other_model
        )

    # A str is an iterable of str, too, as for `get_texts`.
    @overload
    def query(  # type: ignore[overload-overlap]
        self,
        query: str,
        embedder: TextEncoder,
        k: int | None = _QUERY_K,
        *,
        top_k: int | None = None,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
        allow_other_model: bool = False,
    ) -> Hits: ...
    @overload
    def query(
        self,
        query: Iterable[str] | ArrowStream | ArrowArray,
        embedder: TextEncoder,
        k: int | None = _QUERY_K,
        *,
        top_k: int | None = None,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
        allow_other_model: bool = False,
    ) -> list[Hits]: ...
    @overload
    def query(
        self,
        query: Sequence[float | np.number[Any]],
        embedder: None = None,
        k: int | None = _QUERY_K,
        *,
        top_k: int | None = None,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
    ) -> Hits: ...
    @overload
    def query(
        self,
        query: Sequence[Vector] | Iterator[Matrix],
        embedder: None = None,
        k: int | None = _QUERY_K,
        *,
        top_k: int | None = None,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
    ) -> list[Hits]: ...
    # Of an array the type does not say whether it is 1-D.
    @overload
    def query(
        self,
        query: Vectors,
        embedder: None = None,
        k: int | None = _QUERY_K,
        *,
        top_k: int | None = None,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
    ) -> Any: ...
    def query(
        self,
        query: TextColumn | Vectors,
        embedder: TextEncoder | None = None,
        k: int | None = _QUERY_K,
        *,
        top_k: int | None = None,
        filter: Filter | None = None,
        exact: bool = True,
        min_score: float | None = None,
        rescore_multiplier: int | None = None,
        allow_other_model: bool = False,
    ) -> Hits | list[Hits]:
        """The `k` rows that are nearest to each query, with their texts and metadata: to read, and to look at.

        They are those of `search`. All of a hit is of one state of the store, whatever other threads do meanwhile.

        Args:
            query: a text or a column of texts, with `embedder`; or vectors as for `search`, without.
            embedder: a `votive.Embedder`, or anything with its `encode`; `encode_query` is used where it has that. None
                for vectors.
            k: how many; where fewer rows count, all of them. None, with `min_score`, for as many as there are.
            top_k: `k` by its other name.
            filter: as for `search`.
            exact: as for `search`.
            min_score: as for `search`.
            rescore_multiplier: as for `search`.
            allow_other_model: search with another model than `embedder_info`.

        Returns:
            `Hits`, a sequence of `Hit` with `id`, `score`, `text` and `metadata`, the best first; of several queries a
            list with those of each.

        Raises:
            KeyError, TypeError, ValueError: see `search`; or a text comes without an embedder, or a vector with one.
            StoreError: the embedder is another model than the one that made the store's vectors.
            CorruptStoreError: a text or a column of metadata is in a file that is damaged.
        """
        k = one_count("query", k, top_k)
        return _query.query(
            self._state, query, embedder, k, filter, exact, min_score, rescore_multiplier, allow_other_model
        )

    @property
    def last_search(self) -> SearchReport | None:
        """What the last search did; None before the first."""
        return self._state.last_search

    def stats(self) -> Stats:
        """What became of the searches of this object: how many, how long, how fast, what failed, what is held.

        See `votive.stats.Stats`. A store that is loaded, copied, unpickled or used after a fork begins at zero.
        """
        return read(self._state.stats, Memory(0, self.memory_usage()["total"], 0))

    def reset_stats(self) -> None:
        """Has `stats` begin at zero."""
        self._state.stats.reset()

    def count(self, filter: Filter | None = None) -> int:
        """How many rows a filter keeps, as for `search`; all for None.

        Raises:
            TypeError, ValueError: see `search`.
        """
        return _rows.count(self._state, filter)

    @overload
    def get(
        self,
        ids: Ids | None = None,
        *,
        filter: Filter | None = None,
        columns: None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[Any]: ...
    @overload
    def get(
        self,
        ids: Ids | None = None,
        *,
        filter: Filter | None = None,
        columns: Sequence[str],
        limit: int | None = None,
        offset: int = 0,
    ) -> dict[str, Any]: ...
    def get(
        self,
        ids: Ids | None = None,
        *,
        filter: Filter | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[Any] | dict[str, Any]:
        """The vectors of some rows in float32, copied, or with dtype "ubinary" their packed bits; or columns of them.

        Args:
            ids: of the rows, in the order asked for. None for those of `filter`, in the order of `ids`.
            filter: as for `search`; None for all rows.
            columns: names: "id", "vector", "text", and those of metadata. None for the vectors.
            limit: most rows; None for all.
            offset: rows to pass over.

        Returns:
            Without `columns` the vectors `[rows, dimension]`, or `[dimension]` for one id. With them a dict of arrays,
            as `metadata` and `ids` give them, or of values for one id.

        Raises:
            KeyError: an id is not in the store; the message says which.
            TypeError: an argument is of a type that is not accepted.
            ValueError: there is no such column.
            CorruptStoreError: a column is in a file that is damaged.
        """
        return _rows.get(self._state, ids, filter, columns, limit, offset)

    # A str is an iterable of str, too, and overlaps with it: the first that fits is taken.
    @overload
    def get_texts(self, ids: Id) -> str | None: ...  # type: ignore[overload-overlap]
    @overload
    def get_texts(self, ids: NestedIds) -> list[list[str | None]]: ...
    # Of an array the type does not say whether it is 1-D.
    @overload
    def get_texts(self, ids: NDArray[Any]) -> list[Any]: ...
    @overload
    def get_texts(self, ids: ManyIds) -> list[str | None]: ...
    def get_texts(self, ids: Ids | NestedIds) -> Any:
        """The text of the row with an id, or a list of those of several, in the order asked for; None for null.

        Of ids as `search` gives them for several queries, an array `[queries, columns]` or a list of arrays, a list
        with the texts of each query. `query` gives texts at once.

        Raises:
            KeyError: an id is not in the store; the message says which.
            CorruptStoreError: one is in a file that is damaged, so that it is no text.
            ValueError: no row of this store has a text.
        """
        return _rows.get_texts(self._state, ids)

    @overload
    def get_metadata(self, ids: Id) -> dict[str, Any]: ...
    @overload
    def get_metadata(self, ids: ManyIds) -> dict[str, NDArray[Any]]: ...
    def get_metadata(self, ids: Ids) -> dict[str, Any]:
        """For each column, its value of the row with an id, or an array of those of several, in the order asked for.

        Columns that are in files are read once, to check that they are as they were written.

        Raises:
            KeyError: an id is not in the store; the message says which.
            CorruptStoreError: a column is in a file that is damaged.
        """
        return _rows.get_metadata(self._state, ids)

    @overload
    def contains(self, ids: Id) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def contains(self, ids: ManyIds) -> NDArray[np.bool_]: ...
    def contains(self, ids: Ids) -> bool | NDArray[np.bool_]:
        """Whether there is a row with an id; for several a boolean array.

        Raises:
            TypeError: they are no ids.
        """
        return _rows.contains(self._state, ids)

    def __contains__(self, id: object) -> bool:
        return _rows.contains_one(self._state, id)

    def __len__(self) -> int:
        return len(self._state.contents)

    def __iter__(self) -> Iterator[int | str]:
        return iter(self.ids.tolist())

    @property
    def ids(self) -> NDArray[Any]:
        """All ids, in the order of rows: int64, or an object array of str."""
        return self._state.contents.ids()

    @property
    def vectors(self) -> NDArray[Any] | list[NDArray[Any]]:
        """All vectors `[rows, dimension]` as they are stored, read-only and not copied, in the order of `ids`.

        A list of such arrays where they are in several pieces of memory; `compact` makes one of them. With dtype
        "int8", the codes: integers from -127 to 127, in proportion to the elements of their row. With dtype "ubinary",
        the packed bits: uint8 `[rows, dimension / 8]`.
        """
        return _rows.vectors(self._state)

    @property
    def texts(self) -> list[str | None] | None:
        """All texts, in the order of `ids`, None for null; None alone where no row has one."""
        return self._state.contents.live_texts()

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """All columns by name, read-only, in the order of `ids`."""
        return _rows.metadata(self._state)

    @property
    def dimension(self) -> int | None:
        """Numbers in a vector; None before the first."""
        return self._state.contents.dimension

    @property
    def metric(self) -> Metric:
        """How vectors are compared: "cosine", "dot", "l2" or "hamming"."""
        return self._state.options.metric

    @property
    def dtype(self) -> StoreDtype:
        """How vectors are stored: "float32", "float16", "int8" or "ubinary"."""
        return self._state.options.dtype

    @property
    def embedder_info(self) -> EmbedderInfo | None:
        """The model that made the vectors; None where it is not known.

        That is the first that `add_texts` was given, if it is an `Embedder` or has such an `info`. It stays until
        `clear`, also where vectors of arrays are added, of which nothing is known, and it is saved in the folder.
        `add_texts`, `search_text` and `query` refuse another one, unless they are told `allow_other_model=True`.
        """
        return self._state.contents.embedder

    @property
    def num_threads(self) -> int:
        """Threads that compute."""
        return self._state.contents.core.num_threads

    def memory_usage(self) -> dict[str, int]:
        """Bytes by what they hold.

        Returns:
            "vectors"; "codes", which searches read first, with those that searches made; "ids", with what finds them
            and says which are deleted; "metadata"; "texts"; "reserved" for rows to come; "total" of these, which
            `max_memory_gb` limits;
            "mapped", bytes of files or of others' arrays that the store reads in place; and "device", copies of vectors
            in the memory of a GPU, which the first search after they were added makes.
        """
        return self._state.contents.memory()

    def __repr__(self) -> str:
        return _rows.describe(self._state)

    def _repr_html_(self) -> str:
        return _rows.table(self._state)

    def to_arrow(self) -> pyarrow.Table:
        """The rows as a `pyarrow.Table`: columns "id", "vector", "text" where there are texts, and those of metadata.

        Vectors are a fixed_size_list in the store's own memory, not copied, unless `dtype` is "int8", whose rows come
        as float32; packed bits are lists of uint8. pandas, polars, DuckDB, LanceDB and others take such a table as it
        is.

        Raises:
            ImportError: pyarrow is not installed.
        """
        return _exchange.to_arrow(self._state.contents)

    def iter_batches(
        self, batch_size: int = 65_536, *, filter: Filter | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pyarrow.RecordBatch]:
        """The rows as record batches, one after the other, each made when it is asked for: as they are now.

        Args:
            batch_size: rows of each batch but the last.
            filter: as for `search`; None for all rows.
            columns: names: "id", "vector", "text", and those of metadata. None for all.

        Raises:
            ImportError: pyarrow is not installed.
            TypeError, ValueError: an argument is not accepted, or there is no such column.
            CorruptStoreError: a column is in a file that is damaged.
        """
        return _exchange.iter_batches(self._state, batch_size, filter, columns)

    @classmethod
    def from_arrow(  # noqa: D417
        cls,
        table: ArrowStream | ArrowArray,
        vectors: str = "vector",
        ids: str | None = None,
        texts: str | None = None,
        metadata: Sequence[str] | None = None,
        *,
        backend: str | Backend | None = None,
        device: str | Backend | None = None,
        max_memory_gb: float | None = 20.0,
        metric: MetricName = "cosine",
        dimension: int | None = None,
        dtype: StoreDtype | None = None,
        num_threads: int | None = None,
        spill_to: str | PathLike[str] | None = None,
        fallback: bool = False,
    ) -> Self:
        """A new store with the rows of a table, which is read piece by piece. pyarrow is not needed.

        Args:
            table: of anything that speaks Arrow: pyarrow, polars, DuckDB, a reader of record batches, and so on.
            vectors: the column of vectors: lists of numbers of the same length.
            ids: that of ids, integers or strings; None for "id" where there is one, else rows are numbered.
            texts: that of texts; None for "text" where there is one.
            metadata: those of metadata; None for all others.

        All other arguments are those of `EmbeddingStore`.

        Raises:
            TypeError, ValueError, StoreError: see `add_embeddings`; or the table has no such column.
        """
        store = cls(backend, device, max_memory_gb, metric, dimension, dtype, num_threads, spill_to, fallback)
        _exchange.from_arrow(store._state, table, vectors, ids, texts, metadata)
        return store

    @classmethod
    def from_numpy(  # noqa: D417
        cls,
        vectors: Vectors | str | PathLike[str],
        ids: Ids | None = None,
        texts: TextColumn | None = None,
        metadata: Metadata | None = None,
        mmap: bool = True,
        *,
        backend: str | Backend | None = None,
        device: str | Backend | None = None,
        max_memory_gb: float | None = 20.0,
        metric: MetricName = "cosine",
        dimension: int | None = None,
        dtype: StoreDtype | None = None,
        num_threads: int | None = None,
        spill_to: str | PathLike[str] | None = None,
        fallback: bool = False,
    ) -> Self:
        """A new store with vectors of an array, or of a file that `numpy.save` wrote.

        Args:
            vectors: an array as for `add_embeddings`, or the path of a `.npy` file.
            ids: as for `add_embeddings`, but no id may come twice.
            texts: as for `add_embeddings`.
            metadata: as for `add_embeddings`.
            mmap: of a file of C-contiguous vectors in the store's dtype, keep none in memory: they are read where they
                are when a search needs them. The file must stay as it is for as long as the store is used: where it is
                cut, the operating system ends the process (SIGBUS). False to read it into memory.

        All other arguments are those of `EmbeddingStore`.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError, ValueError, StoreError: see `add_embeddings`; or the file holds no array.
        """
        store = cls(backend, device, max_memory_gb, metric, dimension, dtype, num_threads, spill_to, fallback)
        _exchange.from_numpy(store._state, vectors, ids, texts, metadata, mmap)
        return store

    def save_to_disk(self, folder: str | PathLike[str]) -> None:
        """Writes the rows to a folder, all of them or, after an error or a crash, none.

        Deleted rows are left out. The files are described in `votive.persistence`; `numpy.load` reads them.

        Rows that are in files, as those of a store that was opened are, are read twice: first to check them, so that no
        damaged one is written anew with a checksum that vouches for it.

        Args:
            folder: one that is not there yet, or is empty; or has a store, which is replaced in one step: stores that
                have it open go on with what it was. If this store is open for writing there, this is `commit`.

        Raises:
            StoreError: the folder has files that are no store, or another writer holds it, or it was replaced or
                removed meanwhile; it is left as it is.
            CorruptStoreError: a file that rows of this store are in is damaged; nothing was written.
            OSError: it cannot be written to, or the disk is full. What it held is still there.
        """
        _saving.save(self._state, folder)

    @LoadMethod
    def load_from_disk(
        target: EmbeddingStore | type[EmbeddingStore], folder: str | PathLike[str], mmap: bool = True
    ) -> EmbeddingStore | None:
        """Loads a folder: `EmbeddingStore.load_from_disk(folder)` gives a new store with what it holds.

        Called on a store, replaces all that this one holds, and its metric, dtype and dimension. Either store is one in
        memory: what is changed in it is not written to the folder, see `open` for that.

        Args:
            folder: where `save_to_disk` or `commit` wrote a store.
            mmap: as for `open`.

        Returns:
            The new store; None where it was called on a store.

        Raises:
            FileNotFoundError: there is no store.
            CorruptStoreError: it is damaged; the message says which file, and how. Nothing changed.
            StoreError: a newer version wrote it; or without `mmap` it would take more memory than `max_memory_gb`.
        """
        return _saving.load_from_disk(target, folder, mmap)

    @classmethod
    def open(  # noqa: D417
        cls,
        folder: str | PathLike[str],
        mode: OpenMode = "r",
        mmap: bool = True,
        *,
        compact_at: float | None = None,
        backend: str | Backend | None = None,
        device: str | Backend | None = None,
        max_memory_gb: float | None = 20.0,
        num_threads: int | None = None,
        spill_to: str | PathLike[str] | None = None,
        fallback: bool = False,
    ) -> Self:
        """The store in a folder, which says its metric, dtype and dimension.

        Args:
            folder: where `save_to_disk` wrote it.
            mode: "r" to read; what is changed then is changed in memory alone, and adding rows warns of that once. "a"
                to write changes to the folder with `commit`, or at the end of a `with` block that had no error; one
                store at a time may.
            mmap: whether to leave vectors, texts and metadata on disk and map their files, which takes no time and
                little memory: they are read when they are needed, and go on to be there when the store is saved anew
                or removed. Nothing of votive ever writes to such a file again or cuts it. **But where another program
                cuts one that is mapped, or its disk fails, the operating system ends the process by a signal (SIGBUS)
                that Python cannot catch.** Of mapped files, those of ids and of where texts begin are checked against
                their checksums when they are opened, those of metadata when they are first used; `verify` checks all.
                False to read all of it into memory, with every checksum verified: for folders that others may write
                to, or that are on a network.
            compact_at: with mode "a", the share of dead bytes in the folder, above 0 and up to 1, at which a commit
                has a thread compact it: bytes of deleted and replaced rows, and of values that were changed. What was
                committed is written anew; adding and searching go on, and a commit waits for its end. Where that
                fails, the next commit warns (RuntimeWarning). None to compact only when `compact` is called.

        All other arguments are those of `EmbeddingStore`.

        Raises:
            FileNotFoundError: there is no store; `save_to_disk` makes one.
            CorruptStoreError: it is damaged; the message says which file, and how.
            StoreError: another writer has it open, or a newer version wrote it.
            ValueError, TypeError: an argument has a value that is not accepted, such as an empty path.
        """
        options = {"backend": backend, "device": device, "max_memory_gb": max_memory_gb, "num_threads": num_threads}
        return _saving.open_store(
            cls, folder, mode, mmap, compact_at, options | {"spill_to": spill_to, "fallback": fallback}
        )

    def commit(self) -> None:
        """Writes what changed since the store was opened, or since the last commit, to its folder.

        All of it is there when this returns, also after a power failure; after an error or a crash, none is. Rows that
        the folder has are not written again, except after `compact` and `clear`. Searches, and calls that change the
        store, go on meanwhile; what they change is in the next commit. Small commits are merged by later ones, so that
        a commit of one row costs the same after very many.

        Raises:
            StoreError: the store is not open for writing, see `open`; or not in this process, which is a fork of the
                one that opened it; or the folder, its LOCK or its manifest was moved, removed or replaced: what is at
                its path is not what was opened, and stays as it is.
            CorruptStoreError: after `compact`, a file that rows are in is damaged; nothing was written.
            OSError: the folder cannot be written to, or the disk is full. The last commit is still there, and this can
                be called again.
        """
        _saving.commit(self._state)

    def verify(self) -> None:
        """Reads the whole folder that this store was opened from or last saved to, and checks all of it.

        That is every checksum, that ids and texts can be read, and that searches can rely on the codes.

        Raises:
            CorruptStoreError: a file is not what was written; the message says which.
            StoreError: the store was never on disk.
        """
        _saving.verify(self._state)

    def close(self) -> None:
        """Lets other writers have the folder. Twice is once.

        What was not committed stays in memory; where that are rows that were added, a ResourceWarning says how many.
        """
        _saving.close(self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commits what was changed in a store that is open for writing, unless there was an error, and closes it."""
        _saving.exit_block(self._state, failed=kind is not None)

    if not TYPE_CHECKING:
        # Type checkers would take every name for one of the class.
        __getattr__ = missing_attribute

    def __del__(self) -> None:
        # What is not wholly made has no state.
        if (state := vars(self).get("_state")) is not None:
            _saving.warn_of_collected(state)

    def __copy__(self) -> Self:
        """A store of its own with the same rows, which share memory and files with these, and take no time.

        What is changed in one is not in the other. The copy is in no folder: `save_to_disk` puts it there.
        """
        new = type(self).__new__(type(self))
        new.__dict__ |= self.__dict__ | {"_state": self._state.copy()}
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As `copy.copy`: rows that are stored never change, so that sharing them cannot be seen."""
        new = copy.copy(self)
        memo[id(self)] = new
        attributes = {name: value for name, value in vars(self).items() if name != "_state"}
        new.__dict__ |= copy.deepcopy(attributes, memo)
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        """What `pickle` makes the store of again.

        Of a store whose folder holds all that it does, that is the path and which generation it is, checked when it is
        loaded: a folder that is gone is a FileNotFoundError then, one that was written to a StoreError. Of others, and
        of copies, it is the rows, up to 256 MB of vectors and codes.
        """
        return _pickling.reduce(type(self), self._state)
