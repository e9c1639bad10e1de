"""A fresh process that opens what a store saved, answers one query, and prints how many seconds that took.

`python -m benches.measure.first_search STORE OPENER PATH THREADS KIND ROWS DIMENSION K`: the last four are the vectors.
"""

from __future__ import annotations

import sys
from pathlib import Path

from votive.bench.backends import stores
from votive.bench.vectors import Vectors

from benches.measure.loaded import first_search

name, opener, path, threads, kind, rows, dimension, k = sys.argv[1:]
make = stores.OPENERS.get(name, {}).get(opener) or stores.PEERS[opener]
print(first_search(make, int(threads), Path(path), Vectors(kind, int(rows), int(dimension)), int(k)))
