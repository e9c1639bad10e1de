"""A process that opens what a store saved and answers one query: `store_comparison.py` reads how long that took."""

from __future__ import annotations

import sys
from pathlib import Path

import stores
from store_measurements import first_search
from vectors import Vectors

name, opener, path, threads, kind, rows, dimension, k = sys.argv[1:]
make = stores.OPENERS.get(name, {}).get(opener) or stores.PEERS[opener]
print(first_search(make, int(threads), Path(path), Vectors(kind, int(rows), int(dimension)), int(k)))
