"""What `Comparison.first_vector_seconds` times: a peer from a fresh process to its first vector.

`python first_vector.py PEER MODEL CACHE THREADS TEXT` prints a line once it has the vector of the text.
"""

from __future__ import annotations

import sys
from pathlib import Path

from model import Setup
from peers import PEERS

name, folder, cache, threads, text = sys.argv[1:]
peer = PEERS[name](Setup(Path(folder), Path(cache), int(threads)))
peer.load()
peer.compute([text])
print("ready", flush=True)
