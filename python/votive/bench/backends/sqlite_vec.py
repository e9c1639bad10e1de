"""sqlite-vec."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.search_backend import SearchBackend
from votive.bench.backends.unavailable import Unavailable

ROWS_AT_ONCE = 10_000


def connection() -> Any:
    """To a database in memory, which may load extensions.

    The Pythons of macOS and of pyenv are built without. APSW is a SQLite of its own with the same calls.
    """
    import sqlite3

    if hasattr(sqlite3.Connection, "enable_load_extension"):
        return sqlite3.connect(":memory:", check_same_thread=False)
    try:
        import apsw
    except ImportError:
        raise Unavailable("this Python's sqlite3 loads no extensions: pip install apsw") from None
    return apsw.Connection(":memory:")


class SqliteVec(SearchBackend):
    """sqlite-vec's virtual table, in memory; of unit vectors the least distance is the greatest product."""

    def prepare(self) -> None:
        import sqlite_vec

        self.connection = connection()
        self.connection.enable_load_extension(True)
        sqlite_vec.load(self.connection)

    def take(self, vectors: np.ndarray) -> None:
        self.connection.execute(f"create virtual table v using vec0(e float[{vectors.shape[1]}])")
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows = [(start + i, row.tobytes()) for i, row in enumerate(vectors[start : start + ROWS_AT_ONCE])]
            self.connection.executemany("insert into v(rowid, e) values (?, ?)", rows)

    def find(self, queries: np.ndarray, k: int) -> Any:
        asked = "select rowid from v where e match ? and k = ? order by distance"
        return [[row[0] for row in self.connection.execute(asked, (q.tobytes(), k))] for q in queries]
