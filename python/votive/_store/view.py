"""What a store shows of its rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from votive import _core
from votive._arguments import check_flag, check_positive
from votive._store import exchange as _exchange
from votive._store import filters as _filters
from votive._store import ids as _ids
from votive._store import vectors as _vectors
from votive._store.contents import Contents
from votive.report import SearchReport
from votive.stats import Memory, Stats, counting_errors, read

if TYPE_CHECKING:
    from numpy.typing import NDArray


class View:
    """The part of `votive.EmbeddingStore` that reads. Each call sees the rows as they were when it began."""

    _state: Contents
    _stats: _core.Stats
    last_search: SearchReport | None

    def _found(self, contents: Contents, *arguments: Any) -> Any:
        """What the core finds."""
        raise NotImplementedError

    def search(
        self, queries: Any, k: int = 100, filter: Any = None, exact: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """The `k` rows that are nearest to each query, the best first.

        Args:
            queries: `[queries, dimension]`, or `[dimension]` for one; types as for `add_embeddings`.
            k: how many; where fewer rows count, all of them.
            filter: None; a boolean array over the rows in the order of `ids`; ids, of which those that are not in the
                store are passed over; or a function, called once with a mapping of names to arrays ("id", "text" and
                the columns of metadata), which gives a boolean array. Integers are ids, also if they are 0 and 1.
            exact: False to choose rows by their codes of a byte for each element alone (on a GPU by float32 scores),
                without the proof that no other row is better. Scores are computed from the vectors all the same. Some
                rows, mostly near the end of the answer, may be others: 97 to 99 of 100 were the same for embeddings of
                texts and for clustered and uniform random vectors on the CPU.

        Returns:
            Scores in float32 and ids (int64, or an object array of str), `[queries, columns]`, or `[columns]` for a 1-D
            query. `columns` is the lesser of `k` and the number of rows that the filter keeps, the same for all
            queries: nothing is padded.

        Raises:
            TypeError: an argument is of a type that is not accepted.
            ValueError: queries have another dimension, or hold NaN or infinity, or the filter has another length.
        """
        with counting_errors(self._stats):
            check_flag("exact", exact)
            return self._search(queries, k, filter, exact)

    def _search(self, queries: Any, k: int, filter: Any, exact: bool) -> tuple[NDArray[np.float32], NDArray[Any]]:
        start = time.monotonic()
        contents = self._state
        check_positive("k", k)
        vectors, single = _vectors.matrix(queries, "queries")
        if len(vectors) and contents.dimension not in (None, vectors.shape[1]):
            raise ValueError(f"queries: expected dimension {contents.dimension}, found {vectors.shape[1]}")
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise ValueError(f"queries: row {int(np.argmin(finite))} holds NaN or infinity")
        mask = _filters.mask(filter, contents)
        found = {"rows": 0, "rescored": 0, "bytes": 0, "closed_early": 0}
        if len(vectors) and len(contents):
            counted = None if mask is None else mask.view(np.uint8)
            scores, rows, found = self._found(contents, vectors, min(k, len(contents)), counted, exact)
        else:
            shape = (len(vectors), min(k, len(contents) if mask is None else int(np.count_nonzero(mask))))
            scores, rows = np.empty(shape, np.float32), np.empty(shape, np.int64)
        seconds = time.monotonic() - start
        self.last_search = SearchReport(
            len(vectors), found["rows"], found["rescored"], found["bytes"], found["closed_early"], seconds
        )
        self._stats.add_search(len(vectors), seconds)
        ids = contents.ids(rows.ravel()).reshape(rows.shape)
        return (scores[0], ids[0]) if single else (scores, ids)

    def search_text(
        self, texts: Any, embedder: Any, k: int = 100, filter: Any = None, exact: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """`search` with the embeddings of texts.

        Args:
            texts: one str for 1-D results, or a column of str.
            embedder: a `votive.Embedder`, or anything with its `encode`; `encode_query` is used where it has that.
            k: as for `search`.
            filter: as for `search`.
            exact: as for `search`.

        Returns:
            Scores and ids.
        """
        encode = getattr(embedder, "encode_query", None) or embedder.encode
        return self.search(encode(texts), k, filter, exact)

    def stats(self) -> Stats:
        """What became of the searches of this object: how many, how long, how fast, what failed, what is held.

        See `votive.stats.Stats`. A store that is loaded, copied, unpickled or used after a fork begins at zero.
        """
        return read(self._stats, Memory(0, self._state.memory()["total"], 0))

    def reset_stats(self) -> None:
        """Has `stats` begin at zero."""
        self._stats.reset()

    def get(self, ids: Any) -> NDArray[np.float32]:
        """The vectors of some rows, copied, in the order asked for.

        Args:
            ids: one id for `[dimension]`, or several for `[ids, dimension]`.

        Raises:
            KeyError: an id is not in the store; the message says which.
            TypeError: they are no ids.
        """
        contents = self._state
        keys, single = _ids.read(ids)
        if contents.dimension is None and not len(keys):
            return np.empty((0, 0), np.float32)
        vectors = contents.core.take(contents.rows_of(keys))
        return vectors[0] if single else vectors

    def get_texts(self, ids: Any) -> Any:
        """The text of the row with an id, or a list of those of several, in the order asked for.

        Raises:
            KeyError: an id is not in the store; the message says which.
            CorruptStoreError: one is in a file that is damaged, so that it is no text.
            ValueError: rows of this store have no texts.
        """
        contents = self._state
        keys, single = _ids.read(ids)
        rows = contents.rows_of(keys)
        if contents.texts is None:
            raise ValueError("texts: the rows of this store have none")
        texts = contents.texts.take(rows)
        return texts[0] if single else texts

    def get_metadata(self, ids: Any) -> dict[str, Any]:
        """For each column, its value of the row with an id, or an array of those of several, in the order asked for.

        Columns that are in files are read once, to check that they are as they were written.

        Raises:
            KeyError: an id is not in the store; the message says which.
            CorruptStoreError: a column is in a file that is damaged.
        """
        contents = self._state
        keys, single = _ids.read(ids)
        rows = contents.rows_of(keys)
        columns = {name: column.intact().take(rows) for name, column in contents.columns.items()}
        return {name: values[0] for name, values in columns.items()} if single else columns

    def contains(self, ids: Any) -> Any:
        """Whether there is a row with an id; for several a boolean array.

        Raises:
            TypeError: they are no ids.
        """
        keys, single = _ids.read(ids)
        found = self._state.find(keys) >= 0
        return bool(found[0]) if single else found

    def __contains__(self, id: object) -> bool:
        if isinstance(id, bool) or not isinstance(id, str | int | np.integer):
            return False
        try:
            return bool(self.contains(id))
        except ValueError:  # beyond int64, or no text
            return False

    def __len__(self) -> int:
        return len(self._state)

    def __iter__(self) -> Iterator[int | str]:
        return iter(self.ids.tolist())

    @property
    def ids(self) -> NDArray[Any]:
        """All ids, in the order of rows: int64, or an object array of str."""
        return self._state.ids()

    @property
    def vectors(self) -> NDArray[Any] | list[NDArray[Any]]:
        """All vectors `[rows, dimension]` as they are stored, read-only and not copied, in the order of `ids`.

        A list of such arrays where they are in several pieces of memory; `compact` makes one of them. With dtype
        "int8", the codes: integers from -127 to 127, in proportion to the elements of their row.
        """
        contents = self._state
        views = contents.core.vectors()
        if not views:
            dtype = self.dtype
            views = [np.empty((0, contents.dimension or 0), dtype)]
        return views[0] if len(views) == 1 else views

    @property
    def texts(self) -> list[str] | None:
        """All texts, in the order of `ids`; None where rows have none."""
        return self._state.live_texts()

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """All columns by name, read-only, in the order of `ids`."""
        contents = self._state
        return {name: contents.column(name) for name in contents.columns}

    @property
    def dimension(self) -> int | None:
        """Of the vectors; None before the first."""
        return self._state.dimension

    @property
    def metric(self) -> str:
        """How vectors are compared: "cosine", "dot" or "l2"."""
        return self._state.core.metric

    @property
    def dtype(self) -> str:
        """How vectors are stored: "float32", "float16" or "int8"."""
        return self._state.core.dtype

    @property
    def num_threads(self) -> int:
        """Threads that compute."""
        return self._state.core.num_threads

    def memory_usage(self) -> dict[str, int]:
        """Bytes by what they hold.

        Returns:
            "vectors"; "codes", which searches read first; "ids", with what finds them and says which are deleted;
            "metadata"; "texts"; "reserved" for rows to come; "total" of these, which `max_memory_gb` limits;
            "mapped", bytes of files or of others' arrays that the store reads in place; and "device", copies of vectors
            in the memory of a GPU, which the first search after they were added makes.
        """
        return self._state.memory()

    def to_arrow(self) -> Any:
        """The rows as a `pyarrow.Table`: columns "id", "vector", "text" where there are texts, and those of metadata.

        Vectors are a fixed_size_list in the store's own memory, not copied, unless `dtype` is "int8", whose rows come
        as float32. pandas, polars, DuckDB, LanceDB and others take such a table as it is.

        Raises:
            ImportError: pyarrow is not installed.
        """
        return _exchange.to_arrow(self._state)
