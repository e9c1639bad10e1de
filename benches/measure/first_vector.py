"""What the start of an embedder is timed by: a peer from a fresh process to its first vector.

`python -m benches.measure.first_vector PEER MODEL CACHE THREADS TEXT` prints a line once it has the vector of the text.
"""

from __future__ import annotations

import sys
from pathlib import Path

from votive.bench.backends.engines import EngineSetup

from benches.peers.embedders import PEERS

name, folder, cache, threads, text = sys.argv[1:]
peer = PEERS[name](EngineSetup(Path(folder), Path(cache), int(threads)))
peer.load()
peer.compute([text])
print("ready", flush=True)
