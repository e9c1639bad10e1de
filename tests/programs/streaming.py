"""Encodes texts that come one by one, in blocks, into a file that NumPy maps into memory."""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

SUBJECTS = ["The river", "A teacher", "The old clock", "Her neighbour", "This engine"]
ENDINGS = [
    "runs all night.",
    "is older than the house.",
    "makes too much noise.",
    "was here before.",
    "stopped at noon.",
]


def texts():
    for subject in SUBJECTS:
        for ending in ENDINGS:
            yield f"{subject} {ending}"


def blocks(items, size):
    block = []
    for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


model = SentenceTransformer("all-MiniLM-L6-v2")
count, dimension = len(SUBJECTS) * len(ENDINGS), model.get_sentence_embedding_dimension()
path = os.path.join(tempfile.mkdtemp(), "embeddings.npy")
stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dimension))

row = 0
for block in blocks(texts(), size=7):
    stored[row : row + len(block)] = model.encode(block, batch_size=4, show_progress_bar=False)
    row += len(block)
stored.flush()

read = np.load(path, mmap_mode="r")
together = model.encode(list(texts()))
print(read.shape, float(np.abs(read - together).max()))
results = {"shape": read.shape, "sums": read.sum(axis=1).tolist(), "first": read[0, :8].tolist()}
results["same"] = bool(np.allclose(read, together, atol=1e-5))
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
