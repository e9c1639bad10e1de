"""What the start of a peer with quantized weights is measured by, in a fresh process.

`python -m benches.measure.start PEER MODEL CACHE THREADS TEXT` prints the seconds until it is loaded, those until it
has the vector of the text, neither with imports, and the most bytes that the process ever had.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from votive.bench.backends.engines import EngineSetup

from benches.measure.loaded import peak_memory
from benches.peers.quantized import PEERS

name, folder, cache, threads, text = sys.argv[1:]
peer = PEERS[name](EngineSetup(Path(folder), Path(cache), int(threads)))
for module in peer.modules:
    import_module(module)
begin = time.perf_counter()
peer.load()
loaded = time.perf_counter()
peer.compute([text])
first = time.perf_counter()
print(json.dumps({"loaded": loaded - begin, "first": first - begin, "peak": peak_memory()}))
