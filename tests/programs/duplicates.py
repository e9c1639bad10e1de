"""Removes near-duplicates from a list of texts, the first of each kind stays."""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import cos_sim

texts = [
    "The new phone has a better camera.",
    "The new phone has an improved camera.",
    "Shares fell sharply on Monday.",
    "On Monday, shares fell sharply.",
    "Shares rose on Monday.",
    "The recipe needs two eggs and a cup of flour.",
    "You need 2 eggs and one cup of flour for the recipe.",
    "It rained all day in Hamburg.",
    "The new phone has a better camera.",
]

model = SentenceTransformer("all-MiniLM-L6-v2")
embeddings = model.encode(texts, normalize_embeddings=True)
scores = np.asarray(cos_sim(embeddings, embeddings))

kept = []
for row in range(len(texts)):
    if all(scores[row][other] < 0.8 for other in kept):
        kept.append(row)
print([texts[row] for row in kept])

rows, columns = np.where(np.triu(scores, k=1) > 0.7)
pairs = [[int(i), int(j), float(scores[i, j])] for i, j in zip(rows, columns, strict=True)]
Path(sys.argv[1]).write_text(json.dumps({"kept": kept, "pairs": pairs}), encoding="utf-8")
